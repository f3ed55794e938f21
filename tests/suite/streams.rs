//! Streams that advance piece by piece: what they give does not depend on the pieces, on the slots
//! or on who else takes part.

use ndarray::{Array3, Axis, s};
use wgru::{Directions, Gru, Inputs, Output, Plan, PlanOptions, Precision, SequenceShape, Streams};

use crate::EngineTest;
use crate::compare::{exact, output_difference, same_bits, same_output};
use crate::engines::{Engine, On};
use crate::laws::{label, networks, run};
use crate::problem::{Network, RESETS, Random, config};

pub(crate) const TESTS: &[EngineTest] = &[
    ("pieces_are_the_whole", On::All, pieces_are_the_whole),
    ("tiles_and_chunks_change_no_bit", On::Gpu, tiles_and_chunks_change_no_bit),
    ("f16_pieces_are_the_whole", On::Gpu, f16_pieces_are_the_whole),
    ("near_float64", On::F32Operands, near_float64),
    ("order_of_a_call", On::All, order_of_a_call),
    ("ways_to_feed", On::All, ways_to_feed),
    ("others_are_untouched", On::All, others_are_untouched),
    ("poison_stays_in_its_slot", On::All, poison_stays_in_its_slot),
    ("saved_states_go_on_anywhere", On::F32, saved_states_go_on_anywhere),
    ("saving_what_was_restored", On::All, saving_what_was_restored),
    ("resets_begin_anew", On::All, resets_begin_anew),
];

pub(crate) const FORWARD: &[Directions] = &[Directions::Forward];

/// Streams on the engine of the test.
pub(crate) fn streams_with(
    engine: &Engine,
    gru: &Gru,
    slots: usize,
    [steps, batch]: [usize; 2],
    options: &PlanOptions,
) -> Streams {
    // The matrix kernels are chosen by nothing else.
    let options = if engine.is_half() { engine.forced(gru, options) } else { options.clone() };
    let (shape, options) = (SequenceShape::new(steps, batch), engine.possible(&options));
    gru.streams_with(&engine.device(), slots, shape, &options)
        .unwrap_or_else(|e| panic!("streams on {}: {e:?}", engine.name))
}

pub(crate) fn streams(engine: &Engine, gru: &Gru, slots: usize, call: [usize; 2]) -> Streams {
    streams_with(engine, gru, slots, call, &PlanOptions::default())
}

/// Sequences that arrive piece by piece; stream b is in slot `slots[b]`.
pub(crate) struct Arrivals {
    /// `[T, N, I]`
    pub(crate) input: Array3<f32>,
    pub(crate) slots: Vec<usize>,
    /// Steps that each stream has been fed.
    fed: Vec<usize>,
    /// `[T, N, H]`: what came back so far.
    got: Array3<f32>,
}

impl Arrivals {
    /// Streams of `steps` steps in every second slot, from the last one down.
    pub(crate) fn new(gru: &Gru, [steps, count]: [usize; 2], seed: u64) -> Self {
        let config = gru.config();
        Self {
            input: Random(seed).array((steps, count, config.input_size)),
            slots: (0..count).map(|stream| 2 * (count - stream) - 1).collect(),
            fed: vec![0; count],
            got: Array3::zeros((steps, count, config.hidden_size)),
        }
    }

    fn steps(&self) -> usize {
        self.input.dim().0
    }

    /// Feeds streams some of their next steps each. The padding is NaN.
    pub(crate) fn feed(&mut self, streams: &mut Streams, parts: &[(usize, usize)]) {
        let slots: Vec<usize> = parts.iter().map(|(stream, _)| self.slots[*stream]).collect();
        let lengths: Vec<usize> = parts.iter().map(|(_, steps)| *steps).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let dim = (longest, parts.len(), self.input.dim().2);
        let mut input = Array3::from_elem(dim, f32::NAN);
        for (row, (stream, steps)) in parts.iter().enumerate() {
            let next =
                self.input.slice(s![self.fed[*stream]..self.fed[*stream] + steps, *stream, ..]);
            input.slice_mut(s![..*steps, row, ..]).assign(&next);
        }
        let states = streams
            .advance(&slots, &Inputs::new(input.view()).lengths(&lengths))
            .unwrap_or_else(|e| panic!("{e:?}"));
        for (row, (stream, steps)) in parts.iter().enumerate() {
            let (fed, past) = (self.fed[*stream], states.slice(s![*steps.., row, ..]));
            assert!(past.iter().all(|h| h.to_bits() == 0), "past a stream's steps");
            let mut got = self.got.slice_mut(s![fed..fed + steps, *stream, ..]);
            got.assign(&states.slice(s![..*steps, row, ..]));
            self.fed[*stream] += steps;
        }
    }

