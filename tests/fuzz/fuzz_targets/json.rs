#![no_main]
#[path = "../../it/client.rs"]
mod client;
#[path = "../../it/fuzzed.rs"]
#[allow(dead_code)]
mod fuzzed;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzed::json(bytes));
