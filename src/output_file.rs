//! Files that appear whole or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, ErrorKind, Result};

/// A file being written. It takes its place under its name on [`commit`](OutputFile::commit);
/// dropped before, it leaves nothing behind and an existing file untouched.
///
/// Create it before a long computation: what makes the path unwritable shows then.
///
/// ```
/// use std::io::Write;
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("y.bin");
/// let mut file = wgru::OutputFile::create(&path)?;
/// file.write_all(b"result").unwrap();
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"result");
/// # Ok::<(), wgru::Error>(())
/// ```
#[derive(Debug)]
pub struct OutputFile {
    name: PathBuf,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    /// Beside the target, renamed over it at the end.
    Temporary { file: BufWriter<NamedTempFile>, target: PathBuf },
    /// A device or pipe, which cannot be replaced.
    Direct(BufWriter<File>),
}

impl OutputFile {
    /// Begins the file that will be `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where `path` is a directory or read-only, or its folder is missing or
    /// cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let name = path.as_ref().to_owned();
        let sink = Self::open(&name).map_err(|e| cannot_write(&name, e))?;
        Ok(Self { name, sink })
    }

    fn open(name: &Path) -> io::Result<Sink> {
        // A link is followed, so that its target is replaced and not the link.
        let target = match name.canonicalize() {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => name.to_owned(),
            Err(e) => return Err(e),
        };
        let mut permissions = None;
        if let Ok(metadata) = target.metadata() {
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if !metadata.is_file() {
                let file = OpenOptions::new().write(true).open(&target)?;
                return Ok(Sink::Direct(BufWriter::new(file)));
            }
            // Renaming would replace a file that may not be written to.
            if metadata.permissions().readonly() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "the file is read-only",
                ));
            }
            permissions = Some(metadata.permissions());
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".wgru-");
        if let Some(permissions) = permissions.or_else(default_permissions) {
            builder.permissions(permissions);
        }
        let file = BufWriter::with_capacity(1 << 20, builder.tempfile_in(folder)?);
        Ok(Sink::Temporary { file, target })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], naming the path.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|e| cannot_write(&self.name, e))
    }

    /// Puts the file into its place.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where that fails; the path is as it was then.
    pub fn commit(mut self) -> Result<()> {
        self.flush().map_err(|e| cannot_write(&self.name, e))?;
        match self.sink {
            Sink::Direct(_) => Ok(()),
            Sink::Temporary { file, target } => file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.persist(target).map_err(|e| e.error))
                .map(drop)
                .map_err(|e| cannot_write(&self.name, e)),
        }
    }

    /// Puts all of `files` into their places, or none: where one fails, those before it are taken
    /// back. What was written to a pipe or a device stays written; what a file replaced can be
    /// given back only where its folder allows hard links.
    ///
    /// # Errors
    /// Those of [`commit`](OutputFile::commit); the message names each path that could not be
    /// given back.
    pub fn commit_all(mut files: Vec<Self>) -> Result<()> {
        for file in &mut files {
            file.flush().map_err(|e| cannot_write(&file.name, e))?;
        }
        let mut replaced = Vec::new();
        for file in files {
            let kept = file.keep_old();
            match (file.commit(), kept) {
                (Ok(()), kept) => replaced.extend(kept),
                (Err(mut error), _) => {
                    for kept in replaced.into_iter().rev() {
                        let target = kept.target.clone();
                        if kept.give_back().is_err() {
                            let left = format!("{} stays replaced", target.display());
                            error = error.context(left);
                        }
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A second name for what the file will replace; `None` where it replaces nothing that could
    /// be given back.
    fn keep_old(&self) -> Option<Replaced> {
        let Sink::Temporary { target, .. } = &self.sink else { return None };
        if target.symlink_metadata().is_err() {
            return Some(Replaced { target: target.clone(), old: None });
        }
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let link = |path: &Path| std::fs::hard_link(target, path);
        let old = tempfile::Builder::new().prefix(".wgru-").make_in(folder, link).ok()?;
        Some(Replaced { target: target.clone(), old: Some(old.into_temp_path()) })
    }

    /// The path that was asked for.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Temporary { file, .. } => file.write(bytes),
            Sink::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Temporary { file, .. } => file.flush(),
            Sink::Direct(file) => file.flush(),
        }
    }
}

/// What stood at a path before a file took its place.
#[derive(Debug)]
struct Replaced {
    target: PathBuf,
    /// `None`: nothing.
    old: Option<tempfile::TempPath>,
}

impl Replaced {
    fn give_back(self) -> io::Result<()> {
        match self.old {
            Some(old) => old.persist(self.target).map_err(|e| e.error),
            None => std::fs::remove_file(self.target),
        }
    }
}

pub(crate) fn cannot_write(name: &Path, e: io::Error) -> Error {
    // The temporary file's own name would only mislead.
    let reason = match e.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => {
            let text = e.to_string();
            text.split_once(" at path ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
        }
    };
    let message = format!("{}: cannot write: {reason}", name.display());
    Error::with_source(ErrorKind::Io, message, e)
}

/// What the user's mask allows, as for any new file; temporary files are private otherwise.
#[cfg(unix)]
fn default_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn default_permissions() -> Option<Permissions> {
    None
}
