//! Seeded networks and runs on a chosen instruction set and split.

use std::num::NonZeroUsize;
use std::sync::Arc;

use ndarray::Array3;

use crate::cell::{GATES, ResetForm};
use crate::config::{Directions, GruConfig};
use crate::cpu::split::Split;
use crate::cpu::{CpuModel, CpuSession};
use crate::model::Gru;
use crate::sequence::{Inputs, Output};
use crate::tensor::{MatrixView, Tensor};
use crate::weights::{CellWeights, GruWeights};

/// splitmix64: the same numbers on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    #[expect(clippy::cast_possible_truncation, reason = "tests count in thousands")]
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Uniform in `[-bound, bound]`.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
    pub(super) fn uniform(&mut self, bound: f32) -> f32 {
        ((self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * bound
    }

    pub(super) fn array(&mut self, dim: (usize, usize, usize), bound: f32) -> Array3<f32> {
        Array3::from_shape_simple_fn(dim, || self.uniform(bound))
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

/// Uniform weights within `1/sqrt(H)`, as PyTorch draws them.
pub(super) fn network(config: &GruConfig, seed: u64) -> Gru {
    #[expect(clippy::cast_precision_loss, reason = "sizes of tests are small")]
    let bound = 1.0 / (config.hidden_size as f32).sqrt();
    scaled_network(config, seed, bound)
}

/// Uniform weights within `bound`.
pub(super) fn scaled_network(config: &GruConfig, seed: u64, bound: f32) -> Gru {
    let mut random = Random(seed);
    let mut draw = |rows: usize, cols: usize| {
        let values: Vec<f32> = (0..rows * cols).map(|_| random.uniform(bound)).collect();
        let tensor = Tensor::from_f32("drawn", &[rows, cols], &values).unwrap();
        MatrixView::new(&tensor, 0, [rows, cols], [cols, 1])
    };
    let h = config.hidden_size;
    let cells = (0..config.state_planes())
        .map(|i| {
            let k = config.layer_input_size(i / config.num_directions());
            CellWeights {
                input: std::array::from_fn::<_, GATES, _>(|_| draw(h, k)),
                recurrent: std::array::from_fn::<_, GATES, _>(|_| draw(h, h)),
                input_bias: std::array::from_fn::<_, GATES, _>(|_| Some(draw(1, h))),
                recurrent_bias: std::array::from_fn::<_, GATES, _>(|_| Some(draw(1, h))),
            }
        })
        .collect();
    Gru::new(config.clone(), GruWeights::new(config, cells).unwrap()).unwrap()
}

/// Every instruction set that this machine runs.
pub(super) fn instruction_sets() -> Vec<pulp::Arch> {
    let mut sets = vec![pulp::Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    {
        sets.extend(pulp::x86::V3::try_new().map(pulp::Arch::V3));
        sets.extend(pulp::x86::V4::try_new().map(pulp::Arch::V4));
    }
    #[cfg(target_arch = "aarch64")]
    sets.push(pulp::Arch::new());
    sets
}

pub(super) fn session(gru: &Gru, arch: pulp::Arch) -> CpuSession {
    let model = Arc::new(CpuModel::for_arch(gru, arch).unwrap());
    CpuSession::new(model, NonZeroUsize::new(1))
}

/// A session whose every layer is split as said.
pub(super) fn split_session(gru: &Gru, rows: usize, directions: usize, units: usize) -> CpuSession {
    let model = Arc::new(CpuModel::new(gru).unwrap());
    let mut session = CpuSession::new(model, NonZeroUsize::new(rows * directions * units));
    session.forced = Some(Split { rows, directions, units });
    session
}

pub(super) fn run(gru: &Gru, session: &mut CpuSession, inputs: &Inputs<'_>) -> Output {
    run_layers(gru, session, inputs, false).0
}

/// The output and, where `keep` is set, the states of every layer.
pub(super) fn run_layers(
    gru: &Gru,
    session: &mut CpuSession,
    inputs: &Inputs<'_>,
    keep: bool,
) -> (Output, Vec<Array3<f32>>) {
    let shape = inputs.validate(gru.config()).unwrap();
    let mut output = Output::zeros(gru.config(), shape, inputs.batch_first).unwrap();
    let dim = (shape.steps, shape.batch, gru.config().output_size());
    let mut layers = vec![Array3::zeros(dim); if keep { gru.config().num_layers } else { 0 }];
    let mut views = output.views(inputs.batch_first);
    views.layers = layers.iter_mut().map(|l| l.view_mut()).collect();
    session.run(&inputs.time_major(), &mut views).unwrap();
    (output, layers)
}

/// Whether all bits agree.
pub(super) fn same(a: &Array3<f32>, b: &Array3<f32>) -> bool {
    a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
