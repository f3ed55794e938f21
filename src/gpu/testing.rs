//! What tests need of a device beyond the product's own calls.

use std::sync::{Arc, Mutex};

use super::adapters::{self, AdapterDescription, AdapterKind, MATRIX_FEATURES};
use super::buffers::BufferIo;
use super::context::{GpuContext, GpuOptions};
use super::pipelines::compile;
use super::session::GpuSession;
use super::slots::GpuSlots;
use super::unchecked::experimental_features;
use crate::device::Device;
use crate::error::Result;
use crate::kernels::Kernel;
use crate::model::Gru;
use crate::plan::{Capabilities, PlanOptions};
use crate::sequence::Inputs;

/// Errors that no scope of the crate caught.
pub(crate) type Uncaught = Arc<Mutex<Vec<String>>>;

/// Objects that wgpu holds on a device, its own among them. (How many command encoders its pool
/// holds depends on how fast the device was.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveObjects {
    pub(crate) buffers: isize,
    pub(crate) bind_groups: isize,
    pub(crate) bind_group_layouts: isize,
    pub(crate) pipelines: isize,
    pub(crate) shader_modules: isize,
}

/// What host runs do with the queue, in order; submissions by their printed index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Submitted(String),
    Awaited(String),
}

impl GpuContext {
    pub(super) fn note(&self, event: Event) {
        self.inner.events.lock().unwrap().push(event);
    }

