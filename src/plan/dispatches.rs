//! The dispatches of an operation, in the order in which they are recorded.

use super::{LaunchSlice, Operation, Plan, SourceBuffer};
use crate::kernels::Kernel;

/// One dispatch, as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dispatch {
    pub(crate) kernel: Kernel,
    pub(crate) slice: LaunchSlice,
    /// What a projection reads, or the arena that a step writes.
    pub(crate) other: SourceBuffer,
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
                    kernel: Kernel::InputProjection,
                    slice: *slice,
                    other: *source,
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
                            Dispatch { kernel: kernel.kernel, slice, other, step: Some(step) }
                        })
                    })
                }))
            }
            Operation::BeginTile { .. }
            | Operation::Upload { .. }
            | Operation::Download { .. }
            | Operation::EndTile { .. } => Box::new(std::iter::empty()),
        }
    }
}
