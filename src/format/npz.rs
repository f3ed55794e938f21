//! NumPy archives: zip files of `.npy` arrays, read by the `zip` crate within bounds on what
//! compressed data may expand to.

use std::io::{Cursor, Read};
use std::sync::Arc;

use zip::ZipArchive;

use crate::array_file::header::{Header, Kind};
use crate::convention;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{ElementType, Tensor};
use crate::tensor_set::TensorSet;

/// How far an archive may expand: trained weights hardly compress at all.
const MAX_EXPANSION: u64 = 100;
/// Expanded size that is never too much.
const SMALL: u64 = 1 << 20;

pub(crate) fn read(bytes: &Arc<Vec<u8>>) -> Result<TensorSet> {
    let mut archive = ZipArchive::new(Cursor::new(&bytes[..]))
        .map_err(|e| invalid(format!("not a valid npz file: {e}")))?;
    refuse_other_archives(&archive)?;
    // Entries that share bytes multiply what a small file expands to.
    if archive.has_overlapping_files().map_err(|e| invalid(format!("not a valid npz file: {e}")))? {
        return Err(invalid("not a valid npz file: its entries overlap".to_owned()));
    }
    let mut set = TensorSet::new();
    let mut left = SMALL.saturating_add((bytes.len() as u64).saturating_mul(MAX_EXPANSION));
    for index in 0..archive.len() {
        let mut entry = archive
            .by_index(index)
            .map_err(|e| invalid(format!("entry {index} of the npz file: {e}")))?;
        // A name that is not UTF-8 is none of ours.
        let Some(name) = entry
            .name()
            .ok()
            .and_then(|name| npyz::npz::array_name_from_file_name(&name).map(str::to_owned))
        else {
            continue;
        };
        // What cannot belong to a GRU is not unpacked.
        if !convention::is_part(&name) {
            continue;
        }
        let size = entry.size();
        left = left.checked_sub(size).ok_or_else(|| {
            invalid(format!(
                "{name} would expand to {size} bytes; {MAX_EXPANSION} times the file's {} bytes \
                 are the limit",
                bytes.len()
            ))
        })?;
        let mut array = Vec::new();
        usize::try_from(size).ok().and_then(|n| array.try_reserve_exact(n).ok()).ok_or_else(
            || Error::new(ErrorKind::OutOfMemory, format!("{name}: {size} bytes do not fit")),
        )?;
        (&mut entry)
            .take(size)
            .read_to_end(&mut array)
            .map_err(|e| invalid(format!("{name} cannot be unpacked: {e}")))?;
        insert(&mut set, &name, array).map_err(|e| e.context(&name))?;
    }
    Ok(set)
}

/// Adds the array of an unpacked `.npy` file.
fn insert(set: &mut TensorSet, name: &str, bytes: Vec<u8>) -> Result<()> {
    let header = Header::read(&mut &bytes[..], bytes.len() as u64)?;
    let element = match (header.kind, header.size) {
        (Kind::Float, 2) => ElementType::F16,
        (Kind::Float, 4) => ElementType::F32,
        (Kind::Float, 8) => ElementType::F64,
        _ => {
            set.insert_other_type(name, format!("'{}'", header.descr), header.shape);
            return Ok(());
        }
    };
    let start = usize::try_from(header.data_start)
        .map_err(|_| invalid("the header is too long".to_owned()))?;
    let (bytes, start) = match header.is_plain() {
        true => (bytes, start),
        false => (header.to_little_endian_c_order(&bytes[start..]), 0),
    };
    set.insert(Tensor::new(name, &header.shape, element, Arc::new(bytes), start)?);
    Ok(())
}

/// Zip files are many things.
fn refuse_other_archives(archive: &ZipArchive<Cursor<&[u8]>>) -> Result<()> {
    let any = |test: fn(&str) -> bool| archive.file_names().flatten().any(|name| test(&name));
    let what = if any(|name| name.ends_with(".npy")) {
        return Ok(());
    } else if any(|name| name.ends_with("data.pkl")) {
        "a PyTorch pickle; save model.state_dict() with safetensors"
    } else if any(|name| name.ends_with(".weights.h5")) {
        "a Keras archive; save layer.get_weights() with numpy.savez"
    } else {
        "a zip file without any .npy array"
    };
    Err(Error::new(ErrorKind::Unsupported, format!("this is {what}")))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidFile, message)
}
