//! `wgru bench`: records, the page, tables, refusals.

use std::fs;

use serde_json::Value;

use crate::{Workplace, assert_words, model, refused, root, run, succeeded, tested_adapters};

/// A row that takes microseconds.
const QUICK: [&str; 5] = ["bench", "--only", "step", "--seconds", "0.01"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn number(record: &Value, field: &str) -> f64 {
    record[field].as_f64().unwrap_or_else(|| panic!("{field} is missing: {record}"))
}

#[test]
fn records_hold_what_is_documented() {
    let place = Workplace::new();
    let adapter = &tested_adapters()[0];
    let devices = format!("cpu,{}", adapter.index);
    let options = ["--only", "step,qlib32,packed16", "--device", &devices, "--json", "b.json"];
    let timing = ["--seconds", "0.02", "--threads", "1"];
    let text = place.succeed(&[&["bench"][..], &options, &timing].concat());
    let document = json(&fs::read_to_string(place.path("b.json")).unwrap());
    assert_eq!(document["format"], "wgru-bench-1");
    let header = &document["header"];
    assert_eq!(header["devices"].as_array().unwrap().len(), 2);
    assert_eq!(header["devices"][1]["backend"], adapter.backend);
    assert!(header["date"].as_str().unwrap().ends_with('Z') && number(header, "threads") >= 1.0);
    let rows = document["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["step", "step", "qlib32", "qlib32", "packed16", "packed16"]);
    for row in rows {
        assert!(row.get("error").is_none(), "{row}");
        let is_cpu = row["device"] == "cpu";
        assert_eq!(row["kind"] == "cpu", is_cpu);
        let [least, median, p95] =
            ["e2e_min_ms", "e2e_ms", "e2e_p95_ms"].map(|field| number(row, field));
        assert!(0.0 < least && least <= median && median <= p95, "{row}");
        assert!(number(row, "runs") >= 3.0 && number(row, "first_run_ms") > 0.0, "{row}");
        let rate = number(row, "row_steps_per_s") * median / 1e3;
        let most = number(row, "B") * number(row, "T");
        let ragged = row["lengths"] == true;
        assert!(if ragged { rate < most } else { (rate / most - 1.0).abs() < 1e-6 }, "{row}");
        let verified = &row["verified"];
        assert!(number(verified, "places") >= 1.0 && number(verified, "values") > 64.0, "{row}");
        assert!(number(verified, "worst_ratio") < 1.0, "{row}");
        assert_eq!(number(row, "device_bytes") > 0.0, !is_cpu, "{row}");
        if is_cpu {
            assert_eq!((number(row, "ms"), number(row, "threads")), (median, 1.0));
            assert_eq!(number(row, "speedup"), 1.0);
        } else if adapter.features.contains(&"timestamps") {
            let parts = number(row, "projection_ms") + number(row, "recurrence_ms");
            assert!(parts > 0.0 && parts <= 1.001 * number(row, "ms"), "{row}");
        }
    }
    assert_words(&text, &["wgru ", "step", "packed16", "B16 T100", "row-steps/s", "s in all"]);
    // The table that the README's are made by.
    let table = place.succeed(&["bench", "--table", "b.json"]);
    assert_words(&table, &["| row |", "| wgru CPU |", "| qlib32 | 32 x 20, 20→64, 2 layers |"]);
}

/// Every family of one adapter, beside the planner's choice and a tuned session.
#[test]
fn families_stand_beside_each_other() {
    let place = Workplace::new();
    let device = tested_adapters()[0].index.to_string();
    let grid = r#"[{"name": "flat", "B": 3, "T": 5, "I": 4, "H": 8, "L": 1, "bi": false, "bar": 2},
        {"name": "stack", "B": 2, "T": 4, "I": 3, "H": 5, "L": 2}]"#;
    fs::write(place.path("grid.json"), grid).unwrap();
    let options = ["--families", "--tune=0.2", "--grid", "grid.json", "--json", "b.json"];
    let timing = ["--device", &device, "--seconds", "0.01"];
    let text = place.succeed(&[&["bench"][..], &options, &timing].concat());
    let document = json(&fs::read_to_string(place.path("b.json")).unwrap());
    let rows = document["rows"].as_array().unwrap();
    let of = |name: &str| -> Vec<&Value> { rows.iter().filter(|r| r["name"] == name).collect() };
    for (name, wavefronts) in [("flat", 0), ("stack", 1)] {
        let (tuned, forced): (Vec<&Value>, Vec<&Value>) =
            of(name).into_iter().partition(|r| r.get("tuned").is_some());
        assert_eq!((tuned.len(), forced.len()), (1, 2 + wavefronts), "{rows:?}");
        assert_eq!(forced.iter().filter(|r| r["wavefront"] == true).count(), wavefronts);
        assert_eq!(forced.iter().filter(|r| r["chosen"] == true).count(), 1);
        let families: Vec<_> = forced.iter().map(|r| r["family"].as_str().unwrap()).collect();
        assert_eq!((families[0], *families.last().unwrap()), ("step", "sequence"));
        for row in of(name) {
            assert!(number(&row["verified"], "worst_ratio") < 1.0, "{row}");
            assert_eq!(number(row, "runs"), number(of(name)[0], "runs"), "they take turns");
            assert!(number(row, "e2e_ms") > 0.0, "{row}");
        }
        assert!(tuned[0]["tuned"].as_str().unwrap().starts_with("tuned: "));
    }
    let head = "| row | B x T, I→H | step | sequence | step wavefront | tuned |";
    assert_words(&text, &[head, "| flat | 3 x 5, 4→8 |", "| stack | 2 x 4, 3→5, 2 layers |"]);
    assert_words(&place.succeed(&["bench", "--table", "b.json"]), &[head, "**"]);
    // Matrix kernels where they are asked for: timed, or the reason why not.
    let options = ["--families", "--precision", "f16", "--experimental", "--grid", "grid.json"];
    let text = place.succeed(&[&["bench"][..], &options, &timing].concat());
    match tested_adapters()[0].cooperative_matrices {
        Ok(_) => assert_words(&text, &[", f16, reset-after", "| matrix |"]),
        Err(lack) => assert_words(&text, &["not timed: flat on", &format!("matrix: {lack}")]),
    }
}

#[test]
fn the_page_is_whole_and_loads_nothing() {
    let place = Workplace::new();
    let options = ["--device", "cpu", "--html", "page.html", "--json", "b.json"];
    place.succeed(&[&QUICK[..], &options].concat());
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for word in ["http:", "https:", "//", "src=", "<script", "@import", "url(", "NaN"] {
        assert!(!page.contains(word), "the page has {word}");
    }
    assert_balanced(&page);
    // The records alone make the same page.
    place.succeed(&["bench", "--table", "b.json", "--html", "again.html"]);
    assert_eq!(fs::read_to_string(place.path("again.html")).unwrap(), page);
    let document = json(&fs::read_to_string(place.path("b.json")).unwrap());
    assert!(document["sweep"].as_array().unwrap().len() >= 3, "the sweep is in the records");
}

/// Elements close in the order in which they opened.
fn assert_balanced(page: &str) {
    let mut open = Vec::new();
    for piece in page.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("a tag ends");
        let name: String =
            tag.trim_start_matches('/').chars().take_while(|c| c.is_alphanumeric()).collect();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
        } else if !tag.ends_with('/') && !["meta", ""].contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert_eq!(open, [] as [String; 0]);
}

