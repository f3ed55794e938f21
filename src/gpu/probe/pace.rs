//! How often a thing is measured, and what the measurements say.

use std::time::{Duration, Instant};

use super::lab::Run;
use crate::error::Result;
use crate::probe::Spread;

/// The time that a case may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Seconds of one run: long beside the cost of a submission, short beside a watchdog.
    pub(super) target: f64,
    /// Runs of a case, where the budget allows them.
    pub(super) samples: usize,
    /// Time of a case after which it ends.
    pub(super) budget: Duration,
}

/// Runs of one piece of work.
#[derive(Debug)]
pub(super) struct Timing {
    /// How much work a run was.
    pub(super) scale: u32,
    pub(super) runs: Vec<Run>,
}

/// A spread by the device's clock, one by the host's.
pub(super) type Spreads = [Option<Spread>; 2];

impl Pace {
    pub(super) fn thorough() -> Self {
        Self { target: 0.012, samples: 9, budget: Duration::from_millis(220) }
    }

    pub(super) fn quick() -> Self {
        Self { target: 0.002, samples: 3, budget: Duration::from_millis(15) }
    }

    /// Runs `run(scale)`, whose work grows with the scale in proportion, at a scale that takes about
    /// the target time. No run is longer than eight of the one before, so that none can meet a
    /// watchdog unexpectedly.
    pub(super) fn measure(
        &self,
        largest: u32,
        mut run: impl FnMut(u32) -> Result<Run>,
    ) -> Result<Timing> {
        let began = Instant::now();
        let mut scale = 1;
        // The first run may compile, allocate, and wake the device.
        run(scale)?;
        loop {
            let Run { host, device, .. } = run(scale)?;
            // The host's clock has other programs in it.
            let taken = device.unwrap_or(host);
            let enough = taken > 0.6 * self.target || host > 4.0 * self.target;
            if enough || scale >= largest || began.elapsed() > 2 * self.budget {
                break;
            }
            let factor = (self.target / taken.max(1e-9)).clamp(2.0, 8.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "2 to 8")]
            let factor = factor as u32;
            scale = scale.saturating_mul(factor).min(largest);
        }
        let mut runs = Vec::new();
        let began = Instant::now();
        loop {
            runs.push(run(scale)?);
            let late = match runs.len() {
                n if n >= self.samples => true,
                n if n >= 3 => began.elapsed() > self.budget,
                _ => began.elapsed() > 4 * self.budget,
            };
            if late {
                return Ok(Timing { scale, runs });
            }
        }
    }
}

impl Timing {
    fn spreads(&self, value: impl Fn(f64) -> f64) -> Spreads {
        let device: Option<Vec<f64>> = self.runs.iter().map(|r| r.device.map(&value)).collect();
        let host = self.runs.iter().map(|r| value(r.host)).collect();
        [device.and_then(Spread::of), Spread::of(host)]
    }

    /// A run's time divided among `count` things, in units of which a second has `unit`.
    pub(super) fn times(&self, count: f64, unit: f64) -> Spreads {
        self.spreads(|seconds| seconds * unit / count)
    }

    /// Milliards of `amount` a second.
    pub(super) fn rates(&self, amount: f64) -> Spreads {
        self.spreads(|seconds| amount / seconds / 1e9)
    }
}
