//! `wgru info`: what it prints, and how it fails.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::test_file;

fn wgru(args: &[&str], model: &Path) -> Output {
    crate::wgru().args(args).arg(model).output().unwrap()
}

/// Standard output of a run that succeeds.
#[track_caller]
fn stdout(args: &[&str], model: &Path) -> String {
    let output = wgru(args, model);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of a run that is refused.
#[track_caller]
fn refusal(args: &[&str], model: &Path) -> String {
    let output = wgru(args, model);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(output.stdout, b"");
    assert_eq!(message.matches('\n').count(), 1, "{message}");
    assert!(message.starts_with("wgru: error: ") && message.ends_with('\n'), "{message}");
    message
}

#[test]
fn info_says_what_was_understood() {
    let text = stdout(&["info"], &test_file("data/textbook.safetensors"));
    for word in ["textbook", "before", "input 6, hidden 9", "1, forward", "Sigmoid", "432 of f32"] {
        assert!(text.contains(word), "'{word}' is missing from:\n{text}");
    }
    let text = stdout(&["info"], &test_file("data/pytorch_prefixed.safetensors"));
    for word in ["encoder.rnn", "decoder.gru", "2 bidirectional layers", "--prefix"] {
        assert!(text.contains(word), "'{word}' is missing from:\n{text}");
    }
}

#[test]
fn info_as_json() {
    let model = test_file("data/pytorch_bf16.safetensors");
    let value: Value = serde_json::from_str(&stdout(&["info", "--json"], &model)).unwrap();
    let selected = &value["selected"];
    for (key, wanted) in [
        ("format", json!("safetensors")),
        ("convention", json!("pytorch")),
        ("convention_evidence", json!("implied")),
        ("reset", json!("after")),
        ("directions", json!("bidirectional")),
        ("num_layers", json!(2)),
        ("input_size", json!(6)),
        ("hidden_size", json!(9)),
        ("bias", json!(true)),
        ("element_types", json!(["bf16"])),
        ("producer", json!("PyTorch")),
        ("warnings", json!([])),
    ] {
        assert_eq!(selected[key], wanted, "{key}");
    }
    assert_eq!(selected["activations"].as_array().unwrap().len(), 2);
    let several = test_file("data/pytorch_prefixed.safetensors");
    let value: Value = serde_json::from_str(&stdout(&["info", "--json"], &several)).unwrap();
    assert_eq!(value["selected"], Value::Null);
    assert_eq!(value["networks"][0]["name"], "decoder.gru");
    assert_eq!(value["networks"][1]["hidden_size"], 9);
    let args = ["info", "--json", "--prefix", "decoder.gru"];
    let value: Value = serde_json::from_str(&stdout(&args, &several)).unwrap();
    assert_eq!(value["selected"]["name"], "decoder.gru");
}

#[test]
fn refusals_are_one_line_and_exit_code_2() {
    let model = test_file("data/textbook.safetensors");
    assert!(refusal(&["info", "--prefix", "no"], &model).contains("'no'"));
    assert!(refusal(&["info", "--reset", "sideways"], &model).contains("before or after"));
    assert!(refusal(&["info", "--convention", "x"], &model).contains("'x'"));
    assert!(refusal(&["info", "--activations", "tanh"], &model).contains("sigmoid,tanh"));
    assert!(refusal(&["info", "--activations", "tanh,tanh"], &model).contains("Tanh"));
    assert!(refusal(&["info", "--colour"], &model).contains("--colour"));
    assert!(refusal(&["paint"], &model).contains("'paint'"));
    assert!(refusal(&["info"], Path::new("nowhere")).contains("nowhere: cannot open"));
    assert!(refusal(&["info"], &test_file("data")).contains("directory"));
    assert!(refusal(&["info", "a\nb"], &model).contains("unexpected argument"));
}
