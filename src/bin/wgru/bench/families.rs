//! One row on one adapter with every family of kernels: the planner's choice beside what it could
//! have chosen, each verified, then timed in turns.

use std::time::{Duration, Instant};

use wgru::{DeviceTimes, Error, ErrorKind, Inputs, KernelFamily, Output, PlanOptions, Session};

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

impl Families {
    /// What `kernels` gave; where they cannot run, they are skipped, but for the planner's choice,
    /// whose failure is the row's.
    fn or_skipped<T>(
        &mut self,
        outcome: Result<T, Error>,
        kernels: Kernels,
        planned: Kernels,
    ) -> Result<Option<T>, Error> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if kernels != planned && cannot_run(&error) => {
                self.skipped.push((kernels.name(), error.to_string()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
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
    const LADDER: [Self; 4] = [
        Self { family: KernelFamily::Step, wavefront: false, tuned: false },
        Self { family: KernelFamily::Step, wavefront: true, tuned: false },
        Self { family: KernelFamily::Sequence, wavefront: false, tuned: false },
        Self { family: KernelFamily::Matrix, wavefront: false, tuned: false },
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
    /// Why it runs no more.
    failed: Option<String>,
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
        let asked_for = match (kernels.family, target.matrices()) {
            (KernelFamily::Matrix, Ok(asked_for)) => asked_for,
            (KernelFamily::Matrix, Err(lack)) => {
                found.skipped.push((kernels.name(), lack.to_owned()));
                false
            }
            _ => true,
        };
        if kernels != own && (stacked || !kernels.wavefront) && asked_for {
            sessions.push((kernels, make(&kernels.options(&base))));
        }
    }
    if effort.tune.is_some() {
        let tuned = make(&PlanOptions { tune: effort.tune, ..base.clone() });
        let kernels = match &tuned {
            Ok((session, _)) => Kernels::of(session),
            Err(_) => Some(Kernels { tuned: true, ..own }),
        };
        sessions.extend(kernels.map(|kernels| (kernels, tuned)));
    }
    let mut expected = Duration::ZERO;
    for (kernels, made) in sessions {
        let Some((mut session, took)) = found.or_skipped(made, kernels, own)? else { continue };
        let mut record = new_record(problem, target);
        record.family = Some(kernels.family.to_string());
        record.wavefront = Some(kernels.wavefront);
        record.chosen = Some(kernels == own);
        record.tuned = session.tuning().map(|tuning| tuning.to_string());
        record.first_open_ms = Some(opened);
        record.first_session_ms = Some(milliseconds(took));
        record.device_bytes = Some(session.device_bytes());
        let first = first_run(problem, &mut session, &mut record);
        let one_run = match found.or_skipped(first, kernels, own)? {
            None => continue,
            Some(Ok(known)) => known,
            Some(Err(trial)) => {
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
        let verified = verified_run(problem, &mut session, effort.seed);
        let Some((output, checked)) = found.or_skipped(verified, kernels, own)? else { continue };
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
        sides.push(Side { kernels, session, record, output, calls, device, failed: None });
    }
    let rungs = |side: &Side| Kernels::LADDER.iter().position(|k| *k == side.kernels);
    sides.sort_by_key(|side| rungs(side).unwrap_or(usize::MAX));
    let faults = rounds(problem, &mut sides, effort.per_row, expected)?;
    for side in sides {
        if faults.contains(&side.kernels) {
            let fault = "a repeated run gave other bits than the verified one".to_owned();
            found.wrong.push((side.kernels.name(), fault));
        } else if let Some(reason) = side.failed {
            found.skipped.push((side.kernels.name(), reason));
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
            if side.failed.is_some() {
                continue;
            }
            match side.turn(&inputs) {
                Ok(true) => {}
                Ok(false) if faults.contains(&side.kernels) => {}
                Ok(false) => faults.push(side.kernels),
                Err(error) if side.record.chosen != Some(true) && cannot_run(&error) => {
                    side.failed = Some(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(faults)
}

impl Side {
    /// A whole call, and one that the device times. `false`: they gave other bits.
    fn turn(&mut self, inputs: &Inputs<'_>) -> Result<bool, Error> {
        let start = Instant::now();
        let output = self.session.run_with(inputs)?;
        self.calls.push(milliseconds(start.elapsed()));
        let mut same = output == self.output;
        if self.calls.len() == self.device.len() + 1 {
            let (output, times) = self.session.run_timed(inputs)?;
            same &= output == self.output;
            self.device.extend(times);
        }
        Ok(same)
    }

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

#[cfg(test)]
mod tests {
    use wgru::{Capabilities, GruConfig, Plan, SequenceShape};

    use super::*;

    #[test]
    fn kernels_that_cannot_run_leave_the_row_to_others() {
        let failed = |config: GruConfig| {
            let (shape, capabilities) = (SequenceShape::new(2, 2), Capabilities::downlevel());
            let options = PlanOptions { max_tile_rows: Some(0), ..PlanOptions::default() };
            Plan::new(&config, shape, &capabilities, &options).map(drop)
        };
        let request = || failed(GruConfig::new(3, 5));
        let [step, _, sequence, _] = Kernels::LADDER;
        let tuned = Kernels { tuned: true, ..step };
        let mut found = Families::default();
        for kernels in [sequence, tuned] {
            assert_eq!(found.or_skipped(request(), kernels, step).unwrap(), None);
        }
        assert_eq!(found.or_skipped(Ok(7), sequence, step).unwrap(), Some(7));
        let names: Vec<_> = found.skipped.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sequence", "the tuned session"]);
        assert!(found.skipped[0].1.contains("max_tile_rows"), "{:?}", found.skipped);
        // The planner's choice, and what no kernels could run.
        let error = found.or_skipped(request(), step, step).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        let error = found.or_skipped(failed(GruConfig::new(0, 0)), sequence, step).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(found.skipped.len(), 2);
    }
}
