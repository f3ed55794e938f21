//! `wgru bench`: CPU against GPU over a grid of real shapes.

mod check;
mod compare;
mod families;
mod files;
mod grid;
mod host;
mod html;
mod ladder;
mod measure;
mod problem;
mod record;
mod runner;
mod table;
mod target;
mod text;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wgru::{Precision, ResetForm};

use crate::engine::{precision, tuning_time};
use crate::failure::{DEVICE_FAILED, Failure};
use crate::options::{reset, seconds, threads, whole};
use grid::Choice;
use measure::Effort;
use runner::Bench;

/// A result was wrong.
const MISMATCH: u8 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Every row of the grid, those of real users first, GPUs before the CPU [default: a small subset]
    #[arg(long, conflicts_with = "only")]
    all: bool,
    /// Rows, or groups of rows (small, bar, real), separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Rows of another file like benches/grid.json; all of them without --only
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    grid: Option<PathBuf>,
    /// Time every family of kernels on adapters, in turns, beside the planner's choice; matrix with
    /// --experimental
    #[arg(long, conflicts_with_all = ["html", "sweep", "threads"])]
    families: bool,
    /// With --families and --precision f16: open devices with wgpu's experimental cooperative
    /// matrices, and time matrix kernels too
    #[arg(long, requires = "families")]
    experimental: bool,
    /// Write the records as JSON (docs/bench-json.md), anew after each row
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with charts; a sweep over batch sizes is timed for it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Time the sweep over batch sizes without --html too
    #[arg(long)]
    sweep: bool,
    /// cpu, gpu, an index of `wgru devices` or a part of an adapter's name; several with commas
    /// [default: WGRU_DEVICE, else cpu (not with --families) and the GPUs, or the first software
    /// adapter]
    #[arg(long, value_name = "D", value_delimiter = ',')]
    device: Vec<String>,
    /// Weights on GPUs: f32, f16, or both with a comma [default: f32; with --all both, on software
    /// adapters f32]
    #[arg(long, value_name = "P", value_delimiter = ',', value_parser = precision)]
    precision: Vec<Precision>,
    /// Tune sessions on adapters for about S seconds each [2]: see `wgru run --help`. With
    /// --families, a tuned session is timed beside the others
    #[arg(long, value_name = "S", num_args = 0..=1, require_equals = true,
          default_missing_value = "2", value_parser = tuning_time)]
    tune: Option<Duration>,
    /// The reset form: before, after
    #[arg(long, value_name = "R", default_value = "after", value_parser = reset)]
    reset: ResetForm,
    /// Threads of the CPU engine [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    threads: Option<NonZeroUsize>,
    /// Time of the whole command; rows that do not fit are listed [default: 60 for the small
    /// subset, 360 with --all, none with --only]
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = seconds)]
    max_seconds: Option<f64>,
    /// Time for the repeated runs of one row on one device
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value_t = 0.5, value_parser = seconds)]
    seconds: f64,
    /// Seed of weights and inputs
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, value_parser = whole::<u64>)]
    seed: u64,
    /// Time nothing: print records of files as a table in Markdown; with --html, write the page of
    /// the first one
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        conflicts_with_all = [
            "all", "only", "grid", "families", "tune", "json", "sweep", "device", "precision", "reset", "threads", "seconds",
            "max_seconds", "seed"
        ]
    )]
    table: Vec<PathBuf>,
    /// With --table: print the GPU records beside those of this file, of another engine on the same
    /// GPU, row by row and mode by mode on the device's clock, with the ratios that are wanted. Records
    /// of --families, of the CPU and, in this file, of wgru are left out
    #[arg(long, value_name = "FILE", requires = "table", conflicts_with = "html")]
    against: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !args.table.is_empty() {
        return show(args);
    }
    let choice = match (args.all || args.grid.is_some(), args.only.is_empty()) {
        (true, true) => Choice::All,
        (false, true) => Choice::Small,
        (_, false) => Choice::Named(args.only.iter().map(|n| n.trim().to_owned()).collect()),
    };
    let rows = match &args.grid {
        Some(path) => grid::choose(&choice, grid::read(path)?)?,
        None => grid::choose(&choice, grid::grid())?,
    };
    let json = args.json.as_deref().map(files::Target::check).transpose()?;
    let html = args.html.as_deref().map(files::Target::check).transpose()?;
    if let (Some(json), Some(html)) = (&json, &html)
        && json.is_same(html)
    {
        return Err(Failure::Request("--json and --html name the same file".into()));
    }
    let mut targets = target::choose(&args.device, args.threads, &args.precision, args.all)?;
    let is_cpu = target::Target::is_cpu;
    if args.tune.is_some() && targets.iter().all(is_cpu) {
        return Err(Failure::Request("--tune wants a GPU, there is none among the devices".into()));
    }
    if args.families {
        if targets.iter().all(is_cpu) || !args.device.is_empty() && targets.iter().any(is_cpu) {
            return Err(Failure::Request(
                "--families compares the kernels of adapters: the CPU engine has none".into(),
            ));
        }
        targets.retain(|t| !is_cpu(t));
    }
    if args.experimental {
        targets = targets.into_iter().map(target::Target::with_matrices).collect();
        if targets.iter().all(|t| t.matrices() == Ok(false)) {
            return Err(Failure::Request(
                "--experimental times matrix kernels, whose weights are f16: --precision f16"
                    .into(),
            ));
        }
    }
    let limit = args.max_seconds.or(match choice {
        Choice::Small => Some(60.0),
        Choice::All if args.grid.is_none() => Some(360.0),
        _ => None,
    });
    let begin = Instant::now();
    let effort = Effort {
        per_row: Duration::from_secs_f64(args.seconds),
        deadline: limit.map(|s| begin + Duration::from_secs_f64(s)),
        share: 1.0,
        seed: args.seed,
        tune: args.tune,
    };
    let mut bench = Bench::new(effort, args.reset, targets, args.families, json);
    bench.all(&rows, args.all, args.sweep || html.is_some())?;
    let page = html.map(|html| (html, html::page(&bench.document)));
    let (wrong, failed) = (bench.wrong, bench.failed);
    bench.finish()?;
    if let Some((html, page)) = page {
        html.finish(&page)?;
    }
    let (code, what) = match (wrong, failed) {
        (true, _) => (MISMATCH, "a result was wrong: it has no time"),
        (_, true) => (DEVICE_FAILED, "a device failed: what it should run has no time"),
        _ => return Ok(ExitCode::SUCCESS),
    };
    // Standard error may be closed.
    let _ = writeln!(io::stderr(), "wgru: error: bench: {what}; the rows above say where");
    Ok(ExitCode::from(code))
}

/// Records of files, as a table, as a page, or beside those of another engine.
fn show(args: &Args) -> Result<ExitCode, Failure> {
    let documents =
        args.table.iter().map(|path| record::read(path)).collect::<Result<Vec<_>, Failure>>()?;
    if let (Some(path), Some(document)) = (&args.html, documents.first()) {
        files::Target::check(path)?.finish(&html::page(document))?;
    }
    let text = match &args.against {
        Some(path) => compare::markdown(&documents, &record::read(path)?)
            .map_err(|why| Failure::Request(format!("{}: {why}", path.display())))?,
        None => table::markdown(&documents),
    };
    write!(io::stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
