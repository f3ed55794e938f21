//! Weights in the order in which the kernels read them.
//!
//! Output units are cut into panels of one SIMD vector (L lanes). Within a panel the weights of
//! all gates that a kernel computes lie side by side, one group an input feature k:
//!
//! | block | layout |
//! |---|---|
//! | reset-after | `[panel][k][r, z, n][L]` |
//! | gates, reset-before | `[panel][k][r, z][L]` |
//! | candidate, reset-before | `[pair of panels][k][even, odd panel][L]` |
//!
//! Units past H are zero.

use crate::cell::{GATES, ResetForm};
use crate::config::GruConfig;
use crate::error::Result;
use crate::model::Gru;
use crate::tensor::MatrixView;
use crate::weights::CellWeights;

use super::aligned::{Aligned, odd_lines};
use super::math::Functions;

/// A block of weights, and the bias with which its products begin.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) data: Aligned,
    /// Laid out as one k of `data`; empty where the product goes on from another one.
    pub(super) bias: Aligned,
    /// k: features of an input.
    pub(super) features: usize,
}

/// One cell's weights by reset form: of the products over the input and over the state.
#[derive(Debug)]
pub(super) enum Products {
    /// The gates' products over the state go on from those over the input; the candidate's begins
    /// with `b_hn`. The recurrent bias of r and z is part of the input's.
    After { input: Weights, recurrent: Weights },
    /// All products over the state go on from those over the input, whose bias is the sum of both.
    Before { gates: [Weights; 2], candidate: [Weights; 2] },
}

/// One cell, ready to run.
#[derive(Debug)]
pub(super) struct PackedCell {
    pub(super) products: Products,
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
                    products: pack_cell(cell, config.reset, panels, lanes),
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

    /// Panels that threads cannot share.
    pub(super) fn granule(&self) -> usize {
        match self.config.reset {
            ResetForm::After => 1,
            ResetForm::Before => 2,
        }
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
            .flat_map(|cell| match &cell.products {
                Products::After { input, recurrent } => vec![input, recurrent],
                Products::Before { gates, candidate } => gates.iter().chain(candidate).collect(),
            })
            .map(|weights| size_of::<f32>() * (weights.data.len() + weights.bias.len()))
            .sum()
    }
}

fn pack_cell(cell: &CellWeights, reset: ResetForm, panels: usize, lanes: usize) -> Products {
    let [r, z, n] = [0, 1, 2];
    let (wx, wh) = (&cell.input, &cell.recurrent);
    let (bx, bh) = (&cell.input_bias, &cell.recurrent_bias);
    let both = |gate: usize| vec![&bx[gate], &bh[gate]];
    match reset {
        ResetForm::After => Products::After {
            input: pack(
                &[&wx[r], &wx[z], &wx[n]],
                &[both(r), both(z), vec![&bx[n]]],
                panels,
                lanes,
            ),
            recurrent: pack(
                &[&wh[r], &wh[z], &wh[n]],
                &[vec![], vec![], vec![&bh[n]]],
                panels,
                lanes,
            ),
        },
        ResetForm::Before => Products::Before {
            gates: [
                pack(&[&wx[r], &wx[z]], &[both(r), both(z)], panels, lanes),
                pack(&[&wh[r], &wh[z]], &[], panels, lanes),
            ],
            candidate: [
                pack(&[&wx[n]], &[both(n)], panels / 2, 2 * lanes),
                pack(&[&wh[n]], &[], panels / 2, 2 * lanes),
            ],
        },
    }
}

/// `[panel][k][gate][lanes]` from one matrix `[H, K]` a gate, and `[panel][gate][lanes]` from the
/// sum, rounded once, of a gate's `biases`; no bias where there are none.
fn pack(
    gates: &[&MatrixView],
    biases: &[Vec<&Option<MatrixView>>],
    panels: usize,
    lanes: usize,
) -> Weights {
    debug_assert!(gates.len() <= GATES, "a panel holds the gates of one cell");
    let (units, features) = (gates[0].rows(), gates[0].cols());
    let group = gates.len() * lanes;
    let mut data = Aligned::zeros(panels * features * group);
    let mut row = vec![0.0; features];
    for (g, gate) in gates.iter().enumerate() {
        for unit in 0..units {
            gate.read_row_f32(unit, &mut row);
            let first = (unit / lanes) * features * group + g * lanes + unit % lanes;
            for (k, value) in row.iter().enumerate() {
                data[first + k * group] = *value;
            }
        }
    }
    let mut sums = vec![0.0f64; if biases.is_empty() { 0 } else { panels * group }];
    let mut row = vec![0.0; units];
    for (g, biases) in biases.iter().enumerate() {
        for bias in biases.iter().copied().flatten() {
            bias.read_row_f64(0, &mut row);
            for (unit, value) in row.iter().enumerate() {
                sums[unit / lanes * group + g * lanes + unit % lanes] += value;
            }
        }
    }
    let mut bias = Aligned::zeros(sums.len());
    for (slot, sum) in bias.iter_mut().zip(&sums) {
        *slot = narrow(*sum);
    }
    Weights { data, bias, features }
}

#[expect(clippy::cast_possible_truncation, reason = "the engine computes in f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}
