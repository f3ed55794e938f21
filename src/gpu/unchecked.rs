//! The crate's only `unsafe` code: shader modules without run-time checks.
#![expect(unsafe_code, reason = "this module exists to hold it")]

/// Compiles `wgsl`. With `checked` false the driver's code omits index clamping and the loop
/// counters that wgpu adds by default.
pub(super) fn shader_module(
    device: &wgpu::Device,
    label: &str,
    wgsl: &str,
    checked: bool,
) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(label),
        source: wgpu::ShaderSource::Wgsl(wgsl.into()),
    };
    if checked {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: every text comes from this crate's `shaders/`, with constants from the planner. Each
    // index is below a bound that the plan enforces: grid sizes are compared with unit_quads, batch
    // and steps before anything is addressed, offsets and strides come from the same memory plan
    // that sized the buffers, and row indices are clamped or padded as each kernel's comments say.
    // Every loop has a constant or plan-given bound, so none runs forever. No integer division has
    // a divisor that can be zero. The test suite runs the kernels both ways.
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}
