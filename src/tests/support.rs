//! Seeded networks and inputs, and where files are.

use ndarray::{Array2, Array3};

use crate::*;

/// The package's folder where the test runs, which need not be where it was built.
pub(super) fn root() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into()).into()
}

/// A seeded generator (xorshift64*), the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform over `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.bits() % n as u64).expect("below n")
    }

    /// Uniform over `[-1, 1)`.
    pub(super) fn signed(&mut self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits")]
        let unit = (self.bits() >> 40) as f32 / (1u64 << 24) as f32;
        2.0 * unit - 1.0
    }

    pub(super) fn array3(&mut self, dim: (usize, usize, usize)) -> Array3<f32> {
        Array3::from_shape_simple_fn(dim, || self.signed())
    }

    pub(super) fn mask(&mut self, dim: (usize, usize), one_in: usize) -> Array2<bool> {
        Array2::from_shape_simple_fn(dim, || self.below(one_in) == 0)
    }
}

/// The values of a cell's weights, row-major, gates in canonical order.
#[derive(Clone, Debug)]
pub(super) struct CellValues {
    pub(super) input: [Vec<f32>; GATES],
    pub(super) recurrent: [Vec<f32>; GATES],
    pub(super) input_bias: [Vec<f32>; GATES],
    pub(super) recurrent_bias: [Vec<f32>; GATES],
}

/// A network whose weights tests may change before it is built.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) config: GruConfig,
    pub(super) cells: Vec<CellValues>,
}

impl Values {
    /// Weights and biases uniform over `±scale / sqrt(H)`.
    pub(super) fn random(config: GruConfig, scale: f32, random: &mut Random) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "small sizes")]
        let scale = scale / (config.hidden_size as f32).sqrt();
        let h = config.hidden_size;
        let cells = (0..config.state_planes())
            .map(|plane| {
                let k = config.layer_input_size(plane / config.num_directions());
                let mut values = |n: usize| -> [Vec<f32>; GATES] {
                    std::array::from_fn(|_| (0..n).map(|_| scale * random.signed()).collect())
                };
                CellValues {
                    input: values(h * k),
                    recurrent: values(h * h),
                    input_bias: values(h),
                    recurrent_bias: values(h),
                }
            })
            .collect();
        Self { config, cells }
    }

    pub(super) fn gru(&self) -> Gru {
        let h = self.config.hidden_size;
        let view = |values: &[f32], rows: usize| {
            let cols = values.len() / rows;
            let tensor = Tensor::from_f32("weights", &[rows, cols], values).unwrap();
            MatrixView::new(&tensor, 0, [rows, cols], [cols, 1])
        };
        let cells = self
            .cells
            .iter()
            .map(|cell| CellWeights {
                input: std::array::from_fn(|g| view(&cell.input[g], h)),
                recurrent: std::array::from_fn(|g| view(&cell.recurrent[g], h)),
                input_bias: std::array::from_fn(|g| Some(view(&cell.input_bias[g], 1))),
                recurrent_bias: std::array::from_fn(|g| Some(view(&cell.recurrent_bias[g], 1))),
            })
            .collect();
        let weights = GruWeights::new(&self.config, cells).unwrap();
        Gru::new(self.config.clone(), weights).unwrap()
    }
}

/// A run's arrays.
#[derive(Clone, Debug)]
pub(super) struct Sequences {
    pub(super) input: Array3<f32>,
    pub(super) initial_state: Array3<f32>,
    pub(super) lengths: Option<Vec<usize>>,
    pub(super) reset_mask: Option<Array2<bool>>,
}

impl Sequences {
    /// Full-length sequences and initial states, all uniform over `[-1, 1)`.
    pub(super) fn random(config: &GruConfig, shape: SequenceShape, random: &mut Random) -> Self {
        Self {
            input: random.array3((shape.steps, shape.batch, config.input_size)),
            initial_state: random.array3((config.state_planes(), shape.batch, config.hidden_size)),
            lengths: None,
            reset_mask: None,
        }
    }

    pub(super) fn inputs(&self) -> Inputs<'_, f32> {
        let mut inputs = Inputs::new(self.input.view()).initial_state(self.initial_state.view());
        if let Some(lengths) = &self.lengths {
            inputs = inputs.lengths(lengths);
        }
        if let Some(mask) = &self.reset_mask {
            inputs = inputs.reset_mask(mask.view());
        }
        inputs
    }
}