#[test]
fn what_has_no_time_is_listed() {
    let place = Workplace::new();
    let options = ["--device", "cpu", "--max-seconds", "0", "--json", "b.json"];
    let text = place.succeed(&[&QUICK[..], &options].concat());
    assert_words(&text, &["not timed: step on cpu: no time is left"]);
    let document = json(&fs::read_to_string(place.path("b.json")).unwrap());
    assert_eq!(document["rows"].as_array().unwrap().len(), 0);
    assert_eq!(document["skipped"][0]["name"], "step");
    // A row that is tried out and would take too long.
    let options = ["--only", "medaka10k", "--device", "cpu", "--max-seconds", "2"];
    let text = place.succeed(&[&["bench"][..], &options].concat());
    assert_words(&text, &["not timed: medaka10k on cpu: about", "are expected"]);
}

#[test]
fn requests_that_make_no_sense() {
    let place = Workplace::new();
    fs::create_dir(place.path("folder")).unwrap();
    fs::write(place.path("text.json"), "no records").unwrap();
    fs::write(
        place.path("twice.json"),
        r#"[{"name": "a", "B": 1, "T": 1, "I": 1, "H": 1, "L": 1},
        {"name": "a", "B": 1, "T": 1, "I": 1, "H": 1, "L": 1}]"#,
    )
    .unwrap();
    fs::write(
        place.path("zero.json"),
        r#"[{"name": "a", "B": 0, "T": 1, "I": 1, "H": 1, "L": 1}]"#,
    )
    .unwrap();
    let cases: [(&[&str], &[&str]); 25] = [
        (&["--grid", "text.json"], &["text.json", "list of shapes"]),
        (&["--grid", "none.json"], &["none.json", "cannot read"]),
        (&["--grid", "twice.json"], &["twice.json", "'a' of another"]),
        (&["--grid", "zero.json"], &["zero.json", "at least 1"]),
        (&["--families", "--device", "cpu"], &["--families", "adapters"]),
        (&["--families", "--experimental"], &["--experimental", "f16"]),
        (&["--experimental"], &["--families"]),
        (&["--families", "--html", "x"], &["--families", "--html"]),
        (&["--only", "step", "--device", "cpu", "--tune"], &["--tune", "GPU"]),
        (&["--only", "nothing"], &["'nothing'", "step", "small, bar, real"]),
        (&["--only", "step", "--all"], &["--only", "--all"]),
        (&["--only", "step", "--json", "folder"], &["folder", "directory"]),
        (&["--only", "step", "--html", "none/page.html"], &["none/page.html", "cannot write"]),
        (&["--only", "step", "--html", "x", "--json", "./x"], &["--json", "--html", "same file"]),
        (&["--only", "step", "--device", "abacus"], &["'abacus'", "auto, cpu"]),
        (&["--only", "step", "--device", "auto"], &["--device auto", "by model and shape"]),
        (&["--only", "step", "--device", "cpu", "--precision", "f16"], &["f16", "GPU"]),
        (&["--only", "step", "--seconds=-1"], &["--seconds", "-1"]),
        (&["--only", "step", "--max-seconds", "NaN"], &["--max-seconds", "NaN"]),
        (&["--only", "step", "--threads", "0"], &["--threads", "'0'", "at least 1 is wanted"]),
        (&["--only", "step", "--seed", "x"], &["--seed", "'x'", "from 0 to 2^64 - 1 is wanted"]),
        (&["--only", "step", "--precision", "f8"], &["--precision", "'f8'", "f32 or f16"]),
        (&["--only", "step", "--reset", "never"], &["before or after"]),
        (&["--table", "text.json"], &["text.json", "records of benchmarks"]),
        (&["--table", "none.json"], &["none.json", "cannot read"]),
    ];
    for (options, words) in cases {
        let line = place.refuse(&[&["bench"], options].concat());
        assert_words(&line, words);
    }
}

