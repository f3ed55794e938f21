//! Which candidate is the fastest, as a function of a clock and of the times of runs.

use std::time::Duration;

/// A candidate must take this part of the planner's choice's time, or less, to replace it.
const GAIN: f64 = 0.97;
/// Pairs of runs of a candidate and the planner's choice.
const FEWEST_PAIRS: usize = 2;
const MOST_PAIRS: usize = 9;
/// A candidate whose runs all take so many times as long is not run again: after the first pair, and
/// after the fewest.
const HOPELESS: [f64; 2] = [4.0, 1.5];

/// What a race needs: a clock, and runs.
pub(super) trait Track {
    type Error;

    /// Time since the race began.
    fn elapsed(&self) -> Duration;
    /// Makes `candidate` the one that runs beside the planner's choice. `false`: it cannot run.
    fn enter(&mut self, candidate: usize) -> Result<bool, Self::Error>;
    /// Seconds of a run of the planner's choice.
    fn planned(&mut self) -> Result<f64, Self::Error>;
    /// Seconds of a run of the candidate.
    fn candidate(&mut self) -> Result<f64, Self::Error>;
}

/// How a race ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// The fastest candidate; 0 is the planner's choice.
    pub(super) winner: usize,
    /// Seconds of its fastest run, and of the fastest of the planner's choice beside it: what slows
    /// a run down is something else.
    pub(super) seconds: f64,
    pub(super) planned: f64,
    /// Candidates that were measured, the planner's choice among them.
    pub(super) measured: usize,
}

/// A candidate beside the planner's choice.
#[derive(Clone, Copy, Debug)]
struct Duel {
    candidate: usize,
    seconds: f64,
    planned: f64,
}

/// Races candidates against the planner's choice: those of `first`, then those that `then` names
/// for the fastest of them so far (0: the planner's choice). No run, and no entry, begins after
/// `limit`. Candidates for which no time is left are not measured.
pub(super) fn race<T: Track>(
    track: &mut T,
    limit: Duration,
    first: &[usize],
    then: impl FnOnce(usize) -> Vec<usize>,
) -> Result<Outcome, T::Error> {
    let mut duels: Vec<Duel> = Vec::new();
    // Half of the time is for what then varies the fastest.
    let half = track.elapsed().saturating_add(limit) / 2;
    all(track, [half, limit], first, &mut duels)?;
    let fastest = best(&duels, 1.0).map_or(0, |duel| duel.candidate);
    all(track, [limit, limit], &then(fastest), &mut duels)?;
    let measured = duels.len() + 1;
    Ok(match best(&duels, GAIN) {
        Some(Duel { candidate, seconds, planned, .. }) => {
            Outcome { winner: *candidate, seconds: *seconds, planned: *planned, measured }
        }
        None => {
            let planned = duels.iter().map(|duel| duel.planned).reduce(f64::min).unwrap_or(0.0);
            Outcome { winner: 0, seconds: planned, planned, measured }
        }
    })
}

/// The duel with the least ratio, below `most`, of the candidate's time to that of the planner's choice.
fn best(duels: &[Duel], most: f64) -> Option<&Duel> {
    let ratio = |duel: &Duel| duel.seconds / duel.planned;
    let faster = duels.iter().filter(|duel| ratio(duel) < most);
    faster.min_by(|a, b| ratio(a).total_cmp(&ratio(b)))
}

/// Measures `candidates`, each in an even share of the time until `until`, none after `limit`.
fn all<T: Track>(
    track: &mut T,
    [until, limit]: [Duration; 2],
    candidates: &[usize],
    duels: &mut Vec<Duel>,
) -> Result<(), T::Error> {
    for (i, candidate) in candidates.iter().enumerate() {
        let now = track.elapsed();
        let others = u32::try_from(candidates.len() - i).unwrap_or(u32::MAX);
        let end = now + until.saturating_sub(now) / others;
        if now >= limit || !track.enter(*candidate)? {
            continue;
        }
        duels.extend(duel(track, *candidate, end, limit)?);
    }
    Ok(())
}

