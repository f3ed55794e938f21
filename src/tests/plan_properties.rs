//! Plans of configurations, shapes, devices and options drawn at random; and the teeth of the
//! invariants.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::plan_invariants::check;
use super::plans::{bidirectional, gpu};
use super::support::Random;
use crate::kernels::LaunchRecord;
use crate::plan::{
    Capabilities, Geometry, LaunchSlice, Operation, Plan, PlanOptions, RowOrder, candidates,
};
use crate::*;

/// About uniform in the logarithm.
fn logarithmic(least: u64, most: u64) -> impl Strategy<Value = u64> {
    #[expect(clippy::cast_precision_loss, reason = "only the distribution depends on it")]
    let range = (least as f64).ln()..=(most as f64).ln();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    range.prop_map(move |l| (l.exp().round() as u64).clamp(least, most))
}

fn size(least: usize, most: usize) -> impl Strategy<Value = usize> {
    logarithmic(least as u64 + 1, most as u64 + 1)
        .prop_map(|n| usize::try_from(n - 1).expect("from usize"))
}

fn configs() -> impl Strategy<Value = GruConfig> {
    let directions = prop_oneof![
        Just(Directions::Forward),
        Just(Directions::Reverse),
        Just(Directions::Bidirectional)
    ];
    let reset = prop_oneof![Just(ResetForm::Before), Just(ResetForm::After)];
    (size(1, 3000), size(1, 3000), 1usize..5, directions, reset).prop_map(
        |(input_size, hidden_size, num_layers, directions, reset)| GruConfig {
            num_layers,
            directions,
            reset,
            ..GruConfig::new(input_size, hidden_size)
        },
    )
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    (
        (logarithmic(1 << 20, 4 << 30), logarithmic(1 << 20, 8 << 30)),
        prop_oneof![Just(65535u32), 1024u32..65535],
        (64u32..1025, 1u32 << 10..1 << 17),
        prop_oneof![Just(16u32), Just(64), Just(256)],
        (any::<bool>(), any::<bool>(), any::<bool>(), proptest::option::of(0.0..1e6)),
    )
        .prop_map(|(sizes, max_workgroups, groups, uniform_alignment, flags)| {
            use SoftwareDriver::{Llvmpipe22, Llvmpipe26, SwiftShader};
            let drivers = [Llvmpipe22, Llvmpipe26, SwiftShader];
            Capabilities {
                max_storage_binding: sizes.0,
                max_buffer: sizes.1,
                max_storage_buffers: 8,
                max_workgroups,
                max_invocations: groups.0,
                max_workgroup_memory: groups.1,
                uniform_alignment,
                max_uniform_binding: 16 << 10,
                immediates: flags.0,
                software: flags.1,
                software_driver: drivers[groups.0 as usize % 3],
                integrated: flags.2,
                measured_gflops: flags.3,
                // Of every sort, whatever else the device is.
                cooperative_matrices: (groups.0 % 4 > 0).then(|| CooperativeMatrices {
                    size: 8 << (groups.1 % 2),
                    subgroup: 8 << (groups.0 % 4),
                }),
            }
        })
}

fn plan_options() -> impl Strategy<Value = PlanOptions> {
    (
        any::<bool>(),
        proptest::option::of(logarithmic(1, 4 << 30)),
        proptest::option::of(size(1, 5000)),
        proptest::option::of(size(1, 5000)),
        (
            proptest::option::of(prop_oneof![
                Just(KernelFamily::Step),
                Just(KernelFamily::Sequence)
            ]),
            proptest::option::of(any::<bool>()),
        ),
        any::<bool>(),
    )
        .prop_map(
            |(half, memory_budget, max_chunk_steps, max_tile_rows, kernels, all_layers)| {
                // Of the step kernels, those with f16 weights half of the time by matrices.
                let by_matrices = half && !all_layers && kernels.0 == Some(KernelFamily::Step);
                let matrix = by_matrices.then_some(KernelFamily::Matrix);
                PlanOptions {
                    precision: if half { Precision::F16 } else { Precision::F32 },
                    memory_budget,
                    max_chunk_steps,
                    max_tile_rows,
                    family: matrix.or(kernels.0),
                    wavefront: kernels.1,
                    on_device: false,
                    tune: None,
                    all_layers,
                }
            },
        )
}

