//! One row on one adapter with every family of kernels: the planner's choice beside what it could
//! have chosen, each verified, then timed in turns.

use std::time::{Duration, Instant};

use wgru::{DeviceTimes, Error, ErrorKind, KernelFamily, Output, PlanOptions, Session};

use super::check::Sample;
use super::measure::{
    CLOSE, CLOSE_F16, Effort, FEWEST_RUNS, LONG, add_device_times, add_rates, first_run,
    lack_of_memory, milliseconds, new_record, quantile, verified_run,
};
use super::problem::Problem;
use super::record::Record;
use super::target::Target;

/// Rounds in which every family runs, at most.
const MOST_ROUNDS: usize = 200;

/// How a row ended on an adapter.
#[derive(Default)]
pub(crate) struct Families {
    /// In the order of the ladder.
    pub(crate) timed: Vec<Record>,
    /// Kernels, and why they have no time.
    pub(crate) skipped: Vec<(String, String)>,
    /// Kernels whose result was wrong, and what is wrong with it.
    pub(crate) wrong: Vec<(String, String)>,
}

/// Kernels that a session can be made to run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kernels {
    family: KernelFamily,
    wavefront: bool,
    /// The session was tuned.
    tuned: bool,
}

impl Kernels {
    /// From the plainest to the most particular.
    const LADDER: [Self; 3] = [
        Self { family: KernelFamily::Step, wavefront: false, tuned: false },
        Self { family: KernelFamily::Step, wavefront: true, tuned: false },
        Self { family: KernelFamily::Sequence, wavefront: false, tuned: false },
    ];

    fn of(session: &Session) -> Option<Self> {
        let plan = session.plan()?;
        let tuned = session.tuning().is_some();
        Some(Self { family: plan.family(), wavefront: plan.is_wavefront(), tuned })
    }

    fn name(self) -> String {
        match self {
            Self { tuned: true, .. } => "the tuned session".into(),
            Self { family, wavefront: true, .. } => format!("{family} wavefront"),
            Self { family, .. } => family.to_string(),
        }
    }

    fn options(self, base: &PlanOptions) -> PlanOptions {
        let wavefront = (self.family == KernelFamily::Step).then_some(self.wavefront);
        PlanOptions { family: Some(self.family), wavefront, ..base.clone() }
    }
}

/// A session with some kernels, and what was measured of it.
struct Side {
    kernels: Kernels,
    session: Session,
    record: Record,
    output: Output<f32>,
    calls: Vec<f64>,
    device: Vec<DeviceTimes>,
}

