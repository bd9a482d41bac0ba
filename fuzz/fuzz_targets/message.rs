//! `make fuzz TARGETS=message`: what must hold stands in `fuzz/checks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_checks::message(bytes);
});
