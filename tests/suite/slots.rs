//! Slots of streams under calls that are refused, dropped or repeated.

use std::pin::pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use ndarray::{Array2, Array3};
use wgru::{Device, Directions, ErrorKind, Inputs, PlanOptions, Precision, SequenceShape, Streams};

use crate::EngineTest;
use crate::compare::same_bits;
use crate::engines::{Engine, On};
use crate::misuse::{network, refused};
use crate::problem::{Network, RESETS, Random, config};
use crate::streams::{Arrivals, streams, streams_with};

pub(crate) const TESTS: &[EngineTest] = &[
    ("refused_calls_change_no_slot", On::All, refused_calls_change_no_slot),
    ("refused_states", On::All, refused_states),
    ("refused_streams", On::All, refused_streams),
    ("more_slots_than_fit", On::All, more_slots_than_fit),
    ("dropped_calls_change_no_slot", On::All, dropped_calls_change_no_slot),
    ("repeated_calls_create_nothing", On::Gpu, repeated_calls_create_nothing),
];

/// Refused by every way to advance.
fn refuse(
    streams: &mut Streams,
    what: &str,
    slots: &[usize],
    inputs: &Inputs<'_, f32>,
    kind: ErrorKind,
    words: &[&str],
) {
    refused(what, streams.advance(slots, inputs), kind, words);
    refused(what, pollster::block_on(streams.advance_async(slots, inputs)), kind, words);
    let SequenceShape { steps, batch } = inputs.shape();
    let mut out = Array3::zeros((steps.min(9), batch.min(9), 4));
    refused(what, streams.advance_into(slots, inputs, out.view_mut()), kind, words);
}

fn refused_calls_change_no_slot(engine: &Engine) {
    let gru = network(Directions::Forward);
    let mut streams = streams(engine, &gru, 7, [4, 3]);
    let states = Random(95).array((1, 7, 4));
    let all: Vec<usize> = (0..7).collect();
    streams.restore_many(&all, states.view()).unwrap();
    let x = Array3::from_elem((4, 3, 3), 0.5f32);
    let request = ErrorKind::InvalidRequest;

    let words = ["slot 2", "twice", "numbers 0 and 2"];
    refuse(&mut streams, "a slot twice", &[2, 5, 2], &Inputs::new(x.view()), request, &words);
    let words = ["slot 7", "number 1", "slots 0 to 6"];
    refuse(&mut streams, "a slot too many", &[0, 7, 2], &Inputs::new(x.view()), request, &words);
    let words = ["slot 18446744073709551615", "number 2", "slots 0 to 6"];
    refuse(&mut streams, "no slot", &[0, 6, usize::MAX], &Inputs::new(x.view()), request, &words);
    let state = Array3::zeros((1, 3, 4));
    let given = Inputs::new(x.view()).initial_state(state.view());
    let words = ["initial state", "streams", "slots"];
    refuse(&mut streams, "a state", &[0, 1, 2], &given, request, &words);

    let shape = ErrorKind::InvalidShape;
    for slots in [&[][..], &[1, 2], &[0, 1, 2, 3]] {
        let words = ["slots", "3 were wanted", &format!("{} were given", slots.len())];
        refuse(&mut streams, "slots of rows", slots, &Inputs::new(x.view()), shape, &words);
    }
    let wide = Array3::zeros((4, 3, 5));
    let words = ["input", "3 features", "[4, 3, 5]"];
    refuse(&mut streams, "features", &[0, 1, 2], &Inputs::new(wide.view()), shape, &words);
    let words = ["row 1", "0 to 4", "5 was given"];
    refuse(
        &mut streams,
        "a length",
        &[0, 1, 2],
        &Inputs::new(x.view()).lengths(&[4, 5, 0]),
        shape,
        &words,
    );
    let mask = Array2::from_elem((3, 4), false);
    let words = ["reset mask", "T 4 and B 3", "[3, 4]"];
    let masked = Inputs::new(x.view()).reset_mask(mask.view());
    refuse(&mut streams, "a mask", &[0, 1, 2], &masked, shape, &words);
    for (steps, batch) in [(5, 3), (4, 4)] {
        let large = Array3::zeros((steps, batch, 3));
        let words = ["T 4 x B 3", &format!("T {steps} x B {batch}")];
        refuse(
            &mut streams,
            "a large call",
            &all[..batch],
            &Inputs::new(large.view()),
            shape,
            &words,
        );
    }
    let mut out = Array3::zeros((4, 3, 5));
    let result = streams.advance_into(&[0, 1, 2], &Inputs::new(x.view()), out.view_mut());
    refused("an output", result, shape, &["output", "[4, 3, 4]", "[4, 3, 5]"]);
    let piece = Array2::zeros((2, 3));
    let result = streams.advance_each(&[(4, piece.view()), (4, piece.view())]);
    refused("a slot twice", result, request, &["slot 4", "twice"]);
    let wide = Array2::zeros((2, 9));
    let result = streams.advance_each(&[(4, piece.view()), (5, wide.view())]);
    refused("features", result, shape, &["slot 5", "3 features", "[2, 9]"]);
    let long = Array2::zeros((5, 3));
    let result = streams.advance_each(&[(4, long.view())]);
    refused("a long piece", result, shape, &["T 4 x B 3", "T 5 x B 1"]);

    same_bits("after refusals", streams.save_many(&all).unwrap().view(), states.view());
    streams.advance(&[6, 0, 2], &Inputs::new(x.view())).unwrap();
}

