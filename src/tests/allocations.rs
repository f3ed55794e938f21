//! A session in its steady state creates no GPU object.

use super::adapters;
use super::support::{Random, Sequences, Values};
use crate::gpu::GpuSession;
use crate::plan::PlanOptions;
use crate::*;

/// Runs of shapes that were seen before, in turn, with other lengths, masks and states.
#[test]
fn repeated_runs_create_nothing() {
    let mut random = Random::new(3);
    // Devices of this test alone: their counters see no other test.
    for context in adapters::own_contexts() {
        for (directions, reset) in [
            (Directions::Forward, ResetForm::After),
            (Directions::Bidirectional, ResetForm::Before),
        ] {
            let config = GruConfig { num_layers: 2, directions, reset, ..GruConfig::new(5, 20) };
            let gru = Values::random(config, 1.0, &mut random).gru();
            let shapes = [SequenceShape::new(40, 6), SequenceShape::new(3, 2)];
            // Several tiles and chunks, and more data than a staging buffer holds.
            let options = PlanOptions {
                max_chunk_steps: Some(9),
                max_tile_rows: Some(4),
                ..PlanOptions::default()
            };
            let mut session = GpuSession::new(&context, &gru, shapes[0], &options).unwrap();
            for shape in shapes.into_iter().chain(shapes) {
                run(&mut session, shape, &mut random);
            }
            let (created, live) = (context.created_objects(), context.live_objects());
            assert!(live.buffers > 0 && live.pipelines > 0, "{live:?}");
            for round in 0..4 {
                for shape in shapes {
                    run(&mut session, shape, &mut random);
                }
                assert_eq!(context.created_objects(), created, "round {round}");
                assert_eq!(context.live_objects(), live, "round {round}");
            }
        }
    }
}

/// A second session of the same kernels compiles none.
#[test]
fn sessions_share_pipelines() {
    let mut random = Random::new(4);
    for context in adapters::own_contexts() {
        let gru = Values::random(GruConfig::new(3, 9), 1.0, &mut random).gru();
        let (shape, options) = (SequenceShape::new(4, 3), PlanOptions::default());
        let first = GpuSession::new(&context, &gru, shape, &options).unwrap();
        let before = context.created_objects();
        let second = GpuSession::new(&context, &gru, shape, &options).unwrap();
        let after = context.created_objects();
        assert_eq!(after.pipelines, before.pipelines);
        assert!(after.buffers > before.buffers);
        drop((first, second));
    }
}

/// Dropping a session gives its objects back, the kernels aside.
#[test]
fn dropped_sessions_leave_nothing() {
    let mut random = Random::new(5);
    for context in adapters::own_contexts() {
        let gru = Values::random(GruConfig::new(3, 9), 1.0, &mut random).gru();
        let (shape, options) = (SequenceShape::new(4, 3), PlanOptions::default());
        let mut live = None;
        for _ in 0..3 {
            let mut session = GpuSession::new(&context, &gru, shape, &options).unwrap();
            run(&mut session, shape, &mut random);
            drop(session);
            let now = context.live_objects();
            assert_eq!(*live.get_or_insert(now), now);
        }
    }
}

/// Futures dropped while the device works leave no object behind once it is done.
#[test]
fn dropped_futures_leave_nothing() {
    let mut random = Random::new(6);
    for context in adapters::own_contexts() {
        let config = GruConfig { num_layers: 2, ..GruConfig::new(3, 9) };
        let gru = Values::random(config.clone(), 1.0, &mut random).gru();
        let (shape, options) = (SequenceShape::new(60, 3), PlanOptions::default());
        let sequences = Sequences::random(&config, shape, &mut random);
        let mut session = GpuSession::new(&context, &gru, shape, &options).unwrap();
        let whole = |session: &mut GpuSession| {
            let mut output = Output::zeros(&config, shape, false).unwrap();
            session.run(&sequences.inputs(), &mut output.views(false)).unwrap();
            output
        };
        let want = whole(&mut session);
        let live = context.live_objects();
        let (mut dropped, mut rounds) = (0, 0);
        // A quick device may have done all of it before the first poll ends.
        while dropped < 4 && rounds < 200 {
            rounds += 1;
            let mut output = Output::zeros(&config, shape, false).unwrap();
            let inputs = sequences.inputs();
            let mut views = output.views(false);
            let mut future = Box::pin(session.run_async(&inputs, &mut views));
            let waker = std::task::Waker::noop();
            let mut cx = std::task::Context::from_waker(waker);
            dropped += usize::from(future.as_mut().poll(&mut cx).is_pending());
            drop(future);
            drop(views);
            assert_eq!(whole(&mut session), want);
            assert_eq!(context.live_objects(), live);
        }
        assert_eq!(dropped, 4, "{}: of {rounds} futures", context.adapter());
    }
}

fn run(session: &mut GpuSession, shape: SequenceShape, random: &mut Random) {
    let config = session.plan().config.clone();
    let mut sequences = Sequences::random(&config, shape, random);
    if random.below(2) == 0 {
        sequences.lengths = Some((0..shape.batch).map(|_| random.below(shape.steps + 1)).collect());
    }
    if config.directions == Directions::Forward && random.below(2) == 0 {
        sequences.reset_mask = Some(random.mask((shape.steps, shape.batch), 3));
    }
    let inputs = sequences.inputs();
    let mut output = Output::zeros(&config, shape, false).unwrap();
    session.run(&inputs, &mut output.views(false)).unwrap();
}
