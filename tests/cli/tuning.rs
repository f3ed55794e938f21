//! `--tune`: what it says, what it keeps, and what it makes of a damaged record.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::{Workplace, assert_words, model, run, succeeded, tested_adapters};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The command on an adapter with a cache in the workplace.
fn command(place: &Workplace, arguments: &[&str]) -> Command {
    let device = tested_adapters()[0].index.to_string();
    let mut command = place.command(&[arguments, &["--device", &device]].concat());
    command.env("WGRU_CACHE_DIR", place.path("cache"));
    command
}

#[test]
fn a_tuned_plan_says_what_was_measured() {
    let place = Workplace::new();
    let network = model("pytorch_f32");
    let sizes = ["--steps", "20", "--batch", "5"];
    // So much that all is measured, however busy the machine is.
    let plan = [&["plan", &network][..], &sizes, &["--tune=30"]].concat();
    let value = json(&succeeded(command(&place, &plan).arg("--json")));
    let tuning = &value["tuning"];
    assert_eq!(tuning["cached"], false);
    assert!(tuning["candidates"].as_u64().unwrap() > 1, "{tuning}");
    let kernels = tuning["kernels"].as_str().unwrap();
    assert!(kernels.starts_with(value["kernel_family"].as_str().unwrap()), "{value}");
    let text = succeeded(&mut command(&place, &plan));
    assert_words(&text, &[&format!("tuned: {kernels}: "), "; from the cache of 20"]);
    let verify = [&["verify", &network][..], &sizes, &["--tune"]].concat();
    assert_words(&succeeded(&mut command(&place, &verify)), &["tuned: ", "from the cache", "PASS"]);
    let value = json(&succeeded(command(&place, &verify).arg("--json")));
    assert_eq!(value["tuning"]["cached"], true);
    // A damaged record costs one warning, and is replaced.
    let files: Vec<_> = fs::read_dir(place.path("cache")).unwrap().collect();
    assert_eq!(files.len(), 1);
    fs::write(files[0].as_ref().unwrap().path(), "{").unwrap();
    let output = run(&mut command(&place, &plan));
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_words(&said, &["wgru: warning: ", "ignored: it is damaged"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_words(&succeeded(&mut command(&place, &plan)), &["from the cache"]);
    // Without the option nothing is looked up.
    let plain = succeeded(&mut command(&place, &[&["plan", &network][..], &sizes].concat()));
    assert!(!plain.contains("tuned"), "{plain}");
}

#[test]
fn requests_that_make_no_sense() {
    let place = Workplace::new();
    let network = model("pytorch_f32");
    let sizes = ["--steps", "4", "--batch", "2"];
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--device", "cpu", "--tune"], &["--tune", "GPU"]),
        (&["--device", "reference", "--tune"], &["--tune", "GPU"]),
        (&["--tune=0"], &["--tune", "'0'", "more than 0"]),
        (&["--tune=-1"], &["--tune", "'-1'", "more than 0"]),
        (&["--tune=soon"], &["--tune", "'soon'", "seconds"]),
    ];
    for (options, words) in cases {
        let line = place.refuse(&[&["plan", &network][..], &sizes, options].concat());
        assert_words(&line, words);
    }
}
