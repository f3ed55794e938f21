//! The page: one file, no script, nothing loaded from elsewhere.

mod bars;
mod latency;

use std::fmt::Write;

use super::record::{Document, Record, short};
use super::text::{grouped, memory, number, ratio};

/// Colours of adapters in the order of the header; the CPU has its own.
const COLORS: [&str; 5] = ["var(--s0)", "var(--s3)", "var(--s1)", "var(--s4)", "var(--s2)"];

/// Text as HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The whole page.
pub(super) fn page(document: &Document) -> String {
    let devices: Vec<&str> = document.header.devices.iter().map(|d| d.device.as_str()).collect();
    let mut next = COLORS.iter().cycle();
    let colors: Vec<String> = devices
        .iter()
        .map(|d| if *d == "cpu" { "var(--cpu)" } else { next.next().unwrap_or(&"var(--s0)") })
        .map(str::to_owned)
        .collect();
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>wgru bench, \
         {}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
        escape(&document.header.date),
        include_str!("page.css")
    );
    head(&mut out, document, &colors);
    figures(&mut out, document, &devices);
    speedup_section(&mut out, document, &devices, &colors);
    latency_section(&mut out, document, &devices, &colors);
    split_section(&mut out, document, &devices);
    numbers(&mut out, document);
    skipped(&mut out, document);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn head(out: &mut String, document: &Document, colors: &[String]) {
    let h = &document.header;
    let day = h.date.split('T').next().unwrap_or_default();
    let _ = write!(
        out,
        "<h1>GRU inference, CPU against GPU</h1>\n<p class=\"lead\">wgru {}, wgpu {}, {}, \
         {}</p>\n<div class=\"machines\">\n",
        escape(&h.wgru),
        escape(&h.wgpu),
        escape(&h.os),
        escape(day)
    );
    for (d, color) in h.devices.iter().zip(colors) {
        let detail = match (&d.backend, d.threads) {
            (Some(backend), _) => {
                format!("{backend}, {}, {}", d.kind, d.driver.as_deref().unwrap_or_default())
            }
            (None, Some(threads)) => format!(
                "CPU engine, {threads} threads, {}",
                d.instructions.as_deref().unwrap_or_default()
            ),
            _ => d.kind.clone(),
        };
        let _ = writeln!(
            out,
            "<div class=\"machine\" style=\"--c:{color}\"><b>{}</b><span>{}</span></div>",
            escape(&d.name),
            escape(&detail)
        );
    }
    out.push_str("</div>\n");
}

/// The outcome in a few numbers.
fn figures(out: &mut String, document: &Document, devices: &[&str]) {
    let mut all: Vec<(String, String)> = Vec::new();
    let gpu: Vec<&Record> =
        document.rows.iter().filter(|r| !r.is_cpu() && r.speedup.is_some()).collect();
    let by_speed = |a: &&&Record, b: &&&Record| {
        a.speedup.unwrap_or_default().total_cmp(&b.speedup.unwrap_or_default())
    };
    if let Some(best) = gpu.iter().max_by(by_speed) {
        let (speedup, name) = (best.speedup.unwrap_or(1.0), escape(&best.name));
        all.push(match speedup >= 1.0 {
            true => (
                format!("{}×", ratio(speedup)),
                format!("largest speed-up over the CPU engine, {name}"),
            ),
            false => (
                format!("{}×", ratio(1.0 / speedup)),
                format!("least lead of the CPU engine, on {name}"),
            ),
        });
        let ahead = gpu.iter().filter(|r| r.speedup > Some(1.0)).count();
        all.push((format!("{ahead} of {}", gpu.len()), "rows where the GPU is ahead".into()));
    }
    let series = latency::series(&document.sweep, devices, &vec![String::new(); devices.len()]);
    if let Some(cpu) = series.iter().find(|s| s.device == "cpu") {
        let gpus: Vec<_> = series.iter().filter(|s| s.device != "cpu").collect();
        let first = gpus.iter().filter_map(|s| latency::crossover(&cpu.points, &s.points));
        if let Some((batch, _)) = first.min_by(|a, b| a.0.total_cmp(&b.0)) {
            let text = "from there the GPU is ahead (256 units, 32 steps)";
            all.push((format!("{} rows", batch.ceil()), text.into()));
        }
    }
    let verified = document.rows.iter().chain(&document.sweep).filter(|r| r.verified.is_some());
    all.push((verified.count().to_string(), "timings, each verified in f64 first".into()));
    out.push_str("<div class=\"figures\">\n");
    for (figure, text) in all {
        let _ = writeln!(out, "<div class=\"figure\"><b>{figure}</b><span>{text}</span></div>");
    }
    out.push_str("</div>\n");
}

