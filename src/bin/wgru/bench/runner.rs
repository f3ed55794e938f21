//! The rows on every device, one after the other; what they become is written as it comes.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wgru::{Calibration, Device, Output, PlanOptions, ResetForm};

use super::check::Sample;
use super::grid::{self, Row};
use super::measure::{Effort, Outcome, measure};
use super::problem::Problem;
use super::record::{self, Document, Header, Record, Skipped};
use super::target::Target;
use super::{families, files, host, ladder, table};
use crate::failure::Failure;

/// Most rows of a sweep on a GPU, and on a software adapter.
const WIDEST: usize = 4096;
const WIDEST_SOFTWARE: usize = 256;
/// A sweep on a device ends with the batch that takes longer than this.
const SWEEP_END_MS: f64 = 400.0;
const SWEEP_EFFORT: Duration = Duration::from_millis(150);

pub(super) struct Bench {
    effort: Effort,
    reset: ResetForm,
    targets: Vec<Target>,
    /// Every family of kernels is timed.
    families: bool,
    pub(super) document: Document,
    /// Of each row that was timed, what the first device gave.
    samples: HashMap<String, Sample>,
    begin: Instant,
    json: Option<files::Target>,
    bar: ProgressBar,
    /// A result was wrong.
    pub(super) wrong: bool,
    /// A device failed.
    pub(super) failed: bool,
}

impl Bench {
    pub(super) fn new(
        effort: Effort,
        reset: ResetForm,
        targets: Vec<Target>,
        families: bool,
        json: Option<files::Target>,
    ) -> Self {
        Self {
            effort,
            reset,
            targets,
            families,
            document: Document { format: record::FORMAT.into(), ..Document::default() },
            samples: HashMap::new(),
            begin: Instant::now(),
            json,
            bar: ProgressBar::hidden(),
            wrong: false,
            failed: false,
        }
    }

    /// Times `rows`, and latencies against batch where `sweep` is set. Every row on all devices
    /// before the next; or `by_device`, so that a run that ends early has the GPUs' figures.
    pub(super) fn all(
        &mut self,
        rows: &[Row],
        by_device: bool,
        sweep: bool,
    ) -> Result<(), Failure> {
        self.document.header = Header {
            date: host::date(),
            cpu: crate::devices::Cpu::detect().name,
            threads: crate::devices::Cpu::detect().threads,
            os: host::system(),
            load_average: host::load_average(),
            wgru: env!("CARGO_PKG_VERSION").into(),
            wgpu: wgru::WGPU_VERSION.into(),
            devices: self.devices().iter().map(Target::header).collect(),
            ..Header::default()
        };
        self.say(&table::header(&self.document.header))?;
        if !self.families {
            self.say(&format!("{}\n", table::head()))?;
        }
        let sweep_rows = if sweep { grid::sweep(WIDEST) } else { Vec::new() };
        self.bar = progress_bar((rows.len() + sweep_rows.len()) * self.targets.len());
        let (cpu, gpus): (Vec<_>, Vec<_>) = self.targets.iter().cloned().partition(Target::is_cpu);
        let passes = if by_device { vec![gpus, cpu] } else { vec![self.targets.clone()] };
        for targets in passes {
            // A large row of the processor leaves time to the others.
            let alone = by_device && targets.iter().all(Target::is_cpu);
            self.effort.share = if alone { 0.3 } else { 1.0 };
            for row in rows {
                match self.families {
                    true => self.families_of(row, &targets)?,
                    false => self.row(row, &targets)?,
                }
                self.save()?;
            }
        }
        self.effort.share = 1.0;
        self.sweep(&sweep_rows)?;
        self.bar.finish_and_clear();
        if self.families {
            self.say(&format!("\n{}\n", ladder::markdown(&self.document.rows)))?;
        } else {
            self.expectations(rows)?;
            record::add_speedups(&mut self.document.rows);
        }
        self.document.header.load_average_end = host::load_average();
        self.document.header.seconds = self.begin.elapsed().as_secs_f64();
        let mut last = String::new();
        for s in &self.document.skipped {
            let mode = record::comma_mode(&s.mode);
            last.push_str(&format!(
                "not timed: {} on {}{mode}: {}\n",
                s.name,
                record::short(&s.device),
                s.reason
            ));
        }
        for r in self.document.rows.iter().filter(|r| r.error.is_some()) {
            let error = r.error.as_deref().unwrap_or_default();
            last.push_str(&format!("FAILED: {} on {}: {error}\n", r.name, r.device));
        }
        last.push_str(&self.auto_line());
        last.push_str(&format!("{:.0} s in all\n", self.document.header.seconds));
        self.say(&last)
    }

