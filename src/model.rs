//! A loaded network: immutable, shared, cheap to clone.

use std::sync::Arc;

use crate::config::GruConfig;
use crate::error::Result;
use crate::weights::GruWeights;

/// A trained GRU network: its configuration and its weights.
///
/// Immutable, `Send + Sync`, and cheap to clone (clones share the weights).
#[derive(Clone, Debug)]
pub struct Gru {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: GruConfig,
    weights: GruWeights,
}

impl Gru {
    /// A network from canonical weights.
    ///
    /// # Errors
    /// Those of [`GruWeights::validate`], where `weights` are not of `config`.
    pub fn new(config: GruConfig, weights: GruWeights) -> Result<Self> {
        weights.validate(&config)?;
        Ok(Self { inner: Arc::new(Inner { config, weights }) })
    }

    /// Sizes, layers, directions, reset form and functions.
    pub fn config(&self) -> &GruConfig {
        &self.inner.config
    }

    /// The weights in canonical form.
    pub fn weights(&self) -> &GruWeights {
        &self.inner.weights
    }
}
