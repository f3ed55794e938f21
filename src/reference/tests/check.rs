//! The check passes an engine that is right, whatever it is given.

use ndarray::Array3;
use proptest::prelude::*;

use super::cases::{Case, cases};
use super::simulator::{Simulator, half};
use super::support::{RESETS, config, seeded};
use crate::activation::Activation;
use crate::cell::{CellFunctions, Gate};
use crate::config::Directions;
use crate::error::ErrorKind;
use crate::reference::{Arithmetic, verify};

/// End-to-end differences of ordinary f32 runs are a few 1e-7.
const END_TO_END: f64 = 1e-5;

#[test]
fn an_f32_engine_passes() {
    let mut largest = (0.0, 0.0);
    for case in cases() {
        let report = Simulator::default().run(&case).verify(&case, &Arithmetic::f32());
        assert!(report.passed(), "{}: {report}", case.name);
        let (steps, batch, _) = case.input.dim();
        let config = &case.network.config;
        let values = (steps + 1) * batch * config.hidden_size * config.state_planes();
        assert_eq!((report.compared, report.undecided), (values as u64, 0), "{}", case.name);
        let end_to_end = report.end_to_end.expect("there is an output").difference;
        assert!(end_to_end < END_TO_END, "{}: {report}", case.name);
        // An f32 engine rounds: a ratio of 0 would mean that it was compared with itself.
        assert!(report.worst_ratio() > 0.0, "{}: {report}", case.name);
        println!("{:60} ratio {:.3} end to end {end_to_end:.1e}", case.name, report.worst_ratio());
        largest = (report.worst_ratio().max(largest.0), end_to_end.max(largest.1));
    }
    println!("largest ratio {:.3}, largest end to end {:.1e}", largest.0, largest.1);
}

fn functions() -> impl Strategy<Value = Activation> {
    let parameter = || -2.0f32..2.0;
    prop_oneof![
        Just(Activation::Sigmoid),
        Just(Activation::Tanh),
        Just(Activation::Relu),
        Just(Activation::Softsign),
        Just(Activation::Softplus),
        Just(Activation::LINEAR),
        parameter().prop_map(|alpha| Activation::LeakyRelu { alpha }),
        parameter().prop_map(|alpha| Activation::ThresholdedRelu { alpha }),
        parameter().prop_map(|alpha| Activation::Elu { alpha }),
        (parameter(), parameter())
            .prop_map(|(alpha, beta)| Activation::HardSigmoid { alpha, beta }),
        (parameter(), parameter()).prop_map(|(alpha, beta)| Activation::Affine { alpha, beta }),
        (parameter(), parameter()).prop_map(|(alpha, beta)| Activation::ScaledTanh { alpha, beta }),
    ]
}

