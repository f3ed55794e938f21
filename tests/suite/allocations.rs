//! Repeated runs create no GPU object.

use wgru::{Device, Directions, Inputs, PlanOptions, Session};

use crate::EngineTest;
use crate::engines::{Engine, On};
use crate::laws::label;
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, config};

pub(crate) const TESTS: &[EngineTest] = &[("repeated_runs_create_nothing", On::Gpu, repeated_runs)];

const GIVEN: Given = Given { state: true, lengths: true, mask: false, batch_first: false };

/// Every kind of run that a session offers.
fn run_every_way(session: &mut Session, inputs: &Inputs<'_, f32>) {
    session.run_with(inputs).unwrap();
    session.run_layers(inputs).unwrap();
    pollster::block_on(session.run_async(inputs)).unwrap();
    session.run(inputs.input).unwrap();
}

/// Runs of the largest shape and of smaller ones in turn, with lengths, states and masks that
/// change, whole and cut into chunks and tiles.
fn repeated_runs(engine: &Engine) {
    // The counters are a context's: other tests must not share it.
    let context = engine.open().expect("the engine is an adapter");
    let device = Device::from_context(context.clone());
    let cut =
        PlanOptions { max_chunk_steps: Some(2), max_tile_rows: Some(3), ..PlanOptions::default() };
    for (reset, directions) in
        RESETS.into_iter().flat_map(|reset| [DIRECTIONS[0], DIRECTIONS[2]].map(|d| (reset, d)))
    {
        let network = Network::random(config([5, 17, 2], directions, reset), true, 61);
        let gru = network.gru();
        let mask = directions == Directions::Forward;
        let problems: Vec<Problem> = [([7, 6], GIVEN), ([3, 2], GIVEN), ([7, 6], Given::default())]
            .into_iter()
            .chain(mask.then_some(([5, 6], Given { mask, ..GIVEN })))
            .map(|(shape, given)| Problem::new(gru.clone(), shape, given, 61))
            .collect();
        for options in [PlanOptions::default(), cut.clone()] {
            let what = label(&network.config);
            let made = context.created_objects();
            let mut session = gru.session_with(&device, problems[0].shape(), &options).unwrap();
            let with_session = context.created_objects();
            assert!(with_session.buffers > made.buffers, "{what}: a session has buffers");
            problems.iter().for_each(|problem| run_every_way(&mut session, &problem.inputs()));
            let first = context.created_objects();
            assert!(first.bind_groups > made.bind_groups, "{what}: a run has bind groups");
            for _ in 0..3 {
                problems.iter().for_each(|problem| run_every_way(&mut session, &problem.inputs()));
            }
            assert_eq!(context.created_objects(), first, "{what}: repeated runs created objects");
        }
    }
}
