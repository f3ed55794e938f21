//! GRU inference on any GPU.

mod activation;
mod cell;
mod config;
mod error;
mod model;
pub mod reference;
mod sequence;
mod shape;
mod tensor;
mod weights;

pub use activation::{ACTIVATION_ERROR, Activation};
pub use cell::{CellFunctions, GATES, Gate, ResetForm};
pub use config::{Directions, GruConfig};
pub use error::{Error, ErrorKind, Result};
pub use model::Gru;
pub use sequence::{Inputs, Output};
pub use shape::SequenceShape;
pub use tensor::{ElementType, MatrixView, Tensor};
pub use weights::{CellWeights, GruWeights};
