//! `wgru devices`, `verify` and `plan`; how the command treats its terminal.

use std::process::Stdio;

use serde_json::Value;

use crate::case::{Case, Layout};
use crate::{Workplace, assert_words, model, npy, refused, run, succeeded, tested_adapters};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn devices_lists_every_adapter_and_the_processor() {
    let place = Workplace::new();
    let found = wgru::adapters();
    let text = place.succeed(&["devices"]);
    let value = json(&place.succeed(&["devices", "--json"]));
    let listed = value["adapters"].as_array().expect("a list");
    assert_eq!(listed.len(), found.len());
    for (entry, adapter) in listed.iter().zip(&found) {
        assert_words(&text, &[&adapter.name, &adapter.backend, &adapter.driver]);
        assert_eq!(entry["index"], adapter.index);
        assert_eq!(entry["name"], adapter.name);
        assert_eq!(entry["backend"], adapter.backend);
        let limit = adapter.capabilities.max_storage_binding;
        assert_eq!(entry["limits"]["max_storage_binding_bytes"], limit);
    }
    assert_words(&text, &["cpu ", "reference ", "auto "]);
    assert!(value["cpu"]["threads"].as_u64().is_some_and(|n| n >= 1));
}

#[test]
#[cfg(target_os = "linux")]
fn without_an_adapter_the_processor_does_it() {
    let place = Workplace::new();
    let hidden = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("WGPU_BACKEND", "vulkan").env("VK_DRIVER_FILES", "no such file");
        command.env_remove("VK_ADD_DRIVER_FILES");
        command
    };
    let text = succeeded(&mut hidden(&["devices"]));
    assert!(text.starts_with("no GPU adapter"), "{text}");
    assert_words(&text, &["auto       CPU engine"]);
    let text = succeeded(&mut hidden(&["verify", &model("pytorch_f32")]));
    assert_words(&text, &["device: CPU engine", "PASS"]);
    let line = refused(&mut hidden(&["verify", &model("pytorch_f32"), "--device", "gpu"]));
    assert_words(&line, &["'gpu'", "no adapter"]);
}

#[test]
fn verify_passes_on_every_device() {
    let place = Workplace::new();
    let mut devices = vec!["cpu".to_owned(), "reference".to_owned()];
    devices.extend(tested_adapters().iter().map(|a| a.index.to_string()));
    for device in &devices {
        for name in ["pytorch_f32", "textbook_two_layers"] {
            let text = place.succeed(&["verify", &model(name), "--device", device]);
            let words = ["T 24 x B 5", "seed 0", "of the bound at layer", "end to end:", "PASS\n"];
            assert_words(&text, &words);
        }
    }
    // The rounding of weights to f16 is part of what is wanted, so the check is as sharp.
    let device = tested_adapters()[0].index.to_string();
    let model = model("pytorch_f32");
    let options = ["--precision", "f16", "--device", &device, "--json"];
    let value = json(&place.succeed(&[&["verify", &model][..], &options].concat()));
    assert_eq!((&value["passed"], &value["precision"]), (&true.into(), &"f16".into()));
    assert!(value["end_to_end"]["difference"].as_f64().is_some_and(|d| d > 1e-5 && d < 1e-2));
}

#[test]
fn verify_reads_sequences_or_makes_the_same_from_a_seed() {
    let place = Workplace::new();
    let case = Case::read("data/pytorch_prefixed_encoder");
    let mut arguments = vec!["verify".to_owned()];
    arguments.extend(case.model(&place));
    arguments.extend(case.options(&place, Layout::BatchFirst));
    arguments.extend(["--device", "cpu", "--json"].map(str::to_owned));
    let value = json(&place.succeed(&arguments));
    // States of 2 layers of 18 features, and 4 final states of 9.
    assert_eq!((&value["steps"], &value["batch"]), (&5.into(), &3.into()));
    assert_eq!(value["compared"], 5 * 3 * 2 * 18 + 4 * 3 * 9);
    assert_eq!((&value["passed"], &value["mismatches"]), (&true.into(), &0.into()));
    let ratio = value["worst_ratio"].as_f64().expect("a number");
    assert!(ratio > 0.0 && ratio <= 1.0, "{ratio}");
    let random = |seed: &str| {
        let model = model("pytorch_f32");
        let options = ["--steps", "7", "--batch", "2", "--seed", seed, "--device", "cpu", "--json"];
        json(&place.succeed(&[&["verify", &model][..], &options].concat()))
    };
    assert_eq!(random("3"), random("3"));
    assert_ne!(random("3")["worst"], random("4")["worst"]);
    assert_eq!(random("3")["compared"], 7 * 2 * 2 * 18 + 4 * 2 * 9);
}

