//! Families of kernels beside each other, as text.

use std::fmt::Write;

use super::record::{Record, kernels, short};
use super::text::{cell_text, memory, number, shape};

/// The plainest kernels, which run everything: what the others are compared with.
const PLAIN: &str = "step";

/// One record as a line.
pub(crate) fn line(record: &Record, title: &str) -> String {
    let device: String = short(&record.device).chars().take(20).collect();
    let kernels = kernels(record).unwrap_or_default();
    let mark = if record.chosen == Some(true) { "*" } else { "" };
    format!(
        "{:<11}{title:<25}{device:<22}{:<18}{:>9} ms a call{:>9} ms on the device{:>6} runs{:>12}",
        record.name,
        format!("{kernels}{mark}"),
        number(record.e2e_ms),
        number(record.ms),
        record.runs.unwrap_or_default(),
        record.device_bytes.map_or_else(String::new, memory),
    )
}

/// Records that compare families, as Markdown: a table for each adapter, precision and reset form.
pub(crate) fn markdown<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let records: Vec<&Record> = records.into_iter().filter(|r| r.family.is_some()).collect();
    let mut out = String::new();
    let mut done: Vec<(&str, &str, &str)> = Vec::new();
    for record in &records {
        let group = group_of(record);
        if !done.contains(&group) {
            let own: Vec<&Record> =
                records.iter().copied().filter(|r| group_of(r) == group).collect();
            let space = if done.is_empty() { "" } else { "\n" };
            out.push_str(space);
            one_table(&mut out, group, &own);
            done.push(group);
        }
    }
    out
}

fn group_of(record: &Record) -> (&str, &str, &str) {
    (&record.device, &record.mode, &record.reset)
}

fn one_table(out: &mut String, (device, mode, reset): (&str, &str, &str), records: &[&Record]) {
    let mut columns: Vec<String> = Vec::new();
    let mut rows: Vec<&Record> = Vec::new();
    for record in records {
        let column = kernels(record).unwrap_or_default();
        if !columns.contains(&column) {
            columns.push(column);
        }
        if !rows.iter().any(|r| r.name == record.name) {
            rows.push(record);
        }
    }
    columns.sort_by_key(|c| (c != PLAIN, c == "tuned", c.clone()));
    let by_device = records.iter().all(|r| r.ms.is_some());
    let what = if by_device { "on the device" } else { "of a whole call" };
    let _ = writeln!(
        out,
        "{}, {mode}, reset-{reset}: milliseconds {what} (median), the planner's choice in bold.\n",
        cell_text(device)
    );
    let _ = write!(out, "| row | B x T, I→H |");
    columns.iter().for_each(|name| {
        let _ = write!(out, " {} |", cell_text(name));
    });
    let _ = write!(
        out,
        " choice's gain over {PLAIN} |\n|---|---|{}\n",
        "---:|".repeat(columns.len() + 1)
    );
    for row in rows {
        let _ = write!(out, "| {} | {} |", cell_text(&row.name), shape(row));
        let own: Vec<&Record> = records.iter().copied().filter(|r| r.name == row.name).collect();
        let time = |r: &Record| if by_device { r.ms } else { r.e2e_ms };
        for name in &columns {
            let record = own.iter().find(|r| kernels(r).as_ref() == Some(name));
            let text = match record {
                None => "-".to_owned(),
                Some(r) if r.chosen == Some(true) => format!("**{}**", number(time(r))),
                Some(r) => number(time(r)),
            };
            let _ = write!(out, " {text} |");
        }
        let plain = own.iter().find(|r| kernels(r).as_deref() == Some(PLAIN));
        let chosen = own.iter().find(|r| r.chosen == Some(true));
        let gain = match (plain.and_then(|r| time(r)), chosen.and_then(|r| time(r))) {
            (Some(plain), Some(chosen)) if chosen > 0.0 => format!("x {:.2}", plain / chosen),
            _ => "-".to_owned(),
        };
        let _ = writeln!(out, " {gain} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stand_beside_each_other() {
        let record =
            |name: &str, family: &str, wavefront, chosen, ms: Option<f64>, e2e_ms| Record {
                name: name.into(),
                device: "GPU (Vulkan)".into(),
                mode: "f32".into(),
                reset: "after".into(),
                family: Some(family.into()),
                wavefront: Some(wavefront),
                chosen: Some(chosen),
                ms,
                e2e_ms: Some(e2e_ms),
                ..Record::default()
            };
        let mut rows = vec![
            record("a", "sequence", false, true, Some(2.0), 9.0),
            record("a", "step", false, false, Some(5.0), 6.0),
            record("b", "step", true, false, Some(1.0), 2.0),
            record("b", "step", false, true, Some(3.0), 4.0),
        ];
        let text = markdown(&rows);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("GPU (Vulkan), f32, reset-after: milliseconds on the device"));
        let head =
            "| row | B x T, I→H | step | sequence | step wavefront | choice's gain over step |";
        assert_eq!(lines[2], head);
        assert_eq!(lines[4], "| a | - | 5.00 | **2.00** | - | x 2.50 |");
        assert_eq!(lines[5], "| b | - | **3.00** | - | 1.00 | x 1.00 |");
        // Where one has no device time, none counts.
        rows[0].ms = None;
        let text = markdown(&rows);
        assert!(
            text.contains("of a whole call") && text.contains("| 6.00 | **9.00** | - | x 0.67")
        );
    }
}
