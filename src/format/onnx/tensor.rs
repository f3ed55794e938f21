//! Tensors of an ONNX file, in their three homes: raw bytes, typed fields, other files.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::onnx::proto::{EXTERNAL, TensorProto, data_type};
use crate::format::open_regular;
use crate::shape::checked_product;
use crate::tensor::{ElementType, Tensor};

/// The bytes of the file, and the folder beside it that may hold more.
#[derive(Debug)]
pub(super) struct Storage<'a> {
    bytes: &'a Arc<Vec<u8>>,
    /// `None` for a model that did not come from a file.
    folder: Option<&'a Path>,
    external: RefCell<External>,
}

/// What was read of other files. Together it is no more than those files hold: tensors that
/// overlap could ask for any amount of memory.
#[derive(Debug, Default)]
struct External {
    /// Length of each file.
    files: HashMap<PathBuf, u64>,
    /// Bytes by file, offset and size.
    parts: HashMap<(PathBuf, u64, usize), Arc<Vec<u8>>>,
    total: u64,
}

impl<'a> Storage<'a> {
    pub(super) fn new(bytes: &'a Arc<Vec<u8>>, folder: Option<&'a Path>) -> Self {
        Self { bytes, folder, external: RefCell::default() }
    }

    /// The tensor, called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWeights`] for an element type that is not read, or a number of
    /// elements that is not that of the dimensions; [`ErrorKind::Unsupported`] for external data
    /// outside of the model's folder.
    pub(super) fn tensor(&self, name: &str, proto: &TensorProto) -> Result<Tensor> {
        let element = element_type(proto).ok_or_else(|| {
            wrong(format!(
                "{name} has elements of type {}; FLOAT, DOUBLE, FLOAT16 and BFLOAT16 are read",
                type_name(proto.data_type())
            ))
        })?;
        let shape = shape(name, proto)?;
        if proto.segment.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{name} is stored in segments, which are not read"),
            ));
        }
        let len = checked_product(name, &shape)?;
        let size = len
            .checked_mul(element.size())
            .ok_or_else(|| wrong(format!("{name} of shape {shape:?} is too large")))?;
        if proto.data_location() == EXTERNAL {
            let bytes = self.external(name, proto, size)?;
            return Tensor::new(name, &shape, element, bytes, 0);
        }
        let mismatch = |given: usize, what: &str| {
            wrong(format!("{name} of shape {shape:?} wants {len} elements, its {what} has {given}"))
        };
        if let Some(raw) = &proto.raw_data {
            if raw.len() != size {
                return Err(wrong(format!(
                    "{name} of shape {shape:?} wants {size} bytes of {element}, its raw data has {}",
                    raw.len()
                )));
            }
            // The decoder hands out slices of the file's own bytes.
            let start = (raw.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
            return match self.bytes.get(start..start.wrapping_add(size)) {
                Some(slice) if slice.as_ptr() == raw.as_ptr() => {
                    Tensor::new(name, &shape, element, self.bytes.clone(), start)
                }
                _ => Tensor::new(name, &shape, element, Arc::new(raw.to_vec()), 0),
            };
        }
        let bytes: Vec<u8> = match element {
            ElementType::F32 if proto.float_data.len() == len => {
                proto.float_data.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
            ElementType::F32 => return Err(mismatch(proto.float_data.len(), "float_data")),
            ElementType::F64 if proto.double_data.len() == len => {
                proto.double_data.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
            ElementType::F64 => return Err(mismatch(proto.double_data.len(), "double_data")),
            ElementType::F16 | ElementType::Bf16 if proto.int32_data.len() == len => proto
                .int32_data
                .iter()
                .map(|v| u16::try_from(*v).map(u16::to_le_bytes))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| wrong(format!("{name}: a value of int32_data is not 16 bits wide")))?
                .concat(),
            ElementType::F16 | ElementType::Bf16 => {
                return Err(mismatch(proto.int32_data.len(), "int32_data"));
            }
        };
        Tensor::new(name, &shape, element, Arc::new(bytes), 0)
    }

    /// The values of an integer tensor of up to 16 elements.
    pub(super) fn integers(&self, proto: &TensorProto) -> Option<Vec<i64>> {
        const MOST: usize = 16;
        let len = proto.dims.iter().try_fold(1i64, |n, d| n.checked_mul(*d))?;
        let len = usize::try_from(len).ok().filter(|n| *n <= MOST)?;
        let size = match proto.data_type() {
            data_type::INT64 => 8 * len,
            data_type::INT32 => 4 * len,
            _ => return None,
        };
        let external;
        let raw: &[u8] = match &proto.raw_data {
            _ if proto.data_location() == EXTERNAL => {
                external = self.external("a shape", proto, size).ok()?;
                &external
            }
            Some(raw) => raw,
            None => {
                let narrow = proto.int32_data.iter().map(|v| i64::from(*v));
                let values = match proto.data_type() {
                    data_type::INT64 => proto.int64_data.clone(),
                    _ => narrow.collect(),
                };
                return (values.len() == len).then_some(values);
            }
        };
        if raw.len() != size {
            return None;
        }
        Some(match proto.data_type() {
            data_type::INT64 => {
                raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
            }
            _ => raw.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
        })
    }

    /// `size` bytes of another file in the model's folder.
    fn external(&self, name: &str, proto: &TensorProto, size: usize) -> Result<Arc<Vec<u8>>> {
        let Some(folder) = self.folder else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{name} is in another file; open the model by its path"),
            ));
        };
        let entries: HashMap<&str, &str> =
            proto.external_data.iter().map(|e| (e.key(), e.value())).collect();
        let location = *entries
            .get("location")
            .ok_or_else(|| invalid(format!("{name} is external data without a location")))?;
        let number = |key: &str| match entries.get(key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
                invalid(format!(
                    "{name}: {key} of its external data must be a number, not '{text}'"
                ))
            }),
        };
        let offset = number("offset")?.unwrap_or(0);
        if let Some(length) = number("length")?
            && length != size as u64
        {
            return Err(invalid(format!(
                "{name} wants {size} bytes, its external data declares {length}"
            )));
        }
        let path = inside(folder, location).map_err(|why| {
            Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{name}: external data is read from the model's own folder, '{location}' {why}"
                ),
            )
        })?;
        let context = |e: Error| e.context(format_args!("{name}: {location}"));
        let (mut file, available) = open_regular(&path).map_err(context)?;
        if offset.checked_add(size as u64).is_none_or(|end| end > available) {
            return Err(invalid(format!(
                "{name} wants {size} bytes from byte {offset} of '{location}', which has {available}"
            )));
        }
        let External { files, parts, total } = &mut *self.external.borrow_mut();
        let key = (path, offset, size);
        if let Some(bytes) = parts.get(&key) {
            return Ok(bytes.clone());
        }
        files.insert(key.0.clone(), available);
        *total = total.saturating_add(size as u64);
        if *total > files.values().fold(0, |sum, n| sum.saturating_add(*n)) {
            return Err(invalid(format!(
                "{name}: tensors overlap in '{location}', which is not read"
            )));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| {
            Error::new(ErrorKind::OutOfMemory, format!("{name}: {size} bytes do not fit"))
        })?;
        bytes.resize(size, 0);
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes)).map_err(
            |e| Error::with_source(ErrorKind::Io, format!("{name}: cannot read: {e}"), e),
        )?;
        let bytes = Arc::new(bytes);
        parts.insert(key, bytes.clone());
        Ok(bytes)
    }
}

