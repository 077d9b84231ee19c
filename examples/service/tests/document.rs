//! How a text is cut into chunks.

use task_service::document::{ChunkProcessing, Configuration, KnownTokenizer, Tokenizer, cut};

fn cut_to(text: &[u8], target_length: u32, tokenizer: Tokenizer) -> Result<Vec<String>, String> {
    let chunk_processing =
        Some(ChunkProcessing { target_length, tokenizer, ..ChunkProcessing::default() });
    let configuration = Configuration { chunk_processing, ..Configuration::default() };
    let chunks = cut(text, &configuration, || true)?;
    for chunk in &chunks {
        assert_eq!(chunk.words, chunk.content.split(' ').count());
    }
    Ok(chunks.into_iter().map(|chunk| chunk.content).collect())
}

#[test]
fn a_text_is_cut_into_so_many_words() {
    let words = Tokenizer::Enum(KnownTokenizer::Word);
    for (text, target_length, chunks) in [
        ("", 2, &[][..]),
        (" \n\t ", 2, &[]),
        ("one", 2, &["one"]),
        ("one two", 2, &["one two"]),
        ("one  two\nthree\u{a0}four five", 2, &["one two", "three four", "five"]),
        ("one two three", 1, &["one", "two", "three"]),
        ("one two three", u32::MAX, &["one two three"]),
        ("one two\n\nthree\nfour\n\n\n\nfive", 0, &["one two", "three four", "five"]),
        ("größe 寸法 🦀", 2, &["größe 寸法", "🦀"]),
    ] {
        let cut = cut_to(text.as_bytes(), target_length, words.clone()).unwrap();
        assert_eq!(cut, chunks, "{text:?}, {target_length}");
    }
}

#[test]
fn what_cannot_be_cut_says_why() {
    let words = Tokenizer::Enum(KnownTokenizer::Word);
    assert_eq!(cut_to(b"one \xff", 2, words).unwrap_err(), "The file is not UTF-8 text");
    let model = Tokenizer::String("a/b".to_owned());
    assert_eq!(cut_to(b"one", 2, model).unwrap_err(), "Tokenizer a/b cannot be loaded");
}

#[test]
fn the_work_stops_when_nobody_wants_it() {
    let wanted = std::cell::Cell::new(3);
    let is_wanted = || wanted.replace(wanted.get() - 1) > 0;
    let chunk_processing = Some(ChunkProcessing { target_length: 1, ..ChunkProcessing::default() });
    let configuration = Configuration { chunk_processing, ..Configuration::default() };
    let text = "a ".repeat(100);
    let stopped = cut(text.as_bytes(), &configuration, is_wanted).unwrap_err();
    assert_eq!((stopped.as_str(), wanted.get()), ("The work was stopped", -1));
}

#[test]
fn an_output_has_an_end() {
    let words = Tokenizer::Enum(KnownTokenizer::Word);
    let text = "a ".repeat(900_000);
    assert_eq!(cut_to(text.as_bytes(), 1, words).unwrap_err(), "The output is too large");
}
