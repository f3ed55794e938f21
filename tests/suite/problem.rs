//! Networks and runs by seed: weights as PyTorch initialises them, inputs in [-1, 1].

use ndarray::{Array2, Array3};
use wgru::{
    CellWeights, Directions, Gru, GruConfig, GruWeights, Inputs, LoadOptions, MatrixView,
    ResetForm, SequenceShape, Tensor, TensorSet,
};

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("the remainder is below n")
    }

    /// A value of [-bound, bound).
    pub(crate) fn uniform(&mut self, bound: f32) -> f32 {
        let unit = (self.next() >> 40) as f32 / (1u32 << 24) as f32;
        bound * (2.0 * unit - 1.0)
    }

    pub(crate) fn values(&mut self, len: usize, bound: f32) -> Vec<f32> {
        (0..len).map(|_| self.uniform(bound)).collect()
    }

    pub(crate) fn array(&mut self, shape: (usize, usize, usize)) -> Array3<f32> {
        Array3::from_shape_simple_fn(shape, || self.uniform(1.0))
    }
}

/// Weights of one cell, PyTorch's layout: gates r, z, n, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// `[3H, K]`
    pub(crate) input: Vec<f32>,
    /// `[3H, H]`
    pub(crate) recurrent: Vec<f32>,
    /// `[3H]` of the input and of the recurrent product.
    pub(crate) biases: Option<[Vec<f32>; 2]>,
}

/// A network with its weights.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) config: GruConfig,
    /// Layer-major.
    pub(crate) cells: Vec<Cell>,
}

impl Network {
    fn build(config: GruConfig, bias: bool, mut draw: impl FnMut(usize) -> Vec<f32>) -> Self {
        let h = config.hidden_size;
        let cells = (0..config.state_planes()).map(|plane| Cell {
            input: draw(3 * h * config.layer_input_size(plane / config.num_directions())),
            recurrent: draw(3 * h * h),
            biases: bias.then(|| [draw(3 * h), draw(3 * h)]),
        });
        Self { cells: cells.collect(), config }
    }

    pub(crate) fn random(config: GruConfig, bias: bool, seed: u64) -> Self {
        let mut random = Random(seed);
        let bound = 1.0 / (config.hidden_size as f32).sqrt();
        Self::build(config, bias, |len| random.values(len, bound))
    }

    pub(crate) fn zero(config: GruConfig) -> Self {
        Self::build(config, true, |len| vec![0.0; len])
    }

    /// Named tensors in this crate's own convention: PyTorch's names, the rest in the metadata.
    pub(crate) fn tensors(&self) -> TensorSet {
        let (c, mut set) = (&self.config, TensorSet::new());
        let h = c.hidden_size;
        for (plane, cell) in self.cells.iter().enumerate() {
            let (layer, direction) = (plane / c.num_directions(), plane % c.num_directions());
            let suffix = format!("_l{layer}{}", ["", "_reverse"][direction]);
            let mut put = |role: &str, shape: &[usize], values: &[f32]| {
                set.insert(tensor(&format!("{role}{suffix}"), shape, values));
            };
            put("weight_ih", &[3 * h, c.layer_input_size(layer)], &cell.input);
            put("weight_hh", &[3 * h, h], &cell.recurrent);
            if let Some([input, recurrent]) = &cell.biases {
                put("bias_ih", &[3 * h], input);
                put("bias_hh", &[3 * h], recurrent);
            }
        }
        set.set_metadata("wgru.version", "1");
        set.set_metadata("wgru.convention", "wgru");
        set.set_metadata("wgru.reset", &c.reset.to_string());
        set.set_metadata("wgru.directions", &c.directions.to_string());
        for (functions, suffix) in c.functions.iter().zip(["", ".reverse"]).take(c.num_directions())
        {
            let mut state = |key: &str, value: String| {
                set.set_metadata(&format!("wgru.{key}{suffix}"), &value);
            };
            state("gate_activation", functions.gate.to_string());
            state("candidate_activation", functions.candidate.to_string());
            if let Some(clip) = functions.clip {
                state("clip", clip.to_string());
            }
        }
        set
    }

    pub(crate) fn gru(&self) -> Gru {
        let gru = Gru::from_tensors(&self.tensors(), &LoadOptions::new()).expect("it loads");
        let used = self.config.num_directions();
        assert_eq!(gru.config().functions[..used], self.config.functions[..used]);
        assert_eq!(gru.config().directions, self.config.directions);
        gru
    }

