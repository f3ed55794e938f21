//! Bits do not depend on batch, chunks, threads, strides or the other rows.

use ndarray::{Array2, Array3, s};

use super::support::{
    DIRECTIONS, RESETS, Random, config, instruction_sets, network, run, run_layers, same, session,
    split_session,
};
use crate::config::Directions;
use crate::sequence::Inputs;

#[test]
fn a_row_alone_has_the_bits_it_has_in_a_batch() {
    for reset in RESETS {
        for arch in instruction_sets() {
            let config = config(6, 35, 2, Directions::Bidirectional, reset);
            let gru = network(&config, 1);
            let mut session = session(&gru, arch);
            let input = Random(2).array((5, 21, 6), 2.0);
            let state = Random(3).array((4, 21, 35), 1.0);
            let whole =
                run(&gru, &mut session, &Inputs::new(input.view()).initial_state(state.view()));
            for rows in [0..1, 5..7, 3..6, 20..21, 1..9] {
                let inputs = Inputs::new(input.slice(s![.., rows.clone(), ..]))
                    .initial_state(state.slice(s![.., rows.clone(), ..]));
                let part = run(&gru, &mut session, &inputs);
                let wanted = whole.hidden_states.slice(s![.., rows.clone(), ..]).to_owned();
                assert!(same(&part.hidden_states, &wanted), "{arch:?}, reset {reset}, {rows:?}");
            }
        }
    }
}

#[test]
fn steps_one_by_one_have_the_bits_of_the_whole_run() {
    for reset in RESETS {
        for arch in instruction_sets() {
            let config = config(7, 50, 2, Directions::Forward, reset);
            let gru = network(&config, 4);
            let mut session = session(&gru, arch);
            let input = Random(5).array((12, 3, 7), 2.0);
            let whole = run(&gru, &mut session, &Inputs::new(input.view()));
            let mut state = Array3::zeros((2, 3, 50));
            for step in 0..12 {
                let inputs =
                    Inputs::new(input.slice(s![step..=step, .., ..])).initial_state(state.view());
                let one = run(&gru, &mut session, &inputs);
                let wanted = whole.hidden_states.slice(s![step..=step, .., ..]).to_owned();
                assert!(same(&one.hidden_states, &wanted), "{arch:?}, reset {reset}, {step}");
                state = one.final_state;
            }
            assert!(same(&state, &whole.final_state));
        }
    }
}

