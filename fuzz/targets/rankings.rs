//! `stategpt_fuzz::rankings` under libFuzzer.
#![no_main]
#![allow(
    unsafe_code,
    reason = "the macro exports the function that libFuzzer calls"
)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stategpt_fuzz::rankings(data));
