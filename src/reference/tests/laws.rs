//! Laws that need no second implementation, and cases small enough to compute by hand.

use ndarray::{Array2, Array3, Axis, s};

use super::support::{DIRECTIONS, Network, RESETS, Random, RawCell, config, to_f64};
use crate::activation::Activation;
use crate::cell::{CellFunctions, Gate, ResetForm};
use crate::config::{Directions, GruConfig};
use crate::error::ErrorKind;
use crate::reference::{forward, forward_layers};
use crate::sequence::{Inputs, Output};

const R: usize = Gate::Reset as usize;
const Z: usize = Gate::Update as usize;
const N: usize = Gate::New as usize;

fn run(network: &Network, inputs: &Inputs<'_, f64>) -> Output<f64> {
    forward(&network.config, &network.weights(), inputs).unwrap()
}

/// Bit-equal, but for NaN, whose payload says nothing.
fn same(a: &Array3<f64>, b: &Array3<f64>) -> bool {
    a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

/// Two layers of five units over three features, with an input of seven steps and four rows.
fn ordinary(directions: Directions, reset: ResetForm) -> (Network, Array3<f64>, Array3<f64>) {
    let network = Network::random(config(3, 5, 2, directions, reset), 7);
    let random = &mut Random(8);
    let input = to_f64(&random.array((7, 4, 3), 2.0));
    let state = to_f64(&random.array((network.config.state_planes(), 4, 5), 1.0));
    (network, input, state)
}

/// One unit, one feature, one step; every product is exact in f64 and the activations are linear,
/// so that both forms have values that one can compute by hand.
#[test]
fn one_linear_step_by_hand() {
    let functions =
        CellFunctions { gate: Activation::LINEAR, candidate: Activation::LINEAR, clip: None };
    for (form, candidate) in [
        // n = 1*4 + 2 + 0.5*(r*8) + 1 with r = 0.25*4 + 0.5 - 0.125*8 - 0.25 = 0.25
        (ResetForm::Before, 8.0),
        // n = 1*4 + 2 + r*(0.5*8 + 1)
        (ResetForm::After, 7.25),
    ] {
        let mut cell = RawCell::zero(1, 1);
        for (g, [w, b, u, c]) in [
            (R, [0.25, 0.5, -0.125, -0.25]),
            // z = 0.5*4 + 0.25 - 0.25*8 + 0.5 = 0.75
            (Z, [0.5, 0.25, -0.25, 0.5]),
            (N, [1.0, 2.0, 0.5, 1.0]),
        ] {
            cell.input[g][0] = w;
            cell.input_bias[g][0] = b;
            cell.recurrent[g][0] = u;
            cell.recurrent_bias[g][0] = c;
        }
        let config =
            GruConfig { functions: [functions; 2], ..config(1, 1, 1, Directions::Forward, form) };
        let network = Network { config, cells: vec![cell] };
        let (x, h) = (Array3::from_elem((1, 1, 1), 4.0), Array3::from_elem((1, 1, 1), 8.0));
        let got = run(&network, &Inputs::new(x.view()).initial_state(h.view()));
        let want = (1.0 - 0.75) * candidate + 0.75 * 8.0;
        assert_eq!(got.hidden_states[[0, 0, 0]], want, "{form}");
        assert_eq!(got.final_state[[0, 0, 0]], want, "{form}");
    }
}

#[test]
fn clip_clamps_the_input_of_every_activation() {
    let clip = CellFunctions { clip: Some(0.5), ..CellFunctions::default() };
    for form in RESETS {
        let mut network = Network::zero(config(1, 1, 1, Directions::Forward, form));
        network.config.functions = [clip; 2];
        for g in [R, Z, N] {
            network.cells[0].input[g][0] = 1.0;
        }
        for (x, side) in [(100.0, 0.5f64), (-100.0, -0.5), (f64::INFINITY, 0.5)] {
            let input = Array3::from_elem((1, 1, 1), x);
            let z = 1.0 / (1.0 + (-side).exp());
            let got = run(&network, &Inputs::new(input.view())).hidden_states[[0, 0, 0]];
            assert!((got - (1.0 - z) * side.tanh()).abs() < 1e-15, "{form}, {x}: {got}");
        }
        let nan = Array3::from_elem((1, 1, 1), f64::NAN);
        assert!(run(&network, &Inputs::new(nan.view())).hidden_states[[0, 0, 0]].is_nan());
    }
}

#[test]
fn zero_weights_halve_the_state() {
    for (directions, reset) in DIRECTIONS.into_iter().flat_map(|d| RESETS.map(|r| (d, r))) {
        let network = Network::zero(config(3, 5, 2, directions, reset));
        let (_, input, state) = ordinary(directions, reset);
        let got = run(&network, &Inputs::new(input.view()).initial_state(state.view()));
        assert!(same(&got.final_state, &(&state / 128.0)), "{directions}, {reset}");
    }
}

#[test]
fn a_saturated_update_gate_keeps_or_replaces_the_state() {
    for reset in RESETS {
        let (mut network, input, state) = ordinary(Directions::Bidirectional, reset);
        let inputs = Inputs::new(input.view()).initial_state(state.view());
        for cell in &mut network.cells {
            cell.input_bias[Z].fill(1000.0);
        }
        assert!(same(&run(&network, &inputs).final_state, &state), "z = 1 keeps, {reset}");
        for cell in &mut network.cells {
            cell.input_bias[Z].fill(-1000.0);
            cell.recurrent[N].fill(0.0);
            cell.recurrent_bias[N].fill(0.0);
        }
        // z = 0, and a candidate that reads no state: the initial state is forgotten.
        let fresh = run(&network, &Inputs::new(input.view()));
        assert!(same(&run(&network, &inputs).final_state, &fresh.final_state), "z = 0, {reset}");
    }
}

#[test]
fn a_split_run_equals_the_whole() {
    for reset in RESETS {
        let (network, input, state) = ordinary(Directions::Forward, reset);
        let whole = run(&network, &Inputs::new(input.view()).initial_state(state.view()));
        let head = Inputs::new(input.slice(s![..3, .., ..])).initial_state(state.view());
        let head = run(&network, &head);
        let tail = Inputs::new(input.slice(s![3.., .., ..])).initial_state(head.final_state.view());
        let tail = run(&network, &tail);
        assert!(same(&whole.final_state, &tail.final_state));
        assert!(same(&whole.hidden_states.slice(s![3.., .., ..]).to_owned(), &tail.hidden_states));
    }
}

#[test]
fn permuting_the_batch_permutes_the_result() {
    for (directions, reset) in DIRECTIONS.into_iter().flat_map(|d| RESETS.map(|r| (d, r))) {
        let (network, input, state) = ordinary(directions, reset);
        let (lengths, order) = ([7, 0, 3, 5], [2, 0, 3, 1]);
        let inputs = Inputs::new(input.view()).initial_state(state.view()).lengths(&lengths);
        let straight = run(&network, &inputs);
        let (input, state) = (input.select(Axis(1), &order), state.select(Axis(1), &order));
        let lengths = order.map(|row| lengths[row]);
        let inputs = Inputs::new(input.view()).initial_state(state.view()).lengths(&lengths);
        let permuted = run(&network, &inputs);
        assert!(same(&straight.hidden_states.select(Axis(1), &order), &permuted.hidden_states));
        assert!(same(&straight.final_state.select(Axis(1), &order), &permuted.final_state));
    }
}

#[test]
fn reverse_equals_forward_on_the_flipped_row() {
    for reset in RESETS {
        let mut network = Network::random(config(3, 5, 1, Directions::Reverse, reset), 11);
        let (_, input, _) = ordinary(Directions::Forward, reset);
        let lengths = [7, 0, 3, 5];
        let reverse = run(&network, &Inputs::new(input.view()).lengths(&lengths));
        let mut flipped = input.clone();
        for (row, length) in lengths.into_iter().enumerate() {
            for step in 0..length {
                flipped.slice_mut(s![step, row, ..]).assign(&input.slice(s![
                    length - 1 - step,
                    row,
                    ..
                ]));
            }
        }
        network.config.directions = Directions::Forward;
        let forward = run(&network, &Inputs::new(flipped.view()).lengths(&lengths));
        assert!(same(&reverse.final_state, &forward.final_state));
        for (row, length) in lengths.into_iter().enumerate() {
            for step in 0..length {
                assert_eq!(
                    reverse.hidden_states.slice(s![step, row, ..]),
                    forward.hidden_states.slice(s![length - 1 - step, row, ..])
                );
            }
            assert!(reverse.hidden_states.slice(s![length.., row, ..]).iter().all(|v| *v == 0.0));
        }
    }
}

#[test]
fn a_bidirectional_layer_is_both_directions_side_by_side() {
    for reset in RESETS {
        let both = Network::random(config(3, 5, 1, Directions::Bidirectional, reset), 13);
        let (_, input, _) = ordinary(Directions::Forward, reset);
        let lengths = [4, 7, 1, 6];
        let inputs = Inputs::new(input.view()).lengths(&lengths);
        let got = run(&both, &inputs);
        for (index, directions) in
            [Directions::Forward, Directions::Reverse].into_iter().enumerate()
        {
            let config = GruConfig { directions, ..both.config.clone() };
            let alone = Network { config, cells: vec![both.cells[index].clone()] };
            let alone = run(&alone, &inputs);
            let part = s![.., .., index * 5..(index + 1) * 5];
            assert!(same(&got.hidden_states.slice(part).to_owned(), &alone.hidden_states));
            let plane = got.final_state.slice(s![index..index + 1, .., ..]).to_owned();
            assert!(same(&plane, &alone.final_state));
        }
    }
}

#[test]
fn the_reset_mask_starts_a_row_afresh() {
    for reset in RESETS {
        let (network, input, state) = ordinary(Directions::Forward, reset);
        let mut mask = Array2::from_elem((7, 4), false);
        mask[[3, 1]] = true;
        mask[[0, 2]] = true;
        let plain = Inputs::new(input.view()).initial_state(state.view());
        let (masked, plain) =
            (run(&network, &plain.reset_mask(mask.view())), run(&network, &plain));
        let fresh = run(&network, &Inputs::new(input.slice(s![3.., 1..2, ..])));
        let row = |o: &Output<f64>, r: usize| o.hidden_states.slice(s![.., r, ..]).to_owned();
        assert_eq!(row(&masked, 0), row(&plain, 0));
        assert_eq!(row(&masked, 3), row(&plain, 3));
        assert_eq!(row(&masked, 1).slice(s![..3, ..]), row(&plain, 1).slice(s![..3, ..]));
        assert_eq!(row(&masked, 1).slice(s![3.., ..]), row(&fresh, 0));
        let from_zero = run(&network, &Inputs::new(input.slice(s![.., 2..3, ..])));
        assert_eq!(row(&masked, 2), row(&from_zero, 0));
    }
}

#[test]
fn rows_are_independent_and_padding_never_leaks() {
    for (directions, reset) in DIRECTIONS.into_iter().flat_map(|d| RESETS.map(|r| (d, r))) {
        let (network, mut input, mut state) = ordinary(directions, reset);
        let lengths = [7, 5, 0, 3];
        let inputs = Inputs::new(input.view()).initial_state(state.view()).lengths(&lengths);
        let clean = run(&network, &inputs);
        input.slice_mut(s![2, 0, ..]).fill(f64::NAN);
        input.slice_mut(s![5.., 1, ..]).fill(f64::INFINITY);
        input.slice_mut(s![3.., 3, ..]).fill(f64::NAN);
        state[[0, 2, 1]] = f64::NEG_INFINITY;
        let inputs = Inputs::new(input.view()).initial_state(state.view()).lengths(&lengths);
        let dirty = run(&network, &inputs);
        for row in [1, 3] {
            let part = s![.., row, ..];
            assert_eq!(clean.hidden_states.slice(part), dirty.hidden_states.slice(part));
            assert_eq!(clean.final_state.slice(part), dirty.final_state.slice(part));
        }
        assert!(dirty.hidden_states.slice(s![2, 0, ..]).iter().all(|v| v.is_nan()));
        assert_eq!(dirty.final_state.slice(s![.., 2, ..]), state.slice(s![.., 2, ..]));
        assert!(dirty.hidden_states.slice(s![.., 2, ..]).iter().all(|v| *v == 0.0));
    }
}

#[test]
fn batch_first_is_the_same_run() {
    let (network, input, _) = ordinary(Directions::Bidirectional, ResetForm::After);
    let swapped = input.view().permuted_axes([1, 0, 2]);
    let straight = run(&network, &Inputs::new(input.view()));
    let turned = run(&network, &Inputs::new(swapped).batch_first());
    assert_eq!(straight.hidden_states, turned.hidden_states.permuted_axes([1, 0, 2]));
    assert_eq!(straight.final_state, turned.final_state);
}

#[test]
fn the_states_of_every_layer_are_returned() {
    let (network, input, _) = ordinary(Directions::Bidirectional, ResetForm::Before);
    let inputs = Inputs::new(input.view());
    let (output, layers) = forward_layers(&network.config, &network.weights(), &inputs).unwrap();
    assert_eq!(layers.len(), 2);
    assert_eq!(layers[1], output.hidden_states);
    let mut first = network.clone();
    first.config.num_layers = 1;
    first.cells.truncate(2);
    assert_eq!(layers[0], run(&first, &inputs).hidden_states);
}

#[test]
fn nothing_to_do_is_a_result() {
    let (network, _, state) = ordinary(Directions::Bidirectional, ResetForm::After);
    let empty = Array3::zeros((0, 4, 3));
    let got = run(&network, &Inputs::new(empty.view()).initial_state(state.view()));
    assert_eq!(got.hidden_states.dim(), (0, 4, 10));
    assert_eq!(got.final_state, state);
    let none = Array3::zeros((7, 0, 3));
    let got = run(&network, &Inputs::new(none.view()));
    assert_eq!((got.hidden_states.dim(), got.final_state.dim()), ((7, 0, 10), (4, 0, 5)));
}

#[test]
fn weights_of_another_network_are_an_error() {
    let (network, input, _) = ordinary(Directions::Forward, ResetForm::After);
    for changed in [
        GruConfig { num_layers: 3, ..network.config.clone() },
        GruConfig { hidden_size: 6, ..network.config.clone() },
        GruConfig {
            num_layers: 1,
            directions: Directions::Bidirectional,
            ..network.config.clone()
        },
    ] {
        let error = forward(&changed, &network.weights(), &Inputs::new(input.view())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidWeights, "{error}");
    }
}
