//! `wgru run` against the committed float64 results: every naming, every engine.

use crate::case::{Case, Layout, assert_close};
use crate::tested_adapters;

/// Of the reference, whose inputs and weights are exact.
const EXACT: f64 = 1e-12;
/// Of f32 engines on these short sequences.
const F32: f64 = 1e-6;

const MODEL_FILES: [&str; 12] = [
    "gru_cell",
    "pytorch_bf16",
    "pytorch_f16",
    "pytorch_f32",
    "pytorch_f64",
    "pytorch_one_layer_no_bias",
    "pytorch_prefixed_decoder",
    "pytorch_prefixed_encoder",
    "textbook",
    "textbook_lower_case_r",
    "textbook_two_layers",
    "textbook_two_layers_first_bare",
];

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

#[test]
fn every_model_file_on_the_reference() {
    for name in MODEL_FILES {
        check(&Case::read(&format!("data/{name}")), "reference", Layout::TimeFirst, EXACT, name);
    }
}

#[test]
fn every_model_file_on_the_cpu() {
    for name in MODEL_FILES {
        let case = Case::read(&format!("data/{name}")).expecting("f32_weights");
        check(&case, "cpu", Layout::TimeFirst, F32, name);
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
