//! What holds of every GRU, and of every way to run one, without any reference.

use std::num::NonZeroUsize;

use ndarray::{Array3, ArrayView3, Axis, concatenate, s};
use wgru::{
    Device, Directions, ErrorKind, GruConfig, Inputs, KernelFamily, Output, PlanOptions,
    SequenceShape, Session,
};

use crate::EngineTest;
use crate::compare::{same_bits, same_output};
use crate::engines::{Engine, On};
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, Random, config};

pub(crate) const TESTS: &[EngineTest] = &[
    ("zero_weights_halve_the_state", On::All, zero_weights_halve_the_state),
    ("update_gate_keeps_or_takes", On::All, update_gate_keeps_or_takes),
    ("split_run_is_whole_run", On::F32, split_run_is_whole_run),
    ("reverse_is_forward_flipped", On::All, reverse_is_forward_flipped),
    ("bidirectional_is_both", On::All, bidirectional_is_both),
    ("states_stay_bounded", On::All, states_stay_bounded),
    ("chunks_and_tiles_change_no_bit", On::All, chunks_and_tiles_change_no_bit),
    ("wavefront_changes_no_bit", On::Gpu, wavefront_changes_no_bit),
    ("memory_budget_changes_no_bit", On::Gpu, memory_budget_changes_no_bit),
    ("same_run_same_bits", On::All, same_run_same_bits),
    ("runs_into_used_arrays_change_no_bit", On::All, runs_into_used_arrays_change_no_bit),
    ("threads_change_no_bit", On::Cpu, threads_change_no_bit),
    ("views_are_as_good_as_copies", On::All, views_are_as_good_as_copies),
];

const STATE: Given = Given { state: true, lengths: false, mask: false, batch_first: false };
const STATE_AND_LENGTHS: Given = Given { lengths: true, ..STATE };

/// Networks with ordinary weights in both reset forms: one layer, several layers, units that are
/// no multiple of anything.
pub(crate) fn networks(directions: &[Directions]) -> Vec<Network> {
    let mut networks = Vec::new();
    for reset in RESETS {
        for directions in directions {
            for sizes in [[3, 17, 1], [5, 8, 3], [4, 65, 2]] {
                let seed = networks.len() as u64;
                networks.push(Network::random(config(sizes, *directions, reset), true, seed));
            }
        }
    }
    networks
}

pub(crate) fn label(config: &GruConfig) -> String {
    let GruConfig { input_size, hidden_size, num_layers, directions, reset, .. } = config;
    format!("I {input_size} H {hidden_size} L {num_layers} {directions} reset-{reset}")
}

pub(crate) fn run(session: &mut Session, inputs: &Inputs<'_, f32>) -> Output {
    session.run_with(inputs).unwrap_or_else(|e| panic!("{e:?}"))
}

fn zero_weights_halve_the_state(engine: &Engine) {
    for reset in RESETS {
        for directions in DIRECTIONS {
            let network = Network::zero(config([2, 5, 2], directions, reset));
            let problem = Problem::new(network.gru(), [6, 3], STATE, 1);
            let got = run(&mut engine.session(&problem.gru, &problem.inputs()), &problem.inputs());
            let state = problem.state.as_ref().unwrap();
            for ((t, row, column), got) in got.hidden_states.indexed_iter() {
                let (direction, unit) = (column / 5, column % 5);
                let steps = if directions.is_reverse(direction) { 6 - t } else { t + 1 };
                let halved = (0..steps).fold(1.0f32, |factor, _| factor / 2.0);
                let plane = directions.count() + direction;
                let want = state[[plane, row, unit]] * halved;
                assert_eq!(*got, want, "{directions} reset-{reset}, step {t}, row {row}");
            }
            let want = state.mapv(|h| h / 64.0);
            same_bits("final state", got.final_state.view(), want.view());
        }
    }
}

