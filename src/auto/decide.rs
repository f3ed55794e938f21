//! Which engine, and why: a function of numbers alone.

use std::fmt::Write;

use super::costs::{Costs, Work};
use crate::shape::SequenceShape;

/// An engine that could run the work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// What the reason calls it.
    pub(crate) name: String,
    /// Or why it cannot.
    pub(crate) costs: Result<Costs, String>,
}

/// The engine with the least expected time; of equals the first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// Index of the candidate; `None` where none can run the work.
    pub(crate) chosen: Option<usize>,
    /// Microseconds of each candidate that can run it.
    pub(crate) expected: Vec<Option<f64>>,
    pub(crate) reason: String,
}

/// Decides between `candidates`.
pub(crate) fn decide(candidates: &[Candidate], work: &Work, shape: SequenceShape) -> Decision {
    let expected: Vec<Option<f64>> =
        candidates.iter().map(|c| c.costs.as_ref().ok().map(|c| c.expected(work))).collect();
    let mut chosen: Option<(usize, f64)> = None;
    for (index, time) in expected.iter().enumerate() {
        if let Some(time) = *time
            && chosen.is_none_or(|(_, best)| time < best)
        {
            chosen = Some((index, time));
        }
    }
    let chosen = chosen.map(|(index, _)| index);
    let mut reason = String::new();
    // The chosen one first.
    let others = (0..candidates.len()).filter(|i| Some(*i) != chosen);
    for (n, index) in chosen.into_iter().chain(others).enumerate() {
        let separator = if n == 0 { "" } else { ", " };
        let name = &candidates[index].name;
        let _ = match (expected[index], &candidates[index].costs) {
            (Some(time), _) if n == 0 => {
                write!(reason, "{separator}{name}: {} expected", microseconds(time))
            }
            (Some(time), _) => write!(reason, "{separator}{name} {}", microseconds(time)),
            (None, Err(why)) => write!(reason, "{separator}{name} cannot: {why}"),
            (None, Ok(_)) => Ok(()),
        };
    }
    let _ = write!(reason, ": {}", describe(shape));
    Decision { chosen, expected, reason }
}

/// "one row, 100 steps".
fn describe(shape: SequenceShape) -> String {
    let count = |n: usize, one: &str| match n {
        1 => format!("one {one}"),
        n => format!("{n} {one}s"),
    };
    format!("{}, {}", count(shape.batch, "row"), count(shape.steps, "step"))
}