fn legend<'a>(out: &mut String, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push_str("<div class=\"legend\">");
    for (name, color) in entries {
        let _ = write!(out, "<span><i style=\"--c:{color}\"></i>{}</span>", escape(name));
    }
    out.push_str("</div>\n");
}

fn speedup_section(out: &mut String, d: &Document, devices: &[&str], colors: &[String]) {
    let gpus = || devices.iter().zip(colors).filter(|(device, _)| **device != "cpu");
    if !d.rows.iter().any(|r| !r.is_cpu() && r.speedup.is_some()) {
        return;
    }
    out.push_str(
        "<section>\n<h2>Speed-up by row</h2>\n<p class=\"note\">A whole call, host arrays to host \
         arrays: the CPU engine's median over the GPU's. Right of 1× the GPU is faster. The axis \
         is logarithmic.</p>\n",
    );
    if gpus().count() > 1 {
        legend(out, gpus().map(|(device, color)| (short(device), color.as_str())));
    }
    out.push_str(&bars::speedups(&d.rows, devices, colors));
    out.push_str("</section>\n");
}

fn latency_section(out: &mut String, d: &Document, devices: &[&str], colors: &[String]) {
    let series = latency::series(&d.sweep, devices, colors);
    if series.is_empty() {
        return;
    }
    out.push_str(
        "<section>\n<h2>Latency against batch</h2>\n<p class=\"note\">One layer of 256 units, 32 \
         steps, whole calls. Both axes are logarithmic.</p>\n",
    );
    legend(
        out,
        series.iter().map(|s| {
            let name = if s.device == "cpu" { "CPU engine" } else { short(&s.device) };
            (name, s.color.as_str())
        }),
    );
    out.push_str(&latency::chart(&series, 900.0, "wide"));
    out.push_str(&latency::chart(&series, 340.0, "narrow"));
    out.push_str("</section>\n");
}

fn split_section(out: &mut String, d: &Document, devices: &[&str]) {
    let has = |device: &&&str| d.rows.iter().any(|r| r.device == ***device && bars::has_parts(r));
    for device in devices.iter().filter(has) {
        let rows: Vec<&Record> =
            d.rows.iter().filter(|r| r.device == **device && bars::has_parts(r)).collect();
        let _ = write!(
            out,
            "<section>\n<h2>Where the time goes: {}</h2>\n<p class=\"note\">Shares of a call on \
             the device's own clock, and their sum.</p>\n",
            escape(short(device))
        );
        legend(out, bars::PARTS.iter().copied());
        out.push_str(&bars::splits(&rows));
        out.push_str("</section>\n");
    }
}

