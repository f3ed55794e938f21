//! Networks for tests: seeded random ones, and those of the conventions that goldens use.

use ndarray::Array3;
use proptest::test_runner::{Config as ProptestConfig, RngSeed};

use crate::cell::{GATES, ResetForm};
use crate::config::{Directions, GruConfig};
use crate::tensor::{MatrixView, Tensor};
use crate::weights::{CellWeights, GruWeights};

/// A small generator (splitmix64): tests want the same numbers on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[-bound, bound]`.
    pub(super) fn uniform(&mut self, bound: f32) -> f32 {
        ((self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * bound
    }

    pub(super) fn vec(&mut self, len: usize, bound: f32) -> Vec<f32> {
        (0..len).map(|_| self.uniform(bound)).collect()
    }

    pub(super) fn array(&mut self, dim: (usize, usize, usize), bound: f32) -> Array3<f32> {
        Array3::from_shape_simple_fn(dim, || self.uniform(bound))
    }
}

/// The same cases in every run, none of them remembered in a file.
pub(super) fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(u64::from(cases)),
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

/// One cell's weights, row-major, gates r, z, n: what tests draw, change and convert.
#[derive(Clone, Debug)]
pub(super) struct RawCell {
    pub(super) columns: usize,
    pub(super) units: usize,
    pub(super) input: [Vec<f32>; GATES],
    pub(super) recurrent: [Vec<f32>; GATES],
    pub(super) input_bias: [Vec<f32>; GATES],
    pub(super) recurrent_bias: [Vec<f32>; GATES],
}

impl RawCell {
    /// Uniform weights of the size that PyTorch draws, `1/sqrt(H)`.
    pub(super) fn random(columns: usize, units: usize, random: &mut Random) -> Self {
        let bound = 1.0 / (units as f32).sqrt();
        let mut draw = |len: usize| std::array::from_fn(|_| random.vec(len, bound));
        Self {
            columns,
            units,
            input: draw(units * columns),
            recurrent: draw(units * units),
            input_bias: draw(units),
            recurrent_bias: draw(units),
        }
    }

    pub(super) fn zero(columns: usize, units: usize) -> Self {
        let zeros = |len: usize| std::array::from_fn(|_| vec![0.0; len]);
        Self {
            columns,
            units,
            input: zeros(units * columns),
            recurrent: zeros(units * units),
            input_bias: zeros(units),
            recurrent_bias: zeros(units),
        }
    }

    pub(super) fn weights(&self) -> CellWeights {
        let matrix = |v: &Vec<f32>, cols: usize| {
            let rows = v.len() / cols;
            let tensor = Tensor::from_f32("drawn", &[rows, cols], v).unwrap();
            MatrixView::new(&tensor, 0, [rows, cols], [cols, 1])
        };
        let units = self.units;
        CellWeights {
            input: std::array::from_fn(|g| matrix(&self.input[g], self.columns)),
            recurrent: std::array::from_fn(|g| matrix(&self.recurrent[g], units)),
            input_bias: std::array::from_fn(|g| Some(matrix(&self.input_bias[g], units))),
            recurrent_bias: std::array::from_fn(|g| Some(matrix(&self.recurrent_bias[g], units))),
        }
    }
}

/// A configuration with its raw weights, layer-major.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) config: GruConfig,
    pub(super) cells: Vec<RawCell>,
}

impl Network {
    pub(super) fn build(config: GruConfig, mut cell: impl FnMut(usize, usize) -> RawCell) -> Self {
        let cells = (0..config.state_planes())
            .map(|i| {
                let layer = i / config.num_directions();
                cell(config.layer_input_size(layer), config.hidden_size)
            })
            .collect();
        Self { config, cells }
    }

    pub(super) fn random(config: GruConfig, seed: u64) -> Self {
        let mut random = Random(seed);
        Self::build(config, |columns, units| RawCell::random(columns, units, &mut random))
    }

    pub(super) fn zero(config: GruConfig) -> Self {
        Self::build(config, RawCell::zero)
    }

    pub(super) fn weights(&self) -> GruWeights {
        GruWeights::new(&self.config, self.cells.iter().map(RawCell::weights).collect()).unwrap()
    }
}

pub(super) fn config(
    input_size: usize,
    hidden_size: usize,
    num_layers: usize,
    directions: Directions,
    reset: ResetForm,
) -> GruConfig {
    GruConfig { num_layers, directions, reset, ..GruConfig::new(input_size, hidden_size) }
}

pub(super) const RESETS: [ResetForm; 2] = [ResetForm::Before, ResetForm::After];
pub(super) const DIRECTIONS: [Directions; 3] =
    [Directions::Forward, Directions::Reverse, Directions::Bidirectional];

pub(super) fn to_f64(array: &Array3<f32>) -> Array3<f64> {
    array.mapv(f64::from)
}

/// PyTorch's stacked tensors, gates r, z, n: `weight_ih [3H, K]`, `weight_hh [3H, H]`, biases
/// `[3H]`.
pub(super) fn from_pytorch(
    units: usize,
    weight_ih: &Tensor,
    weight_hh: &Tensor,
    bias_ih: Option<&Tensor>,
    bias_hh: Option<&Tensor>,
) -> CellWeights {
    let matrix = |t: &Tensor, g: usize| {
        let cols = t.shape()[1];
        MatrixView::new(t, g * units * cols, [units, cols], [cols, 1])
    };
    let bias = |t: Option<&Tensor>, g: usize| {
        t.map(|t| MatrixView::new(t, g * units, [1, units], [units, 1]))
    };
    CellWeights {
        input: std::array::from_fn(|g| matrix(weight_ih, g)),
        recurrent: std::array::from_fn(|g| matrix(weight_hh, g)),
        input_bias: std::array::from_fn(|g| bias(bias_ih, g)),
        recurrent_bias: std::array::from_fn(|g| bias(bias_hh, g)),
    }
}

/// The textbook's tensors, `[W_R, W_u, W_h]` each `[H, I+H]` with `[b_R, b_u, b_h]` each `[H]`.
/// `U = 1 - z`, and `1 - sigmoid(a) = sigmoid(-a)`: the update gate's are negated.
pub(super) fn from_textbook(units: usize, w: [&Tensor; GATES], b: [&Tensor; GATES]) -> CellWeights {
    let update = crate::cell::Gate::Update as usize;
    let negate = |g: usize, view: MatrixView| if g == update { view.negated() } else { view };
    let part = |g: usize, first: usize, cols: usize| {
        negate(g, MatrixView::new(w[g], first, [units, cols], [w[g].shape()[1], 1]))
    };
    let inputs = w[0].shape()[1] - units;
    CellWeights {
        input: std::array::from_fn(|g| part(g, 0, inputs)),
        recurrent: std::array::from_fn(|g| part(g, inputs, units)),
        input_bias: std::array::from_fn(|g| {
            Some(negate(g, MatrixView::new(b[g], 0, [1, units], [units, 1])))
        }),
        recurrent_bias: [None, None, None],
    }
}
