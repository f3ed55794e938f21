//! Files in and out: conventions, hostile files, arrays, the commands about files.

mod arrays;
mod command;
mod conventions;
mod convert;
mod golden;
mod hostile;
mod keras;
mod mutations;
mod onnx;

use std::path::PathBuf;

/// A file of `tests/`.
fn test_file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", name].iter().collect()
}

/// Asserts that an error has this kind, one line, and every one of these words in its message.
#[track_caller]
fn assert_error<T>(result: wgru::Result<T>, kind: wgru::ErrorKind, words: &[&str]) {
    let error = result.err().expect("this has to be refused");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    assert!(!message.contains(char::is_control), "one line: {message:?}");
    for word in words {
        assert!(message.contains(word), "'{word}' is missing from: {message}");
    }
}
