//! Pipelines: one a kernel variant, made once a context.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use super::resources::{Counters, scoped};
use super::unchecked;
use crate::error::Result;
use crate::kernels::{Binding, LaunchRecord, Variant};

/// A compiled kernel and the layout of its only bind group.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

#[derive(Debug, Default)]
pub(super) struct Pipelines {
    made: Mutex<HashMap<Variant, Arc<Pipeline>>>,
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
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(pipeline) = made.get(variant) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(compile(device, counters, checked, variant, &variant.wgsl())?);
        made.insert(*variant, Arc::clone(&pipeline));
        Ok(pipeline)
    }
}

/// Compiles `wgsl`, the text of `variant`.
pub(super) fn compile(
    device: &wgpu::Device,
    counters: &Counters,
    checked: bool,
    variant: &Variant,
    wgsl: &str,
) -> Result<Pipeline> {
    counters.pipeline();
    let label = format!("wgru.{}", variant.kernel.name());
    scoped(device, &format!("kernel {}", variant.kernel.name()), || {
        let entries: Vec<_> = variant
            .kernel
            .bindings()
            .iter()
            .filter(|(_, role, _)| *role != Binding::Step || !variant.immediates)
            .map(|&(binding, role, written)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: binding_type(role, written, variant),
                count: None,
            })
            .collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: if variant.immediates { 4 } else { 0 },
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

fn binding_type(role: Binding, written: bool, variant: &Variant) -> wgpu::BindingType {
    let (ty, dynamic, least) = match role {
        Binding::Launch => {
            let size = LaunchRecord::size(variant.cells as usize);
            (wgpu::BufferBindingType::Uniform, true, size)
        }
        Binding::Step => (wgpu::BufferBindingType::Uniform, true, 16),
        _ => (wgpu::BufferBindingType::Storage { read_only: !written }, false, 4),
    };
    wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: dynamic,
        min_binding_size: NonZeroU64::new(if dynamic { least } else { 0 }),
    }
}