    /// The targets, each device once: in its first precision.
    fn devices(&self) -> Vec<Target> {
        let mut devices = self.targets.clone();
        devices.dedup_by_key(|target| target.name());
        devices
    }

    /// One row on each of `targets`.
    fn row(&mut self, row: &Row, targets: &[Target]) -> Result<(), Failure> {
        // Made when the first device has time for it.
        let mut problem: Option<Problem> = None;
        for target in targets {
            self.bar.set_message(format!("{} on {}", row.name, record::short(&target.name())));
            if self.effort.is_over() {
                self.skip(row, target, "no time is left".into());
            } else {
                let problem = match &mut problem {
                    Some(problem) => problem,
                    none => none.insert(Problem::new(row, self.reset, self.effort.seed)?),
                };
                let outcome = measure(problem, target, &self.effort, self.samples.get(&row.name));
                if let Some((record, output)) = self.note(row, target, outcome) {
                    let timed = &self.document.rows;
                    let cpu = timed.iter().find(|r| r.name == row.name && r.is_cpu());
                    let cpu_ms = cpu.and_then(|r| r.e2e_ms);
                    self.say(&format!("{}\n", table::line(&record, &row.title(), cpu_ms)))?;
                    let sample = || Sample::new(&output, target.name(), target.precision());
                    self.samples.entry(row.name.clone()).or_insert_with(sample);
                    self.document.rows.push(record);
                }
            }
            self.bar.inc(1);
        }
        Ok(())
    }

    /// One row on every adapter, with every family of kernels.
    fn families_of(&mut self, row: &Row, targets: &[Target]) -> Result<(), Failure> {
        for target in targets {
            self.bar.set_message(format!("{} on {}", row.name, record::short(&target.name())));
            if self.effort.is_over() {
                self.skip(row, target, "no time is left".into());
                continue;
            }
            let problem = Problem::new(row, self.reset, self.effort.seed)?;
            match families::measure(&problem, target, &self.effort) {
                Ok(found) => {
                    for (kernels, reason) in found.skipped {
                        self.skip(row, target, format!("{kernels}: {reason}"));
                    }
                    for (kernels, fault) in found.wrong {
                        self.wrong = true;
                        self.fail(row, target, format!("wrong result of {kernels}: {fault}"));
                    }
                    for record in &found.timed {
                        self.say(&format!("{}\n", ladder::line(record, &row.title())))?;
                    }
                    self.document.rows.extend(found.timed);
                }
                Err(error) => drop(self.note(row, target, Err(error))),
            }
            self.bar.inc(1);
        }
        Ok(())
    }

    /// The record of a row that was timed; what else became of it is noted in the document.
    fn note(
        &mut self,
        row: &Row,
        target: &Target,
        outcome: wgru::Result<Outcome>,
    ) -> Option<(Record, Output<f32>)> {
        let failure = match outcome {
            Ok(Outcome::Timed(record, output)) => return Some((*record, output)),
            Ok(Outcome::Skipped(reason)) => {
                self.skip(row, target, reason);
                return None;
            }
            Ok(Outcome::Wrong(fault)) => {
                self.wrong = true;
                format!("wrong result: {fault}")
            }
            Err(error) => match error.kind() {
                wgru::ErrorKind::OutOfMemory | wgru::ErrorKind::ExceedsLimits => {
                    self.skip(row, target, error.to_string());
                    return None;
                }
                _ => {
                    self.failed = true;
                    error.to_string()
                }
            },
        };
        self.fail(row, target, failure);
        None
    }

