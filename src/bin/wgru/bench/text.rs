//! Numbers, shapes and names as tables and pages show them.

use std::fmt::Write;

use super::record::Record;

/// Three significant digits.
pub(crate) fn number(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(0.0) => "0".into(),
        Some(v) if v >= 99.95 => format!("{v:.0}"),
        Some(v) if v >= 9.995 => format!("{v:.1}"),
        Some(v) if v >= 0.9995 => format!("{v:.2}"),
        Some(v) if v >= 0.09995 => format!("{v:.3}"),
        Some(v) => format!("{v:.4}"),
    }
}

pub(crate) fn memory(bytes: u64) -> String {
    format!("{}", indicatif::BinaryBytes(bytes))
}

/// A ratio in two digits or three.
pub(crate) fn ratio(value: f64) -> String {
    match value {
        v if v >= 9.95 => number(Some(v)),
        v if v >= 0.0995 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// A large number with a unit of thousands.
pub(crate) fn grouped(v: f64) -> String {
    match v {
        v if v >= 1e9 => format!("{} G", number(Some(v / 1e9))),
        v if v >= 1e6 => format!("{} M", number(Some(v / 1e6))),
        v if v >= 1e3 => format!("{} k", number(Some(v / 1e3))),
        v => number(Some(v)),
    }
}

pub(crate) fn shape(r: &Record) -> String {
    if r.steps == 0 {
        return "-".into();
    }
    let mut text = format!("{} x {}, {}→{}", r.batch, r.steps, r.input, r.hidden);
    if r.layers > 1 {
        let _ = write!(text, ", {} layers", r.layers);
    }
    if r.bi {
        text.push_str(", both directions");
    }
    if r.lengths {
        text.push_str(", ragged");
    }
    text
}

/// Text that does not end the cell of a table.
pub(crate) fn cell_text(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let text = [0.0, 0.0123, 0.5, 7.2, 99.97, 4567.8].map(|v| number(Some(v)));
        assert_eq!(text, ["0", "0.0123", "0.500", "7.20", "100", "4568"]);
        assert_eq!(grouped(12_345_678.0), "12.3 M");
    }
}