/// Rows of one length, or of any lengths.
fn rows(steps: usize, batch: usize) -> impl Strategy<Value = RowOrder> {
    let shape = SequenceShape::new(steps, batch);
    proptest::option::of(any::<u64>()).prop_map(move |seed| {
        let lengths = seed.map(|seed| {
            let mut random = Random::new(seed);
            (0..batch).map(|_| random.below(steps + 1)).collect::<Vec<_>>()
        });
        RowOrder::new(shape, lengths.as_deref()).unwrap()
    })
}

/// The rows of a session, and those of a run that is nowhere larger.
fn runs() -> impl Strategy<Value = (RowOrder, RowOrder)> {
    (size(0, 2000), size(0, 2000))
        .prop_flat_map(|(steps, batch)| (Just((steps, batch)), 0..=steps, 0..=batch))
        .prop_flat_map(|((steps, batch), t, b)| (rows(steps, batch), rows(t, b)))
}

/// How many numbers the message names.
fn numbers(error: &Error) -> usize {
    let message = error.to_string();
    message.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).count()
}

/// The same cases every time; others, and as many as it says, under `PROPTEST_CASES`.
fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..config },
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    /// Whatever is asked: a plan that keeps every invariant, or an error that says what exceeds
    /// what. And a session made for a shape runs every smaller one, its options kept.
    #[test]
    fn plans_keep_their_invariants(
        config in configs(),
        (rows, smaller) in runs(),
        capabilities in capabilities(),
        options in plan_options(),
    ) {
        let geometry = match Geometry::choose(&config, rows.shape(), &capabilities, &options) {
            Ok(geometry) => geometry,
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error);
                let forced = options.family.is_some_and(|family| family != KernelFamily::Step);
                prop_assert!(forced || options.wavefront == Some(true), "{}", error);
                let limit = error.to_string().contains("kernel family 'sequence'");
                prop_assert!(!limit || numbers(&error) >= 2, "{}", error);
                if options.family == Some(KernelFamily::Matrix) && options.wavefront != Some(true) {
                    let whole = options.precision == Precision::F32;
                    let none = capabilities.cooperative_matrices.is_none();
                    prop_assert!(whole || none || numbers(&error) >= 4, "{}", error);
                }
                return Ok(());
            }
        };
        if let Some(forced) = options.wavefront {
            prop_assert_eq!(geometry.wavefront, forced);
        }
        let plan = match Plan::within(&config, rows, &capabilities, &options, geometry, None) {
            Ok(plan) => plan,
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::ExceedsLimits, "{}", error);
                prop_assert!(numbers(&error) >= 2, "{}", error);
                return Ok(());
            }
        };
        check(&plan, &capabilities);
        // The largest run of a session is divided as the session is.
        let memory = Some(&plan.memory);
        let again = Plan::within(&config, plan.rows.clone(), &capabilities, &options, geometry, memory);
        prop_assert_eq!(again.as_ref().ok(), Some(&plan));
        for all_layers in [false, true] {
            let options = PlanOptions { all_layers, ..options.clone() };
            let shape = smaller.shape();
            let inside = Plan::within(
                &config, smaller.clone(), &capabilities, &options, geometry, Some(&plan.memory),
            );
            let inside = match inside {
                Ok(inside) => inside,
                Err(error) => return Err(TestCaseError::fail(format!("{shape}: {error}"))),
            };
            check(&inside, &capabilities);
            let (small, large) = (&inside.memory, &plan.memory);
            prop_assert!(small.input <= large.input && small.gates <= large.gates);
            prop_assert!(small.arena <= large.arena && small.arenas <= large.arenas);
            prop_assert!(small.row_words <= large.row_words && small.staging == large.staging);
            prop_assert!(small.chunk_steps <= large.chunk_steps);
        }
    }
}

