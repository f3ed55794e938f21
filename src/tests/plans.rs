//! Plans: as text, at extreme sizes, and where they are refused.

use super::plan_invariants::check;
use crate::plan::{Capabilities, Operation, Plan, PlanOptions, Residency, RowOrder};
use crate::*;

pub(super) fn gpu() -> Capabilities {
    Capabilities {
        max_storage_binding: (2 << 30) - 4,
        max_buffer: 8 << 30,
        max_storage_buffers: 16,
        max_workgroups: 65535,
        max_invocations: 1024,
        max_workgroup_memory: 48 << 10,
        uniform_alignment: 64,
        max_uniform_binding: 64 << 10,
        immediates: true,
        software: false,
        software_driver: SoftwareDriver::Llvmpipe22,
        integrated: false,
        measured_gflops: None,
        cooperative_matrices: None,
    }
}

fn software() -> Capabilities {
    Capabilities { software: true, ..Capabilities::downlevel() }
}

pub(super) fn bidirectional(input_size: usize, hidden_size: usize, num_layers: usize) -> GruConfig {
    let directions = Directions::Bidirectional;
    GruConfig { num_layers, directions, ..GruConfig::new(input_size, hidden_size) }
}

/// Operations at the beginning of a printed plan.
const LISTED: usize = 12;

fn text(plan: &Plan) -> String {
    use std::fmt::Write;
    let mut text = plan.to_string();
    writeln!(text, "operations: {}", plan.operations.len()).unwrap();
    for operation in plan.operations.iter().take(LISTED) {
        writeln!(text, "  {operation:?}").unwrap();
    }
    writeln!(text, "launches: {}", plan.launches.len()).unwrap();
    for launch in plan.launches.iter().take(2) {
        writeln!(text, "  {launch:?}").unwrap();
    }
    text
}

/// Plans as text, to be reviewed as a diff. `WGRU_UPDATE_SNAPSHOTS=1` rewrites the files.
#[test]
fn printed_plans_are_as_reviewed() {
    let before = |config| GruConfig { reset: ResetForm::Before, ..config };
    let options = PlanOptions::default;
    let cases = [
        ("one_layer", GruConfig::new(3, 5), (4, 2), Capabilities::downlevel(), options()),
        (
            "two_layers_chunked",
            GruConfig { num_layers: 2, ..GruConfig::new(80, 512) },
            (1000, 32),
            software(),
            options(),
        ),
        (
            "bidirectional_reset_before",
            before(bidirectional(40, 128, 2)),
            (50, 16),
            gpu(),
            PlanOptions { family: Some(KernelFamily::Step), ..options() },
        ),
        (
            "sequence_of_three_layers",
            GruConfig { num_layers: 3, ..GruConfig::new(20, 64) },
            (100, 6),
            gpu(),
            options(),
        ),
        (
            "bidirectional_between_layers_on_host",
            bidirectional(64, 256, 3),
            (20_000, 8),
            Capabilities::downlevel(),
            PlanOptions { memory_budget: Some(16 << 20), all_layers: true, ..options() },
        ),
        (
            "reverse_f16_tiled",
            GruConfig { directions: Directions::Reverse, ..GruConfig::new(17, 65) },
            (7, 100),
            gpu(),
            PlanOptions {
                precision: Precision::F16,
                max_tile_rows: Some(33),
                max_chunk_steps: Some(3),
                ..options()
            },
        ),
        (
            "wavefront_reset_before_chunked",
            before(GruConfig { num_layers: 3, ..GruConfig::new(20, 40) }),
            (30, 6),
            gpu(),
            PlanOptions { wavefront: Some(true), max_chunk_steps: Some(12), ..options() },
        ),
        ("weights_over_several_buffers", GruConfig::new(4096, 4096), (2, 1), software(), options()),
    ];
    let update = std::env::var_os("WGRU_UPDATE_SNAPSHOTS").is_some();
    let folder = super::support::root().join("src/tests/snapshots");
    for (name, config, (steps, batch), capabilities, options) in cases {
        let shape = SequenceShape::new(steps, batch);
        let plan = Plan::new(&config, shape, &capabilities, &options).unwrap();
        check(&plan, &capabilities);
        let path = folder.join(format!("{name}.txt"));
        if update {
            std::fs::write(&path, text(&plan)).unwrap();
        }
        let reviewed = std::fs::read_to_string(&path).unwrap();
        assert!(
            text(&plan) == reviewed,
            "{name} differs from {}:\n{}",
            path.display(),
            text(&plan)
        );
    }
}

