//! One row on one device: verified, then timed.

use std::time::{Duration, Instant};

use ndarray::ArrayView3;
use wgru::{DeviceTimes, Error, Output, PlanOptions, Session};

use super::check::{self, Checked, Sample};
use super::host;
use super::problem::Problem;
use super::record::Record;
use super::target::Target;

/// Runs of which the median is taken, at least, unless one takes longer than `LONG`.
pub(super) const FEWEST_RUNS: usize = 3;
const MOST_RUNS: usize = 2000;
pub(super) const LONG: Duration = Duration::from_secs(4);
/// Runs that the device times.
const DEVICE_RUNS: usize = 9;
/// Rows of more operations, or of more steps, are tried out on a prefix of their steps first.
const TRIED_FLOPS: f64 = 5e8;
const TRIED_STEPS: usize = 4000;
/// States of engines that compute in f32 differ by this at most over a whole run of contractive
/// networks, which random ones are; with weights of 11 bits by the other.
pub(super) const CLOSE: f32 = 1e-3;
pub(super) const CLOSE_F16: f32 = 5e-2;

/// How a row ended.
pub(crate) enum Outcome {
    Timed(Box<Record>, Output<f32>),
    /// It does not fit into the time or the memory that is left.
    Skipped(String),
    /// The result is not what the reference allows.
    Wrong(String),
}

/// What every row is given.
pub(crate) struct Effort {
    /// Time for the timed runs.
    pub(crate) per_row: Duration,
    /// When the whole command is to end.
    pub(crate) deadline: Option<Instant>,
    /// Of the time that is left, what one row may take.
    pub(crate) share: f64,
    pub(crate) seed: u64,
    /// Time in which a session on an adapter looks for its fastest kernels.
    pub(crate) tune: Option<Duration>,
}

impl Effort {
    /// What is wrong with starting work of `expected`; `None` where it fits.
    pub(super) fn refusal(&self, expected: Duration) -> Option<String> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        (expected > left.mul_f64(self.share)).then(|| {
            let [expected, left] = [expected, left].map(|d| d.as_secs_f64());
            let share = match self.share < 1.0 {
                true => format!(", of which a row may take {:.0} %", 100.0 * self.share),
                false => String::new(),
            };
            format!("about {expected:.1} s are expected, {left:.1} s are left{share}")
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|end| Instant::now() >= end)
    }
}

/// Times `problem` on `target`; `other` is a sample of another device's output.
pub(crate) fn measure(
    problem: &Problem,
    target: &Target,
    effort: &Effort,
    other: Option<&Sample>,
) -> Result<Outcome, Error> {
    if let Some(lack) = lack_of_memory(problem) {
        return Ok(Outcome::Skipped(lack));
    }
    let mut record = new_record(problem, target);
    let begin = Instant::now();
    let device = target.open()?;
    record.first_open_ms = Some(milliseconds(begin.elapsed()));
    let begin = Instant::now();
    let tune = effort.tune.filter(|_| matches!(target, Target::Gpu { .. }));
    let options = PlanOptions { precision: target.precision(), tune, ..PlanOptions::default() };
    let shape = problem.row.shape();
    let mut session = problem.gru.session_with(&device, shape, &options)?;
    record.first_session_ms = Some(milliseconds(begin.elapsed()));
    record.device_bytes = Some(session.device_bytes());
    record.tuned = session.tuning().map(|tuning| tuning.to_string());

    let one_run = match first_run(problem, &mut session, &mut record)? {
        Ok(expected) => expected,
        Err(expected) => {
            // Verification, three runs, and one that the device times; two more where every layer
            // of a stack is looked at.
            let runs = if expected > LONG { 3.0 } else { 2.0 + FEWEST_RUNS as f64 };
            let runs = if problem.row.layers > 1 { runs + 2.0 } else { runs };
            if let Some(reason) = effort.refusal(expected.mul_f64(runs)) {
                return Ok(Outcome::Skipped(reason));
            }
            expected
        }
    };
    let (output, checked) = verified_run(problem, &mut session, effort.seed)?;
    match checked {
        Ok(verified) => record.verified = Some(verified),
        Err(fault) => return Ok(Outcome::Wrong(fault)),
    }
    if let (Some(other), Some(verified)) = (other, &mut record.verified) {
        let both_f32 = [target.precision(), other.precision] == [wgru::Precision::F32; 2];
        let allowed = if both_f32 { CLOSE } else { CLOSE_F16 };
        let difference = other.difference(&output);
        if difference.is_nan() || difference > allowed {
            return Ok(Outcome::Wrong(format!(
                "the output differs from that of {} by {difference:e}",
                other.of
            )));
        }
        let text = format!("; within {difference:.1e} of that of {}", other.of);
        verified.whole_output.push_str(&text);
    }

    let times = timed_runs(problem, &mut session, &output, effort.per_row, one_run)?;
    let Some(times) = times else {
        return Ok(Outcome::Wrong("a repeated run gave other bits than the verified one".into()));
    };
    record.runs = Some(times.len());
    record.e2e_ms = Some(quantile(&times, 0.5));
    record.e2e_p95_ms = Some(quantile(&times, 0.95));
    record.e2e_min_ms = times.first().copied();
    match device_times(problem, &mut session, &output, effort.per_row)? {
        Ok(times) => add_device_times(&mut record, target, times),
        Err(()) => {
            return Ok(Outcome::Wrong("a run timed by the device gave other bits".into()));
        }
    }
    add_rates(&mut record, problem, target);
    Ok(Outcome::Timed(Box::new(record), output))
}