/// The environment names the devices where no option does.
#[test]
fn devices_come_from_the_environment() {
    let place = Workplace::new();
    let with = |device: &str, more: &[&str]| {
        let mut command = place.command(&[&QUICK[..], &["--json", "b.json"], more].concat());
        command.env("WGRU_DEVICE", device);
        command
    };
    let devices = || {
        let document = json(&fs::read_to_string(place.path("b.json")).unwrap());
        let rows = document["rows"].as_array().unwrap().clone();
        rows.iter().map(|r| r["device"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    succeeded(&mut with("cpu", &[]));
    assert_eq!(devices(), ["cpu"]);
    let adapter = &tested_adapters()[0];
    succeeded(&mut with("cpu", &["--device", &adapter.index.to_string()]));
    assert_eq!(devices().len(), 1);
    assert!(devices()[0].starts_with(adapter.name.split(" (").next().unwrap()), "{:?}", devices());
    // Several with commas, as the option takes them.
    succeeded(&mut with(&format!("cpu, {}", adapter.index), &[]));
    assert_eq!(devices().len(), 2);
    assert_eq!(devices()[0], "cpu");
    // Messages name what asked for the device.
    let line = refused(&mut with("reference", &[]));
    assert_words(&line, &["WGRU_DEVICE reference:", "checked against"]);
    assert!(!line.contains("--device"), "{line}");
    assert_words(&refused(&mut with("cpu,abacus", &[])), &["WGRU_DEVICE:", "'abacus'"]);
    let line = refused(&mut with("cpu", &["--device", "abacus"]));
    assert_words(&line, &["--device:", "'abacus'"]);
}

/// f32 and f16 of one adapter are two records, however often they are named, the adapter one device.
#[test]
fn both_precisions_are_timed() {
    let place = Workplace::new();
    let adapter = tested_adapters()[0].index.to_string();
    let options = ["--device", &adapter, "--precision", "f32,f16,f32", "--json", "b.json"];
    let text = place.succeed(&[&QUICK[..], &options].concat());
    let document = json(&fs::read_to_string(place.path("b.json")).unwrap());
    let rows = document["rows"].as_array().unwrap();
    let modes: Vec<_> = rows.iter().map(|r| r["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["f32", "f16"]);
    assert!(text.contains(", f16"), "{text}");
    assert_eq!(document["header"]["devices"].as_array().unwrap().len(), 1);
    let whole = rows[1]["verified"]["whole_output"].as_str().unwrap();
    assert_words(whole, &["within", "of that of"]);
}

/// Files of peers, as an object and as lines, make one table.
#[test]
fn tables_join_files() {
    let place = Workplace::new();
    let own = r#"{"format": "wgru-bench-1", "rows": [
        {"name": "a", "B": 1, "T": 2, "I": 3, "H": 4, "L": 1, "engine": "wgru", "device": "cpu",
         "e2e_ms": 2.0, "something": "more"},
        {"name": "a", "engine": "wgru", "device": "cpu", "reset": "before", "e2e_ms": 3.0}]}"#;
    let lines = r#"{"name": "a", "engine": "ort", "device": "cpu", "e2e_ms": 5.0}

        {"name": "b", "engine": "ort", "device": "cpu", "error": "no"}"#;
    fs::write(place.path("own.json"), own).unwrap();
    fs::write(place.path("peer.jsonl"), lines).unwrap();
    let table = place.succeed(&["bench", "--table", "own.json", "peer.jsonl"]);
    assert_words(&table, &["| a | 1 x 2, 3→4 | 2.00 | 5.00 (x 2.50) |", "| b | - | - | - |"]);
    assert_words(&table, &["Reset-before", "| a | - | 3.00 |"]);
}

/// Records of PyTorch on a GPU as its script writes them, beside this crate's.
#[test]
fn records_of_a_gpu_are_compared() {
    let place = Workplace::new();
    let own = |name: &str, hidden, batch, lengths, mode: &str, ms: f64| {
        format!(
            r#"{{"name": "{name}", "B": {batch}, "T": 1000, "I": 8, "H": {hidden}, "L": 1,
            "lengths": {lengths}, "engine": "wgru", "device": "Example GPU (Vulkan)",
            "kind": "discrete GPU", "mode": "{mode}", "ms": {ms}, "e2e_ms": {}}}"#,
            2.0 * ms
        )
    };
    let rows = [
        own("rmvpe", 256, 1, false, "f32", 4.0),
        own("rmvpe", 256, 1, false, "f16", 3.0),
        own("packed128", 128, 64, true, "f32", 4.0),
    ];
    fs::write(place.path("own.json"), format!("{{\"rows\": [{}]}}", rows.join(","))).unwrap();
    let torch = root().join("tests/data/bench/torch_gpu.jsonl");
    let torch = torch.to_str().unwrap();
    let text = place.succeed(&["bench", "--table", "own.json", "--against", torch]);
    let lines = [
        "wgru f32 on Example GPU, pytorch f32-tf32 on Example GPU",
        "| rmvpe | 1 x 1000, 8→256 | 4.00 | 14.0 (x 3.50) | 12.0 (x 3.00) | 2: met | 8.00 | 15.0 (x 1.88) |",
        "The bar is met on 1 of 1 rows.",
        "| packed128 | 64 x 1000, 8→128, ragged | 4.00 | 9.00 (x 2.25) | - | 3: missed |",
        "The bar is met on 1 of 2 rows; packed128 x 2.25 of 3.",
        "The bar is met on 0 of 0 rows; rmvpe not compared (out of memory)",
    ];
    for line in lines {
        assert!(text.contains(line), "{line} is missing from\n{text}");
    }
    let both = r#"{"rows": [{"name": "a", "engine": "x", "device": "GPU", "ms": 1},
        {"name": "a", "engine": "y", "device": "GPU", "ms": 1}]}"#;
    fs::write(place.path("both.json"), both).unwrap();
    let line = place.refuse(&["bench", "--table", "own.json", "--against", "both.json"]);
    assert_words(&line, &["both.json", "x on GPU, y on GPU"]);
    let line = place.refuse(&["bench", "--against", torch]);
    assert_words(&line, &["--table"]);
}

