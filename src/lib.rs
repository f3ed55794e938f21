//! GRU inference on any GPU.

mod activation;
pub mod array_file;
mod cell;
mod config;
mod convention;
mod cpu;
mod description;
mod device;
mod error;
mod format;
mod gpu;
mod kernels;
mod load;
mod model;
mod output_file;
mod pack;
mod plan;
mod precision;
pub mod reference;
mod sequence;
mod session;
mod shape;
mod tensor;
mod tensor_set;
mod weights;

pub use activation::{ACTIVATION_ERROR, Activation};
pub use cell::{CellFunctions, GATES, Gate, ResetForm};
pub use config::{Directions, GruConfig};
pub use convention::Convention;
pub use description::{Description, Evidence, Format, ListedGru, OutputOrder};
pub use device::Device;
pub use error::{Error, ErrorKind, Result};
pub use gpu::{AdapterDescription, AdapterKind, CreatedObjects, GpuContext, GpuOptions, adapters};
pub use load::LoadOptions;
pub use model::Gru;
pub use output_file::OutputFile;
pub use plan::{Capabilities, Plan, PlanOptions};
pub use precision::Precision;
pub use sequence::{Inputs, Output};
pub use session::Session;
pub use shape::SequenceShape;
pub use tensor::{ElementType, MatrixView, Tensor};
pub use tensor_set::TensorSet;
pub use weights::{CellWeights, GruWeights};
#[cfg(test)]
mod tests;
