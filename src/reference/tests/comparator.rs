//! The comparator and the bounds' pieces by themselves.

use proptest::prelude::*;

use super::support::seeded;
use crate::activation::Activation;
use crate::reference::activation::{error, slope, value};
use crate::reference::arithmetic::gamma;
use crate::reference::{Arithmetic, Comparison, Location, Verification};

const HERE: Location = Location { layer: 1, direction: 0, step: Some(4), row: 2, unit: 17 };

fn compare(got: f32, want: f64, bound: f64) -> Option<f64> {
    Comparison { location: HERE, got, want, bound }.ratio()
}

fn passes(got: f32, want: f64, bound: f64) -> bool {
    let mut report = Verification::default();
    report.record(Comparison { location: HERE, got, want, bound });
    report.passed()
}

#[test]
fn values_just_inside_pass_and_just_outside_fail() {
    let bound = f64::from(f32::EPSILON);
    assert!(passes(1.0 + f32::EPSILON, 1.0, bound));
    assert!(passes(1.0 - f32::EPSILON, 1.0, bound));
    assert!(!passes(1.0 + f32::EPSILON, 1.0, bound.next_down()));
    assert!(!passes(1.0 - f32::EPSILON, 1.0, bound.next_down()));
    assert!(!passes(1.0f32.next_up(), 1.0, 0.0));
    assert!(passes(1.0, 1.0, 0.0));
    assert!(passes(-0.0, 0.0, 0.0));
    assert_eq!(compare(1.5, 1.0, 0.25), Some(2.0));
}

#[test]
fn non_finite_values_compare_by_kind() {
    let [inf, nan] = [f32::INFINITY, f32::NAN];
    for (got, want, bound, ratio) in [
        (nan, 1.0, 1.0, Some(f64::INFINITY)),
        (inf, 1.0, 1.0, Some(f64::INFINITY)),
        (1.0, f64::NAN, 0.0, Some(f64::INFINITY)),
        (1.0, f64::INFINITY, 0.0, Some(f64::INFINITY)),
        (inf, f64::NEG_INFINITY, 0.0, Some(f64::INFINITY)),
        (nan, f64::INFINITY, 0.0, Some(f64::INFINITY)),
        (inf, f64::NAN, 0.0, Some(f64::INFINITY)),
        (nan, f64::NAN, 0.0, Some(0.0)),
        (inf, f64::INFINITY, 0.0, Some(0.0)),
        (-inf, f64::NEG_INFINITY, 0.0, Some(0.0)),
        // Nothing is known: the value counts as undecided.
        (nan, 1.0, f64::INFINITY, None),
        (nan, 1.0, f64::NAN, None),
        (inf, f64::from(f32::MAX), 1e32, None),
    ] {
        assert_eq!(compare(got, want, bound), ratio, "{got} against {want} within {bound}");
    }
    let mut report = Verification::default();
    report.record(Comparison { location: HERE, got: nan, want: 1.0, bound: f64::INFINITY });
    assert!(!report.passed() && report.is_empty() && report.undecided == 1, "undecided is no pass");
    report.record(Comparison { location: HERE, got: nan, want: f64::NAN, bound: 1.0 });
    report.record(Comparison { location: HERE, got: inf, want: f64::INFINITY, bound: 1.0 });
    assert_eq!((report.compared, report.not_a_number, report.mismatches), (2, 1, 0));
    assert!(report.to_string().contains("2 values compared, 1 of them NaN on both sides"));
}

#[test]
fn the_report_lists_the_first_mismatches_and_the_worst() {
    let mut report = Verification::default();
    for unit in 0..40 {
        let location = Location { unit, ..HERE };
        let got = if unit == 30 { 9.0 } else { 3.0 };
        report.record(Comparison { location, got, want: 1.0, bound: 1.0 });
    }
    assert_eq!((report.compared, report.mismatches), (40, 40));
    assert_eq!(report.listed.len(), Verification::LISTED);
    assert_eq!(report.listed[3].location.unit, 3);
    let worst = report.worst.unwrap();
    assert_eq!((worst.location.unit, worst.ratio()), (30, Some(8.0)));
    let text = report.to_string();
    assert!(text.starts_with("FAILED: 40 values compared, 40 mismatches"), "{text}");
    assert!(text.contains("layer 1, direction 0, step 4, row 2, unit 30"), "{text}");
    assert!(text.ends_with("... and 24 more"), "{text}");
}

