//! `wgru probe`: what an adapter can really do.

use std::io::{self, Write};
use std::process::ExitCode;

use wgru::{Device, Figure, ProbeOptions, ProbeReport, Problem, Spread, probe};

use crate::engine;
use crate::failure::Failure;
use crate::progress;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which adapter: auto or gpu (the most capable one), an index of `wgru devices`, or a part of
    /// its name [default: WGRU_DEVICE, else auto]
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Fewer cases and repetitions: seconds rather than up to twenty
    #[arg(long)]
    quick: bool,
    /// Also measure hand-offs between running workgroups, which may upset a driver (no software
    /// adapters)
    #[arg(long)]
    experimental: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let request = engine::requested(args.device.as_deref())?;
    let device = match request.trim().to_lowercase().as_str() {
        "auto" => Device::gpu()?,
        _ => Device::find(&request)?,
    };
    let Some(context) = device.gpu_context() else {
        return Err(Failure::Request(format!(
            "device '{request}': probe measures GPU adapters, this is the {device}"
        )));
    };
    let options = ProbeOptions {
        quick: args.quick,
        experimental: args.experimental,
        ..ProbeOptions::default()
    };
    let report = progress::while_shown(format!("measuring {device}"), || probe(context, &options))?;
    let mut out = io::stdout().lock();
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(io::Error::other)?;
        writeln!(out, "{text}")?;
    } else {
        write_report(&mut out, &report)?;
    }
    // As `verify`: a kernel's result was wrong.
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn write_report(out: &mut impl Write, report: &ProbeReport) -> io::Result<()> {
    let a = &report.adapter;
    writeln!(out, "{} ({}, {}, {})", a.name, a.backend, a.kind, a.driver)?;
    let clocks = match report.timestamp_period_ns {
        Some(period) => {
            format!("the device's clock (ticks of {} ns) and the host's", number(period))
        }
        None => "the host's clock: the adapter has no timestamps".to_owned(),
    };
    let mode = if report.quick { ", quick" } else { "" };
    writeln!(
        out,
        "measured in {:.1} s{mode}, by {clocks}; medians, lowest to highest\n",
        report.seconds
    )?;
    writeln!(out, "{:<37} {:<32} {:<32} model of an H200", "", "   device", "   host")?;
    let mut title = "";
    for (i, figure) in report.figures.iter().enumerate() {
        let own = figure.quantity.title();
        let several = report.figures.get(i + 1).is_some_and(|f| f.quantity.title() == own);
        if figure.case.is_empty() && own != title && !several {
            write!(out, "{own:<36} ")?;
        } else {
            if own != title {
                writeln!(out, "{own}")?;
            }
            write!(out, "  {:<34} ", figure.case)?;
        }
        title = own;
        write_figure(out, figure)?;
    }
    for shape in &report.matrix_shapes {
        let right = match shape.right {
            Some(true) => "right",
            Some(false) => "WRONG",
            None => "not usable",
        };
        let note = shape.note.as_deref().map_or(String::new(), |note| format!(": {note}"));
        writeln!(
            out,
            "matrices {} x {} x {} of {}, sums of {}: {right}{note}",
            shape.m, shape.n, shape.k, shape.operand, shape.sum
        )?;
    }
    let conclusions = conclusions(report);
    if !conclusions.is_empty() {
        writeln!(out)?;
    }
    conclusions.iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn write_figure(out: &mut impl Write, figure: &Figure) -> io::Result<()> {
    match &figure.problem {
        Some(Problem::NotMeasured(reason)) => return writeln!(out, "not measured: {reason}"),
        Some(Problem::WrongResult(what)) => return writeln!(out, "WRONG: {what}"),
        None => {}
    }
    let cell = |spread: Option<Spread>| {
        let Some(s) = spread else { return "-".to_owned() };
        let (unit, by) = readable(&figure.unit, s.median);
        let range = format!("{}..{}", number(s.low / by), number(s.high / by));
        format!("{:>8} {unit:<7} {range:>14}", number(s.median / by))
    };
    let expected = match figure.expected_of_h200 {
        None => String::new(),
        Some([low, high]) => {
            let (unit, by) = readable(&figure.unit, high);
            let low = if low == high { String::new() } else { number(low / by) + ".." };
            format!("{low}{} {unit}", number(high / by))
        }
    };
    let line = format!("{:<32} {:<32} {expected}", cell(figure.device), cell(figure.host));
    writeln!(out, "{}", line.trim_end())
}

/// A unit in which `value` is a short number, and how many of `unit` it is.
fn readable(unit: &str, value: f64) -> (&str, f64) {
    let larger = match unit {
        "ns" => "us",
        "us" => "ms",
        "GFLOP/s" => "TFLOP/s",
        "GB/s" => "TB/s",
        _ => return (unit, 1.0),
    };
    if value < 1000.0 { (unit, 1.0) } else { (larger, 1000.0) }
}

/// Three digits, without an exponent.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// What the figures mean for networks.
fn conclusions(report: &ProbeReport) -> Vec<String> {
    let mut out = Vec::new();
    if let (Some(one), Some(record)) = (report.dispatch_latency_us(1), report.record_us()) {
        let bound = if record > one { "the host that records them" } else { "the device" };
        out.push(format!(
            "steps: dispatched one by one, none takes less than {} us; {bound} is what they wait for",
            number(one.max(record))
        ));
    }
    if let (Some(flops), Some(bytes)) = (report.f32_gflops(), report.read_gbps(u64::MAX)) {
        out.push(format!(
            "balance: {} f32 operations in the time of a byte from device memory",
            number(flops / bytes)
        ));
    }
    if let (Some(up), Some(back)) = (report.upload_us(), report.read_back_us()) {
        out.push(format!("calls: the way there and back takes {} us at least", number(up + back)));
    }
    if let Some(units) = report.resident_units() {
        let held = |lanes| {
            let values = report.resident_values(lanes)?;
            Some(format!("{values} f32 at {lanes} invocations"))
        };
        let held: Vec<String> = [256, 512].into_iter().filter_map(held).collect();
        out.push(format!(
            "registers: an invocation holds {} at 60 % of the best rate or more; recurrent weights in f32 stay in one \
             workgroup up to H = {units}",
            held.join(", ")
        ));
    }
    out
}