/// The session's own chunk may be shorter than the shortest that a fresh plan would take.
#[test]
fn a_session_with_short_chunks_runs_every_smaller_shape() {
    let config = bidirectional(1, 1000, 2);
    let options = PlanOptions { max_chunk_steps: Some(16), ..PlanOptions::default() };
    let plan = Plan::new(&config, SequenceShape::new(17, 1), &gpu(), &options).unwrap();
    assert_eq!(plan.memory.chunk_steps, 9);
    for steps in 0..17 {
        let shape = SequenceShape::new(steps, 1);
        let memory = Some(&plan.memory);
        let rows = RowOrder::full(shape);
        let inside = Plan::within(&config, rows, &gpu(), &options, plan.geometry, memory).unwrap();
        check(&inside, &gpu());
    }
}

#[test]
fn long_sequences_and_wide_batches_fit_128_mib_bindings() {
    for capabilities in [Capabilities::downlevel(), software()] {
        for config in [
            GruConfig::new(64, 256),
            GruConfig { num_layers: 2, reset: ResetForm::Before, ..GruConfig::new(80, 512) },
            bidirectional(64, 256, 2),
        ] {
            for (steps, batch) in [(70_000, 1), (2, 70_000), (70_000, 3)] {
                let shape = SequenceShape::new(steps, batch);
                let options = PlanOptions::default();
                let plan = Plan::new(&config, shape, &capabilities, &options).unwrap();
                check(&plan, &capabilities);
            }
        }
    }
}

/// The row of the benchmark's grid with the longest sequences: two layers of both directions, whose
/// states alone are several GiB, in 512 MiB of device memory with everything counted.
#[test]
fn long_bidirectional_sequences_fit_512_mib() {
    for reset in [ResetForm::After, ResetForm::Before] {
        let config = GruConfig { reset, ..bidirectional(10, 128, 2) };
        let shape = SequenceShape::new(10_000, 100);
        let options = PlanOptions { memory_budget: Some(480 << 20), ..PlanOptions::default() };
        for capabilities in [gpu(), Capabilities::downlevel(), software()] {
            let plan = Plan::new(&config, shape, &capabilities, &options).unwrap();
            check(&plan, &capabilities);
            assert!(plan.device_bytes() <= 512 << 20, "{plan}");
        }
    }
}

/// A chunk's transfers fit the staging buffers: one goes up while another is computed.
#[test]
fn long_runs_are_cut_so_that_transfers_overlap() {
    for (config, batch) in [
        (GruConfig::new(64, 256), 64),
        (GruConfig { num_layers: 3, ..GruConfig::new(80, 128) }, 32),
    ] {
        let shape = SequenceShape::new(4000, batch);
        let plan = Plan::new(&config, shape, &gpu(), &PlanOptions::default()).unwrap();
        check(&plan, &gpu());
        for operation in &plan.operations {
            if let Operation::Upload { window, stride, .. }
            | Operation::Download { window, stride, .. } = operation
            {
                let bytes = 16 * stride * (window.rows.len() * window.steps.len()) as u64;
                assert!(bytes <= plan.memory.staging, "{bytes} of {}", plan.memory.staging);
            }
        }
        assert!(plan.memory.chunk_steps >= 64, "{}", plan.memory.chunk_steps);
    }
}

#[test]
fn a_bidirectional_tile_keeps_sequences_on_the_device_under_a_row_limit() {
    // 4 rows in tiles of at most 3 are two tiles of 2.
    let options = PlanOptions { max_tile_rows: Some(3), ..PlanOptions::default() };
    let shape = SequenceShape::new(5, 4);
    let plan = Plan::new(&bidirectional(4, 8, 2), shape, &gpu(), &options).unwrap();
    assert_eq!((plan.memory.residency, plan.memory.tile_rows), (Residency::Whole, 2));
}