#[test]
fn gamma_is_highams() {
    assert!((gamma(1) * f64::from(1u32 << 24) - 1.0).abs() < 1e-6);
    assert!(gamma(100) > 100.0 * gamma(1) && gamma(100) < 100.1 * gamma(1));
    assert!(gamma(1 << 25).is_infinite());
}

const EVERY: [Activation; 14] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Relu,
    Activation::LeakyRelu { alpha: 0.01 },
    Activation::LeakyRelu { alpha: -3.0 },
    Activation::ThresholdedRelu { alpha: 1.0 },
    Activation::ThresholdedRelu { alpha: -0.5 },
    Activation::Elu { alpha: 1.5 },
    Activation::Elu { alpha: -0.5 },
    Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Activation::Softsign,
    Activation::Softplus,
    Activation::Affine { alpha: -2.0, beta: 0.5 },
    Activation::ScaledTanh { alpha: 1.7, beta: -0.67 },
];

#[test]
fn activations_have_their_limits_and_keep_nan() {
    for function in EVERY {
        assert!(value(function, f64::NAN).is_nan(), "{function}");
        for (x, far) in [(f64::INFINITY, 1e6), (f64::NEG_INFINITY, -1e6)] {
            let (limit, near) = (value(function, x), value(function, far));
            if limit.is_finite() {
                assert!((limit - near).abs() < 1e-5, "{function} at {x}: {limit}");
            } else {
                assert!(limit.signum() == near.signum() && near.abs() > 1e3, "{function} at {x}");
            }
        }
    }
}

#[test]
fn activations_have_their_textbook_values() {
    let third = 1.0 / 3.0;
    for (function, x, want) in [
        (Activation::Sigmoid, 3f64.ln(), 0.75),
        (Activation::Sigmoid, -(3f64.ln()), 0.25),
        (Activation::Tanh, 2f64.ln(), 0.6),
        (Activation::Relu, -2.0, 0.0),
        (Activation::LeakyRelu { alpha: 0.25 }, -2.0, -0.5),
        (Activation::ThresholdedRelu { alpha: 1.0 }, 1.0, 0.0),
        (Activation::ThresholdedRelu { alpha: 1.0 }, 1.5, 1.5),
        (Activation::Elu { alpha: 2.0 }, -(2f64.ln()), -1.0),
        (Activation::HardSigmoid { alpha: 0.25, beta: 0.5 }, 1.0, 0.75),
        (Activation::HardSigmoid { alpha: 0.25, beta: 0.5 }, 9.0, 1.0),
        (Activation::Softsign, -0.5, -third),
        (Activation::Softplus, 0.0, 2f64.ln()),
        (Activation::Softplus, 800.0, 800.0),
        (Activation::Affine { alpha: 2.0, beta: 1.0 }, 3.0, 7.0),
        (Activation::ScaledTanh { alpha: 2.0, beta: 0.5 }, 2.0 * 2f64.ln(), 1.2),
    ] {
        let got = value(function, x);
        assert!((got - want).abs() < 1e-15, "{function} at {x}: {got}, not {want}");
    }
}

proptest! {
    #![proptest_config(seeded(1000))]

    #[test]
    fn the_slope_is_a_lipschitz_constant_nearby(
        which in 0..EVERY.len(), x in -12.0f64..12.0, exponent in -9i32..2, side in -1.0f64..1.0,
    ) {
        let function = EVERY[which];
        let dx = 10f64.powi(exponent);
        let moved = (value(function, x + side * dx) - value(function, x)).abs();
        let bound = error(function, x, dx, &Arithmetic::f32());
        prop_assert!(moved <= bound, "{function} moves {moved}, allowed {bound}");
        if !matches!(function, Activation::ThresholdedRelu { .. }) {
            let lipschitz = slope(function, x, dx) * dx;
            prop_assert!(moved <= lipschitz + 1e-14, "{function} moves {moved} over {lipschitz}");
        }
    }
}
