//! Safetensors files. The header is parsed by the `safetensors` crate; tensors are views of the
//! file's bytes.
//!
//! The crate's `deserialize` adds the declared sizes unchecked and keeps the last of equal keys,
//! so the header is checked here against the file's real length and for repeated names.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use safetensors::tensor::{Dtype, Metadata};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{ElementType, Tensor};
use crate::tensor_set::TensorSet;

/// Bytes of the header's length, in front of it.
const LENGTH_BYTES: usize = 8;

pub(crate) fn read(bytes: Arc<Vec<u8>>) -> Result<TensorSet> {
    let header = header(&bytes)?;
    let data_start = LENGTH_BYTES + header.len();
    let text = std::str::from_utf8(header)
        .map_err(|e| invalid(format!("the header is not UTF-8: {e}")))?;
    serde_json::from_str::<UniqueKeys>(text)
        .and_then(|_| serde_json::from_str::<MetadataKeys>(text))
        .map_err(|e| invalid(format!("the header is wrong: {e}")))?;
    let metadata: Metadata =
        serde_json::from_str(text).map_err(|e| invalid(format!("the header is wrong: {e}")))?;
    // The tensors' offsets start at 0 and leave no gap; only their end is left to compare.
    let declared = metadata.data_len();
    let given = bytes.len() - data_start;
    if declared != given {
        return Err(invalid(format!(
            "the header declares {declared} bytes of tensors, {given} follow it"
        )));
    }
    let mut set = TensorSet::new();
    for (key, value) in metadata.metadata().iter().flatten() {
        set.set_metadata(key, value);
    }
    for (name, info) in metadata.tensors() {
        match element_type(info.dtype) {
            Some(element) => {
                let start = data_start + info.data_offsets.0;
                set.insert(Tensor::new(&name, &info.shape, element, bytes.clone(), start)?);
            }
            None => set.insert_other_type(&name, info.dtype.to_string(), info.shape.clone()),
        }
    }
    Ok(set)
}

/// The header's text, inside the file.
fn header(bytes: &[u8]) -> Result<&[u8]> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(invalid(format!(
            "a safetensors file is at least {LENGTH_BYTES} bytes long, this one has {}",
            bytes.len()
        )));
    };
    let length = u64::from_le_bytes(*length);
    usize::try_from(length).ok().and_then(|n| rest.get(..n)).ok_or_else(|| {
        invalid(format!("the header is declared to be {length} bytes long, {} follow", rest.len()))
    })
}

fn element_type(dtype: Dtype) -> Option<ElementType> {
    match dtype {
        Dtype::F32 => Some(ElementType::F32),
        Dtype::F64 => Some(ElementType::F64),
        Dtype::F16 => Some(ElementType::F16),
        Dtype::BF16 => Some(ElementType::Bf16),
        _ => None,
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidFile, format!("not a valid safetensors file: {message}"))
}

/// A JSON object of any values whose keys are all different.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = UniqueKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<UniqueKeys, M::Error> {
                let mut seen = HashSet::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
                    if seen.contains(&key) {
                        return Err(serde::de::Error::custom(format_args!(
                            "'{key}' stands in it twice"
                        )));
                    }
                    seen.insert(key);
                }
                Ok(UniqueKeys)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The header's metadata, for its keys alone.
#[derive(Deserialize)]
struct MetadataKeys {
    #[serde(rename = "__metadata__")]
    _metadata: Option<UniqueKeys>,
}
