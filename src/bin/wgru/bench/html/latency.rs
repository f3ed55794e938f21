//! Latency against batch, both on axes of powers, with the batch where the GPU overtakes the CPU.

use std::fmt::Write;

use super::escape;
use crate::bench::record::{Record, short};
use crate::bench::text::number;

/// A device's points: batch and milliseconds.
pub(super) struct Series {
    pub(super) device: String,
    pub(super) color: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// The points of each device, those of the CPU first.
pub(super) fn series(sweep: &[Record], devices: &[&str], colors: &[String]) -> Vec<Series> {
    devices
        .iter()
        .zip(colors)
        .map(|(device, color)| Series {
            device: (*device).to_owned(),
            color: color.clone(),
            points: sweep
                .iter()
                .filter(|r| r.device == *device && r.e2e_ms.is_some_and(|ms| ms > 0.0))
                .map(|r| (r.batch as f64, r.e2e_ms.unwrap_or_default()))
                .collect(),
        })
        .filter(|s| !s.points.is_empty())
        .collect()
}

/// The batch and the latency from which on `gpu` is faster than `cpu`, between the two measured
/// batches where that changes last; `None` where it never is, or always was.
pub(super) fn crossover(cpu: &[(f64, f64)], gpu: &[(f64, f64)]) -> Option<(f64, f64)> {
    let both: Vec<(f64, f64, f64)> = gpu
        .iter()
        .filter_map(|(batch, ms)| {
            let own = cpu.iter().find(|(b, _)| b == batch)?;
            Some((batch.ln(), own.1.ln(), ms.ln()))
        })
        .collect();
    if both.last().is_none_or(|(_, cpu, gpu)| gpu >= cpu) {
        return None;
    }
    let pair = both.windows(2).rev().find(|w| w[0].2 >= w[0].1)?;
    let (before, after) = (pair[0].2 - pair[0].1, pair[1].1 - pair[1].2);
    let share = before / (before + after);
    let at = |a: f64, b: f64| (a + share * (b - a)).exp();
    Some((at(pair[0].0, pair[1].0), at(pair[0].1, pair[1].1)))
}

/// The chart at a width of `width` pixels.
pub(super) fn chart(series: &[Series], width: f64, class: &str) -> String {
    let height = if width < 500.0 { 300.0 } else { 340.0 };
    let (left, right, top, bottom) = (52.0, 14.0, 26.0, 44.0);
    let all = || series.iter().flat_map(|s| &s.points);
    let (x0, x1) = (0.0, all().map(|p| p.0.log2()).fold(2.0, f64::max));
    let y0 = all().map(|p| p.1.log10()).fold(f64::MAX, f64::min) - 0.12;
    let y1 = all().map(|p| p.1.log10()).fold(f64::MIN, f64::max) + 0.12;
    let x = |batch: f64| left + (batch.log2() - x0) / (x1 - x0) * (width - left - right);
    let y = |ms: f64| height - bottom - (ms.log10() - y0) / (y1 - y0) * (height - top - bottom);
    let mut out = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"Latency against batch\">"
    );
    for power in -4..=5 {
        for (factor, labelled) in [(1.0, true), (2.0, y1 - y0 < 1.5), (5.0, y1 - y0 < 1.5)] {
            let ms = factor * 10f64.powi(power);
            if !labelled || !(y0..=y1).contains(&ms.log10()) {
                continue;
            }
            let at = y(ms);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ms}</text>",
                width - right,
                left - 8.0,
                at + 4.0
            );
        }
    }
    let _ = write!(out, "<text x=\"{:.1}\" y=\"12\" text-anchor=\"end\">ms</text>", left - 8.0);
    let mut batch = 1.0_f64;
    while batch.log2() <= x1 + 1e-9 {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{batch}</text>",
            x(batch),
            height - bottom + 18.0
        );
        batch *= 4.0;
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">rows of the batch</text>\
         <line class=\"base\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
        (left + width - right) / 2.0,
        height - 6.0,
        width - right,
        height - bottom,
        height - bottom
    );
    for line in series {
        lines(&mut out, line, &x, &y);
    }
    marks(&mut out, series, &x, &y, [top, height - bottom, width]);
    out.push_str("</svg>\n");
    out
}

fn lines(out: &mut String, line: &Series, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) {
    let points: Vec<String> =
        line.points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
    let _ = write!(
        out,
        "<g style=\"--c:{}\"><polyline class=\"series\" points=\"{}\"/>",
        line.color,
        points.join(" ")
    );
    for (batch, ms) in &line.points {
        let _ = write!(
            out,
            "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}, {batch} rows: {} \
             ms</title></circle>",
            x(*batch),
            y(*ms),
            escape(short(&line.device)),
            number(Some(*ms))
        );
    }
    out.push_str("</g>");
}

/// Where each GPU overtakes the CPU.
fn marks(
    out: &mut String,
    series: &[Series],
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
    [top, bottom, width]: [f64; 3],
) {
    let Some(cpu) = series.iter().find(|s| s.device == "cpu") else { return };
    let gpus = series.iter().filter(|s| s.device != "cpu");
    let found = gpus.filter_map(|s| Some((crossover(&cpu.points, &s.points)?, s)));
    for (i, ((batch, ms), line)) in found.enumerate() {
        let at = x(batch);
        let anchor = if at > width * 0.6 { "end" } else { "start" };
        let to = if anchor == "end" { at - 8.0 } else { at + 8.0 };
        let _ = write!(
            out,
            "<line class=\"cross\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
             <circle style=\"--c:{}\" class=\"dot\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"5\"/>\
             <text class=\"label\" x=\"{to:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">GPU ahead \
             from {} rows</text>",
            line.color,
            y(ms),
            top + 10.0 + 16.0 * i as f64,
            batch.ceil()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::crossover;

    #[test]
    fn the_crossing_is_between_the_points() {
        let cpu = [(1.0, 1.0), (4.0, 4.0), (16.0, 16.0)];
        // Flat at 4: equal at a batch of 4.
        let (batch, ms) = crossover(&cpu, &[(1.0, 4.0), (4.0, 4.0), (16.0, 4.0)]).unwrap();
        assert!((batch - 4.0).abs() < 1e-9 && (ms - 4.0).abs() < 1e-9, "{batch} {ms}");
        let (batch, _) = crossover(&cpu, &[(1.0, 8.0), (4.0, 8.0), (16.0, 8.0)]).unwrap();
        assert!((batch - 8.0).abs() < 1e-9, "{batch}");
        assert_eq!(crossover(&cpu, &[(1.0, 20.0), (16.0, 20.0)]), None);
        assert_eq!(crossover(&cpu, &[(1.0, 0.5), (16.0, 0.5)]), None);
        assert_eq!(crossover(&cpu, &[]), None);
    }
}
