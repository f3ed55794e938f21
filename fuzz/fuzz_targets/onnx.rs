//! onnx files of any content.

#![no_main]

use wgru::LoadOptions;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    wgru_fuzz::load(bytes, &LoadOptions::new());
});
