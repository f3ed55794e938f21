//! Every engine against the f64 reference and the goldens: the residual check must pass, and the
//! results must lie within [`DRIFT`] of float64.

use wgru::{Directions, Gru, Inputs, Output, ResetForm};

use crate::EngineTest;
use crate::compare::{assert_verified, exact, output_difference, same_output};
use crate::engines::{Engine, On};
use crate::golden;
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, config, textbook};

pub(crate) const TESTS: &[EngineTest] = &[
    ("goldens", On::AllAndCheckedSequence, goldens),
    ("textbook_names", On::All, textbook_names),
    ("canonical_weights_are_the_same_network", On::All, canonical_weights_are_the_same_network),
    ("hidden_size_1000", On::All, hidden_size_1000),
];

/// Largest difference from float64 of a run of a few steps with ordinary weights. The activations
/// are off by 2^-21 = 4.8e-7 at most, and a gate passes on a quarter of that.
const DRIFT: f64 = 1e-6;

/// Runs and checks `inputs`: the residual check, and the difference from `want`.
pub(crate) fn check(
    engine: &Engine,
    what: &str,
    gru: &Gru,
    inputs: &Inputs<'_, f32>,
    want: &Output<f64>,
) -> f64 {
    let mut session = engine.session(gru, inputs);
    assert_verified(what, &session.verify(inputs).expect("the inputs are valid"));
    let got = session.run_with(inputs).expect("the inputs are valid");
    let difference = output_difference(&got, want);
    // Weights that saturate every gate multiply the errors of each step, and a state that is rounded
    // to f16 may fall on either side: the residual check alone can tell.
    let ordinary = !what.contains("saturating") && !engine.is_half();
    assert!(difference < DRIFT || !ordinary, "{what}: {difference:e} from float64");
    if ordinary { difference } else { 0.0 }
}

fn goldens(engine: &Engine) {
    let cases = golden::all();
    let mut worst = 0.0f64;
    for case in &cases {
        let input = case.input.mapv(golden::exact_f32);
        let state = case.state.as_ref().map(|s| s.mapv(golden::exact_f32));
        let inputs = Inputs {
            input: input.view(),
            initial_state: state.as_ref().map(|s| s.view()),
            lengths: case.lengths.as_deref(),
            reset_mask: case.mask.as_ref().map(|m| m.view()),
            batch_first: false,
        };
        worst = worst.max(check(engine, &case.name, &case.gru, &inputs, &case.want_of_f32));
    }
    println!("{}: {} goldens, at most {worst:.1e} from float64", engine.name, cases.len());
}

fn textbook_names(engine: &Engine) {
    for (seed, sizes) in (0..).zip([[3, 1, 1], [5, 17, 2], [8, 64, 1], [2, 65, 3]]) {
        let gru = textbook(sizes, seed);
        assert_eq!(gru.config().reset, ResetForm::Before);
        let given = Given { state: true, lengths: true, ..Given::default() };
        let problem = Problem::new(gru, [4, 5], given, seed);
        let inputs = problem.inputs();
        let want = exact(&problem.gru, &inputs);
        check(engine, &format!("textbook {sizes:?}"), &problem.gru, &inputs, &want);
    }
}

fn canonical_weights_are_the_same_network(engine: &Engine) {
    for reset in RESETS {
        for directions in DIRECTIONS {
            let network = Network::random(config([3, 9, 2], directions, reset), true, 71);
            let given = Given { state: true, lengths: true, ..Given::default() };
            let problem = Problem::new(network.gru(), [3, 4], given, 72);
            let inputs = problem.inputs();
            let named = engine.session(&problem.gru, &inputs).run_with(&inputs);
            let canonical = engine.session(&network.canonical(), &inputs).run_with(&inputs);
            same_output(&format!("{reset} {directions}"), &canonical.unwrap(), &named.unwrap());
        }
    }
}

fn hidden_size_1000(engine: &Engine) {
    for reset in RESETS {
        let network = Network::random(config([10, 1000, 1], Directions::Forward, reset), true, 73);
        let problem = Problem::new(network.gru(), [2, 2], Given::default(), 74);
        let inputs = problem.inputs();
        let want = exact(&problem.gru, &inputs);
        check(engine, &format!("{reset}"), &problem.gru, &inputs, &want);
    }
}
