//! The f64 reference: the equations, in plain loops, and the check of engines against them.
//!
//! It shares nothing with the engines but the description of a network ([`GruConfig`],
//! [`GruWeights`]) and of a run ([`Inputs`]); its correctness rests on float64 results of PyTorch
//! and of the ONNX reference evaluator, which the tests hold it to within 1e-12.
//!
//! # The equations
//!
//! One cell, one step. `x` `[K]` is what the layer reads, `h` `[H]` the state before the step,
//! `*` the elementwise product, `σ` the gate activation (sigmoid by default) and `φ` the
//! candidate's (tanh by default):
//!
//! ```text
//! r  = σ(W_ir x + b_ir + W_hr h + b_hr)             reset gate
//! z  = σ(W_iz x + b_iz + W_hz h + b_hz)             update gate: 1 keeps the old state
//! n  = φ(W_in x + b_in + W_hn (r * h) + b_hn)       candidate, ResetForm::Before
//! n  = φ(W_in x + b_in + r * (W_hn h + b_hn))       candidate, ResetForm::After
//! h' = (1 - z) * n + z * h                          state after the step
//! ```
//!
//! Reset-before is the form of Cho et al., "Learning Phrase Representations using RNN
//! Encoder-Decoder for Statistical Machine Translation" (2014), equations 5 to 8, and of the ONNX
//! operator `GRU` with `linear_before_reset = 0`. Reset-after is the form of `torch.nn.GRU`, of
//! cuDNN and of the ONNX operator with `linear_before_reset = 1`. Where a clip `c` is set, the
//! input of each activation is first clamped to `[-c, c]`, as the ONNX operator's attribute says.
//!
//! Around the cell:
//! - Layer `l` reads the states of layer `l - 1`, both directions side by side, forward first.
//! - A forward direction reads steps `0, 1, ..., n - 1` of a row of length `n`; a reverse direction
//!   `n - 1, ..., 0`. States are stored at the index of the step that was read.
//! - Past a row's length states are 0. The final state is that after the last step read, or the
//!   initial state where the length is 0.
//! - Where the reset mask is set, `h` is 0 before that step.
//! - NaN and infinities propagate as the equations say, within their row; every activation takes
//!   NaN to NaN and an infinity to its limit.

mod activation;
mod arithmetic;
mod bound;
mod cell;
mod forward;
mod report;
mod rows;
mod verify;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use activation::{error as activation_error, value as activation_value};

pub use arithmetic::Arithmetic;
pub use report::{Comparison, Deviation, Location, Verification};
pub use verify::verify;

use ndarray::Array3;

use crate::config::GruConfig;
use crate::error::Result;
use crate::sequence::{Inputs, Output, zeroed};
use crate::weights::GruWeights;

/// Runs the network in f64, weights as the file holds them.
///
/// # Errors
/// [`ErrorKind::InvalidShape`](crate::ErrorKind::InvalidShape) where an array of `inputs` does not
/// fit `config`, [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for a reset mask
/// on a network that reads backwards, [`ErrorKind::InvalidWeights`](crate::ErrorKind::InvalidWeights)
/// where `weights` are not of `config`.
///
/// # Examples
/// ```
/// use ndarray::Array3;
/// use wgru::{CellWeights, GruConfig, GruWeights, Inputs, MatrixView, Tensor, reference};
///
/// // Zero weights make both gates 1/2 and the candidate 0: every step halves the state.
/// let zeros = Tensor::from_f32("zeros", &[1, 1], &[0.0])?;
/// let view = || MatrixView::new(&zeros, 0, [1, 1], [1, 1]);
/// let cell = CellWeights {
///     input: [view(), view(), view()],
///     recurrent: [view(), view(), view()],
///     input_bias: [None, None, None],
///     recurrent_bias: [None, None, None],
/// };
/// let config = GruConfig::new(1, 1);
/// let weights = GruWeights::new(&config, vec![cell])?;
/// let (input, state) = (Array3::zeros((2, 1, 1)), Array3::from_elem((1, 1, 1), 8.0));
/// let inputs = Inputs::new(input.view()).initial_state(state.view());
/// let output = reference::forward(&config, &weights, &inputs)?;
/// assert_eq!(output.hidden_states.as_slice().unwrap(), [4.0, 2.0]);
/// # Ok::<(), wgru::Error>(())
/// ```
pub fn forward(
    config: &GruConfig,
    weights: &GruWeights,
    inputs: &Inputs<'_, f64>,
) -> Result<Output<f64>> {
    let shape = inputs.validate(config)?;
    let mut output = Output::zeros(config, shape, inputs.batch_first)?;
    forward::run(config, weights, inputs, output.views(inputs.batch_first))?;
    Ok(output)
}

/// Runs the network as [`forward`] does and also returns the states of every layer, one
/// `[T, B, D*H]` a layer (time-major even where `inputs` are batch-first), 0 past a row's length.
///
/// # Errors
/// Those of [`forward`].
pub fn forward_layers(
    config: &GruConfig,
    weights: &GruWeights,
    inputs: &Inputs<'_, f64>,
) -> Result<(Output<f64>, Vec<Array3<f64>>)> {
    let shape = inputs.validate(config)?;
    let mut output = Output::zeros(config, shape, inputs.batch_first)?;
    let dim = [shape.steps, shape.batch, config.output_size()];
    let layers = (0..config.num_layers).map(|_| zeroed("the states of a layer", dim));
    let mut layers: Vec<Array3<f64>> = layers.collect::<Result<_>>()?;
    let mut views = output.views(inputs.batch_first);
    views.layers = layers.iter_mut().map(|l| l.view_mut()).collect();
    forward::run(config, weights, inputs, views)?;
    Ok((output, layers))
}
