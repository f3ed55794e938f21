//! What `wgru run` reads and writes: element types, orders, one sequence, none, backwards.

use half::f16;
use ndarray::{ArrayD, Axis, IxDyn};

use crate::case::{Case, Layout, flipped};
use crate::{Workplace, assert_words, model, npy, tested_adapters};

/// Runs `model` on the CPU engine with these options and gives `y.npy`.
#[track_caller]
fn run(place: &Workplace, model: &str, options: &[&str]) -> ArrayD<f64> {
    let mut arguments = vec!["run", model, "--output", "y.npy", "--device", "cpu"];
    arguments.extend(options);
    place.succeed(&arguments);
    npy::read(&place.path("y.npy"), "<f4")
}

#[test]
fn element_types_and_orders_of_the_input_do_not_matter() {
    let place = Workplace::new();
    // Values that f16 holds.
    let x = Case::read("data/pytorch_f32").input.mapv(|v| (8.0 * v).round() / 8.0);
    let model = model("pytorch_f32");
    npy::write_f32(&place.path("f32.npy"), &x);
    npy::write_f64(&place.path("f64.npy"), &x);
    let halves: Vec<u8> = x.iter().flat_map(|v| f16::from_f64(*v).to_le_bytes()).collect();
    npy::write(&place.path("f16.npy"), "<f2", x.shape(), false, &halves);
    let fortran: Vec<u8> = x.t().iter().flat_map(|v| v.to_le_bytes()).collect();
    npy::write(&place.path("fortran.npy"), "<f8", x.shape(), true, &fortran);
    let want = run(&place, &model, &["--input", "f32.npy"]);
    for name in ["f64.npy", "f16.npy", "fortran.npy"] {
        assert_eq!(run(&place, &model, &["--input", name]), want, "{name}");
    }
}

#[test]
fn one_sequence_needs_no_batch_axis() {
    let place = Workplace::new();
    let case = Case::read("data/pytorch_prefixed_decoder");
    let state = case.initial_state.expect("the case has a state");
    let model = model("pytorch_prefixed");
    let row = |array: &ArrayD<f64>| array.index_axis(Axis(1), 0).to_owned();
    npy::write_f32(&place.path("x3.npy"), &row(&case.input).insert_axis(Axis(1)));
    npy::write_f32(&place.path("h3.npy"), &row(&state).insert_axis(Axis(1)));
    npy::write_f32(&place.path("x2.npy"), &row(&case.input));
    npy::write_f32(&place.path("h2.npy"), &row(&state));
    npy::write_i64(&place.path("lengths.npy"), &[1], &[4]);
    npy::write_i64(&place.path("length.npy"), &[], &[4]);
    let mask = ArrayD::from_shape_fn(IxDyn(&[5]), |i| i[0] == 2);
    npy::write_bool(&place.path("mask1.npy"), &mask);
    npy::write_bool(&place.path("mask2.npy"), &mask.insert_axis(Axis(1)));
    let batched = "--input x3.npy --h0 h3.npy --lengths lengths.npy --reset-mask mask2.npy";
    let single = "--input x2.npy --h0 h2.npy --lengths lengths.npy --reset-mask mask1.npy";
    let scalar = "--input x2.npy --h0 h2.npy --lengths length.npy --reset-mask mask1.npy";
    let both = |line: &str| {
        let mut options = vec!["--prefix", "decoder.gru", "--final", "final.npy"];
        options.extend(line.split(' '));
        let output = run(&place, &model, &options);
        (output, npy::read(&place.path("final.npy"), "<f4"))
    };
    let (output, state) = both(batched);
    assert_eq!(output.shape(), [5, 1, 5]);
    for line in [single, scalar] {
        let (single_output, single_state) = both(line);
        assert_eq!(single_output, row(&output), "{line}");
        assert_eq!(single_state, row(&state), "{line}");
    }
    // The batch has no axis that could come first.
    let first = both(&format!("{single} --batch-first"));
    assert_eq!(first, (row(&output), row(&state)));
}

#[test]
fn no_steps_or_no_rows_give_an_empty_result() {
    let place = Workplace::new();
    let mut devices = vec!["cpu".to_owned(), "reference".to_owned()];
    devices.extend(tested_adapters().iter().map(|a| a.index.to_string()));
    let state = ArrayD::from_elem(IxDyn(&[4, 3, 9]), 0.25);
    npy::write_f32(&place.path("h0.npy"), &state);
    npy::write(&place.path("no_steps.npy"), "<f4", &[0, 3, 6], false, &[]);
    npy::write(&place.path("no_rows.npy"), "<f4", &[5, 0, 6], false, &[]);
    npy::write(&place.path("neither.npy"), "<f4", &[0, 6], false, &[]);
    for device in &devices {
        let descr = if device == "reference" { "<f8" } else { "<f4" };
        let both = |options: &[&str]| {
            let model = model("pytorch_f32");
            let results = ["--output", "y.npy", "--final", "final.npy", "--device", device];
            place.succeed(&[&["run", &model], &results[..], options].concat());
            let read = |name| npy::read(&place.path(name), descr);
            (read("y.npy"), read("final.npy"))
        };
        let (output, last) = both(&["--input", "no_steps.npy", "--h0", "h0.npy"]);
        assert_eq!((output.shape(), &last), (&[0, 3, 18][..], &state), "{device}");
        let (output, last) = both(&["--input", "no_rows.npy"]);
        assert_eq!((output.shape(), last.shape()), (&[5, 0, 18][..], &[4, 0, 9][..]), "{device}");
        let (output, last) = both(&["--input", "neither.npy"]);
        assert_eq!((output.shape(), last.shape()), (&[0, 18][..], &[4, 9][..]), "{device}");
        assert!(last.iter().all(|v| *v == 0.0), "{device}");
    }
}

