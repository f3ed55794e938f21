//! Records as text: lines for a terminal, and Markdown.

use std::fmt::Write;

use super::ladder;
use super::record::{self, Document, Header, Record, short};
use super::text::{cell_text, grouped, memory, number, ratio, shape};

/// What the lines of a run are headed by.
pub(crate) fn header(h: &Header) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "wgru {}, wgpu {}, {}, {}", h.wgru, h.wgpu, h.os, h.date);
    for d in &h.devices {
        let _ = match (&d.backend, &d.driver) {
            (Some(backend), driver) => writeln!(
                out,
                "{}: {backend}, {}, {}",
                d.name,
                d.kind,
                driver.as_deref().filter(|d| !d.is_empty()).unwrap_or("unnamed driver")
            ),
            _ => writeln!(
                out,
                "{}: {} threads, {}",
                d.name,
                d.threads.unwrap_or_default(),
                d.instructions.as_deref().unwrap_or_default()
            ),
        };
    }
    if let Some([one, five, _]) = h.load_average {
        let _ = writeln!(out, "load average before: {one:.2} in a minute, {five:.2} in five");
    }
    out
}

const COLUMNS: [(&str, usize); 10] = [
    ("e2e p50", 9),
    ("p95", 9),
    ("device", 9),
    ("first", 9),
    ("runs", 6),
    ("row-steps/s", 12),
    ("GFLOP/s", 9),
    ("weights GB/s", 13),
    ("memory", 12),
    ("x CPU", 8),
];

/// The names of the columns.
pub(crate) fn head() -> String {
    let mut out = format!("{:<11}{:<25}{:<22}", "row", "shape", "device");
    for (name, width) in COLUMNS {
        let _ = write!(out, "{name:>width$}");
    }
    out.push_str("   (times in ms; x CPU: as fast as the CPU engine so many times)");
    out
}

/// One record as a line.
pub(crate) fn line(record: &Record, title: &str, cpu_ms: Option<f64>) -> String {
    let mode = record::comma_mode(&record.mode);
    let device = short(&record.device).chars().take(20usize.saturating_sub(mode.len()));
    let device = device.chain(mode.chars()).collect::<String>();
    let mut out = format!("{:<11}{title:<25}{device:<22}", record.name);
    let first = [record.first_open_ms, record.first_session_ms, record.first_run_ms];
    let times = cpu_ms.zip(record.e2e_ms).map(|(cpu, own)| cpu / own);
    let cells = [
        number(record.e2e_ms),
        number(record.e2e_p95_ms),
        if record.is_cpu() { "-".into() } else { number(record.ms) },
        number(Some(first.iter().flatten().sum())),
        record.runs.map_or("-".into(), |n| n.to_string()),
        record.row_steps_per_s.map_or("-".into(), grouped),
        number(record.gflops),
        number(record.weights_gb_per_s),
        record.device_bytes.filter(|n| *n > 0).map_or("-".into(), memory),
        times.filter(|_| !record.is_cpu()).map_or("-".into(), ratio),
    ];
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        let _ = write!(out, "{cell:>width$}");
    }
    out
}

/// Tables of all records in Markdown, one for each reset form: a line a row, a column an engine
/// and device, this crate's first. In parentheses how many times longer it takes than the first
/// column; of a peer that was timed in turns with this crate's engine, the ratio of those turns.
/// Records that compare families of kernels have tables of their own.
pub(crate) fn markdown(documents: &[Document]) -> String {
    let records = documents.iter().flat_map(|d| &d.rows);
    let (ladders, all): (Vec<&Record>, Vec<&Record>) = records.partition(|r| r.family.is_some());
    let mut forms: Vec<&str> = all.iter().map(|r| r.reset.as_str()).collect();
    forms.sort_unstable();
    forms.dedup();
    let mut out = String::new();
    for form in forms {
        let records: Vec<&Record> = all.iter().copied().filter(|r| r.reset == form).collect();
        if !out.is_empty() {
            out.push('\n');
        }
        one_form(&mut out, form, &records);
    }
    if !ladders.is_empty() {
        let space = if out.is_empty() { "" } else { "\n" };
        let _ = write!(out, "{space}{}", ladder::markdown(ladders));
    }
    out
}

fn one_form(out: &mut String, form: &str, records: &[&Record]) {
    let mut columns: Vec<(String, String)> = Vec::new();
    let mut rows: Vec<&Record> = Vec::new();
    for record in records {
        let column = (record.engine.clone(), record.column());
        if !columns.contains(&column) {
            columns.push(column);
        }
        match rows.iter_mut().find(|r| r.name == record.name) {
            None => rows.push(record),
            // An engine that cannot run a row says nothing of its shape.
            Some(kept) if kept.steps == 0 => *kept = record,
            Some(_) => {}
        }
    }
    // An engine that runs none of the rows, or not this reset form, has no column.
    let timed = |name: &str| records.iter().any(|r| r.column() == name && r.e2e_ms.is_some());
    columns.retain(|(_, name)| timed(name));
    // This crate's engines first, the CPU engine before the others.
    columns.sort_by_key(|(engine, name)| (engine != "wgru", !name.ends_with(" CPU")));
    let _ = writeln!(out, "Reset-{form}, milliseconds of a whole call (median).\n");
    let _ = write!(out, "| row | B x T, I→H |");
    columns.iter().for_each(|(_, name)| {
        let _ = write!(out, " {} |", cell_text(name));
    });
    let _ = write!(out, "\n|---|---|{}\n", "---:|".repeat(columns.len()));
    for row in rows {
        let _ = write!(out, "| {} | {} |", cell_text(&row.name), shape(row));
        let of = |name: &str| records.iter().find(|r| r.name == row.name && r.column() == name);
        let own = columns.first().filter(|(engine, _)| engine == "wgru");
        let own = own.and_then(|(_, name)| of(name)).and_then(|r| r.e2e_ms);
        for (i, (_, name)) in columns.iter().enumerate() {
            let record = of(name);
            let text = match record.and_then(|r| r.e2e_ms) {
                None => "-".to_owned(),
                Some(ms) => {
                    let beside = record.and_then(|r| r.over_wgru);
                    let own = own.filter(|own| i > 0 && *own > 0.0);
                    match beside.or(own.map(|own| ms / own)) {
                        Some(times) => format!("{} (x {times:.2})", number(Some(ms))),
                        None => number(Some(ms)),
                    }
                }
            };
            let _ = write!(out, " {text} |");
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_join_rows_by_name() {
        let record = |name: &str, engine: &str, ms| Record {
            name: name.into(),
            engine: engine.into(),
            device: "cpu".into(),
            mode: "f32".into(),
            reset: "after".into(),
            e2e_ms: ms,
            ..Record::default()
        };
        let peers = Document {
            rows: vec![record("a", "onnx|runtime", Some(3.0)), record("b", "onnx|runtime", None)],
            ..Document::default()
        };
        let none = record("a", "another", None);
        let own =
            Document { rows: vec![record("a", "wgru", Some(1.5)), none], ..Document::default() };
        let text = markdown(&[peers, own]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "| row | B x T, I→H | wgru CPU | onnx\\|runtime CPU |");
        assert_eq!(lines[4..], ["| a | - | 1.50 | 3.00 (x 2.00) |", "| b | - | - | - |"]);
    }
}