fn refused_states(engine: &Engine) {
    let gru = network(Directions::Forward);
    let mut streams = streams(engine, &gru, 3, [2, 2]);
    let states = Random(96).array((1, 3, 4));
    streams.restore_many(&[0, 1, 2], states.view()).unwrap();
    let request = ErrorKind::InvalidRequest;
    refused("reset", streams.reset(3), request, &["slot 3", "slots 0 to 2"]);
    refused("save", streams.save(4), request, &["slot 4", "slots 0 to 2"]);
    refused("save", streams.save_many(&[0, 3]), request, &["slot 3", "number 1"]);
    let two = states.slice(ndarray::s![.., ..2, ..]);
    refused("restore", streams.restore_many(&[1, 1], two), request, &["slot 1", "twice"]);
    refused("restore", streams.restore_many(&[1, 5], two), request, &["slot 5", "slots 0 to 2"]);
    for slots in [&[0usize][..], &[0, 1, 2]] {
        let words = [&format!("[1, {}, 4]", slots.len())[..], "[1, 2, 4]"];
        refused("restore", streams.restore_many(slots, two), ErrorKind::InvalidShape, &words);
    }
    let long = Array2::zeros((2, 4));
    let result = streams.restore(0, long.view());
    refused("restore", result, ErrorKind::InvalidShape, &["[1, 1, 4]", "[2, 1, 4]"]);
    let saved = streams.save_many(&[0, 1, 2]).unwrap();
    same_bits("after refusals", saved.view(), states.view());
}

fn refused_streams(engine: &Engine) {
    let (device, call) = (engine.device(), SequenceShape::new(2, 2));
    for directions in [Directions::Reverse, Directions::Bidirectional] {
        let words = ["streams", "forward", &directions.to_string()];
        let result = network(directions).streams(&device, 4, call);
        refused("backwards", result, ErrorKind::InvalidRequest, &words);
    }
    let gru = network(Directions::Forward);
    let words = ["slot", "at least 1", "0 were given"];
    refused("no slots", gru.streams(&device, 0, call), ErrorKind::InvalidRequest, &words);
    if !engine.is_gpu() {
        let options = PlanOptions { precision: Precision::F16, ..PlanOptions::default() };
        let result = gru.streams_with(&device, 4, call, &options);
        refused("f16", result, ErrorKind::InvalidRequest, &["f16", "GPU"]);
    }
}

fn more_slots_than_fit(engine: &Engine) {
    let gru = network(Directions::Forward);
    let (device, call) = (engine.device(), SequenceShape::new(2, 2));
    for slots in [1usize << 40, 1 << 58, usize::MAX] {
        let error = gru.streams(&device, slots, call).expect_err("no memory holds them");
        let message = error.to_string();
        assert!(message.contains(&slots.to_string()), "{message}");
        if engine.is_gpu() {
            assert_eq!(error.kind(), ErrorKind::ExceedsLimits, "{message}");
            // What the message calls possible is.
            let most: usize = message
                .split_whitespace()
                .rev()
                .nth(3)
                .and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("'{message}' says how many are possible"));
            let result = gru.streams(&device, most + 1, call);
            let words = [&format!("{most} slots are possible")[..]];
            refused("one more", result, ErrorKind::ExceedsLimits, &words);
        } else {
            let kinds = [ErrorKind::OutOfMemory, ErrorKind::InvalidShape];
            assert!(kinds.contains(&error.kind()), "{message}");
        }
    }
}