    /// Feeds all that is left: subsets of at most `batch` streams, `most` steps at most each.
    fn feed_at_random(&mut self, streams: &mut Streams, [most, batch]: [usize; 2], seed: u64) {
        let mut random = Random(seed);
        let count = self.fed.len();
        while self.fed.iter().any(|fed| *fed < self.steps()) {
            let first = random.below(count);
            // 7 is prime to the numbers of streams in use.
            let rows = 1 + random.below(batch.min(count));
            let parts: Vec<(usize, usize)> = (0..rows)
                .map(|i| (first + 7 * i) % count)
                .map(|stream| (stream, random.below(most + 1).min(self.steps() - self.fed[stream])))
                .collect();
            self.feed(streams, &parts);
        }
    }

    /// All states so far and the final ones, as a run gives them.
    pub(crate) fn output(&self, streams: &mut Streams) -> Output {
        let final_state = streams.save_many(&self.slots).unwrap();
        Output { hidden_states: self.got.clone(), final_state }
    }

    fn begin_anew(&mut self, streams: &mut Streams) {
        self.fed.fill(0);
        self.got.fill(f32::NAN);
        self.slots.iter().for_each(|slot| streams.reset(*slot).unwrap());
    }
}

/// Ways to feed streams of `steps` steps: one call, one step a call, subsets at random.
fn fed_every_way(what: &str, streams: &mut Streams, arrivals: &mut Arrivals, want: &Output) {
    let (steps, count) = (arrivals.steps(), arrivals.slots.len());
    let SequenceShape { steps: most, batch } = streams.session().shape();
    if steps <= most && count <= batch {
        let all: Vec<_> = (0..count).map(|stream| (stream, steps)).collect();
        arrivals.feed(streams, &all);
        same_output(&format!("{what}, whole"), &arrivals.output(streams), want);
        arrivals.begin_anew(streams);
    }
    for _ in 0..steps {
        let streams_of = (0..count).collect::<Vec<_>>();
        for part in streams_of.chunks(batch) {
            let ones: Vec<_> = part.iter().map(|stream| (*stream, 1)).collect();
            arrivals.feed(streams, &ones);
        }
    }
    same_output(&format!("{what}, one by one"), &arrivals.output(streams), want);
    for seed in 0..2 {
        arrivals.begin_anew(streams);
        arrivals.feed_at_random(streams, [most, batch], seed);
        same_output(&format!("{what}, pieces {seed}"), &arrivals.output(streams), want);
    }
}

/// The streams' sequences as one run of an ordinary session with the same kernels.
fn offline(engine: &Engine, streams: &Streams, arrivals: &Arrivals) -> Output {
    let inputs = Inputs::new(arrivals.input.view());
    let plan = streams.session().plan();
    let options = PlanOptions {
        family: plan.map(Plan::family),
        precision: streams.session().precision(),
        ..PlanOptions::default()
    };
    run(&mut engine.session_with(streams.gru(), inputs.shape(), &options), &inputs)
}

fn pieces_are_the_whole(engine: &Engine) {
    for network in networks(FORWARD) {
        let gru = network.gru();
        let mut arrivals = Arrivals::new(&gru, [7, 6], 81);
        let mut streams = streams(engine, &gru, 13, [7, 6]);
        let want = offline(engine, &streams, &arrivals);
        assert_eq!((streams.slots(), streams.gru().config()), (13, gru.config()));
        fed_every_way(&label(&network.config), &mut streams, &mut arrivals, &want);
    }
}

