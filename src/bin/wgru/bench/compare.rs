//! This crate's device times beside those of another engine on the same GPU, and the bars.

use std::fmt::Write;

use super::record::{Document, Record, short};
use super::text::{cell_text, number, shape};

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

/// Tables in Markdown of the GPU records of `own` beside `other`'s, one a pair of modes, reset form
/// and device (tuned sessions apart), and on which rows the bars are met. Records that compare
/// families of kernels are none of them. Fails where `other` has several engines.
pub(crate) fn markdown(own: &[Document], other: &Document) -> Result<String, String> {
    let of_gpus = |r: &&Record| !r.is_cpu() && r.family.is_none();
    let all = own.iter().flat_map(|d| &d.rows);
    let own: Vec<&Record> = all.filter(|r| r.engine == "wgru").filter(of_gpus).collect();
    let all = other.rows.iter().filter(|r| r.engine != "wgru");
    let others: Vec<&Record> = all.filter(of_gpus).collect();
    one_engine(&others)?;
    let mut groups: Vec<_> = own.iter().map(|r| group_of(r)).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut out = String::new();
    for group in groups {
        let own: Vec<_> = own.iter().copied().filter(|r| group_of(r) == group).collect();
        for (mode, theirs) in PAIRS {
            let own = one_a_row(own.iter().copied().filter(|r| r.mode == mode));
            let others = others.iter().copied();
            let others = one_a_row(others.filter(|r| r.mode == theirs && r.reset == group.1));
            if !own.is_empty() && !others.is_empty() {
                pair(&mut out, &own, &others);
            }
        }
    }
    if out.is_empty() {
        out.push_str("There are no GPU records of both engines.\n");
    }
    Ok(out)
}

/// Device, reset form, and whether the session was tuned.
fn group_of(record: &Record) -> (&str, &str, bool) {
    (&record.device, &record.reset, record.tuned.is_some())
}

/// What is wrong with records of another engine, where they are of more than one, or of one on
/// several devices.
fn one_engine(others: &[&Record]) -> Result<(), String> {
    let place = |r: &&Record| format!("{} on {}", r.engine, r.device);
    let mut places: Vec<String> = others.iter().map(place).collect();
    places.sort_unstable();
    places.dedup();
    if places.len() > 1 {
        return Err(format!(
            "GPU records of one engine on one device are wanted beside wgru's, these are of {}",
            places.join(", ")
        ));
    }
    Ok(())
}

/// The first record of each row, or the first that has a time.
fn one_a_row<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<&'a Record> {
    let mut rows: Vec<&Record> = Vec::new();
    for record in records {
        match rows.iter_mut().find(|r| r.name == record.name) {
            None => rows.push(record),
            Some(row) if row.ms.is_none() && record.ms.is_some() => *row = record,
            Some(_) => {}
        }
    }
    rows
}

fn pair(out: &mut String, own: &[&Record], others: &[&Record]) {
    let (first, theirs) = (own[0], others[0]);
    let engine = cell_text(&theirs.engine);
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "wgru {} on {}{}, {engine} {} on {}, reset-{}: milliseconds on the device (median), and how \
         many times wgru's the other's are.\n",
        first.mode,
        cell_text(short(&first.device)),
        if first.tuned.is_some() { ", tuned" } else { "" },
        theirs.mode,
        cell_text(short(&theirs.device)),
        cell_text(&first.reset),
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
        let text = markdown(&[own], &other).unwrap();
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

    #[test]
    fn rows_stand_beside_their_like() {
        let before = |r: Record| Record { reset: "before".into(), ..r };
        let of = |family: &str, ms| Record {
            family: Some(family.into()),
            ..record("wgru", "a", "f32", Some(ms))
        };
        let own = Document {
            rows: vec![
                of("step", 5.0),
                record("wgru", "a", "f32", None),
                record("wgru", "a", "f32", Some(1.0)),
                of("sequence", 6.0),
                Record { tuned: Some("so".into()), ..record("wgru", "a", "f32", Some(0.5)) },
                before(record("wgru", "b", "f32", Some(1.0))),
            ],
            ..Document::default()
        };
        let rows = vec![
            Record { device: "cpu".into(), ..record("pytorch", "a", "f32", Some(70.0)) },
            record("wgru", "a", "f32", Some(80.0)),
            before(record("pytorch", "a", "f32", Some(90.0))),
            record("pytorch", "a", "f32", Some(3.0)),
            before(record("pytorch", "b", "f32", Some(2.5))),
        ];
        let other = Document { rows, ..Document::default() };
        let text = markdown(std::slice::from_ref(&own), &other).unwrap();
        let rows: Vec<_> = text.lines().filter(|line| line.contains("16 x 1")).collect();
        assert_eq!(rows.len(), 3, "{text}");
        assert!(rows[0].starts_with("| a | 16 x 1, 0→256 | 1.00 | 3.00 (x 3.00) |"), "{text}");
        assert!(rows[1].starts_with("| a | 16 x 1, 0→256 | 0.500 | 3.00 (x 6.00) |"), "{text}");
        assert!(rows[2].starts_with("| b | 16 x 1, 0→256 | 1.00 | 2.50 (x 2.50) |"), "{text}");
        let heads = ["on Card, pytorch", "on Card, tuned, pytorch", "on Card, reset-before"];
        assert!(heads.iter().all(|head| text.contains(head)), "{text}");

        let mut several = other.clone();
        several.rows.push(record("burn-wgpu", "a", "f32", Some(4.0)));
        let error = markdown(std::slice::from_ref(&own), &several).unwrap_err();
        assert!(
            error.contains("burn-wgpu on Card") && error.contains("pytorch on Card"),
            "{error}"
        );
    }
}