/// A time in the unit that suits it, two digits at least.
pub(crate) fn microseconds(us: f64) -> String {
    let digits = |v: f64| match v {
        v if v < 10.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    };
    match us {
        us if us < 1e3 => format!("{} µs", digits(us)),
        us if us < 1e6 => format!("{} ms", digits(us / 1e3)),
        us => format!("{} s", digits(us / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::costs::Class;
    use super::*;
    use crate::config::GruConfig;

    fn candidate(name: &str, class: Class) -> Candidate {
        Candidate { name: name.into(), costs: Ok(Costs::assumed(class)) }
    }

    fn chosen(candidates: &[Candidate], hidden: usize, steps: usize, batch: usize) -> Decision {
        let (config, shape) = (GruConfig::new(hidden, hidden), SequenceShape::new(steps, batch));
        decide(candidates, &Work::new(&config, shape), shape)
    }

    #[test]
    fn a_large_gpu_takes_large_work_only() {
        let machine =
            [candidate("CPU", Class::Cpu { threads: 16 }), candidate("GPU", Class::Discrete)];
        let of = |h, t, b| chosen(&machine, h, t, b).chosen;
        assert_eq!(of(64, 1, 1), Some(0));
        assert_eq!(of(64, 100, 1), Some(0));
        assert_eq!(of(256, 1, 1), Some(0));
        assert_eq!(of(256, 100, 1024), Some(1));
        assert_eq!(of(1024, 100, 256), Some(1));
        let reason = chosen(&machine, 64, 100, 1).reason;
        assert!(reason.starts_with("CPU: ") && reason.contains(" expected, GPU "), "{reason}");
        assert!(reason.ends_with(": one row, 100 steps"), "{reason}");
        let reason = chosen(&machine, 256, 1, 4096).reason;
        assert!(reason.starts_with("GPU: ") && reason.ends_with("4096 rows, one step"), "{reason}");
    }

    #[test]
    fn a_small_gpu_takes_less() {
        let cpu = candidate("CPU", Class::Cpu { threads: 8 });
        let [large, small] =
            [Class::Discrete, Class::Shared].map(|class| [cpu.clone(), candidate("GPU", class)]);
        let mut kept = 0;
        for batch in [1, 4, 16, 64, 256, 1024, 4096] {
            let of = |machine| chosen(machine, 256, 50, batch).chosen == Some(1);
            assert!(of(&large) || !of(&small), "what the small one takes, the large one does");
            kept += usize::from(of(&large) && !of(&small));
        }
        assert!(kept > 0, "there are batches that the large one alone takes");
    }

    #[test]
    fn without_a_gpu_it_is_the_cpu() {
        let alone = [candidate("CPU", Class::Cpu { threads: 2 })];
        let decision = chosen(&alone, 1024, 100, 256);
        assert_eq!(decision.chosen, Some(0));
        assert!(decision.reason.starts_with("CPU: "), "{}", decision.reason);
    }

    #[test]
    fn what_cannot_run_is_not_chosen_and_said() {
        let machine = [
            candidate("CPU", Class::Cpu { threads: 1 }),
            Candidate { name: "GPU".into(), costs: Err("it is too large".into()) },
        ];
        let decision = chosen(&machine, 2048, 1000, 4096);
        assert_eq!((decision.chosen, decision.expected[1]), (Some(0), None));
        assert!(decision.reason.contains("GPU cannot: it is too large"), "{}", decision.reason);
        assert_eq!(chosen(&machine[1..], 8, 8, 8).chosen, None);
    }

    #[test]
    fn equal_times_are_the_first_ones() {
        let twice = [candidate("a", Class::Discrete), candidate("b", Class::Discrete)];
        assert_eq!(chosen(&twice, 256, 10, 10).chosen, Some(0));
    }

    /// More of anything takes longer, and measured points come back as they are.
    #[test]
    fn expectations_grow_and_keep_to_the_points() {
        for class in [Class::Cpu { threads: 4 }, Class::Discrete, Class::Shared] {
            let costs = Costs::assumed(class);
            assert!(costs.is_sound());
            let time = |h: usize, t: usize, b: usize| {
                let (config, shape) = (GruConfig::new(h, h), SequenceShape::new(t, b));
                costs.expected(&Work::new(&config, shape))
            };
            for n in [1usize, 3, 20, 63, 64, 65, 255, 300, 1024, 4000] {
                assert!(time(n, 10, 7) < time(n + n.div_ceil(3), 10, 7), "hidden {n}");
                assert!(time(100, n, 7) < time(100, n + 1, 7), "steps {n}");
                assert!(time(100, 10, n) < time(100, 10, n + n.div_ceil(3)), "rows {n}");
            }
            assert_eq!(time(10, 0, 4), costs.call);
            let work = Work {
                steps: 10.0,
                rows: 16.0,
                hidden: 256.0,
                layers: 1.0,
                both: false,
                before: false,
                product: 0.0,
                bytes: 0.0,
            };
            let wanted = costs.call + 10.0 * costs.step[1][1];
            assert!((costs.expected(&work) - wanted).abs() < 1e-9 * wanted);
            let deep = Work { layers: 3.0, before: true, both: true, ..work };
            let wanted = costs.call + 30.0 * costs.step[1][1] * costs.both * costs.before;
            assert!((costs.expected(&deep) - wanted).abs() < 1e-9 * wanted);
        }
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(
            [3.21, 40.0, 4321.0, 2e6].map(microseconds),
            ["3.2 µs", "40 µs", "4.3 ms", "2.0 s"]
        );
    }
}
