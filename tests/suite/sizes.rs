//! Runs that no buffer holds whole, and empty ones.

use ndarray::{Array3, Axis};
use wgru::reference::{self, Arithmetic};
use wgru::{Directions, Inputs, KernelFamily, PlanOptions, Session};

use crate::EngineTest;
use crate::compare::{assert_verified, same_bits};
use crate::engines::{Engine, On};
use crate::laws::label;
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, Random, config};

pub(crate) const TESTS: &[EngineTest] = &[
    ("seventy_thousand_steps", On::Unchecked, seventy_thousand_steps),
    ("many_loop_iterations", On::Gpu, many_loop_iterations),
    ("seventy_thousand_rows", On::Unchecked, seventy_thousand_rows),
    ("input_beyond_a_binding", On::Downlevel, input_beyond_a_binding),
    ("sequences_beyond_the_budget", On::Gpu, sequences_beyond_the_budget),
    ("empty_runs", On::All, empty_runs),
];

const STATE: Given = Given { state: true, lengths: false, mask: false, batch_first: false };

/// What the session's plan says of how the work is cut; empty where there is no plan.
fn reasons(session: &Session) -> String {
    session.plan().map(|plan| plan.reasons().join("\n")).unwrap_or_default()
}

fn seventy_thousand_steps(engine: &Engine) {
    for (reset, directions) in [(0, Directions::Forward), (1, Directions::Bidirectional)] {
        let config = config([3, 5, 1], directions, RESETS[reset]);
        let what = label(&config);
        let problem = Problem::new(Network::random(config, true, 31).gru(), [70_000, 1], STATE, 32);
        let inputs = problem.inputs();
        let mut session = engine.session(&problem.gru, &inputs);
        let verification = session.verify(&inputs).unwrap();
        assert_verified(&what, &verification);
        let units = directions.count() as u64 * 5;
        assert_eq!(verification.compared, 70_001 * units, "{what}: every step was compared");
        if engine.is_gpu() {
            assert!(reasons(&session).contains("time is cut into chunks"), "{}", reasons(&session));
        }
    }
}

/// More loop iterations than some drivers allow an invocation in a dispatch: 65535.
fn many_loop_iterations(engine: &Engine) {
    for (sizes, steps) in [([3, 64, 1], 2500), ([3, 512, 1], 40)] {
        for reset in RESETS {
            let config = config(sizes, Directions::Forward, reset);
            let what = label(&config);
            let gru = Network::random(config, true, 37).gru();
            let problem = Problem::new(gru, [steps, 1], STATE, 38);
            let inputs = problem.inputs();
            let family = Some(KernelFamily::Sequence);
            let options = PlanOptions { family, ..PlanOptions::default() };
            let mut session = engine.session_with(&problem.gru, inputs.shape(), &options);
            assert_verified(&what, &session.verify(&inputs).unwrap());
        }
    }
}

fn seventy_thousand_rows(engine: &Engine) {
    for (reset, directions) in [(0, Directions::Bidirectional), (1, Directions::Forward)] {
        let config = config([3, 5, 1], directions, RESETS[reset]);
        let what = label(&config);
        let gru = Network::random(config, true, 33).gru();
        let problem = Problem::new(gru, [2, 70_000], Given { lengths: true, ..STATE }, 34);
        let inputs = problem.inputs();
        let verification = engine.session(&problem.gru, &inputs).verify(&inputs).unwrap();
        assert_verified(&what, &verification);
    }
}