/// The path of `location` in `folder`, or why it is not in it.
fn inside(folder: &Path, location: &str) -> std::result::Result<PathBuf, String> {
    let relative = Path::new(location);
    if location.is_empty() {
        return Err("is empty".to_owned());
    }
    // A path may be meant for another system than this one.
    let foreign = location.contains('\\') || location.get(1..2) == Some(":");
    if foreign
        || !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
    {
        return Err("leads out of it".to_owned());
    }
    let cannot = |e: std::io::Error| format!("cannot be opened: {e}");
    let folder = folder.canonicalize().map_err(cannot)?;
    let path = folder.join(relative).canonicalize().map_err(cannot)?;
    if !path.starts_with(&folder) {
        return Err("links out of it".to_owned());
    }
    Ok(path)
}

fn element_type(proto: &TensorProto) -> Option<ElementType> {
    match proto.data_type() {
        data_type::FLOAT => Some(ElementType::F32),
        data_type::DOUBLE => Some(ElementType::F64),
        data_type::FLOAT16 => Some(ElementType::F16),
        data_type::BFLOAT16 => Some(ElementType::Bf16),
        _ => None,
    }
}

fn shape(name: &str, proto: &TensorProto) -> Result<Vec<usize>> {
    proto
        .dims
        .iter()
        .map(|d| usize::try_from(*d).ok())
        .collect::<Option<_>>()
        .ok_or_else(|| wrong(format!("{name} has the dimensions {:?}", proto.dims)))
}

/// The schema's name of an element type.
fn type_name(data_type: i32) -> String {
    const NAMES: [&str; 17] = [
        "UNDEFINED",
        "FLOAT",
        "UINT8",
        "INT8",
        "UINT16",
        "INT16",
        "INT32",
        "INT64",
        "STRING",
        "BOOL",
        "FLOAT16",
        "DOUBLE",
        "UINT32",
        "UINT64",
        "COMPLEX64",
        "COMPLEX128",
        "BFLOAT16",
    ];
    usize::try_from(data_type)
        .ok()
        .and_then(|i| NAMES.get(i))
        .map_or_else(|| data_type.to_string(), |name| (*name).to_owned())
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidWeights, message)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidFile, message)
}