/// An update bias of +200 keeps every state; -200 takes the candidate and forgets the state.
fn update_gate_keeps_or_takes(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let what = label(&network.config);
        let h = network.config.hidden_size;
        let biased = |bias: f32| {
            let mut network = network.clone();
            for cell in &mut network.cells {
                cell.biases.as_mut().unwrap()[0][h..2 * h].fill(bias);
            }
            network
        };
        let keep = Problem::new(biased(200.0).gru(), [4, 5], STATE, 2);
        let got = run(&mut engine.session(&keep.gru, &keep.inputs()), &keep.inputs());
        let state = keep.state.as_ref().unwrap();
        same_bits(&format!("{what}: kept"), got.final_state.view(), state.view());
        for states in got.hidden_states.outer_iter() {
            let planes = state.len_of(Axis(0)) - network.config.num_directions();
            let top: Vec<_> = state.outer_iter().skip(planes).collect();
            let want = concatenate(Axis(1), &top).unwrap();
            assert_eq!(states, want, "{what}: kept at every step");
        }

        let mut take = biased(-200.0);
        take.cells.iter_mut().for_each(|cell| cell.recurrent.fill(0.0));
        let mut take = Problem::new(take.gru(), [4, 5], STATE, 2);
        let mut session = engine.session(&take.gru, &take.inputs());
        let first = run(&mut session, &take.inputs());
        take.state = None;
        let second = run(&mut session, &take.inputs());
        same_output(&format!("{what}: taken, whatever the state"), &first, &second);
    }
    // The candidate itself: h = tanh(w x + b).
    for reset in RESETS {
        let mut network = Network::zero(config([1, 1, 1], Directions::Forward, reset));
        network.cells[0].input[2] = 1.5;
        network.cells[0].biases.as_mut().unwrap()[0] = vec![0.0, -200.0, 0.25];
        let problem = Problem::new(network.gru(), [9, 3], STATE, 3);
        let got = run(&mut engine.session(&problem.gru, &problem.inputs()), &problem.inputs());
        for (got, x) in got.hidden_states.iter().zip(&problem.input) {
            let want = (1.5 * f64::from(engine.operand(*x)) + 0.25).tanh();
            let wrong = (f64::from(*got) - want).abs();
            // The sum may be off by its rounding beside the activation.
            assert!(wrong <= wgru::ACTIVATION_ERROR + 2.0f64.powi(-23), "{x}: {got}, want {want}");
        }
    }
}

/// The run of steps `range` from `state`, in the session of the whole.
fn part(
    session: &mut Session,
    input: &Array3<f32>,
    range: std::ops::Range<usize>,
    state: ArrayView3<'_, f32>,
) -> Output {
    run(session, &Inputs::new(input.slice(s![range, .., ..])).initial_state(state))
}

/// Any two parts with the state carried between them, and all steps one at a time. A network that
/// reads backwards runs its later part first.
fn split_run_is_whole_run(engine: &Engine) {
    const STEPS: usize = 7;
    for network in networks(&[Directions::Forward, Directions::Reverse]) {
        let what = label(&network.config);
        let problem = Problem::new(network.gru(), [STEPS, 5], STATE, 4);
        let mut session = engine.session(&problem.gru, &problem.inputs());
        let whole = run(&mut session, &problem.inputs());
        let reverse = network.config.directions == Directions::Reverse;
        let cuts: [&[usize]; 4] = [&[0, 1, 7], &[0, 4, 7], &[0, 6, 7], &[0, 1, 2, 3, 4, 5, 6, 7]];
        for cuts in cuts {
            let mut parts: Vec<_> = cuts.windows(2).map(|cut| cut[0]..cut[1]).collect();
            if reverse {
                parts.reverse();
            }
            let mut state = problem.state.clone().unwrap();
            let mut states = Array3::zeros(whole.hidden_states.dim());
            for range in parts {
                let got = part(&mut session, &problem.input, range.clone(), state.view());
                states.slice_mut(s![range, .., ..]).assign(&got.hidden_states);
                state = got.final_state;
            }
            let joined = Output { hidden_states: states, final_state: state };
            same_output(&format!("{what}, cut at {cuts:?}"), &joined, &whole);
        }
    }
}

/// Each row of `[T, B, ..]` with its own first steps in the opposite order.
fn flipped(sequences: &Array3<f32>, lengths: &[usize]) -> Array3<f32> {
    let mut out = sequences.clone();
    for (row, length) in lengths.iter().enumerate() {
        for t in 0..*length {
            out.slice_mut(s![t, row, ..]).assign(&sequences.slice(s![length - 1 - t, row, ..]));
        }
    }
    out
}

