//! Sessions and runs on wgpu's noop backend: every call is validated, nothing is computed.

use super::support::{Random, Sequences, Values};
use crate::gpu::{GpuContext, GpuSession};
use crate::plan::{Capabilities, Operation, Plan, PlanOptions};
use crate::*;

/// What the devices differ in, as far as validation sees it.
pub(super) fn devices() -> Vec<Capabilities> {
    let downlevel = Capabilities::downlevel();
    vec![
        Capabilities { software: true, ..downlevel.clone() },
        Capabilities {
            max_storage_binding: 1 << 20,
            max_buffer: 1 << 20,
            max_storage_buffers: 5,
            max_workgroups: 1024,
            max_invocations: 64,
            max_uniform_binding: 4 << 10,
            ..downlevel
        },
        Capabilities {
            max_storage_binding: 1 << 30,
            max_buffer: (1 << 31) - 1,
            max_storage_buffers: 16,
            max_workgroups: 65535,
            max_invocations: 1024,
            max_workgroup_memory: 48 << 10,
            uniform_alignment: 32,
            max_uniform_binding: 64 << 10,
            immediates: true,
            software: false,
            software_driver: SoftwareDriver::Llvmpipe22,
            integrated: false,
            measured_gflops: Some(1.0),
            cooperative_matrices: None,
        },
        Capabilities {
            max_workgroup_memory: 32 << 10,
            software: true,
            immediates: true,
            cooperative_matrices: Some(CooperativeMatrices { size: 8, subgroup: 8 }),
            ..Capabilities::downlevel()
        },
        Capabilities {
            max_invocations: 1024,
            max_workgroup_memory: 48 << 10,
            cooperative_matrices: Some(CooperativeMatrices { size: 16, subgroup: 32 }),
            ..Capabilities::downlevel()
        },
    ]
}

fn networks() -> Vec<GruConfig> {
    let mut all = Vec::new();
    for reset in [ResetForm::After, ResetForm::Before] {
        for directions in [Directions::Forward, Directions::Reverse, Directions::Bidirectional] {
            for (input_size, hidden_size, num_layers) in [(1, 1, 1), (7, 17, 3), (66, 130, 2)] {
                let mut config = GruConfig::new(input_size, hidden_size);
                (config.num_layers, config.directions, config.reset) =
                    (num_layers, directions, reset);
                if hidden_size == 17 {
                    config.functions[0].candidate = Activation::Softsign;
                    config.functions[directions.count() - 1].clip = Some(2.0);
                }
                all.push(config);
            }
        }
    }
    all
}

#[test]
fn sessions_and_runs_are_valid() {
    let mut random = Random::new(1);
    let options = [
        PlanOptions::default(),
        PlanOptions {
            precision: Precision::F16,
            max_chunk_steps: Some(3),
            max_tile_rows: Some(4),
            ..PlanOptions::default()
        },
        PlanOptions { memory_budget: Some(150 << 10), ..PlanOptions::default() },
    ];
    let mut residencies = std::collections::HashSet::new();
    for device in devices() {
        let (context, uncaught) = GpuContext::noop(&device);
        for config in networks() {
            let gru = Values::random(config.clone(), 1.0, &mut random).gru();
            for options in &options {
                let half = options.precision == Precision::F16;
                let matrix = half && device.cooperative_matrices.is_some();
                let family = matrix.then_some(KernelFamily::Matrix);
                let options = &PlanOptions { family, ..options.clone() };
                let most = SequenceShape::new(21, 9);
                let mut session = GpuSession::new(&context, &gru, most, options).unwrap();
                for shape in [most, SequenceShape::new(1, 1), SequenceShape::new(20, 9), most] {
                    let mut sequences = Sequences::random(&config, shape, &mut random);
                    let lengths = (0..shape.batch).map(|_| random.below(shape.steps + 1)).collect();
                    sequences.lengths = Some(lengths);
                    if config.directions == Directions::Forward {
                        sequences.reset_mask = Some(random.mask((shape.steps, shape.batch), 3));
                    }
                    let run = run(&mut session, &sequences);
                    run.unwrap_or_else(|e| panic!("{device:?} {config:?} {options:?}: {e}"));
                }
                residencies.insert(format!("{:?}", session.plan().memory.residency));
            }
        }
        assert_eq!(uncaught.lock().unwrap().as_slice(), &[] as &[String]);
    }
    assert_eq!(residencies.len(), 3, "every residency occurs: {residencies:?}");
}

fn run(session: &mut GpuSession, sequences: &Sequences) -> Result<()> {
    let inputs = sequences.inputs();
    let mut output = Output::zeros(&session.plan().config.clone(), inputs.shape(), false)?;
    session.run(&inputs, &mut output.views(false))
}

/// The backend does see what is wrong: otherwise the test above would prove nothing.
#[test]
fn an_invalid_dispatch_is_an_error() {
    let mut random = Random::new(2);
    let device = Capabilities::downlevel();
    let (context, _) = GpuContext::noop(&device);
    let gru = Values::random(GruConfig::new(3, 5), 1.0, &mut random).gru();
    let (shape, options) = (SequenceShape::new(4, 2), PlanOptions::default());
    let sequences = Sequences::random(gru.config(), shape, &mut random);
    let faults: [fn(&mut Plan); 2] = [
        // Launch records end before this one.
        |plan| each_slice(plan, |slice| slice.launch += 1000),
        |plan| each_slice(plan, |slice| slice.grid[1] = 70_000),
    ];
    for fault in faults {
        let mut plan = Plan::new(gru.config(), shape, &device, &options).unwrap();
        fault(&mut plan);
        let mut session = GpuSession::from_plan(&context, &gru, &options, plan).unwrap();
        let error = run(&mut session, &sequences).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
}

fn each_slice(plan: &mut Plan, change: impl Fn(&mut crate::plan::LaunchSlice)) {
    for operation in &mut plan.operations {
        if let Operation::Project { slices, .. } = operation {
            slices.iter_mut().for_each(&change);
        }
    }
}