    /// A record without a time.
    fn fail(&mut self, row: &Row, target: &Target, failure: String) {
        self.document.rows.push(Record {
            name: row.name.clone(),
            engine: "wgru".into(),
            device: target.name(),
            kind: Some(target.kind()),
            mode: target.precision().to_string(),
            reset: self.reset.to_string(),
            error: Some(failure),
            ..Record::default()
        });
    }

    fn skip(&mut self, row: &Row, target: &Target, reason: String) {
        let mode = target.precision().to_string();
        let skipped = Skipped { name: row.name.clone(), device: target.name(), mode, reason };
        self.document.skipped.push(skipped);
    }

    /// Latency against batch, on each device until it takes long.
    fn sweep(&mut self, rows: &[Row]) -> Result<(), Failure> {
        let effort = Effort { per_row: SWEEP_EFFORT, ..self.effort };
        let mut going: Vec<Target> = self.devices();
        for row in rows {
            if self.effort.is_over() || going.is_empty() {
                break;
            }
            let problem = Problem::new(row, self.reset, self.effort.seed)?;
            let mut still = Vec::new();
            for target in going {
                self.bar.set_message(format!("{} on {}", row.name, record::short(&target.name())));
                let most = if target.is_software() { WIDEST_SOFTWARE } else { WIDEST };
                if row.batch <= most && !self.effort.is_over() {
                    let outcome = measure(&problem, &target, &effort, None);
                    if let Some((record, _)) = self.note(row, &target, outcome) {
                        let goes_on = record.e2e_ms.is_some_and(|ms| ms < SWEEP_END_MS);
                        self.document.sweep.push(record);
                        if goes_on {
                            still.push(target);
                        }
                    }
                }
                self.bar.inc(1);
            }
            going = still;
            self.save()?;
        }
        Ok(())
    }

    /// What `auto` expects of each record, and how its choices compare with the times.
    fn expectations(&mut self, rows: &[Row]) -> Result<(), Failure> {
        let auto = Device::auto_with(Calibration::Always);
        let names: Vec<_> = self.targets.iter().map(|t| (t.name(), t.expected_as())).collect();
        for row in rows {
            if !self.document.rows.iter().any(|r| r.name == row.name && r.e2e_ms.is_some()) {
                continue;
            }
            // Only the network's description matters.
            let config = row.config(self.reset);
            let choice = auto.expect(&config, row.shape(), &PlanOptions::default())?;
            // Expectations are of f32.
            let records = self.document.rows.iter_mut();
            for record in records.filter(|r| r.name == row.name && r.mode == "f32") {
                let own = choice.iter().find(|e| {
                    names.iter().any(|(name, own)| *name == record.device && *own == e.device)
                });
                record.expected_ms = own.and_then(|e| e.microseconds).map(|us| us / 1e3);
            }
        }
        let outcome = record::judge_auto(&self.document.rows);
        self.document.auto = (outcome.rows > 0).then_some(outcome);
        Ok(())
    }

    fn auto_line(&self) -> String {
        let Some(auto) = &self.document.auto else { return String::new() };
        let misses: String = auto
            .wrong
            .iter()
            .map(|m| format!("; {} takes {:.2} times as long", m.name, m.loss))
            .collect();
        format!(
            "auto takes the faster side on {} of {} rows{misses}\n",
            auto.faster_side, auto.rows
        )
    }

    /// Writes the records so far, so that a run that is ended leaves them.
    fn save(&mut self) -> Result<(), Failure> {
        if !self.families {
            record::add_speedups(&mut self.document.rows);
        }
        self.document.header.seconds = self.begin.elapsed().as_secs_f64();
        match &self.json {
            Some(json) => json.write_so_far(&text(&self.document)?),
            None => Ok(()),
        }
    }

    /// Writes the records.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.json {
            Some(json) => json.finish(&text(&self.document)?),
            None => Ok(()),
        }
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        self.bar.suspend(|| {
            let mut out = io::stdout().lock();
            write!(out, "{text}")?;
            out.flush()
        })?;
        Ok(())
    }
}

fn text(document: &Document) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|e| Failure::Internal(format!("records cannot be written: {e}")))?;
    text.push('\n');
    Ok(text)
}

fn progress_bar(length: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
