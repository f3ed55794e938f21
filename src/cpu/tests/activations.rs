//! Sweeps of the vector activations against f64.

use pulp::{Simd, WithSimd};

use super::support::instruction_sets;
use crate::activation::{ACTIVATION_ERROR, Activation};
use crate::cell::CellFunctions;
use crate::cpu::math::{CellMath as _, Functions, Standard};

/// What `math` promises.
const BOUND: f64 = ACTIVATION_ERROR * 2.0 / 3.0;

struct Apply<'a> {
    functions: Functions,
    gate: bool,
    values: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (vectors, rest) = S::as_mut_simd_f32s(self.values);
        assert!(rest.is_empty(), "sweeps come in whole vectors");
        for v in vectors {
            // As the steps choose.
            *v = match (self.functions.standard(), self.gate) {
                (true, true) => Standard.gate(simd, *v),
                (true, false) => Standard.candidate(simd, *v),
                (false, true) => self.functions.gate(simd, *v),
                (false, false) => self.functions.candidate(simd, *v),
            };
        }
    }
}

fn apply(arch: pulp::Arch, function: Activation, values: &mut [f32]) {
    let functions = CellFunctions { gate: function, ..CellFunctions::default() };
    arch.dispatch(Apply { functions: Functions::new(&functions), gate: true, values });
}

/// Floats of both signs in steps of a few thousand bit patterns, the whole range of exponents.
fn sweep(stride: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..=f32::INFINITY.to_bits())
        .step_by(stride)
        .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
        .collect();
    values.extend([f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 88.0, -88.0, 9.5, -9.5]);
    while !values.len().is_multiple_of(16) {
        values.push(0.0);
    }
    values
}

fn worst(arch: pulp::Arch, gate: bool, exact: impl Fn(f64) -> f64) -> (f64, f32) {
    // An odd stride visits every mantissa pattern's neighbourhood.
    let inputs = sweep(1_009);
    let mut values = inputs.clone();
    let functions = Functions::new(&CellFunctions::default());
    arch.dispatch(Apply { functions, gate, values: &mut values });
    let mut worst = (0.0, 0.0);
    for (x, y) in inputs.iter().zip(&values) {
        let error = (f64::from(*y) - exact(f64::from(*x))).abs();
        assert!(error.is_finite(), "{x} gives {y}");
        if error > worst.0 {
            worst = (error, *x);
        }
    }
    worst
}

#[test]
fn sigmoid_and_tanh_stay_within_their_bounds() {
    for arch in instruction_sets() {
        let (error, at) = worst(arch, true, |x| 1.0 / (1.0 + (-x).exp()));
        assert!(error <= BOUND, "{arch:?}: sigmoid({at}) is wrong by {error:e}");
        let (error, at) = worst(arch, false, f64::tanh);
        assert!(error <= BOUND, "{arch:?}: tanh({at}) is wrong by {error:e}");
    }
}

#[test]
fn standard_functions_saturate_and_keep_nan() {
    for arch in instruction_sets() {
        let inputs = [f32::INFINITY, 40.0, f32::NEG_INFINITY, f32::NAN];
        for (function, wanted) in
            [(Activation::Sigmoid, [1.0, 1.0, 0.0]), (Activation::Tanh, [1.0, 1.0, -1.0])]
        {
            let mut values = [0.0; 16];
            values[..4].copy_from_slice(&inputs);
            apply(arch, function, &mut values);
            for (value, wanted) in values.iter().zip(wanted) {
                assert!((value - wanted).abs() < 1e-37, "{arch:?} {function}: {values:?}");
            }
            assert!(values[3].is_nan(), "{arch:?} {function}: {values:?}");
        }
    }
}

/// Near zero tanh keeps its relative precision: small states do not drown.
#[test]
fn tanh_is_relatively_precise_near_zero() {
    for arch in instruction_sets() {
        let mut values: Vec<f32> = (1..=4096).map(|i| i as f32 * 1e-6).collect();
        let inputs = values.clone();
        apply(arch, Activation::Tanh, &mut values);
        for (x, y) in inputs.iter().zip(&values) {
            let exact = f64::from(*x).tanh();
            assert!((f64::from(*y) / exact - 1.0).abs() < 3e-7, "{arch:?}: tanh({x}) = {y}");
        }
    }
}

#[test]
fn every_other_activation_is_its_formula() {
    type Exact = fn(f64) -> f64;
    let cases: [(Activation, Exact); 10] = [
        (Activation::Relu, |x| x.max(0.0)),
        (Activation::LeakyRelu { alpha: 0.25 }, |x| if x >= 0.0 { x } else { 0.25 * x }),
        (Activation::ThresholdedRelu { alpha: 1.5 }, |x| if x > 1.5 { x } else { 0.0 }),
        (Activation::Elu { alpha: 0.5 }, |x| if x >= 0.0 { x } else { 0.5 * x.exp_m1() }),
        (Activation::HardSigmoid { alpha: 0.25, beta: 0.5 }, |x| (0.25 * x + 0.5).clamp(0.0, 1.0)),
        (Activation::Softsign, |x| x / (1.0 + x.abs())),
        (Activation::Softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        (Activation::Affine { alpha: 2.0, beta: -1.0 }, |x| 2.0 * x - 1.0),
        (Activation::ScaledTanh { alpha: 1.5, beta: 0.5 }, |x| 1.5 * (0.5 * x).tanh()),
        (Activation::LINEAR, |x| x),
    ];
    for arch in instruction_sets() {
        for (function, exact) in cases {
            let inputs: Vec<f32> = (-800..800).map(|i| i as f32 / 16.0).collect();
            let mut values = inputs.clone();
            apply(arch, function, &mut values);
            for (x, y) in inputs.iter().zip(&values) {
                let exact = exact(f64::from(*x));
                let error = (f64::from(*y) - exact).abs();
                // Two roundings of the result, and of the larger of the terms of a sum.
                let allowed = 4.0 * f64::from(f32::EPSILON) * exact.abs().max(1.0);
                assert!(error <= allowed, "{arch:?} {function}({x}) = {y}, exact {exact}");
            }
            let mut edge = [f32::NAN; 16];
            edge[1] = f32::INFINITY;
            apply(arch, function, &mut edge);
            assert!(edge[0].is_nan(), "{arch:?} {function} of NaN is {}", edge[0]);
            assert!(!edge[1].is_nan(), "{arch:?} {function} of infinity is NaN");
        }
    }
}

#[test]
fn clip_limits_the_input_of_an_activation() {
    for arch in instruction_sets() {
        let functions = CellFunctions {
            gate: Activation::LINEAR,
            candidate: Activation::LINEAR,
            clip: Some(0.75),
        };
        let mut values = [f32::NAN; 16];
        values[..4].copy_from_slice(&[2.0, -3.0, 0.5, f32::NEG_INFINITY]);
        arch.dispatch(Apply {
            functions: Functions::new(&functions),
            gate: false,
            values: &mut values,
        });
        assert_eq!(values[..4], [0.75, -0.75, 0.5, -0.75], "{arch:?}");
        assert!(values[4].is_nan(), "{arch:?}");
    }
}