/// Times `problem` on an adapter with the kernels that the planner chooses and with all others
/// that can run it.
pub(crate) fn measure(
    problem: &Problem,
    target: &Target,
    effort: &Effort,
) -> Result<Families, Error> {
    let mut found = Families::default();
    let planner = "the planner's choice".to_owned();
    if let Some(lack) = lack_of_memory(problem) {
        found.skipped.push((planner, lack));
        return Ok(found);
    }
    let begin = Instant::now();
    let device = target.open()?;
    let opened = milliseconds(begin.elapsed());
    let base = PlanOptions { precision: target.precision(), ..PlanOptions::default() };
    let make = |options: &PlanOptions| {
        let begin = Instant::now();
        let session = problem.gru.session_with(&device, problem.row.shape(), options)?;
        Ok::<_, Error>((session, begin.elapsed()))
    };
    let chosen = make(&base)?;
    let Some(own) = Kernels::of(&chosen.0) else { return Ok(found) };
    let mut sides: Vec<Side> = Vec::new();
    let mut sessions = vec![(own, Ok(chosen))];
    let stacked = problem.row.layers > 1 && !problem.row.bi;
    for kernels in Kernels::LADDER {
        if kernels != own && (stacked || !kernels.wavefront) {
            sessions.push((kernels, make(&kernels.options(&base))));
        }
    }
    if effort.tune.is_some() {
        let tuned = make(&PlanOptions { tune: effort.tune, ..base.clone() })?;
        if let Some(kernels) = Kernels::of(&tuned.0) {
            sessions.push((kernels, Ok(tuned)));
        }
    }
    let mut expected = Duration::ZERO;
    for (kernels, made) in sessions {
        let (mut session, took) = match made {
            Ok(made) => made,
            Err(error) if kernels != own && cannot_run(&error) => {
                found.skipped.push((kernels.name(), error.to_string()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut record = new_record(problem, target);
        record.family = Some(kernels.family.to_string());
        record.wavefront = Some(kernels.wavefront);
        record.chosen = Some(kernels == own);
        record.tuned = session.tuning().map(|tuning| tuning.to_string());
        record.first_open_ms = Some(opened);
        record.first_session_ms = Some(milliseconds(took));
        record.device_bytes = Some(session.device_bytes());
        let one_run = match first_run(problem, &mut session, &mut record)? {
            Ok(known) => known,
            Err(trial) => {
                // Verification, which looks at every layer of a stack, then rounds of two runs.
                let runs = if trial > LONG { 1 } else { FEWEST_RUNS };
                let runs = 4 + 2 * u32::try_from(runs).unwrap_or(u32::MAX);
                if let Some(reason) = effort.refusal(expected + trial * runs) {
                    found.skipped.push((kernels.name(), reason));
                    continue;
                }
                trial
            }
        };
        let (output, checked) = verified_run(problem, &mut session, effort.seed)?;
        let checked = checked.and_then(|verified| match sides.first() {
            Some(first) => beside(&output, first, target).map(|()| verified),
            None => Ok(verified),
        });
        match checked {
            Ok(verified) => record.verified = Some(verified),
            Err(fault) => {
                found.wrong.push((kernels.name(), fault));
                continue;
            }
        }
        expected += one_run;
        let (calls, device) = (Vec::new(), Vec::new());
        sides.push(Side { kernels, session, record, output, calls, device });
    }
    let rungs = |side: &Side| Kernels::LADDER.iter().position(|k| *k == side.kernels);
    sides.sort_by_key(|side| rungs(side).unwrap_or(usize::MAX));
    let faults = rounds(problem, &mut sides, effort.per_row, expected)?;
    for side in sides {
        if faults.contains(&side.kernels) {
            let fault = "a repeated run gave other bits than the verified one".to_owned();
            found.wrong.push((side.kernels.name(), fault));
        } else {
            found.timed.push(side.finish(problem, target));
        }
    }
    Ok(found)
}

/// Whether other kernels may run what these cannot.
fn cannot_run(error: &Error) -> bool {
    use ErrorKind::{ExceedsLimits, InvalidRequest, OutOfMemory, UnsupportedDevice};
    matches!(error.kind(), InvalidRequest | UnsupportedDevice | ExceedsLimits | OutOfMemory)
}

/// Whether the output is as near to another family's as two f32 engines are.
fn beside(output: &Output<f32>, first: &Side, target: &Target) -> Result<(), String> {
    let allowed = if target.precision() == wgru::Precision::F32 { CLOSE } else { CLOSE_F16 };
    let sample = Sample::new(&first.output, first.kernels.name(), target.precision());
    let difference = sample.difference(output);
    if difference.is_nan() || difference > allowed {
        return Err(format!("the output differs by {difference:e} from that of {}", sample.of));
    }
    Ok(())
}

/// Runs every side once a round: a whole call, then one that the device times. The side that
/// begins changes from round to round. Gives the kernels that once gave other bits.
fn rounds(
    problem: &Problem,
    sides: &mut [Side],
    each: Duration,
    one_round: Duration,
) -> Result<Vec<Kernels>, Error> {
    let inputs = problem.inputs();
    let fewest = if one_round > LONG { 1 } else { FEWEST_RUNS };
    let effort = each * u32::try_from(sides.len()).unwrap_or(u32::MAX);
    let (begin, mut faults) = (Instant::now(), Vec::new());
    for round in 0..MOST_ROUNDS {
        if round >= fewest && begin.elapsed() >= effort {
            break;
        }
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            let side = &mut sides[at];
            let start = Instant::now();
            let output = side.session.run_with(&inputs)?;
            side.calls.push(milliseconds(start.elapsed()));
            let mut same = output == side.output;
            if side.calls.len() == side.device.len() + 1 {
                let (output, times) = side.session.run_timed(&inputs)?;
                same &= output == side.output;
                side.device.extend(times);
            }
            if !same && !faults.contains(&side.kernels) {
                faults.push(side.kernels);
            }
        }
    }
    Ok(faults)
}

impl Side {
    fn finish(mut self, problem: &Problem, target: &Target) -> Record {
        self.calls.sort_by(f64::total_cmp);
        self.record.runs = Some(self.calls.len());
        self.record.e2e_ms = Some(quantile(&self.calls, 0.5));
        self.record.e2e_p95_ms = Some(quantile(&self.calls, 0.95));
        self.record.e2e_min_ms = self.calls.first().copied();
        self.device.sort_by_key(|times| times.kernels);
        let median = self.device.get(self.device.len() / 2).copied();
        add_device_times(&mut self.record, target, median);
        add_rates(&mut self.record, problem, target);
        self.record
    }
}
