//! Pipelines: one a kernel variant, made once a context.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use super::resources::{Counters, scoped};
use super::unchecked;
use crate::error::Result;
use crate::kernels::{Binding, LaunchRecord, RelayBinding, RelayKernel, RelayRecord, Variant};

/// A compiled kernel and the layout of its only bind group.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

#[derive(Debug, Default)]
pub(super) struct Pipelines {
    made: Mutex<HashMap<Variant, Arc<Pipeline>>>,
    relays: Mutex<HashMap<RelayKernel, Arc<Pipeline>>>,
}

impl Pipelines {
    /// The pipeline of `variant`, compiled at its first use.
    pub(super) fn get(
        &self,
        device: &wgpu::Device,
        counters: &Counters,
        checked: bool,
        variant: &Variant,
    ) -> Result<Arc<Pipeline>> {
        made_once(&self.made, *variant, || {
            compile(device, counters, checked, variant, &variant.wgsl())
        })
    }

    /// The pipeline of a relay kernel, compiled at its first use.
    pub(super) fn relay(
        &self,
        device: &wgpu::Device,
        counters: &Counters,
        checked: bool,
        kernel: RelayKernel,
    ) -> Result<Arc<Pipeline>> {
        made_once(&self.relays, kernel, || compile_relay(device, counters, checked, kernel))
    }
}

fn made_once<K: Hash + Eq>(
    made: &Mutex<HashMap<K, Arc<Pipeline>>>,
    key: K,
    make: impl FnOnce() -> Result<Pipeline>,
) -> Result<Arc<Pipeline>> {
    let mut made = made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(pipeline) = made.get(&key) {
        return Ok(Arc::clone(pipeline));
    }
    let pipeline = Arc::new(make()?);
    made.insert(key, Arc::clone(&pipeline));
    Ok(pipeline)
}

/// Compiles `wgsl`, the text of `variant`.
pub(super) fn compile(
    device: &wgpu::Device,
    counters: &Counters,
    checked: bool,
    variant: &Variant,
    wgsl: &str,
) -> Result<Pipeline> {
    let entries = variant
        .kernel
        .bindings()
        .iter()
        .filter(|(_, role, _)| *role != Binding::Step || !variant.immediates)
        .map(|&(binding, role, written)| {
            let uniform = match role {
                Binding::Launch => Some(LaunchRecord::size(variant.cells as usize)),
                Binding::Step => Some(16),
                _ => None,
            };
            entry(binding, uniform, written)
        })
        .collect::<Vec<_>>();
    let immediates = if variant.immediates { 4 } else { 0 };
    build(device, counters, checked, variant.kernel.name(), &entries, immediates, wgsl)
}

fn compile_relay(
    device: &wgpu::Device,
    counters: &Counters,
    checked: bool,
    kernel: RelayKernel,
) -> Result<Pipeline> {
    let entries = (0..)
        .zip(kernel.bindings())
        .map(|(binding, (role, written))| {
            let uniform = (role == RelayBinding::Relay).then_some(RelayRecord::SIZE);
            entry(binding, uniform, written)
        })
        .collect::<Vec<_>>();
    build(device, counters, checked, kernel.name(), &entries, 0, &kernel.wgsl())
}

/// A uniform of so many bytes at a dynamic offset, or a storage buffer.
fn entry(binding: u32, uniform: Option<u64>, written: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: match uniform {
                Some(_) => wgpu::BufferBindingType::Uniform,
                None => wgpu::BufferBindingType::Storage { read_only: !written },
            },
            has_dynamic_offset: uniform.is_some(),
            min_binding_size: uniform.and_then(NonZeroU64::new),
        },
        count: None,
    }
}

/// A pipeline of the entry point `main` of `wgsl`, with one bind group.
fn build(
    device: &wgpu::Device,
    counters: &Counters,
    checked: bool,
    name: &str,
    entries: &[wgpu::BindGroupLayoutEntry],
    immediate_size: u32,
    wgsl: &str,
) -> Result<Pipeline> {
    counters.pipeline();
    let label = format!("wgru.{name}");
    scoped(device, &format!("kernel {name}"), || {
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size,
        });
        let module = unchecked::shader_module(device, &label, wgsl, checked);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Kernels write what they read of it; clearing it takes seconds of some drivers.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    })
}
