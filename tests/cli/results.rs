//! `wgru run` against the committed float64 results: every naming, every engine.

use std::fs;

use crate::case::{Case, Layout, assert_close};
use crate::{root, tested_adapters};

/// Of the reference, whose inputs and weights are exact.
const EXACT: f64 = 1e-12;
/// Of f32 engines on these short sequences.
const F32: f64 = 1e-6;

/// Sequences with lengths, resets and states, both reset forms.
const CASES: [&str; 8] = [
    "reset_after_lengths",
    "reset_after_lengths_zero",
    "reset_after_reset_mask_two_layers",
    "reset_after_initial_state",
    "reset_before_lengths_two_layers",
    "reset_before_reset_mask_lengths",
    "reset_before_bidirectional",
    "reset_before_initial_state",
];

fn check(case: &Case, device: &str, layout: Layout, tolerance: f64, what: &str) {
    let [output, final_state] = case.run(device, layout);
    assert_close(&output, &case.output, tolerance, &format!("{what} on {device}: output"));
    assert_close(&final_state, &case.final_state, tolerance, &format!("{what} on {device}: state"));
}

/// The names of all cases of a folder of `tests`.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join("tests").join(folder)).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    let mut names: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| format!("{folder}/{}", path.file_stem().unwrap_or_default().display()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_model_file() {
    for (folder, least) in [("data", 12), ("data/keras", 16), ("data/onnx", 40)] {
        let names = names(folder);
        assert!(names.len() >= least, "{folder} has {} cases", names.len());
        for name in names {
            check(&Case::read(&name), "reference", Layout::TimeFirst, EXACT, &name);
            let case = Case::read(&name).expecting("f32_weights");
            check(&case, "cpu", Layout::TimeFirst, F32, &name);
        }
    }
}

#[test]
fn lengths_resets_and_states_in_both_layouts() {
    for name in CASES {
        let case = case_of_before(name);
        for layout in [Layout::TimeFirst, Layout::BatchFirst] {
            check(&case, "reference", layout, EXACT, name);
            check(&case, "cpu", layout, F32, name);
        }
    }
}

/// The cases of the reset-before form are in PyTorch's names; `--reset` says the form.
fn case_of_before(name: &str) -> Case {
    let case = Case::read(&format!("golden/{name}"));
    if name.starts_with("reset_before") { case.with_reset("before") } else { case }
}

#[test]
fn both_reset_forms_on_every_adapter() {
    for adapter in tested_adapters() {
        let device = adapter.index.to_string();
        for name in ["data/pytorch_prefixed_encoder", "data/textbook"] {
            check(&Case::read(name), &device, Layout::TimeFirst, F32, name);
        }
        let case = case_of_before("reset_before_reset_mask_lengths");
        check(&case, &device, Layout::BatchFirst, F32, "reset mask");
        report(&adapter);
    }
}

/// Tells `scripts/test` that the adapter was tested.
fn report(adapter: &wgru::AdapterDescription) {
    use std::io::Write;
    let Some(path) = std::env::var_os("WGRU_ADAPTER_REPORT") else { return };
    let mut file =
        std::fs::OpenOptions::new().append(true).create(true).open(path).expect("a writable file");
    writeln!(file, "{} ({})", adapter.name, adapter.backend).expect("a writable file");
}
