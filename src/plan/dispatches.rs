//! The dispatches of an operation, in the order in which they are recorded.

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
    /// The dispatches of `operation`; none where it moves data.
    pub(crate) fn dispatches_of<'p>(
        &'p self,
        operation: &'p Operation,
    ) -> Box<dyn Iterator<Item = Dispatch> + Send + 'p> {
        match operation {
            Operation::Project { slices, source, .. } => {
                Box::new(slices.iter().map(|slice| Dispatch {
                    kernel: Kernel::InputProjection,
                    slice: *slice,
                    other: *source,
                    steps: 0,
                    step: None,
                }))
            }
            Operation::Steps { layer, rows, steps, kernels } => {
                let other = SourceBuffer::Arena(self.memory.arena_of(*layer));
                Box::new(steps.clone().enumerate().flat_map(move |(step, k)| {
                    let blocks = self.row_blocks(self.rows.active(rows, k));
                    kernels.iter().flat_map(move |kernel| {
                        kernel.slices.iter().map(move |slice| {
                            let [x, _, z] = slice.grid;
                            let slice = LaunchSlice { grid: [x, blocks, z], ..*slice };
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
            Operation::Sequence { layer, steps, slices, .. } => {
                let other = SourceBuffer::Arena(self.memory.arena_of(*layer));
                let kernel = resident::kernel(self.config.reset);
                Box::new(slices.iter().map(move |slice| Dispatch {
                    kernel,
                    slice: *slice,
                    other,
                    steps: steps.len(),
                    step: None,
                }))
            }
            Operation::BeginTile { .. }
            | Operation::Upload { .. }
            | Operation::Download { .. }
            | Operation::EndTile { .. } => Box::new(std::iter::empty()),
        }
    }
}
