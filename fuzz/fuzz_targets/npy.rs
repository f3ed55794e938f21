//! npy files of any content.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = wgru::array_file::parse::<f32>(bytes) {
        assert!(!error.to_string().contains(char::is_control));
    }
});
