//! Comparisons that report the first difference, and fail on NaN and on empty arrays.

use ndarray::{Array3, ArrayView3};
use wgru::reference::{self, Verification};
use wgru::{Gru, Inputs, Output};

/// # Panics
/// Where shapes differ, there is nothing to compare, or an element has other bits.
#[track_caller]
pub(crate) fn same_bits(what: &str, got: ArrayView3<'_, f32>, want: ArrayView3<'_, f32>) {
    assert_eq!(got.dim(), want.dim(), "{what}: shapes");
    assert!(!got.is_empty(), "{what}: nothing was compared");
    let pairs = got.indexed_iter().zip(want);
    let different: Vec<_> = pairs.filter(|((_, g), w)| g.to_bits() != w.to_bits()).collect();
    if let Some(((index, got), want)) = different.first() {
        panic!(
            "{what}: {} values differ, the first at {index:?}: got {got:e}, want {want:e}",
            different.len()
        );
    }
}

/// [`same_bits`] of states and of final states.
#[track_caller]
pub(crate) fn same_output(what: &str, got: &Output, want: &Output) {
    same_bits(&format!("{what}, states"), got.hidden_states.view(), want.hidden_states.view());
    same_bits(&format!("{what}, final state"), got.final_state.view(), want.final_state.view());
}

/// The largest difference; infinite where either is NaN.
#[track_caller]
pub(crate) fn largest_difference(got: &Array3<f64>, want: &Array3<f64>) -> f64 {
    assert_eq!(got.dim(), want.dim(), "shapes");
    assert!(!got.is_empty(), "nothing was compared");
    let differences = got.iter().zip(want).map(|(g, w)| (g - w).abs());
    differences.fold(0.0, |most: f64, d| if d.is_nan() { f64::INFINITY } else { most.max(d) })
}

/// The larger of the largest differences of states and of final states.
#[track_caller]
pub(crate) fn output_difference(got: &Output, want: &Output<f64>) -> f64 {
    let states = largest_difference(&got.hidden_states.mapv(f64::from), &want.hidden_states);
    states.max(largest_difference(&got.final_state.mapv(f64::from), &want.final_state))
}

/// The f64 reference's results on the same inputs.
pub(crate) fn exact(gru: &Gru, inputs: &Inputs<'_, f32>) -> Output<f64> {
    let input = inputs.input.mapv(f64::from);
    let state = inputs.initial_state.map(|s| s.mapv(f64::from));
    let inputs = Inputs {
        input: input.view(),
        initial_state: state.as_ref().map(|s| s.view()),
        lengths: inputs.lengths,
        reset_mask: inputs.reset_mask,
        batch_first: inputs.batch_first,
    };
    reference::forward(gru.config(), gru.weights(), &inputs).expect("the inputs are valid")
}

/// # Panics
/// Where the residual check fails, or compares nothing.
#[track_caller]
pub(crate) fn assert_verified(what: &str, verification: &Verification) {
    assert!(verification.passed(), "{what}: {verification}");
}
