//! Arithmetic of every engine: f16 weights, every activation and clip, values at the edges of f32.

use wgru::{Activation, CellFunctions, Directions, KernelFamily, PlanOptions, Precision};

use crate::EngineTest;
use crate::compare::{assert_verified, exact, output_difference};
use crate::engines::{Engine, On};
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, Random, config};

pub(crate) const TESTS: &[EngineTest] = &[
    ("f16_weights", On::Gpu, f16_weights),
    ("every_activation_and_clip", On::All, every_activation_and_clip),
    ("edges_of_f32", On::All, edges_of_f32),
];

/// The residual check knows that weights are rounded; device memory of weights is half.
fn f16_weights(engine: &Engine) {
    let cases = [([5, 17, 2], 0), ([3, 65, 1], 1), ([4, 8, 2], 2), ([66, 33, 2], 2)];
    for reset in RESETS {
        for (sizes, directions) in cases {
            let config = config(sizes, DIRECTIONS[directions], reset);
            let what = format!("{sizes:?} {} reset-{reset}", config.directions);
            let gru = Network::random(config, true, 81).gru();
            let given = Given { state: true, lengths: true, ..Given::default() };
            let problem = Problem::new(gru, [5, 5], given, 82);
            let inputs = problem.inputs();
            let options = PlanOptions { precision: Precision::F16, ..PlanOptions::default() };
            let mut session = engine.session_with(&problem.gru, inputs.shape(), &options);
            assert_verified(&what, &session.verify(&inputs).unwrap());
            let whole = PlanOptions { family: Some(KernelFamily::Step), ..PlanOptions::default() };
            let whole = engine.session_with(&problem.gru, inputs.shape(), &whole);
            let bytes = |session: &wgru::Session| {
                let buffers = session.plan().expect("a GPU session has a plan").buffers();
                let weights = buffers.iter().find(|(name, _)| *name == "weights");
                weights.expect("a plan lists its weights").1
            };
            // Tiles of matrices are padded otherwise.
            let alike = !engine.is_half();
            assert!(2 * bytes(&session) == bytes(&whole) || !alike, "{what}: bytes of weights");
            let got = session.run_with(&inputs).unwrap();
            let difference = output_difference(&got, &exact(&problem.gru, &inputs));
            assert!(difference > 0.0 && difference < 1e-2, "{what}: {difference:e} from float64");
        }
    }
}

const ACTIVATIONS: [Activation; 12] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Relu,
    Activation::LeakyRelu { alpha: 0.1 },
    Activation::ThresholdedRelu { alpha: 0.25 },
    Activation::Elu { alpha: 0.5 },
    Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Activation::Softsign,
    Activation::Softplus,
    Activation::Affine { alpha: 0.75, beta: -0.125 },
    Activation::ScaledTanh { alpha: 1.5, beta: 0.5 },
    Activation::LINEAR,
];

/// Each activation for the gates and for the candidate, in both directions, with and without
/// clip, in both reset forms.
fn every_activation_and_clip(engine: &Engine) {
    for (seed, gate) in (0..).zip(0..ACTIVATIONS.len()) {
        let at = |index: usize| ACTIVATIONS[index % ACTIVATIONS.len()];
        for (reset, clip) in [(0, None), (1, Some(0.375)), (1, None), (0, Some(0.375))] {
            let mut config = config([3, 6, 2], Directions::Bidirectional, RESETS[reset]);
            config.functions = [
                CellFunctions { gate: at(gate), candidate: at(gate + 1), clip },
                CellFunctions { gate: at(gate + 4), candidate: at(gate + 7), clip },
            ];
            let what = format!("{:?} reset-{}", config.functions, config.reset);
            let gru = Network::random(config, true, seed).gru();
            let given = Given { state: true, ..Given::default() };
            let problem = Problem::new(gru, [3, 5], given, seed);
            let inputs = problem.inputs();
            let mut session = engine.session(&problem.gru, &inputs);
            let verification = session.verify(&inputs).unwrap();
            assert_verified(&what, &verification);
            assert_eq!(verification.undecided, 0, "{what}: {verification}");
        }
    }
}

/// Inputs and weights among NaN, infinities, subnormals, the largest values, and where
/// activations saturate: the residual check also compares where NaN and infinities are.
fn edges_of_f32(engine: &Engine) {
    const EDGES: [f32; 20] = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        1e-45,
        -1e-40,
        f32::MIN_POSITIVE,
        0.0,
        -0.0,
        9.01,
        -9.01,
        15.0,
        -15.0,
        44.0,
        -44.0,
        89.0,
        -89.0,
        1e20,
        -1e20,
    ];
    for (seed, reset) in (0..).zip(RESETS) {
        for directions in DIRECTIONS {
            let gru = Network::random(config([4, 9, 2], directions, reset), true, 83).gru();
            let given = Given { state: true, ..Given::default() };
            let mut problem = Problem::new(gru, [4, EDGES.len()], given, seed);
            for (row, edge) in EDGES.iter().enumerate() {
                // Finite values that an engine refuses give way to the largest that it takes.
                let edge = if edge.abs() > 1e4 { engine.operand(*edge) } else { *edge };
                // At one step of each row; in half of the rows in the state, too.
                problem.input[[row % 4, row, row % 4]] = edge;
                if row % 2 == 0 {
                    problem.state.as_mut().unwrap()[[0, row, row % 9]] = edge;
                }
            }
            let inputs = problem.inputs();
            let mut session = engine.session(&problem.gru, &inputs);
            let verification = session.verify(&inputs).unwrap();
            assert_verified(&format!("{directions} reset-{reset}"), &verification);
            assert!(verification.compared > 10 * verification.undecided, "{verification}");
        }
    }
    // Weights that saturate every gate, and subnormal ones.
    for reset in RESETS {
        for scale in [300.0, 1e-40] {
            let mut network =
                Network::random(config([4, 9, 2], Directions::Forward, reset), true, 84);
            let mut random = Random(85);
            for cell in &mut network.cells {
                cell.input.iter_mut().for_each(|w| *w = random.uniform(scale));
                cell.recurrent.iter_mut().for_each(|w| *w = random.uniform(scale));
            }
            let problem = Problem::new(network.gru(), [4, 5], Given::default(), 86);
            let inputs = problem.inputs();
            let mut session = engine.session(&problem.gru, &inputs);
            let verification = session.verify(&inputs).unwrap();
            assert_verified(&format!("weights of {scale:e}, reset-{reset}"), &verification);
        }
    }
}
