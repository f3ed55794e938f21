//! The host's part of a run, and the CPU engine: `cargo bench`. Under `cargo test --benches` each
//! runs once.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, criterion_group, criterion_main};
use ndarray::Array3;
use wgru::{
    BufferIo, Capabilities, Device, Directions, Gru, GruConfig, KernelFamily, Plan, PlanOptions,
    ResetForm, SequenceShape, Session,
};

fn network(hidden: usize, layers: usize, directions: Directions, reset: ResetForm) -> Gru {
    let mut config = GruConfig::new(hidden, hidden);
    (config.num_layers, config.directions, config.reset) = (layers, directions, reset);
    Gru::random(config, 1).expect("the weights fit into memory")
}

/// Plans for a GPU: of many steps, and of many rows that end at different steps.
fn planning(c: &mut Criterion) {
    let gpu = Capabilities { integrated: false, immediates: true, ..Capabilities::downlevel() };
    let gru = network(256, 2, Directions::Bidirectional, ResetForm::Before);
    let options = PlanOptions::default();
    let mut group = c.benchmark_group("plan");
    for (steps, batch) in [(100, 1), (1000, 64)] {
        let shape = SequenceShape::new(steps, batch);
        group.bench_function(BenchmarkId::new("full", shape), |b| {
            b.iter(|| Plan::new(black_box(gru.config()), shape, &gpu, &options));
        });
        let lengths: Vec<usize> = (0..batch).map(|row| steps - row % steps).collect();
        group.bench_function(BenchmarkId::new("ragged", shape), |b| {
            b.iter(|| Plan::with_lengths(black_box(gru.config()), shape, &lengths, &gpu, &options));
        });
    }
    group.finish();
}

/// A session's making: weights in the order of the CPU engine's kernels.
fn packing(c: &mut Criterion) {
    let mut group = c.benchmark_group("pack for the CPU");
    for hidden in [64, 512] {
        let gru = network(hidden, 1, Directions::Forward, ResetForm::After);
        let shape = SequenceShape::new(1, 1);
        group.bench_function(BenchmarkId::from_parameter(hidden), |b| {
            b.iter(|| black_box(&gru).session(&Device::cpu(), shape));
        });
    }
    group.finish();
}

/// Steps of a run whose cost is divided by them.
const STEPS: usize = 1000;

/// What one step costs the host, on a device that computes nothing: every time is that of a run,
/// divided by its steps. `host run` takes arrays and gives arrays; `encode` is
/// `PreparedRun::encode` and the encoder's `finish`; `copies` is the part of a host run that moving
/// its bytes takes.
fn host_cost(c: &mut Criterion) {
    let (device, queue) = noop();
    let wgru = Device::from_wgpu(device.clone(), queue).expect("the device admits plans");
    let mut group = c.benchmark_group("a step on the host");
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_millis(500)).sample_size(10);
    for directions in [Directions::Forward, Directions::Bidirectional] {
        for reset in [ResetForm::After, ResetForm::Before] {
            for (batch, hidden) in [1, 8, 32].into_iter().flat_map(|b| [(b, 64), (b, 256)]) {
                let gru = network(hidden, 1, directions, reset);
                let both =
                    if gru.config().num_directions() == 2 { ", both directions" } else { "" };
                let row = format!("reset-{reset}, H {hidden}, B {batch}{both}");
                let shape = SequenceShape::new(STEPS, batch);
                let name = |what| BenchmarkId::new(what, &row);
                group.bench_function(name("host run"), |b| host_run(b, &gru, &wgru, shape));
                group.bench_function(name("encode"), |b| encode(b, &gru, &wgru, &device, shape));
                if reset == ResetForm::After {
                    group.bench_function(name("copies"), |b| copies(b, &gru, shape));
                }
            }
        }
    }
    group.finish();
}

/// The step kernels, whose steps the host records one by one.
fn stepwise(gru: &Gru, device: &Device, shape: SequenceShape) -> Session {
    let family = Some(KernelFamily::Step);
    let options = PlanOptions { family, ..PlanOptions::default() };
    gru.session_with(device, shape, &options).expect("a session")
}

fn host_run(b: &mut Bencher<'_>, gru: &Gru, device: &Device, shape: SequenceShape) {
    let mut session = stepwise(gru, device, shape);
    let input = Array3::<f32>::zeros((shape.steps, shape.batch, gru.config().input_size));
    per_step(b, || session.run(input.view()).expect("a run"));
}

