//! Problems at random: sizes, plans and runs that nobody thought of. A failure names its seed.

use wgru::{Activation, CellFunctions, PlanOptions, Precision, SequenceShape};

use crate::EngineTest;
use crate::compare::assert_verified;
use crate::engines::{Engine, On};
use crate::laws::label;
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, Random, config};

pub(crate) const TESTS: &[EngineTest] =
    &[("sessions_of_several_runs", On::All, sessions_of_several_runs)];

const SESSIONS: u64 = 24;

fn functions(random: &mut Random) -> CellFunctions {
    let names = ["relu", "hardsigmoid", "softsign", "elu", "leakyrelu", "softplus", "tanh"];
    let mut any = || {
        let name = names[random.below(names.len())];
        Activation::from_name(name, None, None).expect("the name is ONNX's")
    };
    let (gate, candidate) = (any(), any());
    let clip = (random.below(2) == 0).then_some(0.5);
    CellFunctions { gate, candidate, clip }
}

/// Each session runs several shapes up to its own, with whatever may be given.
fn sessions_of_several_runs(engine: &Engine) {
    let mut compared = 0;
    for seed in 0..SESSIONS {
        let mut random = Random(seed);
        let sizes = [1 + random.below(20), 1 + random.below(40), 1 + random.below(4)];
        let directions = DIRECTIONS[random.below(3)];
        let mut config = config(sizes, directions, RESETS[random.below(2)]);
        if random.below(3) == 0 {
            config.functions = [functions(&mut random), functions(&mut random)];
        }
        let gru = Network::random(config.clone(), random.below(3) > 0, seed).gru();
        let largest = [1 + random.below(12), 1 + random.below(20)];
        let mut maybe = |most| (random.below(2) == 0).then(|| 1 + random.below(most));
        let options = PlanOptions {
            max_chunk_steps: maybe(largest[0]),
            max_tile_rows: maybe(largest[1]),
            memory_budget: maybe(100_000).map(|n| 400_000 + n as u64),
            all_layers: maybe(1).is_some(),
            precision: match maybe(1) {
                Some(_) if engine.is_gpu() => Precision::F16,
                _ => Precision::F32,
            },
            ..PlanOptions::default()
        };
        let shape = SequenceShape::new(largest[0], largest[1]);
        let mut session = engine.session_with(&gru, shape, &options);
        for round in 0..4 {
            let shape = largest.map(|most| 1 + random.below(most));
            let mut flag = || random.below(2) == 0;
            let given = Given {
                state: flag(),
                lengths: flag(),
                mask: directions == DIRECTIONS[0] && flag(),
                batch_first: flag(),
            };
            let problem = Problem::new(gru.clone(), shape, given, seed ^ round);
            let verification = session.verify(&problem.inputs()).unwrap();
            let what =
                format!("seed {seed}, {}, {shape:?}, {given:?}, {options:?}", label(&config));
            assert_verified(&what, &verification);
            compared += verification.compared;
        }
    }
    println!("{}: {SESSIONS} sessions at random, {compared} values compared", engine.name);
}