/// What is wrong with the host memory that is free; `None` where the row fits.
pub(super) fn lack_of_memory(problem: &Problem) -> Option<String> {
    let need = problem.row.host_bytes();
    let available = host::available_memory().filter(|a| need > a / 4 * 3)?;
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    Some(format!("{:.1} GiB of host memory are needed, {:.1} are free", gib(need), gib(available)))
}

pub(super) fn new_record(problem: &Problem, target: &Target) -> Record {
    let row = &problem.row;
    Record {
        name: row.name.clone(),
        batch: row.batch,
        steps: row.steps,
        input: row.input,
        hidden: row.hidden,
        layers: row.layers,
        bi: row.bi,
        lengths: row.lengths,
        engine: "wgru".into(),
        version: Some(env!("CARGO_PKG_VERSION").into()),
        device: target.name(),
        kind: Some(target.kind()),
        mode: target.precision().to_string(),
        reset: problem.gru.config().reset.to_string(),
        threads: match target {
            Target::Cpu { threads } => Some(*threads),
            Target::Gpu { .. } => None,
        },
        ..Record::default()
    }
}

/// The first run, and what a run is expected to take: `Err` where it comes from a prefix of the
/// steps of a row that may take long.
pub(super) fn first_run(
    problem: &Problem,
    session: &mut Session,
    record: &mut Record,
) -> Result<Result<Duration, Duration>, Error> {
    let (row, begin) = (&problem.row, Instant::now());
    let long = problem.flops() > TRIED_FLOPS || row.steps * row.layers > TRIED_STEPS;
    if !long || row.steps < 4 {
        session.run_with(&problem.inputs())?;
        record.first_run_ms = Some(milliseconds(begin.elapsed()));
        record.first_run_steps = Some(row.steps);
        return Ok(Ok(begin.elapsed()));
    }
    let steps = (row.steps / 50).max(2);
    session.run_with(&problem.prefix(steps))?;
    record.first_run_ms = Some(milliseconds(begin.elapsed()));
    record.first_run_steps = Some(steps);
    let begin = Instant::now();
    session.run_with(&problem.prefix(steps))?;
    let ratio = row.steps as f64 / steps as f64;
    Ok(Err(begin.elapsed().mul_f64(ratio)))
}