/// A device that was measured to be slow gets dispatches that it ends in time; one that is fast
/// gets no longer ones than its class. Any number will do.
#[test]
fn a_measured_rate_bounds_the_work_of_a_dispatch() {
    let flops = |measured_gflops| Capabilities { measured_gflops, ..gpu() }.dispatch_flops();
    let of_class = flops(None);
    assert_eq!([flops(Some(1e6)), flops(Some(f64::INFINITY))], [of_class; 2]);
    assert_eq!(flops(Some(100.0)), 1_000_000_000);
    assert_eq!([0.0, -1.0, 1e-9, f64::NAN].map(|rate| flops(Some(rate))), [of_class / 100; 4]);
    let chunk = |capabilities: &Capabilities| {
        let shape = SequenceShape::new(400, 64);
        let config = GruConfig::new(512, 512);
        let plan = Plan::new(&config, shape, capabilities, &PlanOptions::default()).unwrap();
        plan.memory.chunk_steps
    };
    let slow = Capabilities { measured_gflops: Some(100.0), ..gpu() };
    assert!(chunk(&slow) < chunk(&gpu()), "{} {}", chunk(&slow), chunk(&gpu()));
}

/// Limits that no device has are refused before they are computed with.
#[test]
fn impossible_devices_are_errors() {
    let zero: [fn(&mut Capabilities); 6] = [
        |c| c.max_storage_binding = 0,
        |c| c.max_buffer = 0,
        |c| c.max_workgroups = 0,
        |c| c.max_invocations = 0,
        |c| c.uniform_alignment = 0,
        |c| c.max_uniform_binding = 0,
    ];
    for (index, zero) in zero.into_iter().enumerate() {
        let mut capabilities = gpu();
        zero(&mut capabilities);
        for family in [None, Some(KernelFamily::Step), Some(KernelFamily::Sequence)] {
            let options = PlanOptions { family, ..PlanOptions::default() };
            let (config, shape) = (GruConfig::new(4, 8), SequenceShape::new(3, 2));
            let refused = Plan::new(&config, shape, &capabilities, &options).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::UnsupportedDevice, "limit {index}");
        }
    }
}

/// Sizes that no device holds are errors at once: no overflow, no allocation in proportion.
#[test]
fn huge_sizes_are_errors() {
    let small = GruConfig::new(1, 1);
    let (options, huge) = (PlanOptions::default(), usize::MAX);
    let unlimited = Capabilities {
        max_storage_binding: u64::MAX,
        max_buffer: u64::MAX,
        max_workgroups: u32::MAX,
        ..gpu()
    };
    let boundless = PlanOptions { memory_budget: Some(u64::MAX), ..PlanOptions::default() };
    let layers = |num_layers| GruConfig { num_layers, ..GruConfig::new(1, 1) };
    let configs = [
        small.clone(),
        bidirectional(3, 5, 2),
        GruConfig { reset: ResetForm::Before, ..GruConfig::new(1, 1) },
    ];
    for (capabilities, options) in [(gpu(), &options), (unlimited, &boundless)] {
        let refused = |config: &GruConfig, shape| {
            // A plan that is made is too long to print.
            let plan = Plan::new(config, shape, &capabilities, options);
            plan.map(|plan| plan.launches.len()).unwrap_err().kind()
        };
        for (steps, batch) in
            [(huge, 1), (1, huge), (huge, huge), (1 << 40, 1), (1, 1 << 55), (1 << 20, 1 << 45)]
        {
            for config in &configs {
                let shape = SequenceShape::new(steps, batch);
                assert_eq!(refused(config, shape), ErrorKind::ExceedsLimits);
            }
        }
        for config in [
            GruConfig::new(1 << 50, 1),
            GruConfig::new(1, 1 << 25),
            layers(1 << 50),
            layers(1 << 20),
            bidirectional(1 << 40, 4, 1),
        ] {
            assert_eq!(refused(&config, SequenceShape::new(1, 1)), ErrorKind::ExceedsLimits);
        }
        for config in
            [GruConfig::new(huge, 1), GruConfig::new(1, huge), layers(huge), GruConfig::new(0, 1)]
        {
            assert_eq!(refused(&config, SequenceShape::new(1, 1)), ErrorKind::InvalidConfig);
        }
    }
}

