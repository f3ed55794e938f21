//! The f64 reference against results that this crate did not compute.

use wgru::reference;

use crate::PlainTest;
use crate::compare::largest_difference;
use crate::golden;

pub(crate) const TESTS: &[PlainTest] = &[("equals_every_golden", equals_every_golden)];

/// Largest difference allowed. The goldens' own sources agree within 1e-13.
const GOLDEN_TOLERANCE: f64 = 1e-12;
/// Cases that are committed; more may come, none may vanish unseen.
const CASES: usize = 76;

fn equals_every_golden() {
    let cases = golden::all();
    assert!(cases.len() >= CASES, "{} cases were found, {CASES} are committed", cases.len());
    for case in &cases {
        let (config, weights) = (case.gru.config(), case.gru.weights());
        let got = reference::forward(config, weights, &case.inputs()).expect("the case is valid");
        let difference = largest_difference(&got.hidden_states, &case.want.hidden_states)
            .max(largest_difference(&got.final_state, &case.want.final_state));
        assert!(difference <= GOLDEN_TOLERANCE, "{}: {difference:e}", case.name);
    }
    println!("oracle: {} goldens within {GOLDEN_TOLERANCE:e}", cases.len());
}
