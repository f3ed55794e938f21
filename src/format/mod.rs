//! Files of trained weights: what kind a file is, and reading it once.

pub(crate) mod canonical;
mod npz;
mod onnx;
mod safetensors;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::convention::{self, Loaded};
use crate::description::{Format, ListedGru};
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;
use crate::tensor_set::TensorSet;

/// The GRU of `path` that `options` select.
pub(crate) fn load(path: &Path, options: &LoadOptions) -> Result<Loaded> {
    with_path(path, || {
        let bytes = read_file(path)?;
        match recognise(&bytes, path)? {
            Format::Onnx => onnx::load(&bytes, Some(folder(path)), options),
            format => convention::load(&read_tensors(bytes, format)?, format, options),
        }
    })
}

/// The GRU of a file's bytes that `options` select.
pub(crate) fn load_bytes(bytes: Arc<Vec<u8>>, options: &LoadOptions) -> Result<Loaded> {
    match recognise(&bytes, Path::new(""))? {
        Format::Onnx => onnx::load(&bytes, None, options),
        format => convention::load(&read_tensors(bytes, format)?, format, options),
    }
}

/// Every recurrent network of `path`.
pub(crate) fn list(path: &Path, options: &LoadOptions) -> Result<Vec<ListedGru>> {
    with_path(path, || {
        let bytes = read_file(path)?;
        match recognise(&bytes, path)? {
            Format::Onnx => onnx::list(&bytes, Some(folder(path)), options),
            format => convention::list(&read_tensors(bytes, format)?, format, options),
        }
    })
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts the path in front of whatever goes wrong.
fn with_path<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    read().map_err(|e| e.context(path.display()))
}

fn read_tensors(bytes: Arc<Vec<u8>>, format: Format) -> Result<TensorSet> {
    match format {
        Format::Safetensors => safetensors::read(bytes),
        Format::Npz => npz::read(&bytes),
        other => Err(Error::new(ErrorKind::Unsupported, format!("{other} files are not read"))),
    }
}

/// The kind of a file by its first bytes, else by its name.
fn recognise(bytes: &[u8], path: &Path) -> Result<Format> {
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::InvalidFile, "the file is empty"));
    }
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let foreign = |what: &str| {
        let message = format!("this is {what}; safetensors, npz and ONNX files are read");
        Err(Error::new(ErrorKind::Unsupported, message))
    };
    match extension.to_ascii_lowercase().as_str() {
        "safetensors" => return Ok(Format::Safetensors),
        "onnx" => return Ok(Format::Onnx),
        _ => {}
    }
    match bytes {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Ok(Format::Npz),
        [0x89, b'H', b'D', b'F', ..] => foreign("an HDF5 file"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => foreign("a single NumPy array"),
        [0x80, 2..=5, ..] => foreign("a Python pickle"),
        [_, _, _, _, _, _, _, _, b'{', ..] => Ok(Format::Safetensors),
        _ if extension.eq_ignore_ascii_case("npz") => Ok(Format::Npz),
        // Every ONNX file begins with the field ir_version, a varint.
        [0x08, ..] => Ok(Format::Onnx),
        _ => foreign("none of the known kinds of file"),
    }
}

/// The whole of a regular file.
///
/// # Errors
/// [`ErrorKind::Io`] where it is missing, unreadable or no regular file;
/// [`ErrorKind::OutOfMemory`] where it does not fit into memory.
pub(crate) fn read_file(path: &Path) -> Result<Arc<Vec<u8>>> {
    let (mut file, length) = open_regular(path)?;
    let mut bytes = Vec::new();
    usize::try_from(length).ok().and_then(|n| bytes.try_reserve_exact(n).ok()).ok_or_else(
        || Error::new(ErrorKind::OutOfMemory, format!("{length} bytes do not fit into memory")),
    )?;
    (&mut file)
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::with_source(ErrorKind::Io, format!("cannot read: {e}"), e))?;
    Ok(Arc::new(bytes))
}

/// Opens a file whose length is known: no directory, device or pipe.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let cannot =
        |e: std::io::Error| Error::with_source(ErrorKind::Io, format!("cannot open: {e}"), e);
    // Asked before opening, which would wait for a pipe's writer.
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "not a regular file" };
        return Err(Error::new(ErrorKind::Io, format!("cannot open: this is {what}")));
    }
    let file = File::open(path).map_err(cannot)?;
    Ok((file, metadata.len()))
}
