//! The launch record: what one dispatch, or every step of a chunk, is told. Mirrors `Launch` and
//! `Cell` of `shaders/cell.wgsl`, word for word; a test holds both layouts against each other.

use crate::activation::Activation;
use crate::cell::CellFunctions;

/// `Cell`: one direction of one layer in one launch; on a diagonal, one layer. Offsets and strides are in vec4s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CellRecord {
    pub(crate) weights: u32,
    pub(crate) bias: u32,
    pub(crate) source: u32,
    pub(crate) gates: u32,
    pub(crate) state: u32,
    pub(crate) scratch: u32,
    pub(crate) output: u32,
    pub(crate) reversed: u32,
    pub(crate) functions: CellFunctions,
    pub(crate) input_weights: u32,
}

/// `Launch`: what all cells of a launch share, and the cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LaunchRecord {
    pub(crate) batch: u32,
    pub(crate) rows: u32,
    pub(crate) steps: u32,
    pub(crate) first_step: u32,
    pub(crate) unit_quads: u32,
    pub(crate) k_quads: u32,
    pub(crate) first_block: u32,
    pub(crate) source_stride: u32,
    pub(crate) output_stride: u32,
    pub(crate) state_stride: u32,
    pub(crate) mask: u32,
    pub(crate) mask_words: u32,
    pub(crate) natural: u32,
    pub(crate) units: u32,
    pub(crate) lag: u32,
    pub(crate) cells: Vec<CellRecord>,
}

impl LaunchRecord {
    const HEADER_WORDS: usize = 16;
    const CELL_WORDS: usize = 16;

    /// Bytes of a record with `cells` cells.
    pub(crate) fn size(cells: usize) -> u64 {
        4 * (Self::HEADER_WORDS + cells * Self::CELL_WORDS) as u64
    }

    /// The record as the words that the uniform buffer holds.
    pub(crate) fn words(&self) -> Vec<u32> {
        let mut words = vec![
            self.batch,
            self.rows,
            self.steps,
            self.first_step,
            self.unit_quads,
            self.k_quads,
            self.first_block,
            self.source_stride,
            self.output_stride,
            self.state_stride,
            self.mask,
            self.mask_words,
            self.natural,
            self.units,
            self.lag,
            0,
        ];
        for cell in &self.cells {
            let (gate, candidate) = (cell.functions.gate, cell.functions.candidate);
            let ((ga, gb), (ca, cb)) = (gate.parameters(), candidate.parameters());
            words.extend([
                cell.weights,
                cell.bias,
                cell.source,
                cell.gates,
                cell.state,
                cell.scratch,
                cell.output,
                cell.reversed,
                activation_code(gate),
                activation_code(candidate),
                ga.to_bits(),
                gb.to_bits(),
                ca.to_bits(),
                cb.to_bits(),
                cell.functions.clip.unwrap_or(0.0).to_bits(),
                cell.input_weights,
            ]);
        }
        words
    }
}

/// The code by which `activate` in `shaders/activations.wgsl` knows the function.
pub(crate) fn activation_code(activation: Activation) -> u32 {
    match activation {
        Activation::Sigmoid => 0,
        Activation::Tanh => 1,
        Activation::Relu => 2,
        Activation::LeakyRelu { .. } => 3,
        Activation::ThresholdedRelu { .. } => 4,
        Activation::Elu { .. } => 5,
        Activation::HardSigmoid { .. } => 6,
        Activation::Softsign => 7,
        Activation::Softplus => 8,
        Activation::Affine { .. } => 9,
        Activation::ScaledTanh { .. } => 10,
    }
}
