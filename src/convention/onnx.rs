//! The layout of the ONNX GRU operator's W, R and B.

use crate::cell::{GATES, Gate};
use crate::tensor::{MatrixView, Tensor};
use crate::weights::CellWeights;

/// Place of a gate in the order z, r, h.
pub(super) fn zrh(gate: Gate) -> usize {
    match gate {
        Gate::Update => 0,
        Gate::Reset => 1,
        Gate::New => 2,
    }
}

/// The cells of one node, by direction: `w` `[D, 3H, I]`, `r` `[D, 3H, H]`, `b` `[D, 6H]` (input
/// biases, then recurrent ones), whose shapes have been checked.
pub(crate) fn cells(w: &Tensor, r: &Tensor, b: Option<&Tensor>) -> Vec<CellWeights> {
    let [directions, rows, k] = [w.shape()[0], w.shape()[1], w.shape()[2]];
    let h = rows / GATES;
    let matrix = |tensor: &Tensor, d: usize, gate: Gate, cols: usize| {
        MatrixView::new(tensor, (d * rows + zrh(gate) * h) * cols, [h, cols], [cols, 1])
    };
    let bias = |d: usize, gate: Gate, part: usize| {
        b.map(|b| MatrixView::new(b, (2 * d + part) * rows + zrh(gate) * h, [1, h], [h, 1]))
    };
    (0..directions)
        .map(|d| CellWeights {
            input: Gate::ALL.map(|g| matrix(w, d, g, k)),
            recurrent: Gate::ALL.map(|g| matrix(r, d, g, h)),
            input_bias: Gate::ALL.map(|g| bias(d, g, 0)),
            recurrent_bias: Gate::ALL.map(|g| bias(d, g, 1)),
        })
        .collect()
}
