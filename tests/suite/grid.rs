//! Sizes on both sides of every edge that the kernels have (vec4s, lanes, blocks of rows, tiles
//! of units), in combinations such that every two values of different dimensions meet.

use wgru::Directions;

use crate::EngineTest;
use crate::compare::exact;
use crate::conformance::check;
use crate::engines::{Engine, On};
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, config};

pub(crate) const TESTS: &[EngineTest] = &[("every_pair_of_sizes", On::All, every_pair_of_sizes)];

const HIDDEN: [usize; 6] = [1, 3, 17, 64, 65, 257];
const BATCH: [usize; 6] = [1, 3, 4, 5, 9, 33];
const STEPS: [usize; 3] = [1, 2, 7];
const LAYERS: [usize; 3] = [1, 2, 3];
const INPUT: [usize; 4] = [1, 4, 5, 66];
const GIVEN: [Given; 5] = [
    Given { state: false, lengths: false, mask: false, batch_first: false },
    Given { state: true, lengths: false, mask: false, batch_first: false },
    Given { state: true, lengths: true, mask: false, batch_first: false },
    Given { state: false, lengths: true, mask: false, batch_first: true },
    Given::ALL,
];

/// Number of values of each dimension, in the order of [`Case`].
const DIMENSIONS: [usize; 9] =
    [HIDDEN.len(), BATCH.len(), STEPS.len(), LAYERS.len(), INPUT.len(), GIVEN.len(), 3, 2, 2];
const DIRECTION: usize = 6;
const MASKED: usize = 5;

/// Index of the value of each dimension: hidden size, batch, steps, layers, input size, what is
/// given, directions, reset form, bias.
type Case = [usize; DIMENSIONS.len()];

/// A reset mask needs a forward network.
fn is_possible(case: &Case) -> bool {
    !GIVEN[case[MASKED]].mask || DIRECTIONS[case[DIRECTION]] == Directions::Forward
}

/// Multiply-adds, about.
fn cost(case: &Case) -> usize {
    let [h, b, t, l] = [HIDDEN[case[0]], BATCH[case[1]], STEPS[case[2]], LAYERS[case[3]]];
    let d = DIRECTIONS[case[DIRECTION]].count();
    3 * t * b * d * h * (INPUT[case[4]] + h + (l - 1) * (d + 1) * h)
}

/// A fixed set of cases in which every possible pair of values of two dimensions occurs: greedy,
/// by pairs that are new, cheap cases first among equals.
fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = vec![[0; DIMENSIONS.len()]];
    for (dimension, count) in DIMENSIONS.iter().enumerate() {
        all = (0..*count)
            .flat_map(|value| {
                all.iter().map(move |case| {
                    let mut case = *case;
                    case[dimension] = value;
                    case
                })
            })
            .collect();
    }
    all.retain(is_possible);
    all.sort_by_key(cost);
    let mut left: std::collections::HashSet<_> = all.iter().flat_map(pairs).collect();
    let mut chosen = Vec::new();
    while !left.is_empty() {
        let new = |case: &Case| pairs(case).filter(|pair| left.contains(pair)).count();
        // The first of the best: the cheapest.
        let mut best = (0, all[0]);
        for case in &all {
            let count = new(case);
            if count > best.0 {
                best = (count, *case);
            }
        }
        pairs(&best.1).for_each(|pair| _ = left.remove(&pair));
        chosen.push(best.1);
    }
    chosen
}

/// The pairs (dimension, value), (dimension, value) of a case.
fn pairs(case: &Case) -> impl Iterator<Item = [usize; 4]> + '_ {
    (0..case.len()).flat_map(move |a| (0..a).map(move |b| [a, case[a], b, case[b]]))
}

fn every_pair_of_sizes(engine: &Engine) {
    static CASES: std::sync::OnceLock<Vec<Case>> = std::sync::OnceLock::new();
    let cases = CASES.get_or_init(cases);
    let mut worst = 0.0f64;
    for (seed, case) in (0..).zip(cases) {
        let [h, b, t, l, i, given, d, reset, bias] = *case;
        let sizes = [INPUT[i], HIDDEN[h], LAYERS[l]];
        let config = config(sizes, DIRECTIONS[d], RESETS[reset]);
        let what = format!(
            "T {} B {} I, H, L {sizes:?} {} reset-{} bias {} {:?}",
            STEPS[t], BATCH[b], config.directions, config.reset, bias, GIVEN[given]
        );
        let network = Network::random(config, bias == 1, seed);
        let problem = Problem::new(network.gru(), [STEPS[t], BATCH[b]], GIVEN[given], seed);
        let inputs = problem.inputs();
        let want = exact(&problem.gru, &inputs);
        worst = worst.max(check(engine, &what, &problem.gru, &inputs, &want));
    }
    println!("{}: {} sizes, at most {worst:.1e} from float64", engine.name, cases.len());
}
