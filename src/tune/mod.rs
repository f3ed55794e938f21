//! The choice of kernels by measurement, on the adapter at hand, for one session.
//!
//! | module | subject |
//! |---|---|
//! | `race` | which candidate is the fastest: a function of a clock and of times |
//! | `trial` | the runs that are timed |
//! | `record` | what the cache keeps |
//!
//! The candidates are the planner's (`plan/candidates.rs`): whatever wins is a plan that the planner
//! would have made had its table said so, with every law of one.

mod race;
mod record;
mod trial;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;

use crate::cache::{Cache, warn_once};
use crate::error::{Error, ErrorKind, Result};
use crate::gpu::{GpuContext, GpuSession};
use crate::model::Gru;
use crate::plan::{Candidates, Geometry, PlanOptions, candidates};
use crate::shape::SequenceShape;
use record::{KIND, Stored};
use trial::Trial;

/// How a session that was asked to ([`PlanOptions::tune`]) came to its kernels.
///
/// The kernels are the session's for all its runs. A row's result depends neither on its batch nor
/// on how a sequence is cut, as in any session; but another kernel may round differently, so a tuned
/// session's last bits can be others than an untuned one's, or those of one that was tuned on
/// another day.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tuning {
    /// The kernels of the session, in words.
    pub kernels: String,
    /// Those that the planner's table chooses; the same where nothing was clearly faster.
    pub planned: String,
    /// Time of a trial's fastest run with `kernels`, and of the fastest with `planned` beside it.
    pub microseconds: f64,
    /// See `microseconds`.
    pub planned_microseconds: f64,
    /// Steps of a trial's run, of as many rows as the session's largest shape has; 0 where a cached
    /// choice could not be made and the planner's choice took its place: nothing was measured then.
    pub steps: usize,
    /// Candidates that were measured, the planner's choice among them.
    pub candidates: usize,
    /// What the measurement took.
    pub seconds: f64,
    /// When it was made: seconds since 1970.
    pub measured_at: u64,
    /// Whether it is an earlier one's, from the cache.
    pub cached: bool,
}

impl Tuning {
    /// What the command line's `--tune` spends: two seconds.
    pub const DEFAULT_TIME: Duration = Duration::from_secs(2);
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tuned: {}: ", self.kernels)?;
        let [own, planned] = [self.microseconds, self.planned_microseconds];
        match (self.kernels == self.planned, self.candidates) {
            (true, 1) => write!(f, "the planner's choice, beside which nothing was measured")?,
            (true, n) => write!(
                f,
                "the planner's choice, {planned:.0} us in {} steps, than which none of {} other \
                 candidates is clearly faster",
                self.steps,
                n - 1
            )?,
            (false, n) => write!(
                f,
                "measured {own:.0} us in {} steps against {planned:.0} us of the planner's choice \
                 ({}), the fastest of {n} candidates",
                self.steps, self.planned
            )?,
        }
        match self.cached {
            true => write!(f, "; from the cache of {}", date(self.measured_at)),
            false => write!(f, "; in {:.1} s", self.seconds),
        }
    }
}

