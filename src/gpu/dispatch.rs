//! One dispatch of a plan into a compute pass: what host runs and encoded runs share.

use super::pipelines::Pipeline;
use crate::kernels::Kernel;
use crate::plan::{Dispatch, Plan, SourceBuffer};

/// What a compute pass has been told: what a dispatch shares with the one before is not said
/// again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pipeline: Option<Kernel>,
    /// The weight buffer, the other buffer and the dynamic offsets.
    group: Option<(usize, SourceBuffer, [u32; 2])>,
}

impl Told {
    /// Records `dispatch`, whose bind group is `group`, into the pass that this tells of.
    pub(super) fn record(
        &mut self,
        pass: &mut wgpu::ComputePass<'_>,
        plan: &Plan,
        pipeline: &Pipeline,
        group: &wgpu::BindGroup,
        dispatch: &Dispatch,
    ) {
        let word = |v: u64| u32::try_from(v).expect("uniform buffers are below 4 GiB");
        let kernel = dispatch.kernel;
        if self.pipeline != Some(kernel) {
            pass.set_pipeline(&pipeline.pipeline);
            *self = Self { pipeline: Some(kernel), group: None };
        }
        let slotted = dispatch.step.filter(|_| !plan.immediates);
        let offsets = [
            word(dispatch.slice.launch as u64 * plan.uniform_stride),
            slotted.map_or(0, |step| word(step as u64 * plan.step_stride())),
        ];
        let told = Some((dispatch.slice.weights, dispatch.other, offsets));
        if self.group != told {
            let count = 1 + usize::from(slotted.is_some());
            pass.set_bind_group(0, group, &offsets[..count]);
            self.group = told;
        }
        if let (Some(step), true) = (dispatch.step, plan.immediates) {
            pass.set_immediates(0, &word(step as u64).to_le_bytes());
        }
        let [x, y, z] = dispatch.slice.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}