fn numbers(out: &mut String, d: &Document) {
    out.push_str(
        "<section>\n<h2>All numbers</h2>\n<p class=\"note\">Milliseconds of warm calls; on device: of further runs, timed by the device's clock; first: \
         opening the device, kernels and weights, and the first run; row-steps: steps of all rows \
         a second; weights: recurrent weights read once a step.</p>\n<div \
         class=\"scroll\"><table>\n<tr><th>row</th><th class=\"text\">device</th><th>median</th>\
         <th>p95</th><th>least</th><th>on device</th><th>first</th><th>row-steps/s</th>\
         <th>GFLOP/s</th><th>weights GB/s</th><th>memory</th><th>× CPU</th><th>error / \
         bound</th></tr>\n",
    );
    for r in &d.rows {
        let device = if r.is_cpu() { "CPU engine".into() } else { r.place() };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"text\">{}</td>",
            escape(&r.name),
            escape(&device)
        );
        if let Some(error) = &r.error {
            let _ =
                writeln!(out, "<td class=\"text bad\" colspan=\"11\">{}</td></tr>", escape(error));
            continue;
        }
        let first = [r.first_open_ms, r.first_session_ms, r.first_run_ms];
        let cells = [
            number(r.e2e_ms),
            number(r.e2e_p95_ms),
            number(r.e2e_min_ms),
            if r.is_cpu() { "-".into() } else { number(r.ms) },
            number(Some(first.iter().flatten().sum())),
            r.row_steps_per_s.map_or("-".into(), grouped),
            number(r.gflops),
            number(r.weights_gb_per_s),
            r.device_bytes.filter(|n| *n > 0).map_or("-".into(), memory),
            r.speedup.filter(|_| !r.is_cpu()).map_or("-".into(), ratio),
            number(r.verified.as_ref().map(|v| v.worst_ratio)),
        ];
        for cell in cells {
            let _ = write!(out, "<td>{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n</section>\n");
}

fn skipped(out: &mut String, d: &Document) {
    if !d.skipped.is_empty() {
        out.push_str("<section>\n<h2>Not timed</h2>\n<ul>\n");
        for s in &d.skipped {
            let _ = writeln!(
                out,
                "<li>{} on {}: {}</li>",
                escape(&s.name),
                escape(short(&s.device)),
                escape(&s.reason)
            );
        }
        out.push_str("</ul>\n</section>\n");
    }
    let load = |load: Option<[f64; 3]>| load.map_or("unknown".into(), |l| format!("{:.2}", l[0]));
    let _ = writeln!(
        out,
        "<footer>Written by wgru bench in {:.0} s on {}; load average before and after: {}, {}. \
         Every result was first checked against an f64 reference, at sampled steps and rows of \
         every layer. Weights and inputs are random.</footer>",
        d.header.seconds,
        escape(&d.header.date),
        load(d.header.load_average),
        load(d.header.load_average_end)
    );
}

#[cfg(test)]
mod tests {
    use super::super::record::DeviceHeader;
    use super::*;

    /// Names come from drivers and files: no markup of theirs reaches the page.
    #[test]
    fn names_are_escaped() {
        let evil = "<script>\"'&</script>";
        let mut document = Document::default();
        for device in ["cpu", evil] {
            document.header.devices.push(DeviceHeader {
                device: device.into(),
                name: evil.into(),
                kind: evil.into(),
                backend: Some(evil.into()),
                driver: Some(evil.into()),
                ..DeviceHeader::default()
            });
            let record = Record {
                name: evil.into(),
                device: device.into(),
                e2e_ms: Some(1.0),
                speedup: Some(2.0),
                projection_ms: Some(1.0),
                recurrence_ms: Some(1.0),
                batch: 4,
                ..Record::default()
            };
            document.rows.push(record.clone());
            document.sweep.push(record);
            document.rows.push(Record {
                device: device.into(),
                error: Some(evil.into()),
                ..Record::default()
            });
        }
        document.skipped.push(super::super::record::Skipped {
            name: evil.into(),
            device: evil.into(),
            mode: evil.into(),
            reason: evil.into(),
        });
        let page = page(&document);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        let odd = ["NaN", "\"inf", "-inf", "inf%"].into_iter().find(|w| page.contains(w));
        assert_eq!(odd, None, "every coordinate is a number");
    }
}