/// Calls are polled a few times and dropped, when some of their tiles have ended and others not.
fn dropped_calls_change_no_slot(engine: &Engine) {
    for reset in RESETS {
        let gru = Network::random(config([4, 9, 2], Directions::Forward, reset), true, 97).gru();
        let options = PlanOptions {
            max_tile_rows: Some(1),
            max_chunk_steps: Some(16),
            ..PlanOptions::default()
        };
        let mut streams = streams_with(engine, &gru, 6, [200, 3], &options);
        let mut arrivals = Arrivals::new(&gru, [200, 3], 97);
        let before = Random(98).array((2, 6, 9));
        let all: Vec<usize> = (0..6).collect();
        streams.restore_many(&all, before.view()).unwrap();
        arrivals.feed(&mut streams, &[(0, 200), (1, 150), (2, 200)]);
        let want = streams.save_many(&all).unwrap();

        let other = Random(99).array((200, 3, 4));
        let inputs = Inputs::new(other.view());
        // Unpolled calls are dropped everywhere; only a GPU's can be dropped while they run, and where
        // other programs hold this thread up, they may have ended at their first poll.
        let (mut dropped, least) = (0, if engine.is_gpu() { 2 } else { 1 });
        for (attempt, polls) in (0..6).chain(std::iter::repeat_n(1, 30)).enumerate() {
            if attempt >= 6 && dropped >= least {
                break;
            }
            streams.restore_many(&all, before.view()).unwrap();
            let finished = {
                let future = streams.advance_async(&arrivals.slots, &inputs);
                poll_some(pin!(future), polls)
            };
            if !finished {
                dropped += 1;
                let saved = streams.save_many(&all).unwrap();
                same_bits("after a dropped call", saved.view(), before.view());
            } else {
                streams.restore_many(&all, before.view()).unwrap();
            }
            // Neither does a save or a restore that is dropped.
            poll_some(pin!(streams.save_async(&all)), polls % 2);
            if !poll_some(pin!(streams.restore_async(&all, want.view())), 0) {
                let saved = streams.save_many(&all).unwrap();
                same_bits("after a dropped restore", saved.view(), before.view());
            }
            arrivals = Arrivals::new(&gru, [200, 3], 97);
            arrivals.feed(&mut streams, &[(0, 200), (1, 150), (2, 200)]);
            let what = format!("after a call dropped at its poll {polls}");
            same_bits(&what, streams.save_many(&all).unwrap().view(), want.view());
        }
        assert!(dropped >= least, "{dropped} calls were dropped before their end");
    }
}

/// Whether `future` has ended after `polls` polls.
fn poll_some<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>, polls: usize) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    (0..polls).any(|_| {
        thread::sleep(Duration::from_millis(2));
        future.as_mut().poll(&mut context).is_ready()
    })
}

/// Calls of every size, with masks, resets, saves and restores between them, after one of the
/// largest.
fn repeated_calls_create_nothing(engine: &Engine) {
    // The counters are a context's: other tests must not share it.
    let context = engine.open().expect("the engine is an adapter");
    let device = Device::from_context(context.clone());
    let cut =
        PlanOptions { max_chunk_steps: Some(2), max_tile_rows: Some(3), ..PlanOptions::default() };
    for (reset, options) in RESETS.into_iter().zip([PlanOptions::default(), cut]) {
        let gru = Network::random(config([5, 17, 2], Directions::Forward, reset), true, 100).gru();
        let made = context.created_objects();
        let call = SequenceShape::new(5, 6);
        let mut streams = gru.streams_with(&device, 11, call, &options).unwrap();
        let largest = Random(100).array((5, 6, 5));
        streams.advance(&[0, 2, 4, 6, 8, 10], &Inputs::new(largest.view())).unwrap();
        let first = context.created_objects();
        assert!(first.buffers > made.buffers && first.bind_groups > made.bind_groups);
        let bytes = streams.device_bytes();
        let mut random = Random(101);
        for _ in 0..40 {
            let (steps, rows) = (1 + random.below(5), 1 + random.below(6));
            let first_slot = random.below(11);
            let slots: Vec<usize> = (0..rows).map(|row| (first_slot + 3 * row) % 11).collect();
            let input = random.array((steps, rows, 5));
            let lengths: Vec<usize> = (0..rows).map(|_| random.below(steps + 1)).collect();
            let mask = Array2::from_shape_simple_fn((steps, rows), || random.below(3) == 0);
            let mut inputs = Inputs::new(input.view());
            if random.below(2) == 0 {
                inputs = inputs.lengths(&lengths);
            }
            if random.below(2) == 0 {
                inputs = inputs.reset_mask(mask.view());
            }
            match random.below(4) {
                0 => drop(pollster::block_on(streams.advance_async(&slots, &inputs)).unwrap()),
                1 => streams.reset(slots[0]).unwrap(),
                2 => {
                    let states = streams.save_many(&slots).unwrap();
                    streams.restore_many(&slots, states.view()).unwrap();
                }
                _ => drop(streams.advance(&slots, &inputs).unwrap()),
            }
        }
        assert_eq!(context.created_objects(), first, "reset-{reset}: calls created objects");
        assert_eq!(streams.device_bytes(), bytes);
    }
}