proptest! {
    #![proptest_config(seeded(500))]

    #[test]
    fn an_f32_engine_passes_with_any_activation(
        gate in functions(), candidate in functions(),
        clip in prop_oneof![Just(None), (0.1f32..5.0).prop_map(Some)],
        form in 0usize..2, units in 1usize..9, scale in -1i32..4, seed: u64,
    ) {
        let functions = CellFunctions { gate, candidate, clip };
        let mut config = config(3, units, 1, Directions::Bidirectional, RESETS[form]);
        config.functions = [functions; 2];
        let mut case = Case::random(config, 5, 3, seed).ragged();
        case.input *= 10f32.powi(scale);
        let report = Simulator::default().run(&case).verify(&case, &Arithmetic::f32());
        prop_assert!(report.passed(), "{functions:?}: {report}");
    }

    /// Values that overflow, underflow, saturate or are not finite, anywhere.
    #[test]
    fn an_f32_engine_passes_with_poison(
        form in 0usize..2, seed: u64, flush: bool,
        poison in proptest::collection::vec((0usize..36, 0usize..POISON.len()), 1..6),
        poisoned_state in proptest::collection::vec((0usize..24, 0usize..POISON.len()), 0..3),
        candidate in functions(),
    ) {
        let mut config = config(3, 4, 1, Directions::Bidirectional, RESETS[form]);
        config.functions = [CellFunctions { candidate, ..CellFunctions::default() }; 2];
        let mut case = Case::random(config, 4, 3, seed);
        for (at, value) in poison {
            case.input.as_slice_mut().unwrap()[at] = POISON[value];
        }
        for (at, value) in poisoned_state {
            case.initial_state.as_mut().unwrap().as_slice_mut().unwrap()[at] = POISON[value];
        }
        let engine = Simulator { flush, ..Simulator::default() };
        let report = engine.run(&case).verify(&case, &Arithmetic::f32());
        prop_assert!(report.passed(), "{report}");
    }

    /// With identity activations and weights near the smallest normal, everything is denormal.
    #[test]
    fn flushed_denormals_pass(form in 0usize..2, exponent in 30i32..46, seed: u64, flush: bool) {
        let mut config = config(3, 4, 1, Directions::Forward, RESETS[form]);
        let linear = CellFunctions { candidate: Activation::LINEAR, ..CellFunctions::default() };
        config.functions = [linear; 2];
        let mut case = Case::random(config, 4, 3, seed);
        case.input *= 10f32.powi(-exponent);
        case.initial_state.as_mut().unwrap().mapv_inplace(|v| v * 10f32.powi(-exponent));
        for cell in &mut case.network.cells {
            for bias in cell.input_bias.iter_mut().chain(&mut cell.recurrent_bias) {
                bias.iter_mut().for_each(|b| *b *= 10f32.powi(-exponent));
            }
        }
        let engine = Simulator { flush, ..Simulator::default() };
        let report = engine.run(&case).verify(&case, &Arithmetic::f32());
        prop_assert!(report.passed() && report.undecided == 0, "{report}");
    }
}

const POISON: [f32; 16] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-42,
    -1e-42,
    9.01,
    -9.01,
    15.0,
    -44.0,
    89.0,
    -104.0,
    1e20,
    -0.0,
];

#[test]
fn non_finite_rows_are_decided() {
    for reset in RESETS {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut case = Case::random(config(3, 5, 2, Directions::Forward, reset), 4, 3, 5);
            case.input[[1, 1, 2]] = value;
            let run = Simulator::default().run(&case);
            let report = run.verify(&case, &Arithmetic::f32());
            assert!(report.passed() && report.undecided == 0, "{reset}, {value}: {report}");
            // One finite number in place of NaN, or NaN in place of a number, is a mismatch.
            let mut wrong = run.clone();
            let got = &mut wrong.layers[0][[1, 1, 3]];
            *got = if got.is_nan() { 0.5 } else { f32::NAN };
            let report = wrong.verify(&case, &Arithmetic::f32());
            assert!(!report.passed() && report.worst_ratio().is_infinite(), "{value}: {report}");
        }
    }
}

/// The exact candidate is beyond f32 and the closed gate multiplies it by 0: an engine has NaN.
#[test]
fn an_overflow_behind_a_closed_gate_is_undecided() {
    for reset in RESETS {
        let mut config = config(1, 1, 1, Directions::Forward, reset);
        let double = Activation::Affine { alpha: 2.0, beta: 0.0 };
        config.functions = [CellFunctions { candidate: double, ..CellFunctions::default() }; 2];
        let mut case = Case::random(config, 1, 1, 1);
        case.input.fill(f32::MAX);
        let cell = &mut case.network.cells[0];
        let (update, new) = (Gate::Update as usize, Gate::New as usize);
        cell.input[new].fill(0.75);
        cell.input[update].fill(0.0);
        cell.input_bias[update].fill(100.0);
        let run = Simulator::default().run(&case);
        assert!(run.layers[0][[0, 0, 0]].is_nan());
        let report = run.verify(&case, &Arithmetic::f32());
        assert_eq!((report.mismatches, report.undecided), (0, 1), "{report}");
    }
}