fn encode(
    b: &mut Bencher<'_>,
    gru: &Gru,
    device: &Device,
    raw: &wgpu::Device,
    shape: SequenceShape,
) {
    let session = stepwise(gru, device, shape);
    let buffer = |features: usize| {
        raw.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: (4 * shape.steps * shape.batch * features) as u64,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    };
    let (input, output) = (buffer(gru.config().input_size), buffer(gru.config().output_size()));
    let io = BufferIo::new(shape, input.slice(..)).output(output.slice(..));
    let prepared = session.prepare(&io).expect("a run on these buffers");
    per_step(b, || {
        let mut encoder = raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        prepared.encode(&mut encoder).expect("an encoder of the device");
        encoder.finish()
    });
}

/// The copies of a host run without the run, between buffers of the same sizes in the same order:
/// the input to staging and from there to the device's buffer, which this device does itself, the
/// output from there to staging and to an array that is made anew.
fn copies(b: &mut Bencher<'_>, gru: &Gru, shape: SequenceShape) {
    let of = |features: usize| shape.steps * shape.batch * features;
    let (input, output) = (of(gru.config().input_size), of(gru.config().output_size()));
    // As large as a staging buffer is at most; there are two each way.
    let piece = ((8 << 20) / 4).min(input.max(output));
    let [mut staging, mut staging_down] = [(); 2].map(|()| [(); 2].map(|()| vec![1f32; piece]));
    let whole = gru.config().num_directions() == 2;
    let [mut device_in, device_out] =
        [input, output].map(|all| vec![1f32; if whole { all } else { piece }]);
    let input = vec![1f32; input];
    per_step(b, || {
        let mut result = vec![0f32; output];
        let mut up = |n: usize, from: &[f32]| {
            staging[n % 2][..from.len()].copy_from_slice(from);
            let at = if whole { n * piece } else { 0 };
            device_in[at..at + from.len()]
                .copy_from_slice(black_box(&staging[n % 2][..from.len()]));
        };
        let mut ins = input.chunks(piece).enumerate();
        if whole {
            ins.by_ref().for_each(|(n, from)| up(n, from));
        }
        for (n, to) in result.chunks_mut(piece).enumerate() {
            if let Some((n, from)) = ins.next() {
                up(n, from);
            }
            let at = if whole { n * piece } else { 0 };
            let down = &mut staging_down[n % 2][..to.len()];
            down.copy_from_slice(black_box(&device_out[at..at + to.len()]));
            to.copy_from_slice(black_box(down));
        }
        black_box(&device_in);
        result
    });
}

/// Times `run`, which is of [`STEPS`] steps, by the step.
fn per_step<R>(b: &mut Bencher<'_>, mut run: impl FnMut() -> R) {
    b.iter_custom(|times| {
        let begin = Instant::now();
        for _ in 0..times {
            black_box(run());
        }
        begin.elapsed() / u32::try_from(STEPS).expect("a small number")
    });
}

/// A device of wgpu's backend that validates calls and computes nothing; it tells steps by
/// immediates, as GPUs do.
fn noop() -> (wgpu::Device, wgpu::Queue) {
    let noop = wgpu::NoopBackendOptions { enable: true, ..Default::default() };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions { noop, ..Default::default() },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default());
    let adapter = pollster::block_on(adapter).expect("the backend has an adapter");
    pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: wgpu::Features::IMMEDIATES,
        required_limits: adapter.limits(),
        ..Default::default()
    }))
    .expect("the adapter opens")
}

/// The CPU engine: one step of one stream, and sequences.
fn cpu(c: &mut Criterion) {
    let mut group = c.benchmark_group("CPU engine");
    for reset in [ResetForm::After, ResetForm::Before] {
        for (name, hidden, steps, batch) in [
            ("one step", 64, 1, 1),
            ("one step", 256, 1, 1),
            ("sequence", 64, 100, 1),
            ("batch", 128, 20, 32),
        ] {
            let gru = network(hidden, 1, Directions::Forward, reset);
            let shape = SequenceShape::new(steps, batch);
            let mut session = gru.session(&Device::cpu(), shape).expect("a session");
            let input = Array3::<f32>::from_elem((steps, batch, hidden), 0.5);
            let id =
                BenchmarkId::new(format!("{name}, reset-{reset}"), format!("H {hidden} {shape}"));
            group.bench_function(id, |b| b.iter(|| session.run(black_box(input.view()))));
        }
    }
    group.finish();
}

criterion_group!(benches, planning, packing, host_cost, cpu);
criterion_main!(benches);