#[test]
fn verify_of_no_rows_is_no_failure() {
    let place = Workplace::new();
    let model = model("pytorch_f32");
    let empty = |size: &str| place.succeed(&["verify", &model, size, "0", "--device", "cpu"]);
    assert!(!empty("--batch").contains("PASS"));
    // The final states are still those that went in.
    assert_words(&empty("--steps"), &["180 values compared", "PASS"]);
    npy::write(&place.path("x.npy"), "<f4", &[5, 0, 6], false, &[]);
    place.succeed(&["verify", &model, "--input", "x.npy", "--device", "cpu"]);
}

#[test]
fn plan_adds_up() {
    let place = Workplace::new();
    let device = tested_adapters()[0].index.to_string();
    for (name, kernels) in [("pytorch_f32", 2), ("textbook_two_layers", 3)] {
        let model = model(name);
        let options = ["--steps", "100", "--batch", "5", "--device", &device];
        let steps = ["--kernels", "step", "--wavefront", "off"];
        let arguments = [&["plan", &model][..], &options, &steps].concat();
        let value = json(&place.succeed(&[&arguments[..], &["--json"]].concat()));
        let counts = value["dispatches_by_kernel"].as_object().expect("a map");
        assert_eq!(counts.len(), kernels);
        let sum: u64 = counts.values().filter_map(Value::as_u64).sum();
        assert_eq!(value["dispatches"], sum);
        assert!(sum >= 100 * (kernels as u64 - 1), "a step is a dispatch of each step kernel");
        let buffers = value["buffers"].as_object().expect("a map");
        assert_eq!(value["device_bytes"], buffers.values().filter_map(Value::as_u64).sum::<u64>());
        assert_eq!((&value["steps"], &value["batch"]), (&100.into(), &5.into()));
        let text = place.succeed(&arguments);
        assert_words(&text, &["T 100 x B 5", &format!("{sum} dispatches"), "device memory"]);
        for name in counts.keys() {
            assert_words(&text, &[name]);
        }
        let cut = [&arguments[..], &["--max-chunk-steps", "10", "--json"]].concat();
        assert_eq!(json(&place.succeed(&cut))["chunk_steps"], 10);
    }
    let model = model("textbook");
    let cpu = ["plan", &model, "--steps", "3", "--batch", "2", "--device", "cpu"];
    assert_words(&place.succeed(&cpu), &["CPU engine:", "threads", "nothing is dispatched"]);
    assert_eq!(json(&place.succeed(&[&cpu[..], &["--json"]].concat()))["dispatches"], 0);
}

#[test]
fn help_and_version_are_no_errors() {
    let place = Workplace::new();
    assert_words(&place.succeed(&["--help"]), &["devices", "info", "run", "verify", "plan"]);
    assert_words(&place.succeed(&["--version"]), &["wgru ", env!("CARGO_PKG_VERSION")]);
    let help = place.succeed(&["run", "--help"]);
    let contract = "--device --precision --prefix --node --convention --reset --activations \
                    --go-backwards --batch-first --h0 --lengths --reset-mask --final \
                    --allow-non-finite --input --output";
    for option in contract.split_whitespace() {
        assert!(help.contains(option), "{option} is missing from: {help}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let place = Workplace::new();
    let mut command = place.command(&["devices"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("wgru can be started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("wgru ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[test]
fn drivers_add_no_line_to_an_error() {
    let place = Workplace::new();
    let model = model("textbook");
    let mut command = place.command(&["verify", &model, "--device", "abacus"]);
    refused(command.env_remove("XDG_RUNTIME_DIR"));
    let mut command = place.command(&["devices"]);
    assert_eq!(run(command.env_remove("XDG_RUNTIME_DIR")).stderr, b"");
}