fn reverse_is_forward_flipped(engine: &Engine) {
    for network in networks(&[Directions::Forward]) {
        let mut backwards = network.clone();
        backwards.config.directions = Directions::Reverse;
        for given in [STATE, STATE_AND_LENGTHS] {
            let mut problem = Problem::new(network.gru(), [6, 5], given, 5);
            let lengths = problem.lengths.clone().unwrap_or(vec![6; 5]);
            let forward =
                run(&mut engine.session(&problem.gru, &problem.inputs()), &problem.inputs());
            problem.input = flipped(&problem.input, &lengths);
            let mut session = engine.session(&backwards.gru(), &problem.inputs());
            let mut reverse = run(&mut session, &problem.inputs());
            reverse.hidden_states = flipped(&reverse.hidden_states, &lengths);
            same_output(&label(&network.config), &reverse, &forward);
        }
    }
}

fn bidirectional_is_both(engine: &Engine) {
    for reset in RESETS {
        for hidden in [3, 17, 65] {
            let both = config([5, hidden, 1], Directions::Bidirectional, reset);
            let both = Network::random(both, true, 6);
            let problem = Problem::new(both.gru(), [6, 5], STATE_AND_LENGTHS, 7);
            let inputs = problem.inputs();
            let got = run(&mut engine.session(&problem.gru, &inputs), &inputs);
            for (d, directions) in [(0, Directions::Forward), (1, Directions::Reverse)] {
                let one = Network {
                    config: config([5, hidden, 1], directions, reset),
                    cells: vec![both.cells[d].clone()],
                };
                let state = problem.state.as_ref().unwrap().slice(s![d..d + 1, .., ..]);
                let inputs = Inputs { initial_state: Some(state), ..inputs };
                let want = run(&mut engine.session(&one.gru(), &inputs), &inputs);
                let columns = d * hidden..(d + 1) * hidden;
                let what = format!("H {hidden} reset-{reset}, the {directions} half");
                let half = Output {
                    hidden_states: got.hidden_states.slice(s![.., .., columns]).to_owned(),
                    final_state: got.final_state.slice(s![d..d + 1, .., ..]).to_owned(),
                };
                same_output(&what, &half, &want);
            }
        }
    }
}

/// |h| is at most the larger of 1 and |h0|, whatever the finite input.
fn states_stay_bounded(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        for (input_scale, state_scale) in [(1.0, 1.0), (1e3, 0.5), (1e30, 8.0)] {
            let mut problem = Problem::new(network.gru(), [6, 5], STATE, 8);
            problem.input.mapv_inplace(|x| engine.operand(x * input_scale));
            *problem.state.as_mut().unwrap() *= state_scale;
            let got = run(&mut engine.session(&problem.gru, &problem.inputs()), &problem.inputs());
            let most = problem.state.unwrap().iter().fold(1.0f32, |m, h| m.max(h.abs()));
            for h in got.hidden_states.iter().chain(&got.final_state) {
                assert!(h.abs() <= most, "{}: {h} beyond {most}", label(&network.config));
            }
        }
    }
}

/// How a run is cut into chunks of steps and tiles of rows.
fn chunks_and_tiles_change_no_bit(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let problem = Problem::new(network.gru(), [7, 9], STATE_AND_LENGTHS, 9);
        let inputs = problem.inputs();
        let whole = run(&mut engine.session(&problem.gru, &inputs), &inputs);
        for (steps, rows) in [(1, 9), (2, 9), (3, 2), (7, 1), (1, 4), (6, 8)] {
            let options = PlanOptions {
                max_chunk_steps: Some(steps),
                max_tile_rows: Some(rows),
                ..PlanOptions::default()
            };
            let mut session = engine.session_with(&problem.gru, inputs.shape(), &options);
            let what = format!("{}, chunks of {steps}, tiles of {rows}", label(&network.config));
            same_output(&what, &run(&mut session, &inputs), &whole);
        }
    }
}