#[test]
fn windows_change_no_bit() {
    for reset in RESETS {
        for layers in [1, 2, 3] {
            let config = config(5, 37, layers, Directions::Forward, reset);
            let gru = network(&config, 11);
            let input = Random(12).array((11, 4, 5), 2.0);
            let state = Random(13).array((layers, 4, 37), 1.0);
            let mask = Array2::from_shape_fn((11, 4), |(t, b)| (t + 2 * b) % 5 == 3);
            let inputs = Inputs::new(input.view()).initial_state(state.view());
            for inputs in [
                inputs,
                inputs.lengths(&[11, 0, 4, 8]),
                inputs.reset_mask(mask.view()),
                Inputs::new(input.view()).lengths(&[3, 11, 1, 7]).reset_mask(mask.view()),
            ] {
                let mut session = split_session(&gru, 2, 1, 1);
                let wanted = run(&gru, &mut session, &inputs);
                for steps in [1, 4, 10] {
                    session.forced_window = Some(steps);
                    let given = run(&gru, &mut session, &inputs);
                    assert!(same(&given.hidden_states, &wanted.hidden_states), "{reset}, {steps}");
                    assert!(same(&given.final_state, &wanted.final_state), "{reset}, {steps}");
                }
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for reset in RESETS {
        for directions in DIRECTIONS {
            let config = config(9, 100, 2, directions, reset);
            let gru = network(&config, 6);
            let input = Random(7).array((10, 13, 9), 2.0);
            let state = Random(8).array((config.state_planes(), 13, 100), 1.0);
            let lengths = [10, 3, 0, 7, 10, 9, 1, 4, 4, 10, 2, 6, 5];
            for lengths in [None, Some(&lengths[..])] {
                let mut inputs = Inputs::new(input.view()).initial_state(state.view());
                inputs.lengths = lengths;
                let wanted = run_layers(&gru, &mut split_session(&gru, 1, 1, 1), &inputs, true);
                for (rows, directions, units) in
                    [(2, 1, 1), (3, 1, 1), (1, 1, 2), (1, 1, 3), (2, 1, 2), (1, 2, 1), (1, 2, 2)]
                {
                    let most = config.num_directions();
                    if directions > most || (units > 1 && directions < most) {
                        continue;
                    }
                    let mut session = split_session(&gru, rows, directions, units);
                    for stop in [0, usize::MAX, 1, 0] {
                        session.stop_teams = stop;
                        let given = run_layers(&gru, &mut session, &inputs, true);
                        let what = format!("reset {reset}, split {rows} {directions} {units}");
                        assert!(same(&given.0.hidden_states, &wanted.0.hidden_states), "{what}");
                        assert!(same(&given.0.final_state, &wanted.0.final_state), "{what}");
                        assert_eq!(given.1, wanted.1, "{what}");
                    }
                }
            }
        }
    }
}

/// A team that stops resumes where it was: it may have one block of rows only.
#[test]
fn rows_of_several_blocks_have_no_team() {
    for reset in RESETS {
        let config = config(1, 17, 1, Directions::Forward, reset);
        let gru = network(&config, 6);
        // A block has 1,024 rows at most.
        let input = Random(7).array((3, 1100, 1), 2.0);
        let inputs = Inputs::new(input.view());
        let wanted = run_layers(&gru, &mut split_session(&gru, 1, 1, 1), &inputs, true);
        let mut session = split_session(&gru, 1, 1, 2);
        session.stop_teams = usize::MAX;
        let given = run_layers(&gru, &mut session, &inputs, true);
        assert!(same(&given.0.hidden_states, &wanted.0.hidden_states), "{reset}");
        assert!(same(&given.0.final_state, &wanted.0.final_state), "{reset}");
    }
}

#[test]
fn threads_that_share_units_obey_the_reset_mask() {
    for reset in RESETS {
        let config = config(3, 70, 1, Directions::Forward, reset);
        let gru = network(&config, 9);
        let input = Random(10).array((9, 2, 3), 2.0);
        let mask = Array2::from_shape_fn((9, 2), |(t, b)| (t + b) % 4 == 2);
        let inputs = Inputs::new(input.view()).reset_mask(mask.view());
        let wanted = run(&gru, &mut split_session(&gru, 1, 1, 1), &inputs);
        let given = run(&gru, &mut split_session(&gru, 1, 1, 2), &inputs);
        assert!(same(&given.hidden_states, &wanted.hidden_states), "reset {reset}");
    }
}

#[test]
fn a_bad_row_changes_no_other_row() {
    for reset in RESETS {
        for arch in instruction_sets() {
            let config = config(4, 18, 2, Directions::Bidirectional, reset);
            let gru = network(&config, 11);
            let mut session = session(&gru, arch);
            let good = Random(12).array((6, 7, 4), 2.0);
            let wanted = run(&gru, &mut session, &Inputs::new(good.view()));
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                let mut bad = good.clone();
                bad.slice_mut(s![2, 3, ..]).fill(value);
                let given = run(&gru, &mut session, &Inputs::new(bad.view()));
                for row in (0..7).filter(|row| *row != 3) {
                    let [a, b] = [&given, &wanted]
                        .map(|o| o.hidden_states.slice(s![.., row..=row, ..]).to_owned());
                    assert!(same(&a, &b), "{arch:?}, reset {reset}, {value} reached row {row}");
                }
                let hurt = given.hidden_states.slice(s![2, 3, ..]);
                assert!(!value.is_nan() || hurt.iter().all(|v| v.is_nan()), "{value} was lost");
            }
        }
    }
}

#[test]
fn padding_never_leaks() {
    for reset in RESETS {
        for directions in DIRECTIONS {
            let config = config(4, 18, 2, directions, reset);
            let gru = network(&config, 13);
            let mut session = split_session(&gru, 1, 1, 1);
            let mut input = Random(14).array((6, 5, 4), 2.0);
            let lengths = [3, 6, 0, 1, 5];
            let wanted = run(&gru, &mut session, &Inputs::new(input.view()).lengths(&lengths));
            for (row, length) in lengths.into_iter().enumerate() {
                input.slice_mut(s![length.., row, ..]).fill(f32::NAN);
            }
            let given = run(&gru, &mut session, &Inputs::new(input.view()).lengths(&lengths));
            assert!(same(&given.hidden_states, &wanted.hidden_states));
            assert!(same(&given.final_state, &wanted.final_state));
            for (row, length) in lengths.into_iter().enumerate() {
                let past = given.hidden_states.slice(s![length.., row, ..]);
                assert!(past.iter().all(|v| *v == 0.0), "row {row} goes on past its end");
            }
        }
    }
}

#[test]
fn any_strides_and_batch_first_give_the_same_bits() {
    for reset in RESETS {
        let config = config(4, 18, 2, Directions::Bidirectional, reset);
        let gru = network(&config, 15);
        let mut session = split_session(&gru, 2, 1, 1);
        let input = Random(16).array((6, 5, 4), 2.0);
        let wanted = run(&gru, &mut session, &Inputs::new(input.view()));
        let swapped = input.view().permuted_axes([1, 0, 2]).as_standard_layout().to_owned();
        let given = run(&gru, &mut session, &Inputs::new(swapped.view()).batch_first());
        let given = given.hidden_states.permuted_axes([1, 0, 2]).as_standard_layout().to_owned();
        assert!(same(&given, &wanted.hidden_states));
        // Features outermost in memory.
        let strange = input.view().permuted_axes([2, 0, 1]).as_standard_layout().to_owned();
        let given = run(&gru, &mut session, &Inputs::new(strange.view().permuted_axes([1, 2, 0])));
        assert!(same(&given.hidden_states, &wanted.hidden_states));
    }
}

#[test]
fn a_session_serves_runs_of_any_shape_in_any_order() {
    let config = config(4, 40, 2, Directions::Bidirectional, RESETS[1]);
    let gru = network(&config, 17);
    let mut used = split_session(&gru, 1, 2, 2);
    for (steps, batch) in [(3, 2), (50, 9), (1, 1), (0, 4), (7, 40), (2, 1)] {
        let input = Random(18).array((steps, batch, 4), 2.0);
        let given = run(&gru, &mut used, &Inputs::new(input.view()));
        let wanted = run(&gru, &mut split_session(&gru, 1, 1, 1), &Inputs::new(input.view()));
        assert!(same(&given.hidden_states, &wanted.hidden_states), "T {steps}, B {batch}");
        assert!(same(&given.final_state, &wanted.final_state), "T {steps}, B {batch}");
    }
}