fn tiles_and_chunks_change_no_bit(engine: &Engine) {
    for reset in RESETS {
        let gru = Network::random(config([5, 17, 3], Directions::Forward, reset), true, 82).gru();
        let mut arrivals = Arrivals::new(&gru, [7, 9], 82);
        for (steps, rows) in [(2, 9), (3, 2), (1, 4)] {
            let options = PlanOptions {
                max_chunk_steps: Some(steps),
                max_tile_rows: Some(rows),
                ..PlanOptions::default()
            };
            let mut streams = streams_with(engine, &gru, 18, [7, 9], &options);
            let want = offline(engine, &streams, &arrivals);
            let what = format!("reset-{reset}, chunks of {steps}, tiles of {rows}");
            fed_every_way(&what, &mut streams, &mut arrivals, &want);
            arrivals.begin_anew(&mut streams);
        }
        // Less staging than a slot's state takes.
        let gru = Network::random(config([2, 80, 14], Directions::Forward, reset), true, 82).gru();
        let options = PlanOptions { memory_budget: Some(60_000), ..PlanOptions::default() };
        let mut arrivals = Arrivals::new(&gru, [3, 5], 82);
        let mut streams = streams_with(engine, &gru, 10, [3, 1], &options);
        let want = offline(engine, &streams, &arrivals);
        fed_every_way(&format!("reset-{reset}, little memory"), &mut streams, &mut arrivals, &want);
        let states = Random(82).array((14, 5, 80));
        streams.restore_many(&arrivals.slots, states.view()).unwrap();
        let saved = streams.save_many(&arrivals.slots).unwrap();
        same_bits("restored in little memory", saved.view(), states.view());
    }
}

fn f16_pieces_are_the_whole(engine: &Engine) {
    let options = PlanOptions { precision: Precision::F16, ..PlanOptions::default() };
    for reset in RESETS {
        let gru = Network::random(config([4, 33, 2], Directions::Forward, reset), true, 83).gru();
        let mut arrivals = Arrivals::new(&gru, [5, 6], 83);
        let mut streams = streams_with(engine, &gru, 12, [3, 4], &options);
        let want = offline(engine, &streams, &arrivals);
        fed_every_way(&format!("f16, reset-{reset}"), &mut streams, &mut arrivals, &want);
    }
}

/// Directly, not by way of an offline run.
fn near_float64(engine: &Engine) {
    for network in networks(FORWARD) {
        let gru = network.gru();
        let mut arrivals = Arrivals::new(&gru, [6, 6], 84);
        let want = exact(&gru, &Inputs::new(arrivals.input.view()));
        let mut streams = streams(engine, &gru, 12, [3, 4]);
        arrivals.feed_at_random(&mut streams, [3, 4], 84);
        let difference = output_difference(&arrivals.output(&mut streams), &want);
        // The bound of a few steps with ordinary weights, as in `conformance`.
        assert!(difference < 1e-6, "{}: {difference:e} from float64", label(&network.config));
    }
}

fn order_of_a_call(engine: &Engine) {
    for network in networks(FORWARD) {
        let gru = network.gru();
        let mut streams = streams(engine, &gru, 12, [4, 6]);
        let parts = [(0, 3), (1, 0), (2, 4), (3, 1), (4, 3), (5, 2)];
        let mut first: Option<Output> = None;
        for order in [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4], [1, 4, 5, 2, 3, 0]] {
            let mut arrivals = Arrivals::new(&gru, [4, 6], 85);
            arrivals.begin_anew(&mut streams);
            arrivals.got.fill(0.0);
            arrivals.feed(&mut streams, &order.map(|row: usize| parts[row]));
            let got = arrivals.output(&mut streams);
            same_output(&label(&network.config), &got, first.get_or_insert(got.clone()));
        }
    }
}