/// Layers one after another, and one step behind each other, in chunks and tiles of any size.
fn wavefront_changes_no_bit(engine: &Engine) {
    for (index, [hidden, layers]) in [[65, 2], [8, 5]].into_iter().enumerate() {
        for reset in RESETS {
            for (directions, mask) in [(DIRECTIONS[0], true), (DIRECTIONS[1], false)] {
                let config = config([5, hidden, layers], directions, reset);
                let network = Network::random(config, true, index as u64);
                let given = Given { mask, ..STATE_AND_LENGTHS };
                let problem = Problem::new(network.gru(), [7, 9], given, 13);
                let inputs = problem.inputs();
                let layered = PlanOptions {
                    family: Some(KernelFamily::Step),
                    wavefront: Some(false),
                    ..PlanOptions::default()
                };
                let mut session = engine.session_with(&problem.gru, inputs.shape(), &layered);
                let (whole, all_layers) = session.run_layers(&inputs).unwrap();
                for (steps, rows) in [(20, 9), (1, 4), (3, 8)] {
                    let options = PlanOptions {
                        wavefront: Some(true),
                        max_chunk_steps: Some(steps),
                        max_tile_rows: Some(rows),
                        ..PlanOptions::default()
                    };
                    let mut session = engine.session_with(&problem.gru, inputs.shape(), &options);
                    let label = label(&network.config);
                    let what = format!("{label}, chunks of {steps}, tiles of {rows}");
                    same_output(&what, &run(&mut session, &inputs), &whole);
                    let (output, states) = session.run_layers(&inputs).unwrap();
                    same_output(&format!("{what}, all layers"), &output, &whole);
                    for (layer, (got, want)) in states.iter().zip(&all_layers).enumerate() {
                        same_bits(&format!("{what}, layer {layer}"), got.view(), want.view());
                    }
                }
            }
        }
    }
}

/// Budgets from what the run takes by default down to less than a step of a row needs.
fn memory_budget_changes_no_bit(engine: &Engine) {
    let mut seen = std::collections::HashSet::new();
    for (reset, directions) in
        RESETS.into_iter().flat_map(|reset| [DIRECTIONS[0], DIRECTIONS[2]].map(|d| (reset, d)))
    {
        let network = Network::random(config([5, 17, 2], directions, reset), true, 10);
        let problem = Problem::new(network.gru(), [40, 33], STATE_AND_LENGTHS, 10);
        let inputs = problem.inputs();
        let mut session = engine.session(&problem.gru, &inputs);
        let whole = run(&mut session, &inputs);
        let weights = session.plan().unwrap().weight_bytes();
        let mut budget = session.device_bytes() - weights;
        loop {
            budget = budget * 2 / 5;
            // A wavefront that is asked for is refused where a budget is too small for it.
            let forced = engine.forced(&problem.gru, &PlanOptions::default());
            let options = PlanOptions { memory_budget: Some(budget), wavefront: None, ..forced };
            let what = format!("{} in {budget} bytes", label(&network.config));
            let shape = inputs.shape();
            match problem.gru.session_with(&engine.device(), shape, &options) {
                Ok(mut session) => {
                    let plan = session.plan().unwrap();
                    let launches =
                        plan.buffers().iter().find(|b| b.0 == "launch records").unwrap().1;
                    let held = session.device_bytes() - plan.weight_bytes() - launches;
                    assert!(held <= budget, "{what}: {held} bytes are held");
                    let kinds = ["host memory", "cut into tiles", "cut into chunks"];
                    let reasons = plan.reasons().join("\n");
                    seen.extend(kinds.into_iter().filter(|kind| reasons.contains(kind)));
                    same_output(&what, &run(&mut session, &inputs), &whole);
                }
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::ExceedsLimits, "{what}: {e:?}");
                    assert!(e.to_string().contains(&format!("the budget is {budget}")), "{e}");
                    break;
                }
            }
        }
    }
    assert_eq!(seen.len(), 3, "the budgets lead to {seen:?} alone");
}

/// In one session and in another, with runs of other shapes in between.
fn same_run_same_bits(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let problem = Problem::new(network.gru(), [5, 6], STATE_AND_LENGTHS, 11);
        let other = Problem::new(network.gru(), [3, 2], Given::default(), 12);
        let inputs = problem.inputs();
        let mut session = engine.session(&problem.gru, &inputs);
        let first = run(&mut session, &inputs);
        for what in ["again", "after another shape", "after another shape, again"] {
            same_output(what, &run(&mut session, &inputs), &first);
            run(&mut session, &other.inputs());
        }
        let (layered, layers) = session.run_layers(&inputs).unwrap();
        same_output("with every layer", &layered, &first);
        same_bits("top layer", layers.last().unwrap().view(), first.hidden_states.view());
        same_output(
            "in a new session",
            &run(&mut engine.session(&problem.gru, &inputs), &inputs),
            &first,
        );
    }
}

