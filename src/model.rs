//! A loaded network: immutable, shared, cheap to clone.

use std::path::Path;
use std::sync::Arc;

use crate::config::GruConfig;
use crate::convention::{self, Convention, Loaded};
use crate::description::{Description, Evidence, Format, ListedGru};
use crate::error::Result;
use crate::format;
use crate::load::LoadOptions;
use crate::tensor_set::TensorSet;
use crate::weights::GruWeights;

/// A trained GRU network: its configuration, its weights, and what its file said.
///
/// Immutable, `Send + Sync`, and cheap to clone (clones share the weights).
#[derive(Clone, Debug)]
pub struct Gru {
    inner: Arc<Loaded>,
}

impl Gru {
    /// The only GRU of a file: safetensors or npz in the names of PyTorch, of the textbook, of
    /// Keras or of this crate ([`Convention`]), or ONNX, where the layers of one `torch.nn.GRU`
    /// are one GRU.
    ///
    /// The file is read once; weights are views of its bytes, unless it compresses them.
    ///
    /// # Errors
    /// As [`open_with`](Gru::open_with).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &LoadOptions::default())
    }

    /// The GRU of a file that `options` select.
    ///
    /// # Errors
    /// Each names the file and the thing in it.
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io): it cannot be read.
    /// - [`ErrorKind::InvalidFile`](crate::ErrorKind::InvalidFile): it is truncated or
    ///   inconsistent.
    /// - [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest): `options` select none or
    ///   several of its GRUs, or contradict what it states.
    /// - [`ErrorKind::InvalidWeights`](crate::ErrorKind::InvalidWeights): tensors are missing,
    ///   misshapen, of a type that is not read, or not finite.
    /// - [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported): another kind of file or
    ///   network, or a feature that is not computed.
    pub fn open_with(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        Ok(Self { inner: Arc::new(format::load(path.as_ref(), options)?) })
    }

    /// The GRU of a file's bytes that `options` select. The bytes are kept, not copied.
    ///
    /// # Errors
    /// As [`open_with`](Gru::open_with), less those of reading.
    pub fn from_bytes(bytes: Vec<u8>, options: &LoadOptions) -> Result<Self> {
        Ok(Self { inner: Arc::new(format::load_bytes(Arc::new(bytes), options)?) })
    }

    /// The GRU among named tensors that `options` select; see [`TensorSet`] for an example.
    ///
    /// # Errors
    /// As [`open_with`](Gru::open_with), less those of files.
    pub fn from_tensors(set: &TensorSet, options: &LoadOptions) -> Result<Self> {
        Ok(Self { inner: Arc::new(convention::load(set, Format::Memory, options)?) })
    }

    /// A network from canonical weights, which [`GruWeights::new`] has checked against `config`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) where `config` is invalid;
    /// [`ErrorKind::InvalidWeights`](crate::ErrorKind::InvalidWeights) where `weights` were
    /// checked against another.
    pub fn new(config: GruConfig, weights: GruWeights) -> Result<Self> {
        weights.validate(&config)?;
        let mut description = Description::new(Format::Memory, Convention::Wgru);
        description.convention_evidence = Evidence::Stated;
        description.reset_evidence = Evidence::Stated;
        description.activations_evidence = Evidence::Stated;
        for view in weights.views() {
            description.parameters += (view.rows() * view.cols()) as u64;
            let element = view.tensor().element_type();
            if !description.element_types.contains(&element) {
                description.element_types.push(element);
            }
        }
        description.bias = weights
            .cells()
            .iter()
            .any(|c| c.input_bias.iter().chain(&c.recurrent_bias).any(Option::is_some));
        Ok(Self { inner: Arc::new(Loaded { config, weights, description }) })
    }

    /// Every recurrent network of a file, with the configuration of each one that loads and the
    /// reason of each one that does not.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or
    /// [`ErrorKind::InvalidFile`](crate::ErrorKind::InvalidFile) where the file cannot be read.
    pub fn list(path: impl AsRef<Path>) -> Result<Vec<ListedGru>> {
        Self::list_with(path, &LoadOptions::default())
    }

    /// As [`list`](Gru::list), each network loaded as `options` ask; its prefix and node are not
    /// looked at.
    ///
    /// # Errors
    /// As [`list`](Gru::list).
    pub fn list_with(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Vec<ListedGru>> {
        format::list(path.as_ref(), options)
    }

    /// The network as a safetensors file in this crate's own convention
    /// ([`Convention::Wgru`]): PyTorch's names, everything else stated in the metadata. Weights
    /// keep their values, and their element types where a tensor's parts agree on one.
    ///
    /// ```
    /// # use wgru::{Gru, LoadOptions, Tensor, TensorSet};
    /// # let mut set = TensorSet::new();
    /// # for name in ["W_u", "W_R", "W_h"] {
    /// #     set.insert(Tensor::from_f32(name, &[1, 3], &[0.1, 0.2, 0.3])?);
    /// # }
    /// let textbook = Gru::from_tensors(&set, &LoadOptions::new())?;
    /// let again = Gru::from_bytes(textbook.to_safetensors()?, &LoadOptions::new())?;
    /// assert_eq!(again.config(), textbook.config());
    /// # Ok::<(), wgru::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) where the file does not fit into
    /// memory.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        format::canonical::write(&self.inner)
    }

    /// Sizes, layers, directions, reset form and functions.
    pub fn config(&self) -> &GruConfig {
        &self.inner.config
    }

    /// The weights in canonical form.
    pub fn weights(&self) -> &GruWeights {
        &self.inner.weights
    }

    /// What the file said and how it was understood.
    pub fn description(&self) -> &Description {
        &self.inner.description
    }
}