/// 143 MB of input where every WebGPU device binds 128 MiB; rows here and there are compared.
fn input_beyond_a_binding(engine: &Engine) {
    for directions in [Directions::Forward, Directions::Bidirectional] {
        let gru = Network::random(config([256, 4, 1], directions, RESETS[0]), true, 35).gru();
        let (steps, batch) = (2, 70_000);
        // Every row is one of a few: drawing this many values would take longer than the run.
        let drawn = Random(36).array((steps, 100, 256));
        let sources: Vec<usize> = (0..batch).map(|row| row * 7 % 100).collect();
        let input = drawn.select(Axis(1), &sources);
        let inputs = Inputs::new(input.view());
        let options = PlanOptions { memory_budget: Some(1 << 30), ..PlanOptions::default() };
        let mut session = engine.session_with(&gru, inputs.shape(), &options);
        assert!(reasons(&session).contains("is cut into"), "{}", reasons(&session));
        let (got, layers) = session.run_layers(&inputs).unwrap();
        let rows: Vec<usize> = (0..batch).step_by(599).chain([batch - 1]).collect();
        let select = |array: &Array3<f32>| array.select(Axis(1), &rows);
        let (input, states, last) = (select(&input), select(&layers[0]), select(&got.final_state));
        let verification = reference::verify(
            gru.config(),
            gru.weights(),
            &Inputs::new(input.view()),
            &[states.view()],
            last.view(),
            &Arithmetic::f32(),
        );
        assert_verified(&directions.to_string(), &verification.unwrap());
    }
}

/// Two bidirectional layers whose sequences are many times the budget.
fn sequences_beyond_the_budget(engine: &Engine) {
    for reset in RESETS {
        let config = config([5, 9, 2], Directions::Bidirectional, reset);
        let gru = Network::random(config, true, 37).gru();
        let problem = Problem::new(gru, [600, 7], Given { lengths: true, ..STATE }, 38);
        let inputs = problem.inputs();
        let options = PlanOptions { memory_budget: Some(100_000), ..PlanOptions::default() };
        let mut session = engine.session_with(&problem.gru, inputs.shape(), &options);
        assert!(reasons(&session).contains("host memory"), "{}", reasons(&session));
        assert_verified(&format!("reset-{reset}"), &session.verify(&inputs).unwrap());
    }
}

/// No steps: the initial state comes back. No rows: nothing does.
fn empty_runs(engine: &Engine) {
    for directions in DIRECTIONS {
        let gru = Network::random(config([3, 5, 2], directions, RESETS[1]), true, 39).gru();
        let planes = gru.config().state_planes();
        for [steps, batch] in [[0, 4], [3, 0], [0, 0]] {
            let problem = Problem::new(gru.clone(), [steps, batch], STATE, 40);
            let inputs = problem.inputs();
            // In a session of no size, and in one that has room.
            for room in [[steps, batch], [5, 5]] {
                let shape = wgru::SequenceShape::new(room[0], room[1]);
                let mut session = engine.session_of(&gru, shape);
                let state = problem.state.as_ref().unwrap();
                let blocking = session.run_with(&inputs).unwrap();
                let waiting = pollster::block_on(session.run_async(&inputs)).unwrap();
                let (layered, layers) = session.run_layers(&inputs).unwrap();
                assert_eq!(layers.len(), 2);
                for got in [blocking, waiting, layered] {
                    let dim = (steps, batch, gru.config().output_size());
                    assert_eq!(got.hidden_states.dim(), dim);
                    assert_eq!(&got.final_state, state, "{directions}, T {steps} B {batch}");
                }
                let stateless = session.run(problem.input.view()).unwrap().final_state;
                assert_eq!(stateless, Array3::<f32>::zeros((planes, batch, 5)));
                let verification = session.verify(&inputs).unwrap();
                assert_eq!(verification.passed(), batch > 0, "{verification}");
                assert_eq!(verification.is_empty(), batch == 0, "{verification}");
            }
        }
        // The session that ran nothing runs something.
        let problem = Problem::new(gru.clone(), [3, 4], STATE, 41);
        let mut session = engine.session(&gru, &problem.inputs());
        let want = session.run_with(&problem.inputs()).unwrap();
        session.run(Array3::zeros((0, 4, 3)).view()).unwrap();
        let got = session.run_with(&problem.inputs()).unwrap();
        same_bits("after an empty run", got.hidden_states.view(), want.hidden_states.view());
    }
}
