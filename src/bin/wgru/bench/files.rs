//! Where results are written.

use std::fs;
use std::path::{Path, PathBuf};

use wgru::OutputFile;

use crate::failure::Failure;

/// A file that can be written to. A regular one is replaced whole each time; of a pipe or a device
/// only the last text arrives, at the end.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    open: Option<OutputFile>,
}

impl Target {
    /// Checks that a file can be made at `path`; leaves nothing behind.
    pub(crate) fn check(path: &Path) -> Result<Self, Failure> {
        let file = OutputFile::create(path)?;
        let replaceable = fs::metadata(path).map_or(true, |m| m.is_file());
        Ok(Self { path: path.to_owned(), open: (!replaceable).then_some(file) })
    }

    /// Whether both are one file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let full = |path: &Path| match path.canonicalize() {
            Ok(full) => Some(full),
            // A file that does not exist yet, in a folder that does.
            Err(_) => {
                let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
                let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
                Some(folder.join(path.file_name()?))
            }
        };
        self.open.is_none() && full(&self.path) == full(&other.path)
    }

    /// Writes a text that later ones replace.
    pub(crate) fn write_so_far(&self, text: &str) -> Result<(), Failure> {
        match self.open {
            Some(_) => Ok(()),
            None => write(OutputFile::create(&self.path)?, text),
        }
    }

    /// Writes the last text.
    pub(crate) fn finish(self, text: &str) -> Result<(), Failure> {
        match self.open {
            Some(file) => write(file, text),
            None => write(OutputFile::create(&self.path)?, text),
        }
    }
}

fn write(mut file: OutputFile, text: &str) -> Result<(), Failure> {
    file.write_bytes(text.as_bytes())?;
    Ok(file.commit()?)
}
