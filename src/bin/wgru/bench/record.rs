//! What is written of a benchmark, and read back for tables: `docs/bench-json.md`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

pub(crate) const FORMAT: &str = "wgru-bench-1";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    pub(crate) format: String,
    pub(crate) header: Header,
    pub(crate) rows: Vec<Record>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) sweep: Vec<Record>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auto: Option<AutoOutcome>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    pub(crate) date: String,
    pub(crate) cpu: Option<String>,
    pub(crate) threads: usize,
    pub(crate) os: String,
    pub(crate) load_average: Option<[f64; 3]>,
    pub(crate) load_average_end: Option<[f64; 3]>,
    pub(crate) wgru: String,
    pub(crate) wgpu: String,
    pub(crate) seconds: f64,
    pub(crate) devices: Vec<DeviceHeader>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeviceHeader {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) driver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<usize>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Skipped {
    pub(crate) name: String,
    pub(crate) device: String,
    #[serde(default = "f32_mode")]
    pub(crate) mode: String,
    pub(crate) reason: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Verified {
    pub(crate) places: usize,
    pub(crate) values: u64,
    pub(crate) worst_ratio: f64,
    pub(crate) whole_output: String,
}

/// How the choices of `auto` compare with what was timed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AutoOutcome {
    pub(crate) rows: usize,
    pub(crate) faster_side: usize,
    pub(crate) wrong: Vec<AutoMiss>,
}

/// A row on which another device than the expected one was the fastest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AutoMiss {
    pub(crate) name: String,
    pub(crate) chosen: String,
    /// How many times longer the chosen one takes.
    pub(crate) loss: f64,
}

/// What `auto` expected against what was timed, by row; rows of one device decide nothing.
/// Software adapters are none of its candidates.
pub(crate) fn judge_auto(rows: &[Record]) -> AutoOutcome {
    let mut outcome = AutoOutcome::default();
    let mut seen: Vec<&str> = Vec::new();
    for row in rows {
        if seen.contains(&row.name.as_str()) {
            continue;
        }
        seen.push(&row.name);
        let of_row = rows.iter().filter(|r| r.name == row.name);
        let sides: Vec<(&Record, f64, f64)> =
            of_row.filter_map(|r| Some((r, r.expected_ms?, r.e2e_ms?))).collect();
        let chosen = sides.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let fastest = sides.iter().min_by(|a, b| a.2.total_cmp(&b.2));
        let (Some(chosen), Some(fastest), true) = (chosen, fastest, sides.len() > 1) else {
            continue;
        };
        outcome.rows += 1;
        if chosen.0.device == fastest.0.device {
            outcome.faster_side += 1;
        } else {
            outcome.wrong.push(AutoMiss {
                name: row.name.clone(),
                chosen: chosen.0.device.clone(),
                loss: chosen.2 / fastest.2,
            });
        }
    }
    outcome
}

/// One shape on one engine and device.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    pub(crate) name: String,
    #[serde(rename = "B")]
    pub(crate) batch: usize,
    #[serde(rename = "T")]
    pub(crate) steps: usize,
    #[serde(rename = "I")]
    pub(crate) input: usize,
    #[serde(rename = "H")]
    pub(crate) hidden: usize,
    #[serde(rename = "L")]
    pub(crate) layers: usize,
    pub(crate) bi: bool,
    pub(crate) lengths: bool,
    pub(crate) engine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(default = "f32_mode")]
    pub(crate) mode: String,
    #[serde(default = "after")]
    pub(crate) reset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<usize>,
    /// Where families are compared: the kernels, and whether the planner chooses them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wavefront: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chosen: Option<bool>,
    /// How a session that was tuned came to its kernels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tuned: Option<String>,
    pub(crate) runs: Option<usize>,
    pub(crate) e2e_ms: Option<f64>,
    pub(crate) e2e_p95_ms: Option<f64>,
    pub(crate) e2e_min_ms: Option<f64>,
    pub(crate) ms: Option<f64>,
    /// Of an engine that replays recorded work: the same, replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) graph_ms: Option<f64>,
    pub(crate) upload_ms: Option<f64>,
    pub(crate) projection_ms: Option<f64>,
    pub(crate) recurrence_ms: Option<f64>,
    pub(crate) read_back_ms: Option<f64>,
    pub(crate) idle_ms: Option<f64>,
    pub(crate) us_per_cell_step: Option<f64>,
    pub(crate) row_steps_per_s: Option<f64>,
    pub(crate) gflops: Option<f64>,
    pub(crate) weights_gb_per_s: Option<f64>,
    pub(crate) first_open_ms: Option<f64>,
    pub(crate) first_session_ms: Option<f64>,
    pub(crate) first_run_ms: Option<f64>,
    pub(crate) first_run_steps: Option<usize>,
    pub(crate) device_bytes: Option<u64>,
    pub(crate) verified: Option<Verified>,
    pub(crate) speedup: Option<f64>,
    pub(crate) expected_ms: Option<f64>,
    /// Of a peer: its time over wgru's beside it, the median of rounds that interleave both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) over_wgru: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

