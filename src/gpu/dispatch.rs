//! One dispatch of a plan into a compute pass: what host runs and encoded runs share.

use super::pipelines::Pipeline;
use crate::plan::{Dispatch, Plan};

/// Records `dispatch`, whose bind group is `group`.
pub(super) fn record(
    pass: &mut wgpu::ComputePass<'_>,
    plan: &Plan,
    pipeline: &Pipeline,
    group: &wgpu::BindGroup,
    dispatch: &Dispatch,
) {
    let word = |v: u64| u32::try_from(v).expect("uniform buffers are below 4 GiB");
    let launch = word(dispatch.slice.launch as u64 * plan.uniform_stride);
    pass.set_pipeline(&pipeline.pipeline);
    match dispatch.step {
        Some(step) if !plan.immediates => {
            pass.set_bind_group(0, group, &[launch, word(step as u64 * plan.step_stride())]);
        }
        Some(step) => {
            pass.set_bind_group(0, group, &[launch]);
            pass.set_immediates(0, &word(step as u64).to_le_bytes());
        }
        None => pass.set_bind_group(0, group, &[launch]),
    }
    let [x, y, z] = dispatch.slice.grid;
    pass.dispatch_workgroups(x, y, z);
}
