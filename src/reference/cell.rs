//! One cell in f64: its weights, and one step of the equations in [the module's
//! documentation](super).

use super::activation::clipped;
use crate::cell::{CellFunctions, GATES, Gate, ResetForm};
use crate::config::GruConfig;
use crate::tensor::MatrixView;
use crate::weights::GruWeights;

const R: usize = Gate::Reset as usize;
const Z: usize = Gate::Update as usize;
const N: usize = Gate::New as usize;

/// The weights of one layer and direction, and what its step does with them.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    /// Features read, K.
    pub(super) inputs: usize,
    /// Units, H.
    pub(super) units: usize,
    pub(super) reset: ResetForm,
    pub(super) functions: CellFunctions,
    /// What `x` and `h` (or `r * h`) become before they are multiplied with weights.
    pub(super) operand: Round,
    /// One affine map of `x` a gate, `[K, H]`.
    pub(super) input: [Affine; GATES],
    /// One affine map of `h` (or of `r * h`) a gate, `[H, H]`.
    pub(super) recurrent: [Affine; GATES],
}

/// `v -> W v + b`.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    /// `W` transposed, `[columns, rows]`: the inner loop runs over rows, whose sums are
    /// independent, so that it vectorises without reordering any of them.
    pub(super) transposed: Vec<f64>,
    /// `b`, `[rows]`.
    pub(super) bias: Vec<f64>,
}

/// How a value is rounded.
pub(super) type Round = fn(f64) -> f64;

/// How a matrix's values become f64: `(view, row, out)`.
pub(super) type ReadRow = fn(&MatrixView, usize, &mut [f64]);

impl Cell {
    /// The cell of `layer` and `direction`, its matrices and biases read by the two functions.
    pub(super) fn new(
        config: &GruConfig,
        weights: &GruWeights,
        layer: usize,
        direction: usize,
        matrices: ReadRow,
        biases: ReadRow,
        operand: Round,
    ) -> Self {
        let cell = weights.cell(layer, direction);
        let affine =
            |w: &MatrixView, b: &Option<MatrixView>| Affine::new(w, b.as_ref(), matrices, biases);
        Self {
            inputs: config.layer_input_size(layer),
            units: config.hidden_size,
            reset: config.reset,
            functions: config.functions[direction],
            operand,
            input: std::array::from_fn(|g| affine(&cell.input[g], &cell.input_bias[g])),
            recurrent: std::array::from_fn(|g| affine(&cell.recurrent[g], &cell.recurrent_bias[g])),
        }
    }

    /// One step of `x.len() / K` rows: `x` `[rows, K]`, `h` `[rows, H]`.
    pub(super) fn step(&self, x: &[f64], h: &[f64], step: &mut Step) {
        let operands = |v: &[f64]| v.iter().map(|v| (self.operand)(*v)).collect::<Vec<_>>();
        let (x, state) = (operands(x), operands(h));
        for g in Gate::ALL.map(|g| g as usize) {
            self.input[g].apply(&x, &mut step.from_input[g]);
            if g != N || self.reset == ResetForm::After {
                self.recurrent[g].apply(&state, &mut step.from_state[g]);
            }
        }
        let Step { from_input, from_state, r, z, n, next } = step;
        let functions = &self.functions;
        let gate = |x| clipped(functions.gate, functions, x);
        let candidate = |x| clipped(functions.candidate, functions, x);
        r.clear();
        r.extend(from_input[R].iter().zip(&from_state[R]).map(|(a, b)| gate(a + b)));
        z.clear();
        z.extend(from_input[Z].iter().zip(&from_state[Z]).map(|(a, b)| gate(a + b)));
        n.clear();
        match self.reset {
            ResetForm::Before => {
                let reset_state: Vec<f64> = r.iter().zip(h).map(|(r, h)| r * h).collect();
                self.recurrent[N].apply(&operands(&reset_state), &mut from_state[N]);
                n.extend(from_input[N].iter().zip(&from_state[N]).map(|(a, b)| candidate(a + b)));
            }
            ResetForm::After => {
                let sums = from_input[N].iter().zip(r.iter().zip(&from_state[N]));
                n.extend(sums.map(|(a, (r, b))| candidate(a + r * b)));
            }
        }
        next.clear();
        next.extend((0..h.len()).map(|i| (1.0 - z[i]) * n[i] + z[i] * h[i]));
    }
}

impl Affine {
    fn new(
        matrix: &MatrixView,
        bias: Option<&MatrixView>,
        read_matrix: ReadRow,
        read_bias: ReadRow,
    ) -> Self {
        let (rows, columns) = (matrix.rows(), matrix.cols());
        let mut transposed = vec![0.0; rows * columns];
        // Eight rows at a time fill whole cache lines of the transpose.
        let mut block = vec![0.0; 8 * columns];
        for first in (0..rows).step_by(8) {
            let count = (rows - first).min(8);
            for (i, row) in block.chunks_exact_mut(columns).take(count).enumerate() {
                read_matrix(matrix, first + i, row);
            }
            for column in 0..columns {
                let slots = &mut transposed[column * rows + first..][..count];
                for (i, slot) in slots.iter_mut().enumerate() {
                    *slot = block[i * columns + column];
                }
            }
        }
        let mut values = vec![0.0; rows];
        if let Some(bias) = bias {
            read_bias(bias, 0, &mut values);
        }
        Self { transposed, bias: values }
    }

    /// The same map with every weight and every bias replaced by a function of it.
    pub(super) fn map(&self, weight: impl Fn(f64) -> f64, bias: impl Fn(f64) -> f64) -> Self {
        Self {
            transposed: self.transposed.iter().map(|v| weight(*v)).collect(),
            bias: self.bias.iter().map(|v| bias(*v)).collect(),
        }
    }

    /// `out[row] = W v[row] + b`: `v` `[rows, columns]`, `out` `[rows, H]` (resized).
    pub(super) fn apply(&self, v: &[f64], out: &mut Vec<f64>) {
        /// Units whose sums are kept in the nearest cache while all of `v` is read.
        const BLOCK: usize = 64;
        let units = self.bias.len();
        let columns = self.transposed.len() / units;
        out.clear();
        for _ in 0..v.len() / columns {
            out.extend_from_slice(&self.bias);
        }
        for first in (0..units).step_by(BLOCK) {
            let block = first..(first + BLOCK).min(units);
            for column in 0..columns {
                let w = &self.transposed[column * units..][block.clone()];
                for (row, sums) in v.chunks_exact(columns).zip(out.chunks_exact_mut(units)) {
                    let value = row[column];
                    for (sum, w) in sums[block.clone()].iter_mut().zip(w) {
                        *sum += w * value;
                    }
                }
            }
        }
    }
}

/// Everything that one step computes, each `[rows, H]`.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// `W_i x + b_i` of each gate.
    pub(super) from_input: [Vec<f64>; GATES],
    /// `W_h h + b_h` of each gate; of the candidate `W_hn (r*h) + b_hn` in the reset-before form.
    pub(super) from_state: [Vec<f64>; GATES],
    pub(super) r: Vec<f64>,
    pub(super) z: Vec<f64>,
    pub(super) n: Vec<f64>,
    /// `h'`.
    pub(super) next: Vec<f64>,
}