/// The output of a run as it will be timed, and whether it is right.
pub(super) fn verified_run(
    problem: &Problem,
    session: &mut Session,
    seed: u64,
) -> Result<(Output<f32>, Checked), Error> {
    let arithmetic = session.arithmetic();
    let inputs = problem.inputs();
    let output = session.run_with(&inputs)?;
    if problem.row.layers == 1 {
        let layers: [ArrayView3<'_, f32>; 1] = [output.hidden_states.view()];
        let checked = check::check(problem, &output, &layers, &arithmetic, seed)?;
        return Ok((output, checked));
    }
    let (whole, layers) = session.run_layers(&inputs)?;
    if whole != output {
        return Ok((output, Err("a run that keeps every layer's states gave other bits".into())));
    }
    drop(whole);
    let layers: Vec<_> = layers.iter().map(|l| l.view()).collect();
    let checked = check::check(problem, &output, &layers, &arithmetic, seed)?;
    // The plan of the timed runs, whose launches differ, is in place again.
    session.run_with(&inputs)?;
    Ok((output, checked))
}

/// Milliseconds of repeated runs, sorted; `None` where the last one's output is not `wanted`.
fn timed_runs(
    problem: &Problem,
    session: &mut Session,
    wanted: &Output<f32>,
    effort: Duration,
    one_run: Duration,
) -> Result<Option<Vec<f64>>, Error> {
    let inputs = problem.inputs();
    let fewest = if one_run > LONG { 1 } else { FEWEST_RUNS };
    let (begin, mut times) = (Instant::now(), Vec::new());
    loop {
        let start = Instant::now();
        let output = session.run_with(&inputs)?;
        times.push(milliseconds(start.elapsed()));
        let enough = times.len() >= fewest && begin.elapsed() >= effort;
        if enough || times.len() >= MOST_RUNS {
            times.sort_by(f64::total_cmp);
            return Ok((output == *wanted).then_some(times));
        }
    }
}

/// The run whose kernels took the median time; `None` where the device has no clock.
fn device_times(
    problem: &Problem,
    session: &mut Session,
    wanted: &Output<f32>,
    effort: Duration,
) -> Result<Result<Option<DeviceTimes>, ()>, Error> {
    if session.plan().is_none() {
        return Ok(Ok(None));
    }
    let (inputs, begin, mut all) = (problem.inputs(), Instant::now(), Vec::new());
    while all.len() < DEVICE_RUNS && (all.is_empty() || begin.elapsed() < effort) {
        let (output, times) = session.run_timed(&inputs)?;
        if output != *wanted {
            return Ok(Err(()));
        }
        match times {
            Some(times) => all.push(times),
            None => return Ok(Ok(None)),
        }
    }
    all.sort_by_key(|times| times.kernels);
    Ok(Ok(all.get(all.len() / 2).copied()))
}

pub(super) fn add_device_times(record: &mut Record, target: &Target, times: Option<DeviceTimes>) {
    if let Target::Cpu { .. } = target {
        record.ms = record.e2e_ms;
    }
    let Some(times) = times else { return };
    record.ms = Some(milliseconds(times.kernels));
    record.projection_ms = Some(milliseconds(times.projection));
    record.recurrence_ms = Some(milliseconds(times.recurrence));
    record.upload_ms = times.upload.map(milliseconds);
    record.read_back_ms = times.read_back.map(milliseconds);
    record.idle_ms = times.idle.map(milliseconds);
}

pub(super) fn add_rates(record: &mut Record, problem: &Problem, target: &Target) {
    let (row, Some(whole)) = (&problem.row, record.e2e_ms) else { return };
    let device = record.ms.unwrap_or(whole);
    let cell_steps = (row.steps * row.layers * row.directions()) as f64;
    record.us_per_cell_step = Some(device * 1e3 / cell_steps);
    record.row_steps_per_s = Some(problem.row_steps() as f64 / (whole / 1e3));
    // A coarse clock may give no time at all.
    record.gflops = Some(problem.flops() / device / 1e6).filter(|v| v.is_finite());
    let bytes = row.recurrent_weights() * target.precision().weight_bytes() as f64;
    let recurrence = record.recurrence_ms.unwrap_or(device);
    let rate = bytes * row.steps as f64 / recurrence / 1e6;
    record.weights_gb_per_s = Some(rate).filter(|v| v.is_finite());
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value below which a share `q` of `sorted` lies: the nearest rank.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!([quantile(&values, 0.5), quantile(&values, 0.95)], [10.0, 19.0]);
        assert_eq!([quantile(&[7.0], 0.5), quantile(&[7.0], 0.95)], [7.0, 7.0]);
    }
}
