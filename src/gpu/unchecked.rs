//! The crate's only `unsafe` code: shader modules without run-time checks, and the token of
//! experimental features.
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
    // SAFETY: every text comes from this crate: `shaders/`, with constants from the planner, and what
    // `kernels/resident.rs` writes out, whose indices are constants and those of `shaders/`. Each
    // index is below a bound that the plan enforces: grid sizes are compared with unit_quads, batch
    // and steps before anything is addressed, offsets and strides come from the same memory plan
    // that sized the buffers, and row indices are clamped or padded as each kernel's comments say.
    // Every loop has a constant or plan-given bound, so none runs forever. No integer division has
    // a divisor that can be zero. The test suite runs the kernels both ways.
    // Kernels of `shaders/probe` index by masks below their buffers' lengths, or within a grid that
    // the probe sized the buffer for; their rounds and polls are bounded by the host's parameters.
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

/// Leave to open a device with experimental features: for `probe`, and for devices whose user asks
/// for cooperative matrices.
pub(super) fn experimental_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: the token states that wgpu's experimental interfaces may have defects with undefined
    // behaviour. Only cooperative matrices are requested with it, and only their own kernels use
    // them. The probe does so on a device that it opens for them alone and drops afterwards; its
    // tiles lie within buffers that it sized for the product. Of `shaders/matrix.wgsl`, tiles of
    // weights are whole and lie within the matrix that the plan placed in the buffer, all others
    // within arrays of workgroup memory that constants size; strides and offsets are multiples of
    // 16 bytes; shapes and subgroup size are those that the driver lists; and control flow around
    // them is uniform: it depends on constants and the launch record.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
