//! The matrix kernels: their plans without a device, their layout of weights, a caller's buffers.

use super::adapters;
use super::plan_invariants::check;
use super::plans::{bidirectional, gpu};
use super::support::{Random, Sequences, Values};
use crate::gpu::GpuContext;
use crate::kernels::{MatrixLayout, MatrixOrder};
use crate::plan::{Capabilities, Plan, PlanOptions};
use crate::*;

fn options() -> PlanOptions {
    PlanOptions {
        family: Some(KernelFamily::Matrix),
        precision: Precision::F16,
        ..PlanOptions::default()
    }
}

fn device(size: u32, subgroup: u32, memory: u32) -> Capabilities {
    Capabilities {
        max_workgroup_memory: memory,
        cooperative_matrices: Some(CooperativeMatrices { size, subgroup }),
        ..gpu()
    }
}

/// On devices of every sort, networks and shapes of every size: sound plans that fit workgroup
/// memory, in as many dispatches as the step kernels take.
#[test]
fn matrix_plans_are_those_of_step_kernels_in_larger_blocks() {
    for (size, subgroup, memory) in [
        (8, 8, 32 << 10),
        (8, 32, 32 << 10),
        (16, 32, 48 << 10),
        (16, 32, 16 << 10),
        (16, 64, 64 << 10),
    ] {
        for software in [false, true] {
            let device = Capabilities { software, ..device(size, subgroup, memory) };
            for reset in [ResetForm::After, ResetForm::Before] {
                for (hidden, batch) in [(1, 1), (39, 5), (256, 64), (1000, 3), (128, 4096)] {
                    let config = GruConfig { reset, ..bidirectional(70, hidden, 2) };
                    let shape = SequenceShape::new(20, batch);
                    let plan = Plan::new(&config, shape, &device, &options()).unwrap();
                    check(&plan, &device);
                    assert_eq!(plan.family(), KernelFamily::Matrix);
                    let step = PlanOptions { family: Some(KernelFamily::Step), ..options() };
                    let step = Plan::new(&config, shape, &device, &step).unwrap();
                    let same = plan.chunk_steps() == step.chunk_steps()
                        && plan.tile_rows() == step.tile_rows();
                    assert!(!same || plan.dispatches() == step.dispatches(), "{plan}\n{step}");
                    let tiles = plan.geometry.matrix.unwrap().step;
                    assert_eq!((tiles.size, tiles.subgroup), (size, subgroup));
                    assert!(tiles.row_tiles == 1 || batch > size as usize, "{tiles:?} for {batch}");
                }
            }
        }
    }
}

#[test]
fn what_matrix_kernels_lack_is_said() {
    let network = GruConfig { num_layers: 2, ..GruConfig::new(4, 8) };
    let shape = SequenceShape::new(3, 2);
    let f32 = PlanOptions { precision: Precision::F32, ..options() };
    let wavefront = PlanOptions { wavefront: Some(true), ..options() };
    let able = device(16, 32, 48 << 10);
    for (device, options, words) in [
        (&gpu(), &options(), ["'matrix'", "not opened with cooperative matrices"]),
        (&able, &f32, ["operands are f16", "asked for is f32"]),
        (&able, &wavefront, ["wavefront", "'matrix'"]),
        (&device(16, 32, 4 << 10), &options(), ["bytes of memory", "4096"]),
        (&device(32, 32, 48 << 10), &options(), ["32x32", "not known"]),
    ] {
        let error = Plan::new(&network, shape, device, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        for word in words {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    // Nobody gets them without asking.
    for precision in [Precision::F32, Precision::F16] {
        let open = PlanOptions { family: None, precision, ..options() };
        let plan = Plan::new(&network, shape, &able, &open).unwrap();
        assert_ne!(plan.family(), KernelFamily::Matrix);
    }
}

/// Every value of a matrix has a place of its own, whatever the order.
#[test]
fn layouts_give_each_value_its_own_place() {
    let tiles = |size| MatrixOrder::Tiles { size };
    for order in [MatrixOrder::Quads, MatrixOrder::Units, tiles(8), tiles(16)] {
        for (planes, lanes, unit_quads, k_quads) in [(3, 8, 11, 5), (2, 4, 4, 16), (1, 16, 1, 1)] {
            let layout = MatrixLayout { order, planes, lanes, unit_quads, k_quads };
            let values = 4 * layout.block_vec4s();
            let mut taken = vec![false; layout.blocks() * values];
            for unit in 0..4 * unit_quads {
                for (k, plane) in (0..4 * k_quads).flat_map(|k| (0..planes).map(move |p| (k, p))) {
                    let (block, at) = layout.place(unit, k, plane);
                    assert!(at < values, "{layout:?}");
                    let place = &mut taken[block * values + at];
                    assert!(!std::mem::replace(place, true), "{layout:?}: {unit} {k} {plane}");
                }
            }
        }
    }
}

#[test]
fn runs_on_a_callers_buffers_give_the_bits_of_host_runs() {
    let mut random = Random::new(7);
    for context in adapters::matrix_contexts() {
        for reset in [ResetForm::After, ResetForm::Before] {
            let config = GruConfig { reset, ..bidirectional(5, 37, 2) };
            let gru = Values::random(config.clone(), 2.0, &mut random).gru();
            let shape = SequenceShape::new(5, 11);
            let mut sequences = Sequences::random(&config, shape, &mut random);
            sequences.lengths = Some((0..11).map(|row| row % 6).collect());
            let options = PlanOptions { on_device: true, ..options() };
            let inputs = sequences.inputs();
            let index = context.adapter().index;
            let [outside, host] =
                GpuContext::matrices_of_a_caller(index, &gru, &options, &inputs).unwrap();
            assert!(outside == host, "{reset}: {}", context.adapter());
            assert!(host[0].iter().any(|v| *v != 0.0));
        }
    }
}
