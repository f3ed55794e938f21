//! Runs that the device times: the same results, and times that are parts of what the caller waits.

use std::time::{Duration, Instant};

use wgru::{Device, PlanOptions};

use crate::EngineTest;
use crate::engines::{Engine, On};
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, config};

pub(crate) const TESTS: &[EngineTest] =
    &[("timed_runs_give_the_same", On::All, same), ("times_are_plausible", On::Gpu, plausible)];

const GIVEN: Given = Given { state: true, lengths: true, mask: false, batch_first: true };

fn same(engine: &Engine) {
    // Many chunks and tiles: more intervals, and copies between them.
    let cut =
        PlanOptions { max_chunk_steps: Some(2), max_tile_rows: Some(3), ..PlanOptions::default() };
    for (reset, directions) in
        RESETS.into_iter().flat_map(|reset| [DIRECTIONS[0], DIRECTIONS[2]].map(|d| (reset, d)))
    {
        let gru = Network::random(config([5, 17, 2], directions, reset), true, 7).gru();
        let problem = Problem::new(gru, [7, 6], GIVEN, 7);
        for options in [PlanOptions::default(), cut.clone()] {
            let mut session = engine.session_with(&problem.gru, problem.shape(), &options);
            let wanted = session.run_with(&problem.inputs()).unwrap();
            let (output, times) = session.run_timed(&problem.inputs()).unwrap();
            assert_eq!(output, wanted);
            assert_eq!(session.run_with(&problem.inputs()).unwrap(), wanted);
            assert!(engine.is_gpu() || times.is_none(), "no clock, no times");
        }
    }
}

fn plausible(engine: &Engine) {
    let context = engine.open().expect("the engine is an adapter");
    let has_clock = context.adapter().features.contains(&"timestamps");
    let device = Device::from_context(context);
    let gru = Network::random(config([40, 48, 1], DIRECTIONS[0], RESETS[0]), true, 8).gru();
    let problem = Problem::new(gru.clone(), [150, 8], Given::default(), 8);
    let mut session = gru.session(&device, problem.shape()).unwrap();
    session.run_with(&problem.inputs()).unwrap();
    let begin = Instant::now();
    let (_, times) = session.run_timed(&problem.inputs()).unwrap();
    let waited = begin.elapsed();
    let Some(times) = times else {
        assert!(!has_clock || engine.name.ends_with("_downlevel"), "a clock gives times");
        return;
    };
    let all = [times.upload, times.read_back, times.idle].map(Option::unwrap_or_default);
    let busy = times.projection + times.recurrence;
    assert!(times.projection > Duration::ZERO && times.recurrence > Duration::ZERO, "{times:?}");
    assert!(busy <= times.kernels, "kernels span what they take: {times:?}");
    assert!(all.iter().sum::<Duration>() + busy <= 2 * waited, "{times:?} within {waited:?}");
}
