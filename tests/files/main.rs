//! Files in and out: conventions, hostile files, arrays, the commands about files.

mod arrays;
mod command;
mod conventions;
mod convert;
mod golden;
mod hostile;
mod keras;
mod mutations;
mod names;
mod onnx;

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// A file of `tests/`, of the package's folder where the tests run, which need not be where they
/// were built.
fn test_file(name: &str) -> PathBuf {
    let here = || env::current_dir().ok().filter(|folder| folder.join("tests/data").is_dir());
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).or_else(here);
    root.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).join("tests").join(name)
}

/// The command: what `WGRU_BINARY` names, else the one that was built with the tests, or was
/// carried away with them.
fn wgru() -> Command {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_wgru"));
    let beside = || {
        let own = env::current_exe().ok()?;
        let folder = own.parent()?;
        let places =
            [folder.join("wgru"), folder.parent()?.join("wgru"), folder.parent()?.join("bin/wgru")];
        places.into_iter().find(|place| place.is_file())
    };
    Command::new(match env::var_os("WGRU_BINARY") {
        Some(named) => named.into(),
        None if built.is_file() => built,
        None => beside().unwrap_or(built),
    })
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