/// Pairs of runs, each begun by the one that the last one ended with, until `end`; `None` where
/// `limit` leaves time for too few.
fn duel<T: Track>(
    track: &mut T,
    candidate: usize,
    end: Duration,
    limit: Duration,
) -> Result<Option<Duel>, T::Error> {
    let (mut own, mut planned) = (f64::INFINITY, f64::INFINITY);
    let (mut pairs, mut hopeless) = (0, false);
    while pairs < MOST_PAIRS && !hopeless {
        let now = track.elapsed();
        if now >= limit || pairs >= FEWEST_PAIRS && now >= end {
            break;
        }
        if pairs % 2 == 0 {
            planned = planned.min(track.planned()?);
            own = own.min(track.candidate()?);
        } else {
            own = own.min(track.candidate()?);
            planned = planned.min(track.planned()?);
        }
        pairs += 1;
        hopeless = own > planned * HOPELESS[usize::from(pairs >= FEWEST_PAIRS)];
    }
    // A clock too coarse for the runs tells nothing.
    let sound = own.is_finite() && own > 0.0 && planned > 0.0;
    let told = sound && (pairs >= FEWEST_PAIRS || hopeless);
    Ok(told.then_some(Duel { candidate, seconds: own, planned }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Candidates with a time of their own on a clock that only runs and entries move.
    struct Fake {
        now: f64,
        entry: f64,
        /// Seconds of a run by candidate; infinite: it cannot run. The planner's choice first.
        times: Vec<f64>,
        entered: Vec<usize>,
        begun: Vec<f64>,
    }

    impl Fake {
        fn new(times: &[f64]) -> Self {
            let times = times.to_vec();
            Self { now: 0.0, entry: 0.01, times, entered: Vec::new(), begun: Vec::new() }
        }

        fn take(&mut self, seconds: f64) -> f64 {
            self.begun.push(self.now);
            self.now += seconds;
            seconds
        }

        fn race(&mut self, limit: f64, first: &[usize], then: &[(usize, &[usize])]) -> Outcome {
            let limit = Duration::from_secs_f64(limit);
            let of = |fastest| {
                let found = then.iter().find(|(base, _)| *base == fastest);
                found.map_or(Vec::new(), |(_, variations)| variations.to_vec())
            };
            race(self, limit, first, of).unwrap()
        }
    }

    impl Track for Fake {
        type Error = std::convert::Infallible;

        fn elapsed(&self) -> Duration {
            Duration::from_secs_f64(self.now)
        }

        fn enter(&mut self, candidate: usize) -> Result<bool, Self::Error> {
            self.take(self.entry);
            self.entered.push(candidate);
            Ok(self.times[candidate].is_finite())
        }

        fn planned(&mut self) -> Result<f64, Self::Error> {
            let seconds = self.times[0];
            Ok(self.take(seconds))
        }

        fn candidate(&mut self) -> Result<f64, Self::Error> {
            let seconds = self.times[*self.entered.last().expect("one was entered")];
            Ok(self.take(seconds))
        }
    }

    #[test]
    fn the_fastest_wins() {
        let mut fake = Fake::new(&[0.010, 0.020, 0.008, 0.007, 0.001]);
        let outcome = fake.race(2.0, &[1, 2], &[(2, &[3]), (0, &[4])]);
        assert_eq!((outcome.winner, outcome.measured), (3, 4));
        assert_eq!((outcome.seconds, outcome.planned), (0.007, 0.010));
        assert_eq!(fake.entered, [1, 2, 3]);
    }

    #[test]
    fn the_planners_choice_stays_unless_another_clearly_gains() {
        let mut fake = Fake::new(&[0.010, 0.0098, 0.012]);
        let outcome = fake.race(2.0, &[1], &[(1, &[2])]);
        assert_eq!((outcome.winner, outcome.seconds, outcome.planned), (0, 0.010, 0.010));
        // The variations are those of the fastest, however little it gains.
        assert_eq!(fake.entered, [1, 2]);
        let alone = Fake::new(&[0.010]).race(2.0, &[], &[]);
        assert_eq!((alone.winner, alone.measured), (0, 1));
    }

    #[test]
    fn nothing_begins_after_the_limit() {
        for limit in [0.0, 0.005, 0.05, 0.3, 2.0] {
            let times: Vec<f64> = (0..12).map(|n| 0.02 - 0.001 * f64::from(n)).collect();
            let mut fake = Fake::new(&times);
            let outcome = fake.race(limit, &[1, 2, 3], &[(3, &[4, 5, 6, 7, 8, 9, 10, 11])]);
            // A pair that has begun is ended.
            let last = fake.begun.iter().copied().fold(0.0, f64::max);
            assert!(last < limit + 0.021, "{last} of {limit}");
            assert!(outcome.winner < times.len() && outcome.measured <= 12);
            if limit >= 2.0 {
                assert_eq!(outcome.winner, 11, "all were measured");
            }
            if limit == 0.0 {
                assert_eq!((outcome.winner, fake.entered.len()), (0, 0));
            }
        }
    }

    #[test]
    fn what_cannot_run_or_is_far_behind_costs_little() {
        let mut fake = Fake::new(&[0.010, f64::INFINITY, 0.100, 0.005]);
        let outcome = fake.race(1.0, &[1, 2, 3], &[]);
        assert_eq!((outcome.winner, outcome.measured), (3, 3));
        let slow = fake.begun.windows(2).filter(|pair| pair[1] - pair[0] > 0.09).count();
        assert_eq!(slow, 1, "it is run once");
    }

    #[test]
    fn no_limit_is_too_long() {
        let mut fake = Fake::new(&[0.010, 0.005]);
        fake.now = 1.0;
        let outcome = race(&mut fake, Duration::MAX, &[1], |_| Vec::new()).unwrap();
        assert_eq!((outcome.winner, outcome.measured), (1, 2));
    }

    #[test]
    fn coarse_clocks_decide_nothing() {
        let outcome = Fake::new(&[0.0, 0.0]).race(1.0, &[1], &[]);
        assert_eq!((outcome.winner, outcome.measured), (0, 1));
    }
}