/// Whatever the arrays of an earlier run hold, and whatever their shapes are.
fn runs_into_used_arrays_change_no_bit(engine: &Engine) {
    let network = Network::random(config([4, 17, 2], DIRECTIONS[0], RESETS[1]), true, 8);
    let two = Network::random(config([4, 17, 2], DIRECTIONS[2], RESETS[0]), true, 9);
    for gru in [network.gru(), two.gru()] {
        let mut session = engine.session_of(&gru, SequenceShape::new(7, 5));
        let mut used: Option<Output> = None;
        for (round, shape) in
            [[7, 5], [7, 5], [5, 5], [3, 2], [0, 2], [2, 0], [3, 2]].iter().enumerate()
        {
            for given in
                [STATE, STATE_AND_LENGTHS, Given { batch_first: true, ..STATE_AND_LENGTHS }]
            {
                let given = Given { state: round % 2 == 0, ..given };
                let problem = Problem::new(gru.clone(), *shape, given, round as u64);
                let fresh = run(&mut session, &problem.inputs());
                let into = used.get_or_insert_with(|| fresh.clone());
                into.hidden_states.fill(f32::NAN);
                into.final_state.fill(7.0);
                session.run_into(&problem.inputs(), into).unwrap();
                // Where a shape is empty there are no bits to compare.
                match fresh.hidden_states.is_empty() {
                    true => assert_eq!(*into, fresh, "{shape:?} {given:?}"),
                    false => same_output(&format!("{shape:?} {given:?}"), into, &fresh),
                }
            }
        }
    }
}

fn threads_change_no_bit(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let problem = Problem::new(network.gru(), [5, 9], STATE_AND_LENGTHS, 13);
        let inputs = problem.inputs();
        let want = run(&mut engine.session(&problem.gru, &inputs), &inputs);
        for threads in 1..5 {
            let device = Device::cpu_with_threads(NonZeroUsize::new(threads).unwrap());
            let mut session = problem.gru.session(&device, inputs.shape()).unwrap();
            let what = format!("{}, {threads} threads", label(&network.config));
            same_output(&what, &run(&mut session, &inputs), &want);
        }
    }
}

/// Batch-first arrays, and views with gaps, swapped axes and negative strides.
fn views_are_as_good_as_copies(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let forward = network.config.directions == Directions::Forward;
        let given = Given { mask: forward, ..STATE_AND_LENGTHS };
        let problem = Problem::new(network.gru(), [6, 5], given, 14);
        let inputs = problem.inputs();
        let mut session = engine.session_of(&problem.gru, SequenceShape::new(6, 5));
        let want = run(&mut session, &inputs);

        let swapped = problem.input.view().permuted_axes([1, 0, 2]);
        let mask = problem.mask.as_ref().map(|m| m.view().reversed_axes());
        let first = Inputs { input: swapped, reset_mask: mask, batch_first: true, ..inputs };
        let got = run(&mut session, &first);
        let what = format!("{}, batch-first", label(&network.config));
        let states = got.hidden_states.view().permuted_axes([1, 0, 2]);
        same_bits(&what, states, want.hidden_states.view());
        same_bits(&what, got.final_state.view(), want.final_state.view());

        // Every second element backwards along every axis of a larger array.
        let spread = |array: &Array3<f32>| {
            let (a, b, c) = array.dim();
            let mut large = Random(15).array((2 * a, 2 * b, 2 * c));
            large.slice_mut(s![..;-2, ..;-2, ..;-2]).assign(array);
            large
        };
        let (input, state) = (spread(&problem.input), spread(problem.state.as_ref().unwrap()));
        let views = Inputs {
            input: input.slice(s![..;-2, ..;-2, ..;-2]),
            initial_state: Some(state.slice(s![..;-2, ..;-2, ..;-2])),
            ..inputs
        };
        let what = format!("{}, strided", label(&network.config));
        same_output(&what, &run(&mut session, &views), &want);
    }
}
