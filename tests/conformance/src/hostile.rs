//! Values that stores cut, escape, fold, retype and refuse.

/// The texts that payloads are made of. The first is numbered, so that no two are the same; all
/// others are drawn as they stand, so that payloads may be equal.
#[rustfmt::skip]
pub(crate) const TEXTS: [&str; 25] = [
    "plain", "plain", "", "it's \"quoted\"; --", "nul \0 and after", "  space around  ",
    "Größe 寸法 🦀 \u{202e}", "\u{feff}e\u{301}, not é", "lines\r\nand\ttabs\n",
    "100%_\\ {\"json\": null}", "NULL", "null", "true", "0", "1.0", "1e3",
    "{\"b\": 1,  \"a\": {\"d\": 1.0, \"c\": [2]}}", "<a href='?x=1&amp;y=2+3'>$1 | \\1 #</a>",
    "letter", "LETTER", "\u{1}\u{8}\u{1b}[0m\u{7f}\u{85}\u{2028}\u{ffff}", "2026-02-30T00:00:00Z",
    "trailing zero \0", LARGE, LARGE_TOO,
];

/// The index of the first of the two large texts, which differ in their last letter.
pub(crate) const FIRST_LARGE: u8 = 23;

const LARGE: &str = utf8(&[b'x'; 300_000]);
const LARGE_TOO: &str = utf8(&ENDS_OTHERWISE);
static ENDS_OTHERWISE: [u8; 300_000] = {
    let mut bytes = [b'x'; 300_000];
    bytes[299_999] = b'y';
    bytes
};

const fn utf8(bytes: &'static [u8]) -> &'static str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => "",
    }
}

/// Counters at which columns end, or at which order as text is not order.
#[rustfmt::skip]
pub(crate) const COUNTERS: [u64; 20] = [
    10, 100, (1 << 7) - 1, 1 << 7, (1 << 8) - 1, 1 << 8, (1 << 15) - 1, 1 << 15, (1 << 16) - 1,
    1 << 16, (1 << 24) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 53) + 1,
    (1 << 63) - 1, 1 << 63, (1 << 63) + 1, (1 << 63) + (1 << 53) + 1,
];
