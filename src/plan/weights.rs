//! Where packed weights live: which buffer, at which offset, in how many slices.

use std::ops::Range;

use super::Capabilities;
use super::geometry::Geometry;
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{Kernel, MatrixLayout, MatrixOrder, quads};
use crate::pack::input_quads;

/// The part of one layer's matrices for one kernel that lies in one buffer: blocks of units, for
/// each direction. Usually all blocks; fewer where a matrix exceeds the largest binding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice {
    pub(crate) buffer: usize,
    pub(crate) blocks: Range<usize>,
    /// First vec4 of each direction's blocks within the buffer.
    pub(crate) offsets: Vec<u64>,
}

/// Which of a cell's matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matrix {
    /// Multiplied by the layer's input.
    Input,
    /// Multiplied by the layer's own state.
    Recurrent,
}

/// A layer's matrices of one sort, of the kernel's gates, for one kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placement {
    pub(crate) layer: usize,
    pub(crate) kernel: Kernel,
    pub(crate) matrix: Matrix,
    pub(crate) layout: MatrixLayout,
    pub(crate) slices: Vec<Slice>,
}

/// All packed weights of a network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WeightPlan {
    /// Layer-major; in a layer the projection first, then the step kernels in running order; of
    /// a kernel the input matrix first. A wavefront has no projection above layer 0: its step
    /// kernels have input matrices.
    pub(crate) placements: Vec<Placement>,
    /// Bytes of each weight buffer.
    pub(crate) buffers: Vec<u64>,
    /// Bytes of the bias buffer.
    pub(crate) bias_bytes: u64,
}

/// Beyond any device's memory; bounds what a plan holds in host memory.
const MAX_BYTES: u64 = 1 << 42;

impl WeightPlan {
    pub(crate) fn new(
        config: &GruConfig,
        kernels: &[Kernel],
        geometry: &Geometry,
        capabilities: &Capabilities,
    ) -> Result<Self> {
        let vec4 = 4 * geometry.precision.weight_bytes();
        // Kernels index vec4s with 32 bits; bindings are multiples of 16 bytes.
        let limit = capabilities.max_storage_binding.min(capabilities.max_buffer);
        let most = u64::from(u32::MAX) * vec4;
        // Those of matrices index single values.
        let most = if geometry.matrix.is_some() { most / 4 } else { most };
        let limit = limit.min(most) & !15;
        let packed = config.parameter_count().saturating_mul(geometry.precision.weight_bytes());
        if packed > MAX_BYTES {
            return Err(Error::new(
                ErrorKind::ExceedsLimits,
                format!("the weights take {packed} bytes, a plan holds {MAX_BYTES} at most"),
            ));
        }
        let directions = config.num_directions();
        let mut buffers = Vec::<u64>::new();
        let mut placements = Vec::new();
        for layer in 0..config.num_layers {
            let fused = geometry.wavefront && layer > 0;
            for (kernel, matrix) in matrices(kernels, fused) {
                let mut layout = MatrixLayout {
                    order: MatrixOrder::Quads,
                    planes: kernel.gates().len(),
                    lanes: geometry.lanes as usize,
                    unit_quads: quads(config.hidden_size),
                    k_quads: match matrix {
                        Matrix::Input => input_quads(config, layer),
                        Matrix::Recurrent => quads(config.hidden_size),
                    },
                };
                if let Some(resident) = geometry.resident.filter(|_| kernel.is_sequence()) {
                    layout.order = resident.order();
                    layout.lanes = resident.block_quads as usize;
                    layout.k_quads = resident.k_quads() as usize;
                }
                if let Some(tiles) = geometry.matrix {
                    layout.order = MatrixOrder::Tiles { size: tiles.step.size as usize };
                }
                let block_bytes = layout.block_vec4s() as u64 * vec4 * directions as u64;
                let fitting = (limit / block_bytes).min(u64::from(capabilities.max_workgroups));
                let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
                if fitting == 0 {
                    return Err(Error::new(
                        ErrorKind::ExceedsLimits,
                        format!(
                            "layer {layer}: one block of {} units of the packed weights takes \
                             {block_bytes} bytes, the device binds {limit} at most",
                            4 * layout.lanes
                        ),
                    ));
                }
                let mut slices = Vec::new();
                let mut first = 0;
                while first < layout.blocks() {
                    let blocks = first..layout.blocks().min(first + fitting);
                    first = blocks.end;
                    let bytes = blocks.len() as u64 * block_bytes;
                    if buffers.last().is_none_or(|used| used + bytes > limit) {
                        buffers.push(0);
                    }
                    let buffer = buffers.len() - 1;
                    let start = buffers[buffer] / vec4;
                    let each = (blocks.len() * layout.block_vec4s()) as u64;
                    let offsets = (0..directions as u64).map(|d| start + d * each).collect();
                    buffers[buffer] += bytes;
                    slices.push(Slice { buffer, blocks, offsets });
                }
                placements.push(Placement { layer, kernel, matrix, layout, slices });
            }
        }
        let bias_bytes = 16 * (config.state_planes() * crate::pack::bias_vec4s(config)) as u64;
        if bias_bytes > limit {
            return Err(Error::new(
                ErrorKind::ExceedsLimits,
                format!("the biases take {bias_bytes} bytes, the device binds {limit} at most"),
            ));
        }
        Ok(Self { placements, buffers, bias_bytes })
    }

    /// Bytes of all weight and bias buffers.
    pub(crate) fn bytes(&self) -> u64 {
        self.buffers.iter().sum::<u64>() + self.bias_bytes
    }
}

/// The matrices of a layer by kernel; `fused`: the step kernels compute its input products.
fn matrices(kernels: &[Kernel], fused: bool) -> Vec<(Kernel, Matrix)> {
    let mut all = Vec::new();
    for &kernel in kernels {
        if fused && kernel.is_step() || !fused && kernel.is_projection() {
            all.push((kernel, Matrix::Input));
        }
        if !kernel.is_projection() {
            all.push((kernel, Matrix::Recurrent));
        }
    }
    all
}