#[test]
fn refusals_name_the_limit_and_the_need() {
    let (config, shape) = (GruConfig::new(64, 64), SequenceShape::new(4, 4));
    let refused = |capabilities: &Capabilities, options: &PlanOptions| {
        let error = Plan::new(&config, shape, capabilities, options).unwrap_err();
        (error.kind(), error.to_string())
    };
    let change = |change: fn(&mut Capabilities)| {
        let mut capabilities = Capabilities::downlevel();
        change(&mut capabilities);
        refused(&capabilities, &PlanOptions::default())
    };
    for ((kind, message), words) in [
        (change(|c| c.max_storage_buffers = 4), ["storage buffers", "4", "5"]),
        (change(|c| c.max_invocations = 32), ["invocations", "32", "64"]),
        (change(|c| c.max_storage_binding = 1000), ["storage binding", "1000", "1048576"]),
        (change(|c| c.max_buffer = 1000), ["buffer", "1000", "1048576"]),
        (change(|c| c.max_workgroups = 0), ["workgroups", "0", "1024"]),
        (change(|c| c.max_uniform_binding = 16), ["uniform binding", "16", "4096"]),
        (change(|c| c.uniform_alignment = 0), ["aligns", "0", "power of two"]),
    ] {
        assert_eq!(kind, ErrorKind::UnsupportedDevice, "{message}");
        assert!(words.iter().all(|w| message.contains(w)), "{message}");
    }
    let budget = PlanOptions { memory_budget: Some(100), ..PlanOptions::default() };
    let (kind, message) = refused(&gpu(), &budget);
    assert_eq!(kind, ErrorKind::ExceedsLimits);
    assert!(message.contains("the budget is 100"), "{message}");
    for options in [
        PlanOptions { memory_budget: Some(0), ..PlanOptions::default() },
        PlanOptions { max_chunk_steps: Some(0), ..PlanOptions::default() },
        PlanOptions { max_tile_rows: Some(0), ..PlanOptions::default() },
    ] {
        assert_eq!(refused(&gpu(), &options).0, ErrorKind::InvalidRequest);
    }
}

#[test]
fn empty_runs_have_no_operations() {
    for (steps, batch) in [(0, 3), (3, 0), (0, 0)] {
        let shape = SequenceShape::new(steps, batch);
        let options = PlanOptions::default();
        let plan = Plan::new(&bidirectional(2, 3, 2), shape, &gpu(), &options).unwrap();
        check(&plan, &gpu());
        assert_eq!((plan.dispatches(), plan.operations.len()), (0, 0));
    }
}

/// Six layers of 512 steps take 517 dispatches, and one projection a chunk.
#[test]
fn a_wavefront_has_a_dispatch_a_diagonal() {
    let shape = SequenceShape::new(512, 10);
    let wavefront = PlanOptions { wavefront: Some(true), ..PlanOptions::default() };
    for (reset, kernels) in [(ResetForm::After, 1), (ResetForm::Before, 2)] {
        let config = GruConfig { num_layers: 6, reset, ..GruConfig::new(128, 256) };
        for capabilities in [gpu(), software(), Capabilities::downlevel()] {
            let plan = Plan::new(&config, shape, &capabilities, &wavefront).unwrap();
            check(&plan, &capabilities);
            let chunks = 517_usize.div_ceil(plan.chunk_steps()) as u64;
            assert!(plan.dispatches() <= kernels * 517 + chunks, "{}", plan.dispatches());
            let layered = PlanOptions { wavefront: Some(false), ..PlanOptions::default() };
            let layered = Plan::new(&config, shape, &capabilities, &layered).unwrap();
            assert!(layered.dispatches() > kernels * 6 * 512);
            assert_eq!(plan.flops(), layered.flops());
            assert_eq!(plan.row_steps(), layered.row_steps());
        }
        let plan = Plan::new(&config, shape, &gpu(), &PlanOptions::default()).unwrap();
        assert_eq!(plan.dispatches(), kernels * 517 + 1, "by default on a GPU");
    }
}

