//! The `wgru` command as a user meets it: processes, files, exit codes.

mod bench;
mod case;
mod npy;
mod probe;
mod refusals;
mod reports;
mod results;
mod shapes;
mod tuning;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The package's folder where the tests run, which need not be where they were built.
fn root() -> PathBuf {
    let built = || env!("CARGO_MANIFEST_DIR").into();
    let here = || env::current_dir().ok().filter(|folder| folder.join("tests/data").is_dir());
    env::var_os("CARGO_MANIFEST_DIR").map(Into::into).or_else(here).unwrap_or_else(built)
}

/// The command: what `WGRU_BINARY` names, else the one that was built with the tests, or was
/// carried away with them.
fn binary() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_wgru"));
    let beside = || {
        let own = env::current_exe().ok()?;
        let folder = own.parent()?;
        let places =
            [folder.join("wgru"), folder.parent()?.join("wgru"), folder.parent()?.join("bin/wgru")];
        places.into_iter().find(|place| place.is_file())
    };
    match env::var_os("WGRU_BINARY") {
        Some(named) => named.into(),
        None if built.is_file() => built,
        None => beside().unwrap_or(built),
    }
}

/// A model file of `tests/data`.
fn model(name: &str) -> String {
    let path = root().join("tests/data").join(name).with_extension("safetensors");
    path.to_str().expect("the path is UTF-8").to_owned()
}

/// A folder of its own for a test's files, and the command run in it.
struct Workplace {
    folder: TempDir,
}

impl Workplace {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `wgru` with `arguments`; `WGRU_DEVICE` is unset and the cache off.
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.folder.path()).args(arguments).env_remove("WGRU_DEVICE");
        // `auto` measures the machine where a test is about that.
        command.env("WGRU_NO_CALIBRATION", "1");
        // What was measured on this machine before decides nothing.
        command.env("WGRU_CACHE_DIR", "");
        command
    }

    /// Standard output of a run that succeeds.
    #[track_caller]
    fn succeed<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        succeeded(&mut self.command(arguments))
    }

    /// The line of a run that is refused with exit code 2 and writes nothing.
    #[track_caller]
    fn refuse<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let before = self.listing();
        let line = refused(&mut self.command(arguments));
        assert_eq!(self.listing(), before, "a refused run changes no file");
        line
    }

    /// Every file with its bytes.
    fn listing(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder can be listed");
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("the folder can be listed").path())
            .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
            .collect();
        files.sort();
        files
    }
}

#[track_caller]
fn succeeded(command: &mut Command) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("the output is text")
}

#[track_caller]
fn refused(command: &mut Command) -> String {
    let output = run(command);
    let line = String::from_utf8(output.stderr).expect("the message is text");
    assert_eq!(output.status.code(), Some(2), "{command:?}: {line}");
    assert_eq!(output.stdout, b"", "{command:?}");
    assert_eq!(line.matches('\n').count(), 1, "one line: {line}");
    assert!(line.starts_with("wgru: error: ") && line.ends_with('\n'), "{line}");
    line
}

fn run(command: &mut Command) -> Output {
    command.output().expect("wgru can be started")
}

#[track_caller]
fn assert_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "'{word}' is missing from: {text}");
    }
}

/// The adapters that `WGRU_TEST_ADAPTERS` selects: "all" (default), or a part of "name (backend)";
/// each is reported to `WGRU_ADAPTER_REPORT`, as `scripts/test` wants it.
fn tested_adapters() -> Vec<wgru::AdapterDescription> {
    let wanted = env::var("WGRU_TEST_ADAPTERS").unwrap_or_default().to_lowercase();
    let mut found = wgru::adapters();
    let title = |a: &wgru::AdapterDescription| format!("{} ({})", a.name, a.backend);
    if !wanted.is_empty() && wanted != "all" {
        found.retain(|a| title(a).to_lowercase().contains(&wanted));
    }
    assert!(!found.is_empty(), "no adapter is tested; scripts/test installs a software one");
    found
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}