#[test]
fn f16_weights_and_operands_have_their_own_arithmetic() {
    for reset in RESETS {
        let config = config(20, 64, 2, Directions::Bidirectional, reset);
        let case = Case::random(config, 6, 3, 17).ragged();
        let mut rounded = case.clone();
        for cell in &mut rounded.network.cells {
            for matrix in cell.input.iter_mut().chain(&mut cell.recurrent) {
                matrix.iter_mut().for_each(|w| *w = half(*w));
            }
        }
        let (f32, weights, operands) =
            (Arithmetic::f32(), Arithmetic::f16_weights(), Arithmetic::f16_operands());
        let run = Simulator::default().run(&rounded);
        assert!(run.verify(&case, &weights).passed());
        assert!(run.verify(&rounded, &f32).passed());
        assert!(run.verify(&case, &f32).worst_ratio() > 10.0, "f16 weights are not f32");
        let run = Simulator { half_operands: true, ..Simulator::default() }.run(&rounded);
        let report = run.verify(&case, &operands);
        assert!(report.passed(), "{report}");
        assert!(run.verify(&case, &weights).worst_ratio() > 10.0, "f16 operands are not f32");
    }
}

#[test]
fn an_empty_comparison_is_reported() {
    for (steps, batch) in [(0, 0), (5, 0)] {
        let config = config(3, 4, 1, Directions::Forward, RESETS[0]);
        let case = Case::random(config, steps, batch, 1);
        let report = Simulator::default().run(&case).verify(&case, &Arithmetic::f32());
        assert!(report.is_empty() && !report.passed());
        assert!(report.to_string().contains("nothing to compare"), "{report}");
    }
    // No steps, but rows: their final states are compared.
    let config = config(3, 4, 1, Directions::Forward, RESETS[0]);
    let case = Case::random(config, 0, 2, 1);
    let report = Simulator::default().run(&case).verify(&case, &Arithmetic::f32());
    assert!(report.passed() && report.compared == 8 && report.end_to_end.is_none());
}

#[test]
fn misshapen_states_are_errors_that_name_both_shapes() {
    let case = Case::random(config(3, 4, 2, Directions::Forward, RESETS[1]), 5, 2, 1);
    let run = Simulator::default().run(&case);
    let (config, weights) = (&case.network.config, case.network.weights());
    let call = |layers: &[Array3<f32>], last: &Array3<f32>| {
        let layers: Vec<_> = layers.iter().map(|l| l.view()).collect();
        verify(config, &weights, &case.inputs(), &layers, last.view(), &Arithmetic::f32())
            .map(|_| ())
            .unwrap_err()
    };
    let error = call(&run.layers[..1], &run.final_state);
    assert!(error.to_string().contains("2 layers were wanted, of 1"), "{error}");
    let narrow = vec![run.layers[0].clone(), Array3::zeros((5, 2, 3))];
    let error = call(&narrow, &run.final_state);
    assert_eq!(error.kind(), ErrorKind::InvalidShape);
    assert!(error.to_string().contains("layer 1"), "{error}");
    assert!(error.to_string().contains("[5, 2, 4], [5, 2, 3]"), "{error}");
    let error = call(&run.layers, &Array3::zeros((2, 3, 4)));
    assert!(error.to_string().contains("final state must have the shape [2, 2, 4]"), "{error}");
}

#[test]
fn batch_first_inputs_are_checked_alike() {
    let case = Case::random(config(3, 4, 1, Directions::Bidirectional, RESETS[0]), 5, 2, 1);
    let run = Simulator::default().run(&case);
    let mut inputs = case.inputs().batch_first();
    inputs.input = case.input.view().permuted_axes([1, 0, 2]);
    let layers = [run.layers[0].view()];
    let (config, weights) = (&case.network.config, case.network.weights());
    let arithmetic = Arithmetic::f32();
    let report =
        verify(config, &weights, &inputs, &layers, run.final_state.view(), &arithmetic).unwrap();
    assert_eq!(report, run.verify(&case, &arithmetic));
}
