#![no_main]

#[allow(dead_code)]
#[path = "../../common/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../../common/fuzzed.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzed::snapshot(bytes));
