//! The dispatches of an operation, in the order in which they are recorded, and the rows of each.

use std::ops::Range;

use super::schedule::word;
use super::{LaunchSlice, Operation, Plan, SourceBuffer, resident};
use crate::kernels::Kernel;

/// One dispatch, as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dispatch {
    pub(crate) kernel: Kernel,
    pub(crate) slice: LaunchSlice,
    /// What a projection reads, or the arena that a step writes.
    pub(crate) other: SourceBuffer,
    /// Steps that a sequence kernel runs; 0 of others.
    pub(crate) steps: usize,
    /// The step of the chunk, for kernels that are told one.
    pub(crate) step: Option<usize>,
}

impl Plan {
    /// The launch records as the uniform buffer holds them; without a reset mask unless `masked`.
    pub(crate) fn launch_bytes(&self, masked: bool) -> Vec<u8> {
        let stride = usize::try_from(self.uniform_stride).expect("an alignment of some bytes");
        let mut bytes = vec![0u8; stride * self.launches.len()];
        for (launch, slot) in self.launches.iter().zip(bytes.chunks_exact_mut(stride)) {
            let mut launch = launch.clone();
            if !masked {
                launch.mask = 0;
            }
            let words = launch.words();
            slot[..4 * words.len()].copy_from_slice(bytemuck::cast_slice(&words));
        }
        bytes
    }

    /// The dispatches of `operation`; none where it moves data.
    pub(crate) fn dispatches_of<'p>(
        &'p self,
        operation: &'p Operation,
    ) -> Box<dyn Iterator<Item = Dispatch> + Send + 'p> {
        match operation {
            Operation::Project { slices, source, .. } => {
                Box::new(slices.iter().map(|slice| Dispatch {
                    kernel: self.kernels()[0],
                    slice: *slice,
                    other: *source,
                    steps: 0,
                    step: None,
                }))
            }
            Operation::Steps { layers, rows, steps, kernels } => {
                let other = SourceBuffer::Arena(self.memory.arena_of(layers.start));
                Box::new(steps.clone().enumerate().flat_map(move |(step, d)| {
                    let [y, z] = self.step_grid(layers, rows, d);
                    kernels.iter().flat_map(move |kernel| {
                        kernel.slices.iter().map(move |slice| {
                            let slice = LaunchSlice { grid: [slice.grid[0], y, z], ..*slice };
                            Dispatch {
                                kernel: kernel.kernel,
                                slice,
                                other,
                                steps: 0,
                                step: Some(step),
                            }
                        })
                    })
                }))
            }
            Operation::Sequence { cells, slices, .. } => {
                let other = SourceBuffer::Arena(self.memory.arena_of(cells[0].0));
                let steps = cells.iter().map(|(_, steps)| steps.len()).max().unwrap_or(0);
                let kernel = resident::kernel(self.config.reset);
                Box::new(slices.iter().map(move |slice| Dispatch {
                    kernel,
                    slice: *slice,
                    other,
                    steps,
                    step: None,
                }))
            }
            Operation::BeginTile { .. }
            | Operation::Upload { .. }
            | Operation::Download { .. }
            | Operation::EndTile { .. } => Box::new(std::iter::empty()),
        }
    }

    /// Blocks of rows along y of a step's grid for `active` rows.
    pub(crate) fn row_blocks(&self, active: usize) -> u32 {
        u32::try_from(active.div_ceil(self.row_block())).expect("the memory plan bounds grids")
    }

    /// Workgroups along y and z of dispatch `d` of the steps of `layers`: the rows that have not
    /// ended in the layer furthest behind, and the layers that have begun.
    pub(crate) fn step_grid(
        &self,
        layers: &Range<usize>,
        rows: &Range<usize>,
        d: usize,
    ) -> [u32; 2] {
        let behind = (layers.len() - 1).min(d);
        let cells = (behind + 1) * self.config.num_directions();
        [self.row_blocks(self.rows.active(rows, d - behind)), word(cells as u64)]
    }

    /// Rows that a workgroup of a step shares.
    pub(super) fn row_block(&self) -> usize {
        self.geometry.row_block() as usize
    }

    /// Which of its two states (0 even, 1 odd) the row at `position` ends in: a row takes part,
    /// or holds its state, until its block's longest ends. Sequence kernels keep the even one.
    pub(crate) fn final_parity(&self, position: usize) -> usize {
        if self.geometry.resident.is_some() {
            return 0;
        }
        let first = position - position % self.memory.tile_rows;
        let start = position - (position - first) % self.row_block();
        self.rows.length(start) % 2
    }
}
