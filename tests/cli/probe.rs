//! `wgru probe`: a quick one on every adapter, its JSON, its cache, and what it refuses.

use std::fs;

use serde_json::Value;

use crate::{Workplace, assert_words, run, succeeded, tested_adapters};

/// `docs/probe-json.md`: quantities with their units, and the parameters that their figures have.
const QUANTITIES: [(&str, &str, &[&str]); 17] = [
    ("dispatch_latency", "us", &["dispatches", "workgroups"]),
    ("record_cost", "us", &[]),
    ("submit_cost", "us", &[]),
    ("f32_rate", "GFLOP/s", &[]),
    ("f16_rate", "GFLOP/s", &[]),
    ("read_bandwidth", "GB/s", &["bytes"]),
    ("copy_bandwidth", "GB/s", &["bytes"]),
    ("workgroup_memory_bandwidth", "GB/s", &[]),
    ("upload_latency", "us", &["bytes"]),
    ("upload_bandwidth", "GB/s", &["bytes"]),
    ("read_back_latency", "us", &["bytes"]),
    ("read_back_bandwidth", "GB/s", &["bytes"]),
    ("barrier_cost", "ns", &["invocations"]),
    ("subgroup_reduction_cost", "ns", &["lanes"]),
    ("resident_rate", "GFLOP/s", &["invocations", "values"]),
    ("matrix_rate", "GFLOP/s", &["k", "m", "n", "operand_bits", "size", "sum_bits"]),
    ("hand_off_latency", "us", &["words", "workgroups"]),
];

fn check_spread(spread: &Value, what: &Value) {
    if spread.is_null() {
        return;
    }
    let number = |name: &str| spread[name].as_f64().unwrap_or_else(|| panic!("{name}: {what}"));
    let (low, median, high) = (number("low"), number("median"), number("high"));
    assert!(0.0 < low && low <= median && median <= high && high.is_finite(), "{what}");
    assert!(spread["samples"].as_u64().is_some_and(|n| n >= 1), "{what}");
}

fn check_figure(figure: &Value, adapter: &wgru::AdapterDescription) {
    let quantity = figure["quantity"].as_str().expect("a name");
    let known = QUANTITIES.iter().find(|(name, ..)| *name == quantity);
    let (_, unit, parameters) = known.unwrap_or_else(|| panic!("{figure}"));
    assert_eq!(figure["unit"], *unit);
    assert!(figure["case"].is_string(), "{figure}");
    check_spread(&figure["device"], figure);
    check_spread(&figure["host"], figure);
    match &figure["problem"] {
        Value::Null => {
            assert!(figure["host"].is_object(), "{figure}");
            let given: Vec<&str> =
                figure["parameters"].as_object().expect("an object").keys().map(|k| &**k).collect();
            assert_eq!(given, *parameters, "{figure}");
        }
        // Nothing is wrong, and what is missing has its reason in what the adapter lacks.
        problem => {
            assert!(figure["host"].is_null() && figure["device"].is_null(), "{figure}");
            let reason = problem["not_measured"].as_str().unwrap_or_else(|| panic!("{figure}"));
            let has = |feature| adapter.features.contains(&feature);
            let invocations = figure["parameters"]["invocations"].as_u64().unwrap_or(0);
            let lacks = match quantity {
                "f16_rate" => !has("shader-f16"),
                "subgroup_reduction_cost" => !has("subgroups"),
                "matrix_rate" => !has("cooperative-matrices"),
                "hand_off_latency" => true,
                "barrier_cost" | "resident_rate" => {
                    invocations > u64::from(adapter.capabilities.max_invocations)
                }
                _ => false,
            };
            assert!(lacks || reason.contains("the probe had taken"), "{figure}");
        }
    }
}

#[test]
fn a_quick_probe_of_every_adapter_is_what_its_page_says() {
    let place = Workplace::new();
    for adapter in tested_adapters() {
        let index = adapter.index.to_string();
        let mut command = place.command(&["probe", "--quick", "--json", "--device", &index]);
        let output = run(command.env("WGRU_CACHE_DIR", place.path("cache")));
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{adapter}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["wgru"], env!("CARGO_PKG_VERSION"));
        assert_eq!(report["adapter"]["name"], adapter.name);
        assert_eq!(report["adapter"]["backend"], adapter.backend);
        assert_eq!(report["adapter"]["driver"], adapter.driver);
        assert_eq!(report["adapter"]["type"], adapter.kind.to_string());
        assert_eq!((&report["quick"], &report["experimental"]), (&true.into(), &false.into()));
        assert!(report["seconds"].as_f64().is_some_and(|s| s > 0.0));
        let timestamps = adapter.features.contains(&"timestamps");
        assert_eq!(report["timestamp_period_ns"].is_number(), timestamps, "{adapter}");
        let figures = report["figures"].as_array().expect("a list");
        figures.iter().for_each(|figure| check_figure(figure, &adapter));
        for (name, ..) in QUANTITIES {
            assert!(figures.iter().any(|f| f["quantity"] == name), "{adapter}: {name}");
        }
    }
    // One record each, and nothing else in the folder.
    let files = fs::read_dir(place.path("cache")).expect("the cache was made");
    let names: Vec<_> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), tested_adapters().len(), "{names:?}");
    assert!(names.iter().all(|n| n.starts_with("probe-") && n.ends_with(".json")), "{names:?}");
}

#[test]
fn what_is_wrong_with_the_cache_is_a_line_and_no_failure() {
    let place = Workplace::new();
    let index = tested_adapters()[0].index.to_string();
    let probe = |cache: &str| {
        let mut command = place.command(&["probe", "--quick", "--device", &index]);
        let output = run(command.env("WGRU_CACHE_DIR", place.path(cache)));
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert_words(&text, &["dependent dispatch", "132 workgroups", "steps: "]);
        String::from_utf8(output.stderr).expect("text")
    };
    fs::write(place.path("file"), "no folder").unwrap();
    let line = probe("file");
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert_words(&line, &["wgru: warning: ", "not cached", "file", "cannot write"]);

    assert_eq!(probe("cache"), "");
    let entry = fs::read_dir(place.path("cache")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&entry).unwrap();
    fs::write(&entry, &whole[..whole.len() / 3]).unwrap();
    let line = probe("cache");
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert_words(&line, &["wgru: warning: ", "ignored", "damaged"]);
    assert!(fs::read(&entry).unwrap().len() > whole.len() / 2, "it was replaced");
}

#[test]
fn what_is_no_adapter_is_refused() {
    let place = Workplace::new();
    for (device, words) in [
        ("cpu", &["'cpu'", "probe measures GPU adapters", "CPU engine"][..]),
        ("reference", &["'reference'", "probe measures GPU adapters"]),
        ("no such thing", &["'no such thing'", "unknown", "gpu"]),
        ("99", &["'99'", "unknown"]),
    ] {
        assert_words(&place.refuse(&["probe", "--quick", "--device", device]), words);
    }
    let mut command = place.command(&["probe", "--quick"]);
    let line = crate::refused(command.env("WGRU_DEVICE", "cpu"));
    assert_words(&line, &["'cpu'", "probe measures"]);
    assert_words(&succeeded(&mut place.command(&["probe", "--help"])), &["--experimental"]);
}
