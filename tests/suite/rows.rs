//! Rows of a batch do not know of each other; lengths and reset masks act on one row alone.

use ndarray::{Array3, Axis, concatenate, s};
use wgru::{Directions, Inputs, Output};

use crate::EngineTest;
use crate::compare::{assert_verified, same_bits, same_output};
use crate::engines::{Engine, On};
use crate::laws::{label, networks, run};
use crate::problem::{DIRECTIONS, Given, Problem};

pub(crate) const TESTS: &[EngineTest] = &[
    ("order_of_rows", On::All, order_of_rows),
    ("batch_is_its_rows", On::All, batch_is_its_rows),
    ("poison_stays_in_its_row", On::All, poison_stays_in_its_row),
    ("padding_never_leaks", On::All, padding_never_leaks),
    ("lengths_are_shorter_runs", On::All, lengths_are_shorter_runs),
    ("length_0_keeps_the_state", On::All, length_0_keeps_the_state),
    ("reset_mask_is_a_zero_state", On::F32, reset_mask_is_a_zero_state),
];

const GIVEN: Given = Given { state: true, lengths: true, mask: false, batch_first: false };

fn order_of_rows(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let problem = Problem::new(network.gru(), [5, 9], GIVEN, 21);
        let mut session = engine.session(&problem.gru, &problem.inputs());
        let straight = run(&mut session, &problem.inputs());
        // 5 is prime to 9: every row moves to another place but the first.
        let order: Vec<usize> = (0..9).map(|row| row * 5 % 9).collect();
        let select = |array: &Array3<f32>| array.select(Axis(1), &order);
        let lengths = problem.lengths.as_ref().unwrap();
        let permuted = Problem {
            input: select(&problem.input),
            state: problem.state.as_ref().map(select),
            lengths: Some(order.iter().map(|row| lengths[*row]).collect()),
            ..problem.clone()
        };
        let got = run(&mut session, &permuted.inputs());
        let want = Output {
            hidden_states: select(&straight.hidden_states),
            final_state: select(&straight.final_state),
        };
        same_output(&label(&network.config), &got, &want);
    }
}

/// In one session, made for the whole batch.
fn batch_is_its_rows(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let problem = Problem::new(network.gru(), [5, 6], GIVEN, 22);
        let mut session = engine.session(&problem.gru, &problem.inputs());
        let whole = run(&mut session, &problem.inputs());
        for count in [1, 2, 5] {
            let parts: Vec<Output> = (0..6)
                .step_by(count)
                .map(|first| {
                    let rows = first..6.min(first + count);
                    let state = problem.state.as_ref().unwrap();
                    let inputs = Inputs {
                        input: problem.input.slice(s![.., rows.clone(), ..]),
                        initial_state: Some(state.slice(s![.., rows.clone(), ..])),
                        lengths: problem.lengths.as_ref().map(|lengths| &lengths[rows]),
                        reset_mask: None,
                        batch_first: false,
                    };
                    run(&mut session, &inputs)
                })
                .collect();
            let join = |of: fn(&Output) -> &Array3<f32>| {
                let views: Vec<_> = parts.iter().map(|part| of(part).view()).collect();
                concatenate(Axis(1), &views).unwrap()
            };
            let joined = Output {
                hidden_states: join(|part| &part.hidden_states),
                final_state: join(|part| &part.final_state),
            };
            same_output(&format!("{}, {count} at a time", label(&network.config)), &joined, &whole);
        }
    }
}

/// NaN or an infinity in one row's input or state changes no bit of another row, and the row
/// itself is as the reference says.
fn poison_stays_in_its_row(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let given = Given { lengths: false, ..GIVEN };
        let clean = Problem::new(network.gru(), [4, 6], given, 23);
        let mut session = engine.session(&clean.gru, &clean.inputs());
        let want = run(&mut session, &clean.inputs());
        for (poisoned, value) in [(0, f32::NAN), (3, f32::INFINITY), (5, f32::NEG_INFINITY)] {
            for in_state in [false, true] {
                let mut problem = clean.clone();
                match in_state {
                    true => problem.state.as_mut().unwrap()[[0, poisoned, 1]] = value,
                    false => problem.input[[2, poisoned, 1]] = value,
                }
                let what = format!(
                    "{}, {value} in row {poisoned}, in its state: {in_state}",
                    label(&network.config)
                );
                let got = run(&mut session, &problem.inputs());
                for row in (0..6).filter(|row| *row != poisoned) {
                    let of = |array: &Array3<f32>| array.slice(s![.., row..row + 1, ..]).to_owned();
                    same_bits(&what, of(&got.hidden_states).view(), of(&want.hidden_states).view());
                    same_bits(&what, of(&got.final_state).view(), of(&want.final_state).view());
                }
                assert_verified(&what, &session.verify(&problem.inputs()).unwrap());
            }
        }
    }
}

