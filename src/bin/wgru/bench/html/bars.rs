//! Charts of a bar a row: text in HTML, so that it keeps its size; bars in SVG, in percent.

use std::fmt::Write;

use super::escape;
use crate::bench::grid::Row;
use crate::bench::record::Record;
use crate::bench::text::{number, ratio};

/// Height of a bar's line; what a column of values is aligned with.
const LINE: usize = 16;

/// Speed-ups on an axis of powers of ten: to the right of 1 the device is faster than the CPU.
pub(super) fn speedups(rows: &[Record], devices: &[&str], colors: &[String]) -> String {
    let gpu: Vec<&Record> =
        rows.iter().filter(|r| !r.is_cpu() && r.speedup.is_some_and(|s| s > 0.0)).collect();
    let logs = || gpu.iter().filter_map(|r| r.speedup).map(f64::log10);
    // At least a factor of two on either side; whole factors of ten where it is wide.
    let low = logs().fold(-0.301_f64, f64::min) * 1.04;
    let high = logs().fold(0.301_f64, f64::max) * 1.04;
    let place = |log: f64| 100.0 * (log - low) / (high - low);
    let ticks: Vec<f64> = [0.001_f64, 0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0, 1000.0]
        .into_iter()
        .filter(|t| (low..=high).contains(&t.log10()))
        .filter(|t| high - low < 1.2 || (*t != 0.5 && *t != 2.0))
        .collect();
    let mut out = String::from(
        "<div class=\"bars\"><div></div><svg class=\"axis\" width=\"100%\" height=\"18\">",
    );
    for tick in &ticks {
        let x = place(tick.log10());
        let anchor = if x < 8.0 {
            "start"
        } else if x > 92.0 {
            "end"
        } else {
            "middle"
        };
        let _ = write!(out, "<text x=\"{x:.2}%\" y=\"12\" text-anchor=\"{anchor}\">{tick}×</text>");
    }
    out.push_str("</svg><div></div>\n");
    for (name, records) in by_name(&gpu) {
        let height = LINE * records.len() + 14;
        let _ = write!(out, "{}<svg width=\"100%\" height=\"{height}\">", title(records[0]));
        for tick in &ticks {
            let (x, class) = (place(tick.log10()), if *tick == 1.0 { "base" } else { "grid" });
            let _ = write!(
                out,
                "<line class=\"{class}\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"{height}\"/>"
            );
        }
        let mut values = String::new();
        for (i, record) in records.iter().enumerate() {
            let speedup = record.speedup.unwrap_or(1.0);
            let (a, b) = (place(0.0), place(speedup.log10()));
            let color = color_of(record, devices, colors);
            let y = 7 + i * LINE + 1;
            let _ = write!(
                out,
                "<rect class=\"bar{}\" style=\"--c:{color}\" x=\"{:.2}%\" y=\"{y}\" \
                 width=\"{:.2}%\" height=\"{}\" rx=\"2\"><title>{}: {} ms on {}</title></rect>",
                // Where the CPU is ahead, the bar is pale.
                if speedup < 1.0 { " behind" } else { "" },
                a.min(b),
                (a - b).abs().max(0.3),
                LINE - 4,
                escape(&name),
                number(record.e2e_ms),
                escape(&record.place()),
            );
            let _ = write!(values, "<div>{}×</div>", ratio(speedup));
        }
        let _ = writeln!(out, "</svg><div class=\"value\">{values}</div>");
    }
    out.push_str("</div>\n");
    out
}

/// What a device's time is split into, with its colour.
pub(super) const PARTS: [(&str, &str); 5] = [
    ("upload", "var(--s2)"),
    ("projection", "var(--s1)"),
    ("recurrence", "var(--s0)"),
    ("read-back", "var(--s3)"),
    ("waiting for the host", "var(--wait)"),
];

fn parts(r: &Record) -> [Option<f64>; 5] {
    [r.upload_ms, r.projection_ms, r.recurrence_ms, r.read_back_ms, r.idle_ms]
}

pub(super) fn has_parts(r: &Record) -> bool {
    parts(r).iter().flatten().sum::<f64>() > 0.0
}

/// Shares of the device's time of each record that has them.
pub(super) fn splits(rows: &[&Record]) -> String {
    let mut out = String::from("<div class=\"bars\">\n");
    for record in rows {
        let parts = parts(record);
        let whole: f64 = parts.iter().flatten().sum();
        let _ = write!(out, "{}<svg width=\"100%\" height=\"30\">", title(record));
        let mut x = 0.0;
        for ((part, color), ms) in PARTS.iter().zip(parts) {
            let share = 100.0 * ms.unwrap_or(0.0) / whole;
            if share > 0.0 {
                // A little less than the share: neighbours do not touch.
                let width = (share - 0.35).max(share * 0.5);
                let _ = write!(
                    out,
                    "<rect class=\"bar\" style=\"--c:{color}\" x=\"{x:.2}%\" y=\"8\" \
                     width=\"{width:.2}%\" height=\"14\" rx=\"2\"><title>{part}: {} ms, \
                     {share:.0} %</title></rect>",
                    number(ms)
                );
            }
            x += share;
        }
        let _ = writeln!(out, "</svg><div class=\"value\">{} ms</div>", number(Some(whole)));
    }
    out.push_str("</div>\n");
    out
}

fn title(r: &Record) -> String {
    let row = Row {
        batch: r.batch,
        steps: r.steps,
        input: r.input,
        hidden: r.hidden,
        layers: r.layers,
        bi: r.bi,
        lengths: r.lengths,
        ..Row::default()
    };
    format!(
        "<div class=\"name\"><b>{}</b><span>{}</span></div>",
        escape(&r.name),
        escape(&row.title())
    )
}

/// Records of a name together, in the order of first appearance.
fn by_name<'a>(records: &[&'a Record]) -> Vec<(String, Vec<&'a Record>)> {
    let mut out: Vec<(String, Vec<&Record>)> = Vec::new();
    for record in records {
        match out.iter_mut().find(|(name, _)| *name == record.name) {
            Some((_, list)) => list.push(record),
            None => out.push((record.name.clone(), vec![record])),
        }
    }
    out
}

pub(super) fn color_of<'c>(r: &Record, devices: &[&str], colors: &'c [String]) -> &'c str {
    let at = devices.iter().position(|d| *d == r.device).unwrap_or(0);
    colors.get(at).map_or("var(--s0)", |c| c.as_str())
}
