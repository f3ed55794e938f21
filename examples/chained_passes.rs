//! A GRU in the middle of someone else's wgpu program: a compute pass of the program's own makes
//! sequences of features, the GRU runs over them, another pass of the program's reduces what it
//! gives. One encoder, one submission, and no value comes back to the host on the way.
//!
//! `cargo run --release --example chained_passes [steps [batch]]`

use ndarray::{Array3, ArrayView3, Axis};
use wgru::wgpu::{self, BufferUsages as Usage};
use wgru::{BufferIo, Device, Gru, Inputs, SequenceShape};

/// Waves of many frequencies, `[T, B, I]`: what a feature extractor would leave.
const FEATURES: &str = "
    override steps: u32; override batch: u32; override width: u32;
    @group(0) @binding(0) var<storage, read_write> features: array<f32>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= batch * width || id.y >= steps { return; }
        let frequency = 0.03 * f32(1u + id.x % 17u);
        features[id.y * batch * width + id.x] = sin(frequency * f32(id.y) + f32(id.x));
    }";

/// The loudest unit of each row, by its mean square over time: what a decision would need.
const LOUDEST: &str = "
    override steps: u32; override batch: u32; override width: u32;
    @group(0) @binding(0) var<storage, read> states: array<f32>;
    @group(0) @binding(1) var<storage, read_write> loudest: array<vec2<f32>>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x >= batch { return; }
        var best = vec2<f32>(-1.0, 0.0);
        for (var unit = 0u; unit < width; unit++) {
            var sum = 0.0;
            for (var t = 0u; t < steps; t++) {
                let h = states[(t * batch + id.x) * width + unit];
                sum += h * h;
            }
            if sum > best.x { best = vec2<f32>(sum, f32(unit)); }
        }
        loudest[id.x] = vec2<f32>(best.x / f32(steps), best.y);
    }";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut sizes = std::env::args().skip(1).map(|word| word.parse());
    let steps: usize = sizes.next().unwrap_or(Ok(50))?;
    let batch: usize = sizes.next().unwrap_or(Ok(24))?;
    if steps == 0 || batch == 0 {
        return Err("steps and batch must be at least 1".into());
    }
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pytorch_f32.safetensors");
    let gru = Gru::open(model)?;
    let (inputs, outputs) = (gru.config().input_size, gru.config().output_size());

    // The program's own device, as any wgpu program opens it.
    let (device, queue) = pollster::block_on(open())?;
    let bytes = |values: usize| 4 * values as u64;
    let make = |size, usage| {
        let mapped_at_creation = false;
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation,
        })
    };
    let features = make(bytes(steps * batch * inputs), Usage::STORAGE | Usage::COPY_SRC);
    let states = make(bytes(steps * batch * outputs), Usage::STORAGE);
    let loudest = make(bytes(2 * batch), Usage::STORAGE | Usage::COPY_SRC);
    let back = [&features, &loudest].map(|b| make(b.size(), Usage::MAP_READ | Usage::COPY_DST));
    let sizes = |width| [("steps", steps), ("batch", batch), ("width", width)];
    let extract = Pass::new(&device, FEATURES, &sizes(inputs), &[&features]);
    let reduce = Pass::new(&device, LOUDEST, &sizes(outputs), &[&states, &loudest]);

    // wgru on that device. The session is made once, and so is the prepared run.
    let shape = SequenceShape::new(steps, batch);
    let session = gru.session(&Device::from_wgpu(device.clone(), queue.clone())?, shape)?;
    let io = BufferIo::new(shape, features.slice(..)).output(states.slice(..));
    let prepared = session.prepare(&io)?;

    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let groups = |n: usize| u32::try_from(n.div_ceil(64));
    extract.encode(&mut encoder, groups(batch * inputs)?, u32::try_from(steps)?);
    prepared.encode(&mut encoder)?;
    reduce.encode(&mut encoder, groups(batch)?, 1);
    // Copies for the comparison below; a program that goes on with `loudest` needs none.
    for (from, to) in [&features, &loudest].into_iter().zip(&back) {
        encoder.copy_buffer_to_buffer(from, 0, to, 0, from.size());
    }
    queue.submit([encoder.finish()]);

    for buffer in &back {
        buffer.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("the buffer maps"));
    }
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let read = |buffer: &wgpu::Buffer| -> Outcome<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(&buffer.get_mapped_range(..)?))
    };
    let (features, loudest) = (read(&back[0])?, read(&back[1])?);

    println!("{}: {steps} steps of {batch} rows, {inputs} features", device.adapter_info().name);
    println!("{} dispatches of the GRU between two others, one submission", prepared.dispatches());
    let features = ArrayView3::from_shape((steps, batch, inputs), &features)?;
    let output = gru.session(&Device::cpu(), shape)?.run_with(&Inputs::new(features))?;
    report(&output.hidden_states, &loudest)
}

async fn open() -> Outcome<(wgpu::Device, wgpu::Queue)> {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    let instance = wgpu::Instance::new(descriptor);
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    Ok(adapter.request_device(&wgpu::DeviceDescriptor::default()).await?)
}

/// One of the program's own compute passes.
struct Pass {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
}

impl Pass {
    fn new(
        device: &wgpu::Device,
        wgsl: &str,
        sizes: &[(&str, usize)],
        buffers: &[&wgpu::Buffer],
    ) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(wgsl.into()),
        });
        #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
        let constants: Vec<_> = sizes.iter().map(|(name, n)| (*name, *n as f64)).collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                ..Default::default()
            },
            cache: None,
        });
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let layout = &pipeline.get_bind_group_layout(0);
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
        let group = device.create_bind_group(&descriptor);
        Self { pipeline, group }
    }

    fn encode(&self, encoder: &mut wgpu::CommandEncoder, x: u32, y: u32) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }
}

/// Compares each row's loudest unit with that of the CPU engine's states.
fn report(states: &Array3<f32>, loudest: &[f32]) -> Outcome<()> {
    let means = states.mapv(|h| f64::from(h).powi(2)).mean_axis(Axis(0)).expect("some steps");
    let mut worst = 0.0_f64;
    for (row, (means, got)) in means.outer_iter().zip(loudest.chunks_exact(2)).enumerate() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let unit = got[1] as usize;
        let (mean, most) = (means[unit], means.fold(0.0, |a: f64, b| a.max(*b)));
        let difference = (f64::from(got[0]) - mean).abs().max(most - mean);
        worst = if difference.is_nan() { f64::INFINITY } else { worst.max(difference) };
        if row < 5 {
            println!("row {row}: unit {unit} is the loudest, mean square {:.6}", got[0]);
        }
    }
    println!("largest difference from the CPU engine: {worst:.1e}");
    if worst > 1e-5 {
        return Err("the GPU and the CPU engine disagree".into());
    }
    Ok(())
}