#[test]
fn processing_order_is_the_forward_network_on_flipped_rows() {
    let place = Workplace::new();
    let case = Case::read("golden/reset_after_one_layer");
    let [forward, backward] = ["forward", "reverse"].map(|directions| {
        let order = if directions == "forward" { "time" } else { "processing" };
        let name = format!("{directions}.safetensors");
        let metadata = [
            ("wgru.version", "1"),
            ("wgru.convention", "wgru"),
            ("wgru.reset", "after"),
            ("wgru.directions", directions),
            ("wgru.output_order", order),
        ];
        case.write_model(&place, &name, &metadata);
        name
    });
    npy::write_f32(&place.path("x.npy"), &case.input);
    npy::write_f32(&place.path("flipped.npy"), &flipped(case.input.clone()));
    let want = run(&place, &forward, &["--input", "flipped.npy"]);
    assert_eq!(run(&place, &backward, &["--input", "x.npy"]), want);
    assert_ne!(flipped(want.clone()), want);

    // With lengths each row is flipped by itself, and what is past its end stays 0.
    let (steps, batch) = (case.input.shape()[0], case.input.shape()[1]);
    let lengths: Vec<i64> = (0..batch).map(|row| i64::try_from(steps - row % 3).unwrap()).collect();
    npy::write_i64(&place.path("lengths.npy"), &[batch], &lengths);
    let mut rows = case.input.clone();
    for (row, length) in lengths.iter().enumerate() {
        let length = usize::try_from(*length).unwrap();
        for step in 0..length {
            let from = case.input.index_axis(Axis(0), length - 1 - step);
            let from = from.index_axis(Axis(0), row).to_owned();
            rows.index_axis_mut(Axis(0), step).index_axis_mut(Axis(0), row).assign(&from);
        }
    }
    npy::write_f32(&place.path("rows.npy"), &rows);
    let want = run(&place, &forward, &["--input", "rows.npy", "--lengths", "lengths.npy"]);
    let got = run(&place, &backward, &["--input", "x.npy", "--lengths", "lengths.npy"]);
    assert_eq!(got, want);
    let batched = Layout::BatchFirst.of(case.input.clone());
    npy::write_f64(&place.path("batched.npy"), &batched);
    let options = ["--input", "batched.npy", "--lengths", "lengths.npy", "--batch-first"];
    assert_eq!(Layout::BatchFirst.of(run(&place, &backward, &options)), want);
}

#[test]
fn cutting_the_work_changes_no_bit() {
    let place = Workplace::new();
    let case = Case::read("data/pytorch_prefixed_encoder");
    let mut arguments = vec!["run".to_owned()];
    arguments.extend(case.model(&place));
    arguments.extend(case.options(&place, Layout::TimeFirst));
    let device = tested_adapters()[0].index.to_string();
    arguments.extend(["--output", "y.npy", "--device", &device].map(str::to_owned));
    place.succeed(&arguments);
    let want = npy::read(&place.path("y.npy"), "<f4");
    for options in ["--max-chunk-steps 2 --max-tile-rows 1", "--memory-budget 40000"] {
        let options = options.split(' ').map(str::to_owned);
        place.succeed(&[arguments.clone(), options.collect()].concat());
        assert_eq!(npy::read(&place.path("y.npy"), "<f4"), want);
    }
}

#[test]
fn an_existing_output_is_replaced_and_a_link_followed() {
    let place = Workplace::new();
    npy::write_f32(&place.path("x.npy"), &Case::read("data/pytorch_f32").input);
    std::fs::write(place.path("y.npy"), b"old").unwrap();
    let want = run(&place, &model("pytorch_f32"), &["--input", "x.npy"]);
    assert_eq!(want.shape(), [5, 3, 18]);
    #[cfg(unix)]
    {
        std::fs::rename(place.path("y.npy"), place.path("target.npy")).unwrap();
        std::os::unix::fs::symlink("target.npy", place.path("y.npy")).unwrap();
        std::fs::write(place.path("target.npy"), b"old").unwrap();
        assert_eq!(run(&place, &model("pytorch_f32"), &["--input", "x.npy"]), want);
        assert!(place.path("y.npy").is_symlink());
        assert_eq!(npy::read(&place.path("target.npy"), "<f4"), want);
    }
}

#[test]
fn the_device_comes_from_the_option_then_from_the_environment() {
    let place = Workplace::new();
    npy::write_f32(&place.path("x.npy"), &Case::read("data/pytorch_f32").input);
    let model = model("pytorch_f32");
    let arguments = ["run", &model, "--input", "x.npy", "--output", "y.npy"];
    crate::succeeded(place.command(&arguments).env("WGRU_DEVICE", "reference"));
    npy::read(&place.path("y.npy"), "<f8");
    let line = crate::refused(place.command(&arguments).env("WGRU_DEVICE", "abacus"));
    assert_words(&line, &["'abacus'", "auto", "cpu"]);
    let with_option = [&arguments[..], &["--device", "cpu"]].concat();
    crate::succeeded(place.command(&with_option).env("WGRU_DEVICE", "abacus"));
    npy::read(&place.path("y.npy"), "<f4");
    crate::succeeded(place.command(&arguments).env("WGRU_DEVICE", ""));
}
