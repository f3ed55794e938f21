//! The host's part of a run, and the CPU engine: `cargo bench`. Under `cargo test --benches` each
//! runs once.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ndarray::Array3;
use wgru::{
    Capabilities, Device, Directions, Gru, GruConfig, Plan, PlanOptions, ResetForm, SequenceShape,
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

/// A run on a device that does nothing: recording, submitting, staging.
fn recording(c: &mut Criterion) {
    let device = noop().expect("wgpu has its backend that does nothing");
    let mut group = c.benchmark_group("record");
    for (steps, batch, reset) in
        [(100, 1, ResetForm::After), (100, 1, ResetForm::Before), (1000, 8, ResetForm::After)]
    {
        let gru = network(64, 1, Directions::Forward, reset);
        let shape = SequenceShape::new(steps, batch);
        let mut session = gru.session(&device, shape).expect("a session");
        let input = Array3::<f32>::zeros((steps, batch, 64));
        group.bench_function(BenchmarkId::new(format!("reset-{reset}"), shape), |b| {
            b.iter(|| session.run(input.view()).expect("a run"));
        });
    }
    group.finish();
}

/// A device of wgpu's backend that validates calls and computes nothing.
fn noop() -> wgru::Result<Device> {
    let noop = wgpu::NoopBackendOptions { enable: true, ..Default::default() };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions { noop, ..Default::default() },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default());
    let adapter = pollster::block_on(adapter).expect("the backend has an adapter");
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_limits: adapter.limits(),
        ..Default::default()
    }))
    .expect("the adapter opens");
    Device::from_wgpu(device, queue)
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

criterion_group!(benches, planning, packing, recording, cpu);
criterion_main!(benches);