/// Padded or piece by piece, into the caller's array, batch-first, strided, as a future.
fn ways_to_feed(engine: &Engine) {
    for reset in RESETS {
        let gru = Network::random(config([3, 9, 2], Directions::Forward, reset), true, 86).gru();
        let mut streams = streams(engine, &gru, 8, [5, 4]);
        let input = Random(86).array((5, 4, 3));
        let (slots, lengths) = ([6, 1, 0, 7], [5, 0, 3, 5]);
        let inputs = Inputs::new(input.view()).lengths(&lengths);
        let begin = |streams: &mut Streams| {
            slots.iter().for_each(|slot| streams.reset(*slot).unwrap());
        };
        let want = streams.advance(&slots, &inputs).unwrap();

        begin(&mut streams);
        let got = pollster::block_on(streams.advance_async(&slots, &inputs)).unwrap();
        same_bits("a future", got.view(), want.view());

        begin(&mut streams);
        let mut large = Array3::from_elem((10, 8, 18), f32::NAN);
        let view = large.slice_mut(s![..;-2, ..;2, 9..]);
        streams.advance_into(&slots, &inputs, view).unwrap();
        same_bits("into an array", large.slice(s![..;-2, ..;2, 9..]), want.view());
        assert_eq!(large.iter().filter(|v| !v.is_nan()).count(), want.len(), "nothing else");

        begin(&mut streams);
        let first = input.view().permuted_axes([1, 0, 2]);
        let batch_first = Inputs { input: first, batch_first: true, ..inputs };
        let got = streams.advance(&slots, &batch_first).unwrap();
        same_bits("batch-first", got.view().permuted_axes([1, 0, 2]), want.view());

        begin(&mut streams);
        let pieces: Vec<_> =
            (0..4).map(|row| (slots[row], input.slice(s![..lengths[row], row, ..]))).collect();
        let each = streams.advance_each(&pieces).unwrap();
        for (row, states) in each.iter().enumerate() {
            assert_eq!(states.dim(), (lengths[row], 9));
            if lengths[row] > 0 {
                let own = states.view().insert_axis(Axis(1));
                same_bits("each", own, want.slice(s![..lengths[row], row..=row, ..]));
            }
        }
        assert!(streams.advance_each(&[]).unwrap().is_empty());
        let none = Array3::zeros((0, 2, 3));
        assert_eq!(streams.advance(&[3, 4], &Inputs::new(none.view())).unwrap().dim(), (0, 2, 9));
    }
}

/// Slots of no call, and rows without a step, keep states that no computation would give.
fn others_are_untouched(engine: &Engine) {
    for network in networks(FORWARD) {
        let gru = network.gru();
        let (layers, h) = (network.config.num_layers, network.config.hidden_size);
        let mut streams = streams(engine, &gru, 12, [4, 6]);
        let mut odd = Random(87).array((layers, 6, h));
        odd[[0, 0, 0]] = f32::INFINITY;
        odd[[0, 1, 0]] = f32::MIN_POSITIVE / 8.0;
        odd[[0, 2, 0]] = -0.0;
        odd[[0, 3, 0]] = engine.operand(f32::MAX);
        odd[[0, 4, 0]] = f32::from_bits(0x7fc1_2345);
        let others: Vec<usize> = (0..6).map(|i| 2 * i).collect();
        streams.restore_many(&others, odd.view()).unwrap();
        let mut arrivals = Arrivals::new(&gru, [9, 6], 87);
        arrivals.feed_at_random(&mut streams, [4, 6], 87);
        // With a row of each kind: of none, of some and of most steps.
        arrivals.begin_anew(&mut streams);
        arrivals.slots[..3].copy_from_slice(&others[..3]);
        arrivals.feed(&mut streams, &[(0, 0), (3, 4), (1, 0), (4, 1), (2, 0)]);
        let kept = streams.save_many(&others).unwrap();
        let what = label(&network.config);
        same_bits(&what, kept.view(), odd.view());
    }
}

fn poison_stays_in_its_slot(engine: &Engine) {
    for network in networks(FORWARD) {
        let gru = network.gru();
        let what = label(&network.config);
        let mut streams = streams(engine, &gru, 12, [7, 6]);
        let mut arrivals = Arrivals::new(&gru, [7, 6], 88);
        arrivals.feed_at_random(&mut streams, [3, 6], 88);
        let want = arrivals.output(&mut streams);
        for poison in [f32::NAN, f32::INFINITY, f32::MAX] {
            let mut poisoned = Arrivals::new(&gru, [7, 6], 88);
            poisoned.begin_anew(&mut streams);
            poisoned.input.slice_mut(s![2.., 1, ..]).fill(engine.operand(poison));
            poisoned.feed_at_random(&mut streams, [3, 6], 88);
            let got = poisoned.output(&mut streams);
            for row in [0, 2, 3, 4, 5] {
                let row = |o: &Output| Output {
                    hidden_states: o.hidden_states.slice(s![.., row..=row, ..]).to_owned(),
                    final_state: o.final_state.slice(s![.., row..=row, ..]).to_owned(),
                };
                same_output(&format!("{what}, beside {poison}"), &row(&got), &row(&want));
            }
            let own = got.final_state.slice(s![.., 1, ..]);
            assert!(!poison.is_nan() || own.iter().all(|v| v.is_nan()), "{what}: NaN remains");
        }
        // The poisoned slot itself is clean after a reset.
        arrivals.begin_anew(&mut streams);
        arrivals.feed_at_random(&mut streams, [3, 6], 88);
        same_output(&format!("{what}, after a reset"), &arrivals.output(&mut streams), &want);
    }
}

