//! Weights into the layout of the kernels.

use std::ops::Range;

use half::f16;

use crate::cell::{GATES, Gate, ResetForm};
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{MatrixLayout, quads};
use crate::precision::Precision;
use crate::tensor::MatrixView;
use crate::weights::CellWeights;

/// Where column `c` of a layer's input matrix stands in an operand row: the outputs of each
/// direction of the layer below are padded to whole vec4s of their own.
fn operand_index(config: &GruConfig, layer: usize, column: usize) -> usize {
    if layer == 0 {
        return column;
    }
    let h = config.hidden_size;
    (column / h) * 4 * quads(h) + column % h
}

/// vec4s of an operand row of layer `layer`'s input product.
pub(crate) fn input_quads(config: &GruConfig, layer: usize) -> usize {
    if layer == 0 {
        quads(config.input_size)
    } else {
        config.num_directions() * quads(config.hidden_size)
    }
}

/// The part of a cell's matrices of one sort that is packed at once.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) gates: &'a [Gate],
    pub(crate) layout: &'a MatrixLayout,
    pub(crate) blocks: Range<usize>,
    pub(crate) precision: Precision,
}

/// Packs a part of the input matrices of a cell of `layer` into `out`.
pub(crate) fn pack_input(
    config: &GruConfig,
    layer: usize,
    cell: &CellWeights,
    part: &Part<'_>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let planes: Vec<_> = part.gates.iter().map(|g| &cell.input[*g as usize]).collect();
    pack(&planes, part, out, |c| operand_index(config, layer, c))
}

/// Packs a part of the recurrent matrices of a cell into `out`.
pub(crate) fn pack_recurrent(cell: &CellWeights, part: &Part<'_>, out: &mut Vec<u8>) -> Result<()> {
    let planes: Vec<_> = part.gates.iter().map(|g| &cell.recurrent[*g as usize]).collect();
    pack(&planes, part, out, |c| c)
}

fn pack(
    planes: &[&MatrixView],
    part: &Part<'_>,
    out: &mut Vec<u8>,
    operand_index: impl Fn(usize) -> usize,
) -> Result<()> {
    let Part { layout, precision, .. } = *part;
    assert_eq!(planes.len(), layout.planes, "a layout is made for its kernel's planes");
    let units_per_block = 4 * layout.lanes;
    let mut values = vec![0f32; 4 * layout.block_vec4s()];
    let mut row = vec![0f32; planes[0].cols()];
    for block in part.blocks.clone() {
        values.fill(0.0);
        for (p, view) in planes.iter().enumerate() {
            let end = ((block + 1) * units_per_block).min(view.rows());
            for unit in block * units_per_block..end {
                view.read_row_f32(unit, &mut row);
                for (c, value) in row.iter().enumerate() {
                    let (_, at) = layout.place(unit, operand_index(c), p);
                    values[at] = *value;
                    if precision == Precision::F16
                        && value.is_finite()
                        && f16::from_f32(*value).is_infinite()
                    {
                        return Err(Error::new(
                            ErrorKind::InvalidWeights,
                            format!(
                                "{}: weight {value} of unit {unit}, column {c} overflows f16, \
                                 whose largest value is 65504; use precision f32",
                                view.tensor().name()
                            ),
                        ));
                    }
                }
            }
        }
        match precision {
            Precision::F32 => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Precision::F16 => {
                out.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()));
            }
        }
    }
    Ok(())
}

/// vec4s of a cell's biases: three rows for the input products, one for the recurrent ones.
pub(crate) fn bias_vec4s(config: &GruConfig) -> usize {
    (GATES + 1) * quads(config.hidden_size)
}

/// Appends a cell's biases to `out`: what adds to the input products of r, z and n, then what a
/// reset-after step adds inside the reset (zero for reset-before, where `b_hn` adds to `b_in`).
pub(crate) fn pack_biases(config: &GruConfig, cell: &CellWeights, out: &mut Vec<f32>) {
    let h = config.hidden_size;
    let read = |view: &Option<MatrixView>| {
        let mut row = vec![0f64; h];
        if let Some(view) = view {
            view.read_row_f64(0, &mut row);
        }
        row
    };
    let mut push = |row: &[f64]| {
        #[expect(clippy::cast_possible_truncation, reason = "biases are f32 on every device")]
        out.extend(row.iter().map(|v| *v as f32));
        out.resize(out.len() + 4 * quads(h) - h, 0.0);
    };
    for gate in Gate::ALL {
        let mut sum = read(&cell.input_bias[gate as usize]);
        if gate != Gate::New || config.reset == ResetForm::Before {
            for (s, b) in sum.iter_mut().zip(read(&cell.recurrent_bias[gate as usize])) {
                *s += b;
            }
        }
        push(&sum);
    }
    match config.reset {
        ResetForm::After => push(&read(&cell.recurrent_bias[Gate::New as usize])),
        ResetForm::Before => push(&vec![0.0; h]),
    }
}
