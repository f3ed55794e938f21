//! Trained GRU networks on any GPU that wgpu reaches, proved against an f64 reference.
//!
//! # From a file to an output
//!
//! ```
//! use ndarray::Array3;
//! use wgru::{Device, Gru, SequenceShape};
//!
//! let gru = Gru::open("tests/data/pytorch_f32.safetensors")?;
//! let device = Device::auto()?; // the CPU engine or a GPU, by network and shape
//! let (steps, batch) = (20, 4);
//! let mut session = gru.session(&device, SequenceShape::new(steps, batch))?;
//!
//! let input = Array3::from_elem((steps, batch, gru.config().input_size), 0.1_f32); // [T, B, I]
//! let output = session.run(input.view())?;
//! assert_eq!(output.hidden_states.dim(), (steps, batch, gru.config().output_size())); // [T, B, D*H]
//! assert_eq!(output.final_state.dim().1, batch); // [L*D, B, H]
//! # Ok::<(), wgru::Error>(())
//! ```
//!
//! [`Gru::open`] reads a file and converts its [`Convention`] (gate order, reset form, polarity of
//! the update gate, orientation) once, by rearranging views. A [`Gru`] is immutable, shared
//! between threads, cheap to clone. A [`Session`] owns every buffer that runs of up to one shape
//! need and allocates no GPU object afterwards: make one a thread and keep it.
//!
//! # States, lengths, resets
//!
//! ```
//! use ndarray::{Array2, Array3};
//! use wgru::{Device, Gru, Inputs, SequenceShape};
//!
//! let gru = Gru::open("tests/data/gru_cell.safetensors")?;
//! let mut session = gru.session(&Device::cpu(), SequenceShape::new(8, 3))?;
//! let input = Array3::<f32>::zeros((8, 3, gru.config().input_size));
//! // Rows of a batch may end anywhere, in any order; what lies past an end is never read.
//! let output = session.run_with(&Inputs::new(input.view()).lengths(&[8, 0, 5]))?;
//! // The final state continues the sequence: feeding it in pieces gives the same bits.
//! let next = Inputs::new(input.view()).initial_state(output.final_state.view());
//! // A reset zeroes a row's state before a step: an episode, or a stream, begins there.
//! let mut resets = Array2::from_elem((8, 3), false);
//! resets[[4, 1]] = true;
//! session.run_with(&next.reset_mask(resets.view()))?;
//! # Ok::<(), wgru::Error>(())
//! ```
//!
//! Arrays are time-major as in PyTorch; [`Inputs::batch_first`] says otherwise.
//! [`Session::run_async`] is the same call as a future.
//!
//! Sequences that arrive piece by piece have [`Streams`]: N states that stay on the device, any of
//! which a call advances, each by any number of steps.
//!
//! # Proof
//!
//! [`reference`](mod@reference) is an independent f64 oracle. [`Session::verify`] runs the
//! caller's own data and checks every step of every layer: the oracle is restarted from the
//! device's own previous state, and the bound on the difference is derived from the operands.
//!
//! ```
//! # use ndarray::Array3;
//! # use wgru::{Device, Gru, Inputs, SequenceShape};
//! # let gru = Gru::open("tests/data/textbook.safetensors")?;
//! # let mut session = gru.session(&Device::cpu(), SequenceShape::new(5, 2))?;
//! # let input = Array3::from_elem((5, 2, gru.config().input_size), 0.3_f32);
//! let report = session.verify(&Inputs::new(input.view()))?;
//! assert!(report.passed(), "{report}");
//! # Ok::<(), wgru::Error>(())
//! ```
//!
//! # What runs
//!
//! [`Plan`] says what a run dispatches, and why, before any device is opened:
//!
//! ```
//! use wgru::{Capabilities, GruConfig, Plan, PlanOptions, SequenceShape};
//!
//! let plan = Plan::new(
//!     &GruConfig::new(256, 256),
//!     SequenceShape::new(100, 32),
//!     &Capabilities::downlevel(),
//!     &PlanOptions::default(),
//! )?;
//! println!("{plan}");
//! assert_eq!(plan.dispatches(), 101); // one projection, one dispatch a step
//! # Ok::<(), wgru::Error>(())
//! ```
//!
//! # Errors
//!
//! Every fallible call returns [`Error`]: a [`kind`](Error::kind), and one line that names the
//! thing, what was wanted and what was given. No input makes the library panic.

mod activation;
pub mod array_file;
mod auto;
mod cache;
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
mod operands;
mod output_file;
mod pack;
mod plan;
mod precision;
mod probe;
mod random;
pub mod reference;
mod sequence;
mod session;
mod shape;
mod streams;
mod tensor;
mod tensor_set;
#[cfg(test)]
mod tests;
mod tune;
mod weights;

pub use activation::{ACTIVATION_ERROR, Activation};
pub use auto::{Calibration, Choice, Expectation, auto_candidates};
pub use cell::{CellFunctions, GATES, Gate, ResetForm};
pub use config::{Directions, GruConfig};
pub use convention::Convention;
pub use description::{Description, Evidence, Format, ListedGru, OutputOrder};
pub use device::Device;
pub use error::{Error, ErrorKind, Result};
pub use gpu::{
    AdapterDescription, AdapterKind, BufferIo, CreatedObjects, DeviceTimes, GpuContext, GpuOptions,
    PreparedRun, WGPU_VERSION, adapters,
};
pub use load::LoadOptions;
pub use model::Gru;
pub use output_file::OutputFile;
pub use plan::{
    Capabilities, CooperativeMatrices, KernelFamily, Plan, PlanOptions, SoftwareDriver,
};
pub use precision::Precision;
pub use probe::{
    Figure, MatrixShape, Parameters, ProbeOptions, ProbeReport, ProbedAdapter, Problem, Quantity,
    Spread, probe,
};
pub use sequence::{Inputs, Output};
pub use session::Session;
pub use shape::SequenceShape;
pub use streams::Streams;
pub use tensor::{ElementType, MatrixView, Tensor};
pub use tensor_set::TensorSet;
pub use tune::Tuning;
pub use weights::{CellWeights, GruWeights};
/// The version of wgpu whose devices and buffers this crate takes.
pub use wgpu; // interop