    /// The same network from canonical weights.
    pub(crate) fn canonical(&self) -> Gru {
        let h = self.config.hidden_size;
        let matrix = |values: &[f32], gate: usize, cols: usize| {
            let whole = tensor("canonical", &[3 * h, cols], values);
            MatrixView::new(&whole, gate * h * cols, [h, cols], [cols, 1])
        };
        let bias = |values: &[f32], gate: usize| {
            MatrixView::new(&tensor("bias", &[3 * h], values), gate * h, [1, h], [h, 1])
        };
        let cells = self.cells.iter().map(|cell| CellWeights {
            input: [0, 1, 2].map(|g| matrix(&cell.input, g, cell.input.len() / (3 * h))),
            recurrent: [0, 1, 2].map(|g| matrix(&cell.recurrent, g, h)),
            input_bias: [0, 1, 2].map(|g| cell.biases.as_ref().map(|b| bias(&b[0], g))),
            recurrent_bias: [0, 1, 2].map(|g| cell.biases.as_ref().map(|b| bias(&b[1], g))),
        });
        let weights = GruWeights::new(&self.config, cells.collect()).expect("the weights fit");
        Gru::new(self.config.clone(), weights).expect("the configuration is valid")
    }
}

fn tensor(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32(name, shape, values).expect("as many values as the shape says")
}

/// A configuration with the default functions.
pub(crate) fn config(
    [input_size, hidden_size, num_layers]: [usize; 3],
    directions: Directions,
    reset: ResetForm,
) -> GruConfig {
    GruConfig { num_layers, directions, reset, ..GruConfig::new(input_size, hidden_size) }
}

pub(crate) const RESETS: [ResetForm; 2] = [ResetForm::After, ResetForm::Before];
pub(crate) const DIRECTIONS: [Directions; 3] =
    [Directions::Forward, Directions::Reverse, Directions::Bidirectional];

/// A network in the textbook's own names, forward and reset-before.
pub(crate) fn textbook([inputs, units, layers]: [usize; 3], seed: u64) -> Gru {
    let (mut random, mut set) = (Random(seed), TensorSet::new());
    let bound = 1.0 / (units as f32).sqrt();
    for layer in 0..layers {
        let width = units + if layer == 0 { inputs } else { units };
        for letter in ["u", "R", "h"] {
            let weights = random.values(units * width, bound);
            set.insert(tensor(&format!("W_{letter}_l{layer}"), &[units, width], &weights));
            let bias = random.values(units, bound);
            set.insert(tensor(&format!("b_{letter}_l{layer}"), &[units], &bias));
        }
    }
    Gru::from_tensors(&set, &LoadOptions::new()).expect("the textbook's names load")
}

/// What a run is given beside its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) state: bool,
    pub(crate) lengths: bool,
    pub(crate) mask: bool,
    pub(crate) batch_first: bool,
}

impl Given {
    pub(crate) const ALL: Self = Self { state: true, lengths: true, mask: true, batch_first: true };
}

/// A network and one run of it.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) gru: Gru,
    /// `[T, B, I]`, or `[B, T, I]`.
    pub(crate) input: Array3<f32>,
    pub(crate) state: Option<Array3<f32>>,
    pub(crate) lengths: Option<Vec<usize>>,
    pub(crate) mask: Option<Array2<bool>>,
    pub(crate) batch_first: bool,
}

impl Problem {
    /// A run of `steps` steps of `batch` rows. Every third row or so is shorter than the run where
    /// lengths are given, one of them empty; every third step or so is a reset where there is a
    /// mask.
    pub(crate) fn new(gru: Gru, [steps, batch]: [usize; 2], given: Given, seed: u64) -> Self {
        let mut random = Random(seed ^ 0x0005_eed0_f1e1_d5a1);
        let c = gru.config().clone();
        let input = random.array((steps, batch, c.input_size));
        let state = given.state.then(|| random.array((c.state_planes(), batch, c.hidden_size)));
        let lengths = given.lengths.then(|| {
            let mut lengths: Vec<usize> = (0..batch).map(|_| random.below(steps + 2)).collect();
            lengths.iter_mut().for_each(|n| *n = (*n).min(steps));
            if batch > 1 {
                lengths[batch / 2] = 0;
            }
            lengths
        });
        let mask = given
            .mask
            .then(|| Array2::from_shape_simple_fn((steps, batch), || random.below(3) == 0));
        let mut problem = Self { gru, input, state, lengths, mask, batch_first: false };
        if given.batch_first {
            problem.batch_first = true;
            problem.input =
                problem.input.permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
            problem.mask =
                problem.mask.map(|m| m.reversed_axes().as_standard_layout().into_owned());
        }
        problem
    }

    pub(crate) fn inputs(&self) -> Inputs<'_, f32> {
        Inputs {
            input: self.input.view(),
            initial_state: self.state.as_ref().map(|s| s.view()),
            lengths: self.lengths.as_deref(),
            reset_mask: self.mask.as_ref().map(|m| m.view()),
            batch_first: self.batch_first,
        }
    }

    pub(crate) fn shape(&self) -> SequenceShape {
        self.inputs().shape()
    }
}
