//! Named tensors and text metadata: what every weights file is turned into before its convention
//! is looked at.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Tensor;

/// Tensors by name, with the file's text metadata.
///
/// Filled by a file's reader, or by hand for weights that come from elsewhere:
///
/// ```
/// use wgru::{Gru, LoadOptions, Tensor, TensorSet};
///
/// let mut set = TensorSet::new();
/// set.insert(Tensor::from_f32("weight_ih_l0", &[3, 2], &[0.1; 6])?);
/// set.insert(Tensor::from_f32("weight_hh_l0", &[3, 1], &[0.2; 3])?);
/// let gru = Gru::from_tensors(&set, &LoadOptions::new())?;
/// assert_eq!((gru.config().input_size, gru.config().hidden_size), (2, 1));
/// # Ok::<(), wgru::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TensorSet {
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

/// A tensor of the set. Other types are an error only where the network needs the tensor.
#[derive(Clone, Debug)]
enum Entry {
    Read(Tensor),
    OtherType { element: String, shape: Vec<usize> },
}

impl TensorSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor under its own name, replacing one of that name.
    pub fn insert(&mut self, tensor: Tensor) {
        self.entries.insert(tensor.name().to_owned(), Entry::Read(tensor));
    }

    /// Notes that the file holds `name`, in an element type that is not read.
    pub(crate) fn insert_other_type(&mut self, name: &str, element: String, shape: Vec<usize>) {
        self.entries.insert(name.to_owned(), Entry::OtherType { element, shape });
    }

    /// Sets a metadata entry; `wgru.*` keys state a convention (see [`Convention::Wgru`]).
    ///
    /// [`Convention::Wgru`]: crate::Convention::Wgru
    pub fn set_metadata(&mut self, key: &str, value: &str) {
        self.metadata.insert(key.to_owned(), value.to_owned());
    }

    /// The metadata.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWeights`] where there is none, or its element type is not read.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        match self.entries.get(name) {
            Some(Entry::Read(tensor)) => Ok(tensor),
            Some(Entry::OtherType { element, .. }) => Err(Error::new(
                ErrorKind::InvalidWeights,
                format!("{name} has elements of type {element}; f32, f64, f16 and bf16 are read"),
            )),
            None => Err(Error::new(ErrorKind::InvalidWeights, format!("{name} is missing"))),
        }
    }

    /// The shape of the tensor called `name`, whatever its element type.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        match self.entries.get(name)? {
            Entry::Read(tensor) => Some(tensor.shape()),
            Entry::OtherType { shape, .. } => Some(shape),
        }
    }
}