/// Where a step is small; where it fills the device, the input products of many steps in one
/// projection are better.
#[test]
fn the_table_takes_the_wavefront_for_small_steps() {
    for (capabilities, hidden, small, large) in [
        (gpu(), 256, 64, 65),
        (Capabilities { integrated: true, ..gpu() }, 256, 16, 17),
        (software(), 64, 32, 33),
        (software(), 100, 4, 1),
    ] {
        for (batch, wavefront) in [(small, true), (large, false)] {
            let config = GruConfig { num_layers: 2, ..GruConfig::new(16, hidden) };
            let shape = SequenceShape::new(20, batch);
            let options =
                PlanOptions { family: Some(KernelFamily::Step), ..PlanOptions::default() };
            let plan = Plan::new(&config, shape, &capabilities, &options).unwrap();
            assert_eq!(plan.geometry.wavefront, wavefront, "H {hidden}, B {batch}");
            let why = plan.reasons().iter().any(|r| r.contains("wavefront") && r.contains("idle"));
            assert_eq!(why, wavefront);
        }
    }
}

/// What the layers cannot do is refused where it is asked for, and left alone where it is not.
#[test]
fn a_wavefront_that_cannot_run_is_refused() {
    let wavefront = PlanOptions { wavefront: Some(true), ..PlanOptions::default() };
    let layers = |num_layers, hidden| GruConfig { num_layers, ..GruConfig::new(4, hidden) };
    let small = Capabilities { max_uniform_binding: 4 << 10, ..gpu() };
    for (config, capabilities, word) in [
        (layers(1, 8), gpu(), "one layer"),
        (bidirectional(4, 8, 2), gpu(), "bidirectional"),
        (layers(64, 8), small, "64 layers"),
        (layers(8, 2048), Capabilities::downlevel(), "buffers"),
    ] {
        let shape = SequenceShape::new(9, 3);
        let refused = Plan::new(&config, shape, &capabilities, &wavefront).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
        assert!(refused.to_string().contains(word), "{refused}");
        let plan = Plan::new(&config, shape, &capabilities, &PlanOptions::default()).unwrap();
        check(&plan, &capabilities);
        assert!(!plan.geometry.wavefront);
    }
}

/// One long row and many short ones: what has ended costs nothing beyond its block of rows.
#[test]
fn work_shrinks_with_the_lengths() {
    for config in [GruConfig::new(8, 32), bidirectional(8, 32, 2)] {
        let shape = SequenceShape::new(100, 64);
        let mut lengths = vec![5; 64];
        lengths[37] = 100;
        let options = PlanOptions::default();
        for capabilities in [gpu(), software()] {
            let plan =
                Plan::with_lengths(&config, shape, &lengths, &capabilities, &options).unwrap();
            let block = u64::from(plan.geometry.row_block());
            let cells = config.state_planes() as u64;
            assert_eq!(plan.row_steps(), cells * (5 * 64 + 95 * block));
            let full = Plan::new(&config, shape, &capabilities, &options).unwrap();
            assert_eq!(full.row_steps(), cells * 100 * 64);
            assert_eq!(plan.flops() * 6400, full.flops() * (100 + 63 * 5));
        }
    }
}

/// A dispatch holds a chunk of every layer of a diagonal: chunks + L - 1 dispatches beside the
/// projections, in every forward and reverse network.
#[test]
fn sequence_kernels_take_a_dispatch_a_diagonal_of_chunks() {
    let options = PlanOptions { family: Some(KernelFamily::Sequence), ..PlanOptions::default() };
    for capabilities in [gpu(), software(), Capabilities::downlevel()] {
        for (num_layers, steps, max_chunk_steps) in
            [(6, 512, None), (2, 512, Some(16)), (3, 7, Some(2)), (5, 3, None), (1, 100, Some(30))]
        {
            for reset in [ResetForm::After, ResetForm::Before] {
                let config = GruConfig { num_layers, reset, ..GruConfig::new(64, 64) };
                let shape = SequenceShape::new(steps, 10);
                let options = PlanOptions { max_chunk_steps, ..options.clone() };
                let plan = Plan::new(&config, shape, &capabilities, &options).unwrap();
                check(&plan, &capabilities);
                assert_eq!(plan.memory.tile_rows, 10);
                let chunks = steps.div_ceil(plan.memory.chunk_steps) as u64;
                let counts: Vec<u64> = plan.dispatches_by_kernel().iter().map(|k| k.1).collect();
                let layers = num_layers as u64;
                assert_eq!(counts, [layers * chunks, chunks + layers - 1], "{config:?}");
                let overlaps = steps < 64 || num_layers == 1 || chunks >= 2 * (layers - 1);
                assert!(overlaps, "{chunks} chunks of {layers} layers");
            }
        }
    }
}