/// Streams move to other slots, and to other streams, half-way.
fn saved_states_go_on_anywhere(engine: &Engine) {
    for network in networks(FORWARD) {
        let gru = network.gru();
        let what = label(&network.config);
        let mut arrivals = Arrivals::new(&gru, [6, 6], 89);
        let mut first = streams(engine, &gru, 12, [6, 6]);
        let want = offline(engine, &first, &arrivals);
        let thirds = |n: usize| [0, 1, 2, 3, 4, 5].map(|stream| (stream, n));
        arrivals.feed(&mut first, &thirds(2));
        // To other slots of the same streams, one at a time.
        for stream in 0..6 {
            let state = first.save(arrivals.slots[stream]).unwrap();
            arrivals.slots[stream] = 2 * stream;
            first.restore(2 * stream, state.view()).unwrap();
        }
        arrivals.feed(&mut first, &thirds(1));
        // To others, all at once, from futures.
        let states = pollster::block_on(first.save_async(&arrivals.slots)).unwrap();
        let mut second = streams(engine, &gru, 6, [6, 6]);
        arrivals.slots = vec![3, 1, 5, 0, 4, 2];
        pollster::block_on(second.restore_async(&arrivals.slots, states.view())).unwrap();
        arrivals.feed(&mut second, &thirds(3));
        same_output(&what, &arrivals.output(&mut second), &want);
    }
}

fn saving_what_was_restored(engine: &Engine) {
    for network in networks(FORWARD) {
        let gru = network.gru();
        let (layers, h) = (network.config.num_layers, network.config.hidden_size);
        let mut streams = streams(engine, &gru, 9, [2, 2]);
        let zero = streams.save_many(&[0, 8]).unwrap();
        assert!(zero.iter().all(|v| v.to_bits() == 0), "streams begin from zero");
        let states = Random(90).array((layers, 9, h));
        for round in 0..3 {
            // More states than a call takes rows.
            let slots: Vec<usize> = (0..9).map(|i| (round + 4 * i) % 9).collect();
            streams.restore_many(&slots, states.view()).unwrap();
            let saved = streams.save_many(&slots).unwrap();
            same_bits(&label(&network.config), saved.view(), states.view());
            let one = streams.save(slots[5]).unwrap().insert_axis(Axis(1));
            same_bits("one of them", one.view(), states.slice(s![.., 5..6, ..]));
        }
        assert_eq!(streams.save_many(&[]).unwrap().dim(), (layers, 0, h));
        streams.restore_many(&[], states.slice(s![.., ..0, ..])).unwrap();
    }
}

/// A reset, and a reset mask, are a state of zeros; a slot is used again and again.
fn resets_begin_anew(engine: &Engine) {
    for network in networks(FORWARD) {
        let gru = network.gru();
        let what = label(&network.config);
        let mut streams = streams(engine, &gru, 3, [5, 2]);
        let input = Random(91).array((5, 2, network.config.input_size));
        let inputs = Inputs::new(input.view());
        let want = streams.advance(&[2, 0], &inputs).unwrap();
        for _ in 0..3 {
            streams.reset(0).unwrap();
            streams.reset(2).unwrap();
            let got = streams.advance(&[2, 0], &inputs).unwrap();
            same_bits(&what, got.view(), want.view());
        }
        let first = ndarray::Array2::from_shape_fn((5, 2), |(t, _)| t == 0);
        let masked = inputs.reset_mask(first.view());
        let got = streams.advance(&[2, 0], &masked).unwrap();
        same_bits(&format!("{what}, by a mask"), got.view(), want.view());
        // Only the slot that was reset begins anew.
        streams.reset(0).unwrap();
        let got = streams.advance(&[2, 0], &inputs).unwrap();
        same_bits(&what, got.slice(s![.., 1.., ..]), want.slice(s![.., 1.., ..]));
        assert_ne!(
            got.slice(s![.., 0, ..]),
            want.slice(s![.., 0, ..]),
            "{what}: the other goes on"
        );
    }
}