/// Whatever lies past a row's length, NaN too.
fn padding_never_leaks(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let mut problem = Problem::new(network.gru(), [6, 9], GIVEN, 24);
        let mut session = engine.session(&problem.gru, &problem.inputs());
        let want = run(&mut session, &problem.inputs());
        let lengths = problem.lengths.clone().unwrap();
        for padding in [f32::NAN, f32::INFINITY, 1e38] {
            for (row, length) in lengths.iter().enumerate() {
                problem.input.slice_mut(s![*length.., row, ..]).fill(padding);
            }
            let got = run(&mut session, &problem.inputs());
            let what = format!("{}, padded with {padding}", label(&network.config));
            same_output(&what, &got, &want);
            for (row, length) in lengths.iter().enumerate() {
                let past = got.hidden_states.slice(s![*length.., row, ..]);
                assert!(past.iter().all(|h| h.to_bits() == 0), "{what}: row {row}: {past}");
            }
        }
    }
}

/// A row of length n gives what it gives alone in a run of n steps.
fn lengths_are_shorter_runs(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let problem = Problem::new(network.gru(), [6, 5], GIVEN, 25);
        let mut session = engine.session(&problem.gru, &problem.inputs());
        let ragged = run(&mut session, &problem.inputs());
        for (row, length) in problem.lengths.as_ref().unwrap().iter().enumerate() {
            if *length == 0 {
                continue;
            }
            let state = problem.state.as_ref().unwrap().slice(s![.., row..row + 1, ..]);
            let input = problem.input.slice(s![..*length, row..row + 1, ..]);
            let alone = run(&mut session, &Inputs::new(input).initial_state(state));
            let got = Output {
                hidden_states: ragged
                    .hidden_states
                    .slice(s![..*length, row..row + 1, ..])
                    .to_owned(),
                final_state: ragged.final_state.slice(s![.., row..row + 1, ..]).to_owned(),
            };
            same_output(&format!("{}, row {row}", label(&network.config)), &got, &alone);
        }
    }
}

fn length_0_keeps_the_state(engine: &Engine) {
    for network in networks(&DIRECTIONS) {
        let mut problem = Problem::new(network.gru(), [3, 4], GIVEN, 26);
        problem.lengths = Some(vec![0; 4]);
        let mut session = engine.session(&problem.gru, &problem.inputs());
        let got = run(&mut session, &problem.inputs());
        let what = label(&network.config);
        assert!(got.hidden_states.iter().all(|h| h.to_bits() == 0), "{what}: outputs are zero");
        let state = problem.state.take().unwrap();
        same_bits(&what, got.final_state.view(), state.view());
        let got = run(&mut session, &problem.inputs());
        assert!(got.final_state.iter().all(|h| h.to_bits() == 0), "{what}: no state is zero");
    }
}

/// A masked run is its steps one at a time, with the states of masked rows zeroed before each.
fn reset_mask_is_a_zero_state(engine: &Engine) {
    for network in networks(&[Directions::Forward]) {
        for lengths in [false, true] {
            let given = Given { mask: true, lengths, ..GIVEN };
            // 33 rows: the mask's bits do not fit into one word.
            let problem = Problem::new(network.gru(), [6, 33], given, 27);
            let mut session = engine.session(&problem.gru, &problem.inputs());
            let got = run(&mut session, &problem.inputs());
            let mask = problem.mask.as_ref().unwrap();
            let mut state = problem.state.clone().unwrap();
            let mut states = Array3::zeros(got.hidden_states.dim());
            for t in 0..6 {
                let lengths: Option<Vec<usize>> = problem
                    .lengths
                    .as_ref()
                    .map(|lengths| lengths.iter().map(|n| usize::from(t < *n)).collect());
                for (row, reset) in mask.row(t).iter().enumerate() {
                    let runs = lengths.as_ref().is_none_or(|lengths| lengths[row] == 1);
                    if *reset && runs {
                        state.slice_mut(s![.., row, ..]).fill(0.0);
                    }
                }
                let input = problem.input.slice(s![t..t + 1, .., ..]);
                let mut inputs = Inputs::new(input).initial_state(state.view());
                inputs.lengths = lengths.as_deref();
                let step = run(&mut session, &inputs);
                states.slice_mut(s![t..t + 1, .., ..]).assign(&step.hidden_states);
                state = step.final_state;
            }
            let want = Output { hidden_states: states, final_state: state };
            same_output(&format!("{}, lengths {lengths}", label(&network.config)), &got, &want);
        }
    }
}
