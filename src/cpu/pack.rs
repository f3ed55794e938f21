//! Weights in the order in which the kernels read them.
//!
//! Output units are cut into panels of one SIMD vector (L lanes). Within a panel the weights of
//! all gates that a kernel computes lie side by side, one group an input feature:
//!
//! | block | layout |
//! |---|---|
//! | input | `[panel][k: K][r, z, n][L]` |
//! | recurrent, reset-after | `[panel][k: H][r, z, n][L]` |
//! | gates, reset-before | `[panel][k: H][r, z][L]` |
//! | candidate, reset-before | `[pair of panels][k: H][even, odd panel][L]` |
//!
//! Units past H are zero.

use crate::cell::{GATES, Gate, ResetForm};
use crate::config::GruConfig;
use crate::error::Result;
use crate::model::Gru;
use crate::tensor::MatrixView;
use crate::weights::CellWeights;

use super::aligned::Aligned;
use super::math::Functions;
use super::part::odd_lines;

/// Recurrent weights and what is added to their product, by reset form.
#[derive(Debug)]
pub(super) enum Recurrent {
    /// One product of three gates.
    After {
        weights: Aligned,
        /// `b_hn`, `[panel][L]`.
        bias: Aligned,
    },
    /// Two products: of the gates, then of the candidate.
    Before { gates: Aligned, candidate: Aligned },
}

/// One cell's weights.
#[derive(Debug)]
pub(super) struct PackedCell {
    pub(super) input: Aligned,
    /// The biases that are added before the recurrent product, `[panel][r, z, n][L]`.
    pub(super) bias: Aligned,
    pub(super) recurrent: Recurrent,
    pub(super) input_size: usize,
    pub(super) reverse: bool,
    pub(super) functions: Functions,
}

/// A network's weights packed for one instruction set; immutable and shared by sessions.
#[derive(Debug)]
pub(crate) struct CpuModel {
    pub(super) arch: pulp::Arch,
    pub(super) config: GruConfig,
    pub(super) lanes: usize,
    /// Panels of a cell; even for reset-before, whose candidate takes them in pairs.
    pub(super) panels: usize,
    cells: Vec<PackedCell>,
}

struct Lanes;

impl pulp::WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

impl CpuModel {
    /// Packs `gru` for the best instruction set of this machine.
    ///
    /// # Errors
    /// None today; sizes were checked when `gru` was made.
    pub(crate) fn new(gru: &Gru) -> Result<Self> {
        Self::for_arch(gru, pulp::Arch::new())
    }

    /// Packs `gru` for the instruction set `arch`.
    pub(super) fn for_arch(gru: &Gru, arch: pulp::Arch) -> Result<Self> {
        let config = gru.config().clone();
        let lanes = arch.dispatch(Lanes);
        let panels = match config.reset {
            ResetForm::After => config.hidden_size.div_ceil(lanes),
            ResetForm::Before => config.hidden_size.div_ceil(2 * lanes) * 2,
        };
        let directions = config.num_directions();
        let cells = gru
            .weights()
            .cells()
            .iter()
            .enumerate()
            .map(|(i, cell)| {
                let direction = i % directions;
                PackedCell {
                    input: pack(&[&cell.input[0], &cell.input[1], &cell.input[2]], panels, lanes),
                    bias: pack_bias(cell, config.reset, panels, lanes),
                    recurrent: pack_recurrent(cell, config.reset, panels, lanes),
                    input_size: config.layer_input_size(i / directions),
                    reverse: config.directions.is_reverse(direction),
                    functions: Functions::new(&config.functions[direction]),
                }
            })
            .collect();
        Ok(Self { arch, config, lanes, panels, cells })
    }

    pub(super) fn cell(&self, layer: usize, direction: usize) -> &PackedCell {
        &self.cells[layer * self.config.num_directions() + direction]
    }

    /// Floats from one row of a state to the next.
    pub(super) fn state_stride(&self) -> usize {
        odd_lines(self.panels * self.lanes)
    }

    /// The instruction set in use, for reports.
    pub(crate) fn instruction_set(&self) -> String {
        let arch = format!("{:?}", self.arch);
        let name = match arch.split('(').next().unwrap_or_default() {
            "V3" => "AVX2",
            "V4" => "AVX-512",
            other => other,
        };
        format!("{name}, {} lanes", self.lanes)
    }

    /// Bytes of packed weights.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.cells
            .iter()
            .map(|c| {
                let recurrent = match &c.recurrent {
                    Recurrent::After { weights, bias } => weights.bytes() + bias.bytes(),
                    Recurrent::Before { gates, candidate } => gates.bytes() + candidate.bytes(),
                };
                c.input.bytes() + c.bias.bytes() + recurrent
            })
            .sum()
    }
}

fn pack_recurrent(cell: &CellWeights, reset: ResetForm, panels: usize, lanes: usize) -> Recurrent {
    let [r, z, n] = &cell.recurrent;
    match reset {
        ResetForm::After => {
            let mut bias = Aligned::zeros(panels * lanes);
            add_bias(&cell.recurrent_bias[Gate::New as usize], |unit, value| {
                bias[unit] = narrow(value);
            });
            Recurrent::After { weights: pack(&[r, z, n], panels, lanes), bias }
        }
        ResetForm::Before => Recurrent::Before {
            gates: pack(&[r, z], panels, lanes),
            candidate: pack(&[n], panels / 2, 2 * lanes),
        },
    }
}

/// `[panel][k][gate][lanes]` from one `[H, K]` matrix a gate.
fn pack(gates: &[&MatrixView], panels: usize, lanes: usize) -> Aligned {
    let (units, features) = (gates[0].rows(), gates[0].cols());
    let mut out = Aligned::zeros(panels * features * gates.len() * lanes);
    let mut row = vec![0.0; features];
    for (g, gate) in gates.iter().enumerate() {
        for unit in 0..units {
            gate.read_row_f32(unit, &mut row);
            let first = (unit / lanes) * features * gates.len() * lanes + g * lanes + unit % lanes;
            for (k, value) in row.iter().enumerate() {
                out[first + k * gates.len() * lanes] = *value;
            }
        }
    }
    out
}

/// The sum, rounded once, of the biases that are added before the recurrent product.
fn pack_bias(cell: &CellWeights, reset: ResetForm, panels: usize, lanes: usize) -> Aligned {
    let mut sums = vec![0.0f64; panels * GATES * lanes];
    for gate in Gate::ALL {
        let g = gate as usize;
        let folds = gate != Gate::New || reset == ResetForm::Before;
        for bias in [Some(&cell.input_bias[g]), folds.then_some(&cell.recurrent_bias[g])] {
            let Some(bias) = bias else { continue };
            add_bias(bias, |unit, value| {
                sums[(unit / lanes * GATES + g) * lanes + unit % lanes] += value;
            });
        }
    }
    let mut out = Aligned::zeros(sums.len());
    for (slot, sum) in out.iter_mut().zip(&sums) {
        *slot = narrow(*sum);
    }
    out
}

fn add_bias(bias: &Option<MatrixView>, mut add: impl FnMut(usize, f64)) {
    if let Some(bias) = bias {
        let mut row = vec![0.0; bias.cols()];
        bias.read_row_f64(0, &mut row);
        for (unit, value) in row.into_iter().enumerate() {
            add(unit, value);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the engine computes in f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}
