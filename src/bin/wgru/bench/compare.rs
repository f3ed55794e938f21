//! This crate's device times beside those of another engine on the same GPU, and the bars.

use std::fmt::Write;

use super::record::{Document, Record, short};
use super::table::{cell_text, number, shape};

/// Modes of this crate and of the other engine that are compared.
const PAIRS: [(&str, &str); 3] = [("f32", "f32-tf32"), ("f32", "f32"), ("f16", "f16")];

/// How many times as fast as the other engine a shape has to be: twice where cuDNN takes a chain of
/// kernels a step and a step is small, three times where its rows differ in length.
fn bar(r: &Record) -> f64 {
    match r {
        _ if r.lengths => 3.0,
        _ if r.hidden > 192 && r.batch <= 16 => 2.0,
        _ => 1.0,
    }
}

/// Tables in Markdown of the GPU records of `own` beside `other`'s, one a pair of modes and device,
/// and on which rows the bars are met.
pub(crate) fn markdown(own: &[Document], other: &Document) -> String {
    let own: Vec<&Record> = own
        .iter()
        .flat_map(|d| &d.rows)
        .filter(|r| r.engine == "wgru" && !r.is_cpu() && r.reset == "after")
        .collect();
    let mut devices: Vec<&str> = own.iter().map(|r| r.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    let mut out = String::new();
    for device in devices {
        for (mode, theirs) in PAIRS {
            let own: Vec<_> =
                own.iter().copied().filter(|r| r.device == device && r.mode == mode).collect();
            let others: Vec<_> = other.rows.iter().filter(|r| r.mode == theirs).collect();
            if !own.is_empty() && !others.is_empty() {
                pair(&mut out, &own, &others);
            }
        }
    }
    if out.is_empty() {
        out.push_str("There are no GPU records of both engines.\n");
    }
    out
}

fn pair(out: &mut String, own: &[&Record], others: &[&Record]) {
    let (first, theirs) = (own[0], others[0]);
    let engine = cell_text(&theirs.engine);
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "wgru {} on {}, {engine} {} on {}: milliseconds on the device (median), and how many times \
         wgru's the other's are.\n",
        first.mode,
        cell_text(short(&first.device)),
        theirs.mode,
        cell_text(short(&theirs.device)),
    );
    let _ = writeln!(
        out,
        "| row | B x T, I→H | wgru | {engine} | as a graph | bar | whole call: wgru | {engine} |\n\
         |---|---|---:|---:|---:|---:|---:|---:|"
    );
    let (mut met, mut judged, mut rest) = (0, 0, Vec::new());
    for record in own {
        let Some(other) = others.iter().find(|r| r.name == record.name) else { continue };
        let times = |ms: Option<f64>, own: Option<f64>| match (ms, own) {
            (Some(ms), Some(own)) if own > 0.0 => Some(ms / own),
            _ => None,
        };
        let with = |ms: Option<f64>, own| match times(ms, own) {
            Some(ratio) => format!("{} (x {ratio:.2})", number(ms)),
            None => number(ms),
        };
        let (ratio, bar) = (times(other.ms, record.ms), bar(record));
        let verdict = match ratio {
            Some(ratio) => {
                judged += 1;
                met += usize::from(ratio >= bar);
                if ratio < bar {
                    rest.push(format!("{} x {ratio:.2} of {bar}", record.name));
                }
                format!("{bar}: {}", if ratio >= bar { "met" } else { "missed" })
            }
            None => {
                let why = |r: &Record| r.error.clone().unwrap_or_else(|| "no time".into());
                let why = if record.ms.is_none() { why(record) } else { why(other) };
                rest.push(format!("{} not compared ({})", record.name, cell_text(&why)));
                "-".into()
            }
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {verdict} | {} | {} |",
            cell_text(&record.name),
            shape(record),
            number(record.ms),
            with(other.ms, record.ms),
            with(other.graph_ms, record.ms),
            number(record.e2e_ms),
            with(other.e2e_ms, record.e2e_ms),
        );
    }
    let timed = |r: &&&Record| !own.iter().any(|o| o.name == r.name);
    rest.extend(others.iter().filter(timed).map(|r| format!("{} not timed by wgru", r.name)));
    let rest = if rest.is_empty() { String::new() } else { format!("; {}", rest.join(", ")) };
    let _ = writeln!(out, "\nThe bar is met on {met} of {judged} rows{rest}.");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(engine: &str, name: &str, mode: &str, ms: Option<f64>) -> Record {
        Record {
            name: name.into(),
            engine: engine.into(),
            device: "Card (Vulkan)".into(),
            mode: mode.into(),
            reset: "after".into(),
            hidden: 256,
            batch: 16,
            steps: 1,
            ms,
            ..Record::default()
        }
    }

    #[test]
    fn bars_follow_the_shape() {
        let of =
            |hidden, batch, lengths| bar(&Record { hidden, batch, lengths, ..Record::default() });
        assert_eq!([of(192, 1, false), of(193, 16, false), of(193, 17, false)], [1.0, 2.0, 1.0]);
        assert_eq!(of(128, 64, true), 3.0);
    }

    #[test]
    fn each_mode_meets_its_own() {
        let own = Document {
            rows: vec![
                record("wgru", "a", "f32", Some(1.0)),
                record("wgru", "b", "f32", Some(1.0)),
                record("wgru", "c", "f32", None),
                record("wgru", "a", "f16", Some(0.5)),
                Record { device: "cpu".into(), ..record("wgru", "a", "f32", Some(9.0)) },
            ],
            ..Document::default()
        };
        let other = Document {
            rows: vec![
                Record {
                    graph_ms: Some(1.5),
                    e2e_ms: Some(4.0),
                    ..record("pytorch", "a", "f32-tf32", Some(2.0))
                },
                record("pytorch", "b", "f32-tf32", Some(1.99)),
                record("pytorch", "c", "f32-tf32", Some(1.0)),
                record("pytorch", "d", "f32-tf32", Some(1.0)),
                Record { error: Some("no".into()), ..record("pytorch", "a", "f16", None) },
            ],
            ..Document::default()
        };
        let text = markdown(&[own], &other);
        for part in [
            "| a | 16 x 1, 0→256 | 1.00 | 2.00 (x 2.00) | 1.50 (x 1.50) | 2: met | - | 4.00 |",
            "| 1.99 (x 1.99) | - | 2: missed |",
            "met on 1 of 2 rows; b x 1.99 of 2, c not compared (no time), d not timed by wgru.",
            "wgru f16 on Card, pytorch f16 on Card",
            "met on 0 of 0 rows; a not compared (no).",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("whole call").count(), 2);
    }
}