/// The session of `gru` for runs of up to `shape`: the kernels that `cache` names, else those that
/// are found to be the fastest within `limit`.
pub(crate) fn session(
    context: &GpuContext,
    gru: &Gru,
    shape: SequenceShape,
    options: &PlanOptions,
    limit: Duration,
    cache: &Cache,
) -> Result<(GpuSession, Option<Tuning>)> {
    // Nothing can be timed.
    if shape.steps == 0 || shape.batch == 0 {
        return Ok((GpuSession::new(context, gru, shape, options)?, None));
    }
    let groups = candidates(gru.config(), shape, context.capabilities(), options)?;
    let (geometries, first, variations) = numbered(&groups);
    let key = record::key(context, gru.config(), shape, options, &geometries);
    if let Some(stored) = cache.read::<Stored>(KIND, &key) {
        let known = geometries.iter().find(|g| g.label() == stored.kernels);
        let planned = geometries[0].label() == stored.planned;
        let wrong = match (known, stored.absurdity()) {
            (_, Some(absurdity)) => Err(absurdity.to_owned()),
            (None, None) => Err(format!("'{}' is no candidate", stored.kernels)),
            (Some(_), None) if !planned => Err("the planner now chooses otherwise".to_owned()),
            (Some(geometry), None) => Ok(*geometry),
        };
        let hasty = stored.allowed_seconds < limit.as_secs_f64();
        match wrong {
            // More time may find more.
            Ok(_) if hasty => {}
            Ok(geometry) => {
                let of = |geometry| trial::session(context, gru, shape, options, geometry);
                let made = of(geometry);
                let planned = geometries[0];
                let (session, failed) = or_planned(made, geometry == planned, || of(planned))?;
                let Some(error) = failed else { return Ok((session, Some(stored.tuning()))) };
                warn_once(format!(
                    "{}: not used: {geometry}, which was measured to be the fastest: {error}",
                    context.adapter()
                ));
                return Ok((session, Some(untried(planned))));
            }
            Err(reason) => {
                let path = cache.path(KIND, &key).unwrap_or_default();
                warn_once(format!("{}: ignored: {reason}", path.display()));
            }
        }
    }
    let mut trial = Trial::new(context, gru, shape, options, geometries.clone(), limit)?;
    let outcome = race::race(&mut trial, limit, &first, |base| {
        variations.iter().find(|(b, _)| *b == base).map_or(Vec::new(), |(_, all)| all.clone())
    })?;
    let tuning = Tuning {
        kernels: geometries[outcome.winner].label(),
        planned: geometries[0].label(),
        microseconds: microseconds(outcome.seconds),
        planned_microseconds: microseconds(outcome.planned),
        steps: trial.steps(),
        candidates: outcome.measured,
        seconds: race::Track::elapsed(&trial).as_secs_f64(),
        measured_at: now(),
        cached: false,
    };
    let session = trial.finish(outcome.winner)?;
    // What a time too short has found may be wrong, and would stay.
    if outcome.measured > 1 || geometries.len() == 1 {
        cache.keep(KIND, &key, &Stored::new(&tuning, limit));
    }
    log::info!("{tuning}");
    Ok((session, Some(tuning)))
}

/// What was `made` of a measured choice; where it cannot be, such as for lack of memory, what
/// `planned` makes, and why. A lost device fails, and so does the planner's choice itself.
fn or_planned<S>(
    made: Result<S>,
    is_planned: bool,
    planned: impl FnOnce() -> Result<S>,
) -> Result<(S, Option<Error>)> {
    match made {
        Ok(session) => Ok((session, None)),
        Err(error) if is_planned || error.kind() == ErrorKind::DeviceLost => Err(error),
        Err(error) => Ok((planned()?, Some(error))),
    }
}

/// Of a session with the planner's choice, for which nothing was measured.
fn untried(planned: Geometry) -> Tuning {
    Tuning {
        kernels: planned.label(),
        planned: planned.label(),
        microseconds: 0.0,
        planned_microseconds: 0.0,
        steps: 0,
        candidates: 1,
        seconds: 0.0,
        measured_at: now(),
        cached: false,
    }
}

/// Of whole nanoseconds, as clocks have them: so short a decimal is read back from the cache as it was
/// written.
fn microseconds(seconds: f64) -> f64 {
    (1e9 * seconds).round() / 1e3
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Every geometry, numbered; the numbers of the bases after the first, which is 0; those of the
/// variations of each base.
type Numbered = (Vec<Geometry>, Vec<usize>, Vec<(usize, Vec<usize>)>);

fn numbered(groups: &[Candidates]) -> Numbered {
    let mut geometries: Vec<Geometry> = groups.iter().map(|group| group.base).collect();
    let first = (1..geometries.len()).collect();
    let mut variations = Vec::new();
    for (base, group) in groups.iter().enumerate() {
        let begin = geometries.len();
        geometries.extend(&group.variations);
        variations.push((base, (begin..geometries.len()).collect()));
    }
    (geometries, first, variations)
}

/// The day of a moment in seconds since 1970, in UTC.
fn date(seconds: u64) -> String {
    // What a record of the cache says may be past the last year that has four digits.
    let moment = UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
    format_rfc3339_seconds(moment).to_string().chars().take_while(|c| *c != 'T').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_choice_that_cannot_be_made_gives_way() {
        let failed = |kind| Err::<u32, Error>(Error::new(kind, "no"));
        let (session, error) = or_planned(failed(ErrorKind::OutOfMemory), false, || Ok(2)).unwrap();
        assert_eq!((session, error.unwrap().kind()), (2, ErrorKind::OutOfMemory));
        let (session, error) = or_planned(Ok(1), false, || failed(ErrorKind::OutOfMemory)).unwrap();
        assert!(session == 1 && error.is_none());
        for (made, is_planned) in [(ErrorKind::DeviceLost, false), (ErrorKind::OutOfMemory, true)] {
            let error = or_planned(failed(made), is_planned, || Ok(2)).unwrap_err();
            assert_eq!(error.kind(), made);
        }
    }
}
