//! What the targets of the three weight formats share.

use wgru::{Gru, LoadOptions};

/// Loads a file's bytes. Whatever loads, converts to the same network; whatever does not, says why
/// in one line.
pub fn load(bytes: &[u8], options: &LoadOptions) {
    match Gru::from_bytes(bytes.to_vec(), options) {
        Ok(gru) => {
            let bytes = gru.to_safetensors().expect("a network that loaded can be written");
            let again = Gru::from_bytes(bytes, &LoadOptions::new()).expect("and loads again");
            assert_eq!(again.config(), gru.config());
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
}
