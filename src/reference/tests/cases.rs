//! Runs that the simulated engine must pass and every fault must fail.

use ndarray::{Array2, Array3};

use super::support::{DIRECTIONS, Network, RESETS, Random, config};
use crate::config::{Directions, GruConfig};
use crate::sequence::Inputs;

/// A network and everything that one run of it is given.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) network: Network,
    pub(super) input: Array3<f32>,
    pub(super) initial_state: Option<Array3<f32>>,
    pub(super) lengths: Option<Vec<usize>>,
    pub(super) reset_mask: Option<Array2<bool>>,
}

impl Case {
    /// Random weights and inputs, an initial state, no lengths, no resets.
    pub(super) fn random(config: GruConfig, steps: usize, batch: usize, seed: u64) -> Self {
        let random = &mut Random(seed ^ 0x5eed);
        let name = format!(
            "I {} H {} L {} {} reset-{} T {steps} B {batch}",
            config.input_size,
            config.hidden_size,
            config.num_layers,
            config.directions,
            config.reset
        );
        let planes = config.state_planes();
        let initial_state = Some(random.array((planes, batch, config.hidden_size), 1.0));
        let input = random.array((steps, batch, config.input_size), 2.0);
        let network = Network::random(config, seed);
        Self { name, network, input, initial_state, lengths: None, reset_mask: None }
    }

    /// Lengths that start at T and fall by two from row to row, down to 0.
    pub(super) fn ragged(mut self) -> Self {
        let (steps, batch, _) = self.input.dim();
        self.lengths = Some((0..batch).map(|row| steps.saturating_sub(2 * row)).collect());
        self.name += " ragged";
        self
    }

    /// A reset before the third step of every other row.
    pub(super) fn resetting(mut self) -> Self {
        let (steps, batch, _) = self.input.dim();
        let set = |(step, row): (usize, usize)| step == 2 && row % 2 == 0;
        self.reset_mask = Some(Array2::from_shape_fn((steps, batch), set));
        self.name += " resetting";
        self
    }

    pub(super) fn inputs(&self) -> Inputs<'_, f32> {
        Inputs {
            input: self.input.view(),
            initial_state: self.initial_state.as_ref().map(|v| v.view()),
            lengths: self.lengths.as_deref(),
            reset_mask: self.reset_mask.as_ref().map(|v| v.view()),
            batch_first: false,
        }
    }
}

/// Both reset forms, all directions; one unit to a thousand; stacked, ragged and resetting runs.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for reset in RESETS {
        for directions in DIRECTIONS {
            for (input, units, layers) in [(1, 1, 1), (3, 5, 2), (9, 17, 1), (20, 64, 2)] {
                let seed = cases.len() as u64 + 1;
                let config = config(input, units, layers, directions, reset);
                cases.push(Case::random(config.clone(), 6, 3, seed));
                cases.push(Case::random(config, 7, 4, seed + 1000).ragged());
            }
        }
        for (units, seed) in [(3, 2001), (65, 2002)] {
            let config = config(4, units, 2, Directions::Forward, reset);
            cases.push(Case::random(config.clone(), 6, 3, seed).resetting());
            cases.push(Case::random(config, 6, 3, seed + 10).resetting().ragged());
        }
        let large = config(30, 1000, 1, Directions::Forward, reset);
        cases.push(Case::random(large, 2, 2, 3001));
        let long = config(2, 8, 1, Directions::Bidirectional, reset);
        cases.push(Case::random(long, 300, 1, 3002));
    }
    cases
}