fn f32_mode() -> String {
    "f32".into()
}

fn after() -> String {
    "after".into()
}

impl Record {
    pub(crate) fn is_cpu(&self) -> bool {
        self.kind.as_deref() == Some("cpu") || self.device == "cpu"
    }

    /// What a table calls the column: the engine, and the device and mode where they are needed.
    pub(crate) fn column(&self) -> String {
        match (self.engine.as_str(), self.is_cpu()) {
            (engine, true) => format!("{engine} CPU{}", comma_mode(&self.mode)),
            (engine, false) if self.tuned.is_some() => format!("{engine} {}, tuned", self.place()),
            (engine, false) => format!("{engine} {}", self.place()),
        }
    }

    /// The device, and the mode where it is not f32.
    pub(crate) fn place(&self) -> String {
        format!("{}{}", short(&self.device), comma_mode(&self.mode))
    }
}

/// ", f16"; nothing for f32.
pub(crate) fn comma_mode(mode: &str) -> String {
    if mode == "f32" { String::new() } else { format!(", {mode}") }
}

/// The kernels of a record that compares families.
pub(crate) fn kernels(record: &Record) -> Option<String> {
    let family = record.family.as_ref()?;
    if record.tuned.is_some() {
        return Some("tuned".into());
    }
    let wavefront = record.wavefront == Some(true);
    Some(if wavefront { format!("{family} wavefront") } else { family.clone() })
}

/// A device's name without what is in parentheses.
pub(crate) fn short(device: &str) -> &str {
    device.split(" (").next().unwrap_or(device)
}

/// Notes in each record how many times faster it is than this crate's CPU engine.
pub(crate) fn add_speedups(rows: &mut [Record]) {
    let cpu: Vec<_> = rows
        .iter()
        .filter(|r| r.engine == "wgru" && r.is_cpu())
        .map(|r| (r.name.clone(), r.reset.clone(), r.e2e_ms))
        .collect();
    for row in rows.iter_mut() {
        let own = cpu.iter().find(|(name, reset, _)| *name == row.name && *reset == row.reset);
        row.speedup = match (own.and_then(|(_, _, ms)| *ms), row.e2e_ms) {
            (Some(cpu), Some(ms)) if ms > 0.0 => Some(cpu / ms),
            _ => None,
        };
    }
}

/// The records of a file: one object with `rows`, or a record a line. What a peer says once, in
/// its header, is not repeated in its records.
pub(crate) fn read(path: &Path) -> Result<Document, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Request(format!("{}: {e}", path.display()));
    let bytes = fs::read(path).map_err(|e| wrong(&format!("cannot read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(&"not UTF-8 text"))?;
    let whole: Result<serde_json::Value, _> = serde_json::from_str(&text);
    let document = match whole {
        Ok(value) if value.get("rows").is_some() => serde_json::from_value(value),
        Ok(value) if value.is_object() => serde_json::from_value(value)
            .map(|record| Document { rows: vec![record], ..Document::default() }),
        _ => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(serde_json::from_str::<Record>)
            .collect::<Result<Vec<_>, _>>()
            .map(|rows| Document { rows, ..Document::default() }),
    };
    let none = |why: &dyn std::fmt::Display| {
        wrong(&format!("records of benchmarks were wanted (docs/bench-json.md): {why}"))
    };
    let mut document = document.map_err(|e| none(&e))?;
    if document.rows.iter().any(|row| row.name.is_empty() && row.engine.is_empty()) {
        return Err(none(&"these have no names"));
    }
    // PyTorch's script for GPU hosts names its engine by the version.
    for row in document.rows.iter_mut().filter(|row| row.engine.is_empty()) {
        row.engine = "pytorch".into();
    }
    if let Some(row) = document.rows.iter().find(|row| row.name.is_empty()) {
        return Err(wrong(&format!("a record of {} has no name", row.engine)));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choices_of_auto_are_judged() {
        let record = |name: &str, device: &str, expected_ms, e2e_ms| Record {
            name: name.into(),
            device: device.into(),
            expected_ms,
            e2e_ms: Some(e2e_ms),
            ..Record::default()
        };
        let rows = [
            record("right", "cpu", Some(1.0), 2.0),
            record("right", "gpu", Some(3.0), 4.0),
            record("wrong", "cpu", Some(1.0), 6.0),
            record("wrong", "gpu", Some(3.0), 4.0),
            record("alone", "cpu", Some(1.0), 6.0),
            record("alone", "software", None, 6.0),
        ];
        let miss = AutoMiss { name: "wrong".into(), chosen: "cpu".into(), loss: 1.5 };
        let wanted = AutoOutcome { rows: 2, faster_side: 1, wrong: vec![miss] };
        assert_eq!(judge_auto(&rows), wanted);
    }
}