proptest! {
    #![proptest_config(cases(150))]

    /// What a measurement may choose is as good as what the table chooses: it is what was asked
    /// for, and its plan keeps every invariant.
    #[test]
    fn candidates_are_legal(
        config in configs(),
        (steps, batch) in (size(1, 60), size(1, 300)),
        capabilities in capabilities(),
        options in plan_options(),
    ) {
        let shape = SequenceShape::new(steps, batch);
        let planned = Geometry::choose(&config, shape, &capabilities, &options);
        let Ok(groups) = candidates(&config, shape, &capabilities, &options) else {
            prop_assert!(planned.is_err());
            return Ok(());
        };
        let planned = planned.unwrap();
        prop_assert_eq!(groups[0].base, planned);
        let mut labels = Vec::new();
        for group in &groups {
            for (n, geometry) in [&group.base].into_iter().chain(&group.variations).enumerate() {
                labels.push(geometry.label());
                prop_assert_eq!(geometry.family.family, group.base.family.family);
                prop_assert_eq!(geometry.wavefront, group.base.wavefront);
                let family = options.family.unwrap_or(geometry.family.family);
                prop_assert_eq!(geometry.family.family, family);
                prop_assert_eq!(geometry.wavefront, options.wavefront.unwrap_or(geometry.wavefront));
                let rows = RowOrder::full(shape);
                match Plan::within(&config, rows, &capabilities, &options, *geometry, None) {
                    Ok(plan) => check(&plan, &capabilities),
                    Err(error) => {
                        prop_assert!(n == 0 && *geometry == planned, "{}: {}", geometry, error);
                    }
                }
            }
        }
        let all = labels.len();
        labels.sort_unstable();
        labels.dedup();
        prop_assert_eq!(labels.len(), all, "labels tell candidates apart");
        prop_assert!(all <= 40, "{} candidates", all);
    }
}

/// The invariants are broken by what would break a run.
#[test]
fn broken_plans_are_seen() {
    let shape = SequenceShape::new(9, 7);
    let config = GruConfig { reset: ResetForm::Before, ..bidirectional(5, 70, 2) };
    let options = PlanOptions {
        max_chunk_steps: Some(4),
        max_tile_rows: Some(3),
        all_layers: true,
        family: Some(KernelFamily::Step),
        ..PlanOptions::default()
    };
    let plan = Plan::new(&config, shape, &gpu(), &options).unwrap();
    check(&plan, &gpu());
    type Fault = (&'static str, fn(&mut Plan));
    let faults: [Fault; 14] = [
        ("an operation lost", |p| drop(p.operations.remove(p.operations.len() / 2))),
        ("an operation twice", |p| p.operations.insert(3, p.operations[2].clone())),
        ("the last tile lost", |p| p.operations.truncate(p.operations.len() / 2)),
        ("a step too few", |p| {
            let steps = p.operations.iter_mut().find_map(|operation| match operation {
                Operation::Steps { steps, .. } => Some(steps),
                _ => None,
            });
            steps.unwrap().end -= 1;
        }),
        ("a grid too small", |p| slice(p).grid[0] -= 1),
        ("a grid of one direction", |p| slice(p).grid[2] = 1),
        ("another launch", |p| slice(p).launch += 1),
        ("gate inputs that overlap", |p| launch(p).cells[1].gates -= 1),
        ("states of another cell", |p| launch(p).cells[1].state = 0),
        ("scratch in the states", |p| launch(p).cells[0].scratch = launch(p).cells[0].state),
        ("outputs in the scratch", |p| launch(p).cells[0].output -= 1),
        ("a buffer too small", |p| p.memory.arena -= 1),
        ("weights that overlap", |p| p.weights.placements[0].slices[0].offsets[1] -= 1),
        ("more than the budget", |p| p.options.memory_budget = Some(1 << 10)),
    ];
    for (name, fault) in faults {
        let mut broken = plan.clone();
        fault(&mut broken);
        let seen = catch_unwind(AssertUnwindSafe(|| check(&broken, &gpu()))).is_err();
        assert!(seen, "{name} is not seen");
    }
}

/// The first dispatch of the plan.
fn slice(plan: &mut Plan) -> &mut LaunchSlice {
    let slices = plan.operations.iter_mut().find_map(|operation| match operation {
        Operation::Project { slices, .. } => Some(slices),
        _ => None,
    });
    &mut slices.unwrap()[0]
}

/// The launch record of the first step.
fn launch(plan: &mut Plan) -> &mut LaunchRecord {
    let launch = plan.operations.iter().find_map(|operation| match operation {
        Operation::Steps { kernels, .. } => Some(kernels[0].slices[0].launch),
        _ => None,
    });
    &mut plan.launches[launch.unwrap()]
}