    /// The events since the last call.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.inner.events.lock().unwrap())
    }

    /// A device of wgpu's backend that validates every call and computes nothing, with the limits
    /// and features that `capabilities` name and no others.
    pub(crate) fn noop(capabilities: &Capabilities) -> (Self, Uncaught) {
        let mut features = wgpu::Features::empty();
        features.set(wgpu::Features::IMMEDIATES, capabilities.immediates);
        let matrices = capabilities.cooperative_matrices.is_some();
        features.set(MATRIX_FEATURES, matrices);
        let limits = wgpu::Limits {
            max_storage_buffer_binding_size: capabilities.max_storage_binding,
            max_buffer_size: capabilities.max_buffer,
            max_storage_buffers_per_shader_stage: capabilities.max_storage_buffers,
            max_compute_workgroups_per_dimension: capabilities.max_workgroups,
            max_compute_invocations_per_workgroup: capabilities.max_invocations,
            max_compute_workgroup_storage_size: capabilities.max_workgroup_memory,
            max_compute_workgroup_size_x: capabilities.max_invocations,
            max_compute_workgroup_size_y: capabilities.max_invocations,
            max_uniform_buffer_binding_size: capabilities.max_uniform_binding,
            min_uniform_buffer_offset_alignment: capabilities.uniform_alignment,
            max_immediate_size: if capabilities.immediates { 4 } else { 0 },
            ..wgpu::Limits::downlevel_defaults()
        };
        let backend_options = wgpu::BackendOptions {
            noop: wgpu::NoopBackendOptions { enable: true, ..Default::default() },
            ..Default::default()
        };
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            backend_options,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default());
        let adapter = pollster::block_on(adapter).unwrap();
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: features,
            required_limits: limits,
            experimental_features: match matrices {
                true => experimental_features(),
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            ..Default::default()
        }))
        .unwrap();
        let description = AdapterDescription {
            index: 0,
            name: "noop".into(),
            backend: "Noop".into(),
            driver: String::new(),
            kind: AdapterKind::Other,
            pci_ids: [0, 0],
            subgroup_sizes: [0, 0],
            features: Vec::new(),
            workgroup_memory: 0,
            cooperative_matrices: Err("it computes nothing"),
            capabilities: capabilities.clone(),
        };
        let context =
            Self::from_device(device, queue, description, capabilities.clone(), true, true);
        let uncaught = Uncaught::default();
        let list = Arc::clone(&uncaught);
        let record = move |error: wgpu::Error| list.lock().unwrap().push(error.to_string());
        context.inner.device.on_uncaptured_error(Arc::new(record));
        (context, uncaught)
    }

    /// Runs `inputs` (with an initial state) on buffers of a program that opened adapter `index`
    /// itself, with cooperative matrices; and, in the same session, from the host. The states and
    /// the final states of both.
    pub(crate) fn matrices_of_a_caller(
        index: usize,
        gru: &Gru,
        options: &PlanOptions,
        inputs: &Inputs<'_, f32>,
    ) -> Result<[[Vec<f32>; 2]; 2]> {
        use wgpu::BufferUsages as Usage;
        let adapter = adapters::enumerate().swap_remove(index);
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: MATRIX_FEATURES,
            required_limits: adapter.limits(),
            experimental_features: experimental_features(),
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request).unwrap();
        let opened = GpuOptions { cooperative_matrices: true, ..GpuOptions::default() };
        let context = Self::from_wgpu(device.clone(), queue.clone(), &opened)?;
        let (shape, config) = (inputs.shape(), gru.config());
        let mut session = gru.session_with(&Device::from_context(context), shape, options)?;
        let make = |values: usize| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 4 * values as u64,
                usage: Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC,
                mapped_at_creation: false,
            })
        };
        let put = |values: &[f32]| {
            let buffer = make(values.len());
            queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
            buffer
        };
        let initial = inputs.initial_state.unwrap();
        let source = put(inputs.input.as_slice().unwrap());
        let initial = put(initial.as_slice().unwrap());
        let output = make(shape.steps * shape.batch * config.output_size());
        let end = make(config.state_planes() * shape.batch * config.hidden_size);
        let mut io = BufferIo::new(shape, source.slice(..))
            .initial_state(initial.slice(..))
            .output(output.slice(..))
            .final_state(end.slice(..));
        io.lengths = inputs.lengths;
        session.run_buffers(&io)?;
        let read = |buffer: &wgpu::Buffer| {
            let back = device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: buffer.size(),
                usage: Usage::MAP_READ | Usage::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(buffer, 0, &back, 0, buffer.size());
            queue.submit([encoder.finish()]);
            back.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
            device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
            bytemuck::pod_collect_to_vec(&back.get_mapped_range(..).unwrap())
        };
        let on_buffers = [read(&output), read(&end)];
        let host = session.run_with(inputs)?;
        let values = |array: &ndarray::Array3<f32>| array.iter().copied().collect();
        Ok([on_buffers, [values(&host.hidden_states), values(&host.final_state)]])
    }

    /// What wgpu itself counts; zeros on the noop backend.
    pub(crate) fn live_objects(&self) -> LiveObjects {
        // Objects of submissions that have finished are dropped at a poll.
        self.inner.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let hal = self.inner.device.get_internal_counters().hal;
        LiveObjects {
            buffers: hal.buffers.read(),
            bind_groups: hal.bind_groups.read(),
            bind_group_layouts: hal.bind_group_layouts.read(),
            pipelines: hal.compute_pipelines.read(),
            shader_modules: hal.shader_modules.read(),
        }
    }

    /// Runs the entry point `main` of `wgsl` with `groups` workgroups on storage buffers at
    /// bindings 0 (read) and 1 (written, as long as the first); returns what it wrote.
    pub(crate) fn evaluate(&self, wgsl: &str, input: &[u32], groups: u32) -> Vec<u32> {
        use wgpu::BufferUsages as Usage;
        let (device, queue) = (&self.inner.device, &self.inner.queue);
        let size = 4 * input.len() as u64;
        let make = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let source = make(Usage::STORAGE | Usage::COPY_DST);
        let result = make(Usage::STORAGE | Usage::COPY_SRC);
        let back = make(Usage::MAP_READ | Usage::COPY_DST);
        queue.write_buffer(&source, 0, bytemuck::cast_slice(input));
        let module = super::unchecked::shader_module(device, "test", wgsl, true);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: source.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: result.as_entire_binding() },
            ],
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(groups, 1, 1);
        }
        encoder.copy_buffer_to_buffer(&result, 0, &back, 0, size);
        queue.submit([encoder.finish()]);
        back.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let view = back.get_mapped_range(..).unwrap();
        bytemuck::pod_collect_to_vec(&view)
    }
}

impl GpuSession {
    /// Runs `wgsl` in place of `kernel` from now on.
    pub(crate) fn replace_kernel(&mut self, kernel: Kernel, wgsl: &str) -> Result<()> {
        let inner = &self.context.inner;
        let variant = self.plan().variant(kernel);
        let made = compile(&inner.device, &inner.counters, inner.checked, &variant, wgsl)?;
        self.pipelines.insert(kernel, Arc::new(made));
        self.bind_groups.clear();
        Ok(())
    }
}

impl GpuSlots {
    /// Exchanges states with `wgsl` from now on.
    pub(crate) fn replace_kernel(&mut self, session: &GpuSession, wgsl: &str) -> Result<()> {
        let inner = &session.context.inner;
        let variant = session.plan().slot_variant();
        let made = compile(&inner.device, &inner.counters, inner.checked, &variant, wgsl)?;
        self.set_pipeline(session, Arc::new(made))
    }
}
