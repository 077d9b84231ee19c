use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Puts `table` into a file, between its lines `<!-- mark -->` and `<!-- /mark -->`.
pub fn write(file: &Path, mark: &str, table: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let (begin, end) = (format!("<!-- {mark} -->"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no {end}"))?;
    Ok(fs::write(file, format!("{before}{begin}\n\n{table}\n\n{end}{after}"))?)
}
