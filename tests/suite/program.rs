//! A program of someone else's that uses wgpu: its device, buffers and commands.

use std::sync::{Arc, Mutex};

use ndarray::Array3;
use wgru::wgpu::{self, BufferUsages as Usage};
use wgru::{Device, GpuContext, GpuOptions};

use crate::adapters;
use crate::engines::Engine;

/// A device that the tests opened themselves, and this crate's context on it.
pub(crate) struct Program {
    adapter: wgpu::Adapter,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) context: GpuContext,
    /// What the program's own handler was told.
    errors: Arc<Mutex<Vec<String>>>,
}

/// What fills a buffer around an array, and an output before a run.
pub(crate) const SENTINEL: f32 = -7.25;

impl Program {
    /// A device on `engine`'s adapter, with the adapter's limits or, where the engine is a device
    /// without optional features, with WebGPU's.
    pub(crate) fn new(engine: &Engine) -> Self {
        let (wanted, options) = engine.adapter().expect("the engine is an adapter");
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        let instance = wgpu::Instance::new(descriptor);
        let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = found
            .into_iter()
            .find(|adapter| {
                let info = adapter.get_info();
                info.name == wanted.name && format!("{:?}", info.backend) == wanted.backend
            })
            .expect("the engine's adapter is found again");
        let (device, queue) = open(&adapter, &options);
        let errors = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&errors);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            list.lock().unwrap().push(error.to_string());
        }));
        let context = GpuContext::from_wgpu(device.clone(), queue.clone(), &options).unwrap();
        assert_eq!(adapters::title(context.adapter()), adapters::title(&wanted));
        Self { adapter, device, queue, context, errors }
    }

    pub(crate) fn wgru_device(&self) -> Device {
        Device::from_context(self.context.clone())
    }

    /// Another device on the same adapter.
    pub(crate) fn other_device(&self) -> (wgpu::Device, wgpu::Queue) {
        open(&self.adapter, &GpuOptions::default())
    }

    pub(crate) fn adapter(&self) -> &wgpu::Adapter {
        &self.adapter
    }

    /// Takes what the program's handler was told so far.
    pub(crate) fn errors(&self) -> Vec<String> {
        std::mem::take(&mut self.errors.lock().unwrap())
    }

    /// A buffer of `values` between `before` and some more sentinels.
    pub(crate) fn buffer(&self, values: &[f32], before: usize, usage: Usage) -> wgpu::Buffer {
        buffer(&self.device, values, before, usage)
    }

    /// A buffer of sentinels with room for `len` values after `before` others.
    pub(crate) fn room(&self, len: usize, before: usize) -> wgpu::Buffer {
        self.buffer(&vec![SENTINEL; len], before, Usage::STORAGE | Usage::COPY_SRC)
    }

    pub(crate) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// All values of `buffer`, after what was submitted.
    pub(crate) fn read(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        let back = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: Usage::MAP_READ | Usage::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, 0, &back, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        back.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let view = back.get_mapped_range(..).unwrap();
        bytemuck::pod_collect_to_vec(&view)
    }

    /// The array of shape `dim` after `before` sentinels of `buffer`.
    ///
    /// # Panics
    /// Where a value around the array was written.
    pub(crate) fn array(
        &self,
        what: &str,
        buffer: &wgpu::Buffer,
        before: usize,
        dim: (usize, usize, usize),
    ) -> Array3<f32> {
        let values = self.read(buffer);
        let len = dim.0 * dim.1 * dim.2;
        let around = values[..before].iter().chain(&values[before + len..]);
        assert!(around.clone().count() > 0, "{what}: something is around the array");
        assert!(
            around.into_iter().all(|v| *v == SENTINEL),
            "{what}: a value beside it was written"
        );
        Array3::from_shape_vec(dim, values[before..before + len].to_vec()).unwrap()
    }
}

pub(crate) fn buffer(
    device: &wgpu::Device,
    values: &[f32],
    before: usize,
    usage: Usage,
) -> wgpu::Buffer {
    let mut all = vec![SENTINEL; before];
    all.extend(values);
    all.extend([SENTINEL; 3]);
    let made = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * all.len() as u64,
        usage,
        mapped_at_creation: true,
    });
    let bytes: &[u8] = bytemuck::cast_slice(&all);
    made.get_mapped_range_mut(..).unwrap().copy_from_slice(bytes);
    made.unmap();
    made
}

fn open(adapter: &wgpu::Adapter, options: &GpuOptions) -> (wgpu::Device, wgpu::Queue) {
    let (features, limits) = match options.downlevel {
        // The GL adapters have a few limits below WebGPU's.
        true => (
            wgpu::Features::empty(),
            wgpu::Limits::default().or_worse_values_from(&adapter.limits()),
        ),
        false => (adapter.features() & wgpu::Features::IMMEDIATES, adapter.limits()),
    };
    pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: features,
        required_limits: limits,
        ..Default::default()
    }))
    .expect("the adapter opens")
}
