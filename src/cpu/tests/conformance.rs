//! The engine against the f64 reference, at sizes that straddle every tile edge.

use ndarray::{Array2, Array3};

use super::support::{
    DIRECTIONS, RESETS, Random, config, instruction_sets, network, run_layers, same, session,
};
use crate::activation::Activation;
use crate::cell::CellFunctions;
use crate::config::{Directions, GruConfig};
use crate::model::Gru;
use crate::reference::{self, Arithmetic};
use crate::sequence::Inputs;

struct Case {
    input: Array3<f32>,
    state: Array3<f32>,
    lengths: Option<Vec<usize>>,
    mask: Option<Array2<bool>>,
}

impl Case {
    fn new(config: &GruConfig, steps: usize, batch: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        Self {
            input: random.array((steps, batch, config.input_size), 2.0),
            state: random.array((config.state_planes(), batch, config.hidden_size), 1.0),
            lengths: None,
            mask: None,
        }
    }

    fn ragged(mut self, seed: u64) -> Self {
        let (steps, batch, _) = self.input.dim();
        let mut random = Random(seed);
        self.lengths = Some((0..batch).map(|_| random.below(steps + 1)).collect());
        self
    }

    fn masked(mut self, seed: u64) -> Self {
        let (steps, batch, _) = self.input.dim();
        let mut random = Random(seed);
        self.mask =
            Some(Array2::from_shape_simple_fn((steps, batch), || random.next().is_multiple_of(3)));
        self
    }

    /// Runs on every instruction set and checks every step of every layer.
    fn check(&self, gru: &Gru, what: &str) {
        let mut inputs = Inputs::new(self.input.view()).initial_state(self.state.view());
        inputs.lengths = self.lengths.as_deref();
        inputs.reset_mask = self.mask.as_ref().map(|m| m.view());
        for arch in instruction_sets() {
            let what = format!("{what}, {arch:?}");
            let mut session = session(gru, arch);
            let (given, layers) = run_layers(gru, &mut session, &inputs, true);
            assert!(same(&given.hidden_states, layers.last().unwrap()), "{what}");
            let (alone, _) = run_layers(gru, &mut session, &inputs, false);
            assert!(same(&given.hidden_states, &alone.hidden_states), "{what}");
            assert!(same(&given.final_state, &alone.final_state), "{what}");
            let layers: Vec<_> = layers.iter().map(|l| l.view()).collect();
            let report = reference::verify(
                gru.config(),
                gru.weights(),
                &inputs,
                &layers,
                given.final_state.view(),
                &Arithmetic::f32(),
            )
            .unwrap();
            let empty = self.input.dim().1 == 0;
            assert!(report.passed() || (empty && report.is_empty()), "{what}: {report}");
            assert_eq!(report.undecided, 0, "{what}: {report}");
        }
    }
}

#[test]
fn hidden_sizes_at_panel_edges() {
    for reset in RESETS {
        for hidden in [1, 3, 8, 9, 15, 16, 17, 31, 33, 64, 65, 257] {
            let config = config(5, hidden, 1, Directions::Forward, reset);
            let gru = network(&config, 1);
            Case::new(&config, 4, 3, 2).check(&gru, &format!("reset {reset}, H {hidden}"));
        }
    }
}

#[test]
fn batches_at_tile_edges() {
    for reset in RESETS {
        let config = config(7, 20, 1, Directions::Forward, reset);
        let gru = network(&config, 3);
        for batch in 1..=33 {
            Case::new(&config, 3, batch, 4).check(&gru, &format!("reset {reset}, B {batch}"));
        }
    }
}

#[test]
fn layers_directions_and_ragged_rows() {
    for reset in RESETS {
        for directions in DIRECTIONS {
            for layers in [1, 3] {
                let config = config(6, 19, layers, directions, reset);
                let gru = network(&config, 5);
                let what = format!("reset {reset}, {directions}, {layers} layers");
                Case::new(&config, 9, 11, 6).check(&gru, &what);
                Case::new(&config, 9, 11, 7).ragged(8).check(&gru, &format!("{what}, ragged"));
            }
        }
    }
}

#[test]
fn reset_masks_with_and_without_lengths() {
    for reset in RESETS {
        let config = config(4, 18, 2, Directions::Forward, reset);
        let gru = network(&config, 9);
        Case::new(&config, 8, 5, 10).masked(11).check(&gru, &format!("reset {reset}, mask"));
        let ragged = Case::new(&config, 8, 5, 12).masked(13).ragged(14);
        ragged.check(&gru, &format!("reset {reset}, mask and lengths"));
    }
}

/// Many rows, and more steps than one chunk of projected input holds.
#[test]
fn long_and_wide_runs_are_cut_into_chunks() {
    for reset in RESETS {
        let config = config(3, 33, 1, Directions::Forward, reset);
        let gru = network(&config, 15);
        Case::new(&config, 2, 2500, 16).ragged(17).check(&gru, &format!("reset {reset}, wide"));
        let long = Case::new(&config, 2600, 2, 18).ragged(19);
        long.check(&gru, &format!("reset {reset}, long"));
    }
}

#[test]
fn other_functions_and_clip_by_direction() {
    for reset in RESETS {
        let mut config = config(5, 17, 1, Directions::Bidirectional, reset);
        config.functions = [
            CellFunctions {
                gate: Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
                candidate: Activation::Softsign,
                clip: Some(0.5),
            },
            CellFunctions {
                gate: Activation::Sigmoid,
                candidate: Activation::ScaledTanh { alpha: 0.5, beta: 1.5 },
                clip: None,
            },
        ];
        let gru = network(&config, 20);
        Case::new(&config, 6, 9, 21).check(&gru, &format!("reset {reset}, functions"));
    }
}

#[test]
fn no_steps_give_the_initial_state_and_no_rows_nothing() {
    let config = config(4, 6, 2, Directions::Bidirectional, RESETS[0]);
    let gru = network(&config, 22);
    Case::new(&config, 0, 3, 23).check(&gru, "no steps");
    Case::new(&config, 3, 0, 24).check(&gru, "no rows");
}

/// Weights that saturate every gate.
#[test]
fn saturated_networks_stay_exact() {
    for reset in RESETS {
        let config = config(3, 5, 1, Directions::Forward, reset);
        let gru = super::support::scaled_network(&config, 25, 100.0);
        let case = Case::new(&config, 1, 4, 26);
        case.check(&gru, &format!("reset {reset}, saturated"));
    }
}
