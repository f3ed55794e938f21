//! What is particular to the GRU cell: its gates, their canonical order, the two reset forms.

use crate::activation::Activation;

/// Number of gates whose pre-activations a step computes.
pub const GATES: usize = 3;

/// Canonical gate order inside the crate: reset, update, new (candidate), as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// `r`, scales the previous state inside the candidate.
    Reset = 0,
    /// `z`; 1 keeps the old state, 0 takes the candidate: `h' = (1-z) n + z h`.
    Update = 1,
    /// `n`, the candidate state.
    New = 2,
}

impl Gate {
    /// All gates in canonical order.
    pub const ALL: [Self; GATES] = [Self::Reset, Self::Update, Self::New];
}

/// Where the reset gate acts on the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetForm {
    /// `n = tanh(W_in x + b_in + W_hn (r*h) + b_hn)`: Cho et al. 2014, ONNX
    /// `linear_before_reset=0`, Keras `reset_after=False`.
    Before,
    /// `n = tanh(W_in x + b_in + r*(W_hn h + b_hn))`: PyTorch, cuDNN, ONNX
    /// `linear_before_reset=1`, Keras `reset_after=True`.
    After,
}

impl std::fmt::Display for ResetForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// The nonlinear part of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellFunctions {
    /// Activation of the reset and update gates. Default: sigmoid.
    pub gate: Activation,
    /// Activation of the candidate. Default: tanh.
    pub candidate: Activation,
    /// Where set, the input of each activation is first clamped to `[-clip, clip]`, as the ONNX
    /// operator's `clip` attribute says. Default: none.
    pub clip: Option<f32>,
}

impl Default for CellFunctions {
    fn default() -> Self {
        Self { gate: Activation::Sigmoid, candidate: Activation::Tanh, clip: None }
    }
}
