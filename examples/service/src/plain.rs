//! Which JSON may be stored.

/// How deep a body may be nested. It is stored a little deeper, and the parser's limit is 128.
const DEEPEST: usize = 64;

/// Checks a body before it is parsed, for its depth and for keys that serde_json reserves for itself:
/// under one of them, a string would be parsed as JSON again.
pub(crate) fn check(body: &str) -> Result<(), String> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = body.as_bytes().get(at) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                let text = &body[at..];
                let end = end(text);
                if text[end..].trim_start().starts_with(':')
                    && let Ok(key) = serde_json::from_str::<String>(&text[..end])
                    && key.starts_with("$serde_json::")
                {
                    return Err(format!("{key}: reserved key"));
                }
                at += end - 1;
            }
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("nested deeper than {DEEPEST}"));
        }
        at += 1;
    }
    Ok(())
}

/// The length of the string literal that `text` begins with.
fn end(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return at + 1,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
    text.len()
}