/// What `auto` expects of the CPU engine is of the order of what it takes, whatever else runs.
#[test]
fn expectations_are_founded() {
    let place = Workplace::new();
    let options = ["--device", "cpu", "--json", "b.json", "--seconds", "0.05"];
    let mut command = place.command(&[&["bench"][..], &options].concat());
    succeeded(command.env("WGRU_CACHE_DIR", place.path("cache")).env_remove("WGRU_NO_CALIBRATION"));
    let document = json(&fs::read_to_string(place.path("b.json")).unwrap());
    let rows = document["rows"].as_array().unwrap();
    let logs = rows.iter().map(|r| (number(r, "expected_ms") / number(r, "e2e_min_ms")).ln());
    let ratios: Vec<f64> = logs.collect();
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    assert!(rows.len() >= 5 && mean.abs() < 4f64.ln(), "{:.2} on the whole: {rows:?}", mean.exp());
    assert!(document.get("auto").is_none(), "there is nothing to choose from");
    // The second time nothing is measured.
    let plan = ["plan", &model("pytorch_f32"), "--steps", "100", "--batch", "1", "--json"];
    let mut command = place.command(&plan);
    command.env("WGRU_CACHE_DIR", place.path("cache")).env("WGRU_NO_CALIBRATION", "1");
    let auto = &json(&succeeded(&mut command))["auto"];
    assert_eq!(auto["expected"][0]["measured"], true);
    assert_words(auto["reason"].as_str().unwrap(), &["CPU: ", " expected", ": one row, 100 steps"]);
    let place = Workplace::new();
    let mut command = place.command(&plan);
    command.env("WGRU_CACHE_DIR", place.path("cache")).env("WGRU_NO_CALIBRATION", "1");
    assert_eq!(json(&succeeded(&mut command))["auto"]["expected"][0]["measured"], false);
    assert!(!place.path("cache").exists(), "nothing was measured");
}

/// Results go to standard output, and a pipe gets the records once.
#[test]
#[cfg(unix)]
fn a_pipe_gets_the_last_records() {
    let place = Workplace::new();
    let options = ["--device", "cpu", "--json", "/dev/stderr"];
    let output = run(&mut place.command(&[&QUICK[..], &options].concat()));
    assert_eq!(output.status.code(), Some(0));
    let document = json(&String::from_utf8(output.stderr).unwrap());
    assert_eq!(document["rows"].as_array().unwrap().len(), 1);
}