#[test]
fn hidden_sizes_beyond_workgroup_memory_are_refused_by_name() {
    let options = PlanOptions { family: Some(KernelFamily::Sequence), ..PlanOptions::default() };
    for capabilities in [gpu(), software(), Capabilities::downlevel()] {
        let shape = SequenceShape::new(4, 4);
        let refused =
            |hidden| Plan::new(&GruConfig::new(3, hidden), shape, &capabilities, &options);
        let error = refused(20_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        let message = error.to_string();
        let available = capabilities.max_workgroup_memory.to_string();
        for word in ["'sequence'", "hidden size 20000", "workgroup memory", &available] {
            assert!(message.contains(word), "{message}");
        }
        // The largest that is taken does fit.
        let (mut good, mut bad) = (1, 20_000);
        while bad - good > 1 {
            let middle = usize::midpoint(good, bad);
            if refused(middle).is_ok() { good = middle } else { bad = middle }
        }
        assert!(good >= 500, "{good}");
        check(&refused(good).unwrap(), &capabilities);
    }
}

/// What else the table of software adapters looks at.
#[test]
fn the_table_of_software_adapters() {
    use KernelFamily::{Sequence, Step};
    let bidirectional = |hidden, layers| bidirectional(16, hidden, layers);
    let forward = |hidden, num_layers| GruConfig { num_layers, ..GruConfig::new(16, hidden) };
    let before = |config: GruConfig| GruConfig { reset: ResetForm::Before, ..config };
    for (config, steps, batch, family, wavefront) in [
        // One step has no dispatches to save.
        (forward(64, 1), 1, 1, Step, false),
        (forward(64, 1), 2, 1, Sequence, false),
        // Rows of both directions.
        (bidirectional(64, 1), 20, 23, Sequence, false),
        (bidirectional(64, 1), 20, 24, Step, false),
        (forward(16, 1), 20, 256, Sequence, false),
        (forward(16, 1), 20, 257, Step, false),
        (before(forward(64, 1)), 20, 79, Sequence, false),
        (before(forward(64, 1)), 20, 80, Step, false),
        // Stacks: the wavefront of steps.
        (forward(64, 2), 20, 47, Sequence, false),
        (forward(64, 3), 20, 15, Sequence, false),
        (forward(64, 3), 20, 16, Step, true),
        (forward(256, 4), 20, 4, Step, false),
        (forward(256, 5), 20, 4, Step, true),
        (forward(256, 5), 20, 3, Step, false),
    ] {
        let shape = SequenceShape::new(steps, batch);
        let plan = Plan::new(&config, shape, &software(), &PlanOptions::default()).unwrap();
        assert_eq!((plan.family(), plan.is_wavefront()), (family, wavefront), "{config:?} {shape}");
        // SwiftShader: nothing to save.
        let cheap = Capabilities { software_driver: SoftwareDriver::SwiftShader, ..software() };
        let plan = Plan::new(&config, shape, &cheap, &PlanOptions::default()).unwrap();
        assert_eq!((plan.family(), plan.is_wavefront()), (Step, false), "{config:?} {shape}");
    }
    // llvmpipe of Mesa 26 gains more by sequence kernels.
    let newer = Capabilities { software_driver: SoftwareDriver::Llvmpipe26, ..software() };
    for (config, batch, family, wavefront) in [
        (forward(64, 1), 256, Sequence, false),
        (forward(64, 1), 257, Step, false),
        (forward(256, 2), 95, Sequence, false),
        (before(forward(256, 2)), 96, Step, false),
        (bidirectional(256, 2), 47, Sequence, false),
        (forward(257, 1), 1, Step, false),
        (forward(256, 6), 4, Step, true),
        (forward(64, 3), 15, Sequence, false),
    ] {
        let shape = SequenceShape::new(20, batch);
        let plan = Plan::new(&config, shape, &newer, &PlanOptions::default()).unwrap();
        assert_eq!((plan.family(), plan.is_wavefront()), (family, wavefront), "{config:?} {shape}");
    }
}

/// The table: on discrete GPUs where registers hold the weights, whatever the shape; on software
/// adapters where steps are small.
#[test]
fn the_table_takes_sequence_kernels() {
    use KernelFamily::{Sequence, Step};
    let integrated = Capabilities { integrated: true, ..gpu() };
    let cheap = Capabilities { software_driver: SoftwareDriver::SwiftShader, ..software() };
    for (capabilities, hidden, batch, precision, family) in [
        (gpu(), 64, 1, Precision::F32, Sequence),
        (gpu(), 128, 4096, Precision::F32, Sequence),
        (gpu(), 132, 1, Precision::F32, Step),
        (gpu(), 176, 1, Precision::F16, Sequence),
        (gpu(), 256, 1, Precision::F16, Step),
        (integrated, 64, 1, Precision::F32, Step),
        (software(), 64, 47, Precision::F32, Sequence),
        (software(), 64, 48, Precision::F32, Step),
        (software(), 128, 11, Precision::F32, Sequence),
        (software(), 128, 12, Precision::F32, Step),
        (software(), 129, 1, Precision::F32, Step),
        (cheap, 64, 1, Precision::F32, Step),
    ] {
        for reset in [ResetForm::After, ResetForm::Before] {
            // Two dispatches a step cost more: a software adapter takes rows beyond these.
            let table = capabilities.software
                && capabilities.software_driver != SoftwareDriver::SwiftShader;
            let beyond = table && reset == ResetForm::Before && hidden <= 128;
            let family = if beyond { Sequence } else { family };
            let config = GruConfig { reset, ..GruConfig::new(16, hidden) };
            let shape = SequenceShape::new(20, batch);
            let options = PlanOptions { precision, ..PlanOptions::default() };
            let plan = Plan::new(&config, shape, &capabilities, &options).unwrap();
            check(&plan, &capabilities);
            assert_eq!(plan.family(), family, "H {hidden}, B {batch}, {precision}");
            let asked = PlanOptions { wavefront: Some(true), ..options };
            let config = GruConfig { num_layers: 2, ..config };
            let plan = Plan::new(&config, shape, &capabilities, &asked).unwrap();
            assert_eq!(plan.family(), Step, "the wavefront is one of step kernels");
        }
    }
}

/// The projection has one loop over k, also under a wavefront of steps, whose kernels have two.
#[test]
fn wide_inputs_of_stacks_are_planned_on_software() {
    let config = GruConfig { num_layers: 2, ..GruConfig::new(70_000, 40) };
    for wavefront in [None, Some(false), Some(true)] {
        let options = PlanOptions { wavefront, ..PlanOptions::default() };
        let plan = Plan::new(&config, SequenceShape::new(4, 4), &software(), &options).unwrap();
        assert!(wavefront.is_none_or(|asked| asked == plan.is_wavefront()));
    }
    let options = PlanOptions { wavefront: Some(true), ..PlanOptions::default() };
    let wide = GruConfig { num_layers: 2, ..GruConfig::new(140_000, 40) };
    let refusal = Plan::new(&wide, SequenceShape::new(4, 4), &software(), &options).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::ExceedsLimits);
}

/// Small subgroups stage the operands of matrix kernels in more passes than the products take.
#[test]
fn matrix_kernels_stay_within_the_loops_of_software() {
    for (subgroup, input, possible) in [(8, 60_000, true), (8, 90_000, false), (4, 50_000, false)] {
        let cooperative_matrices = Some(CooperativeMatrices { size: 8, subgroup });
        let capabilities = Capabilities { cooperative_matrices, ..software() };
        let options = PlanOptions {
            precision: Precision::F16,
            family: Some(KernelFamily::Matrix),
            ..PlanOptions::default()
        };
        let plan = |input| {
            let config = GruConfig::new(input, 8);
            Plan::new(&config, SequenceShape::new(4, 64), &capabilities, &options)
        };
        assert!(plan(16).is_ok());
        let refusal = plan(input).err().map(|e| e.kind());
        assert_eq!(refusal, (!possible).then_some(ErrorKind::ExceedsLimits), "{input}");
    }
}
