//! The comparator, and what a check found.

use std::fmt;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Layer, from the input.
    pub layer: usize,
    /// Direction of the layer: 0, or 1 for the second of a bidirectional one.
    pub direction: usize,
    /// Time step; `None` for the final state.
    pub step: Option<usize>,
    /// Row of the batch.
    pub row: usize,
    /// Unit, 0..H.
    pub unit: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, direction, step, row, unit } = self;
        write!(f, "layer {layer}, direction {direction}, ")?;
        match step {
            Some(step) => write!(f, "step {step}, ")?,
            None => f.write_str("final state, ")?,
        }
        write!(f, "row {row}, unit {unit}")
    }
}

/// One value of an engine beside the one wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Where.
    pub location: Location,
    /// The engine's value.
    pub got: f32,
    /// The exact step from the engine's own operands; 0 past a row's length; for the final state,
    /// the engine's state after the row's last step.
    pub want: f64,
    /// Largest difference that the engine's arithmetic explains; 0 where a value is only copied.
    pub bound: f64,
}

impl Comparison {
    /// `|got - want| / bound`: passes up to 1. 0 for equal values, NaN with NaN among them;
    /// infinite where one is NaN alone, where infinities differ, and where a copy is not exact.
    /// `None` where the operands decide nothing (see [`Verification::undecided`]).
    pub fn ratio(&self) -> Option<f64> {
        let (got, want) = (f64::from(self.got), self.want);
        if !self.bound.is_finite() {
            return None;
        }
        if want.is_finite() && self.bound > 0.0 && want.abs() + self.bound > f64::from(f32::MAX) {
            return None;
        }
        let equal = got == want || (got.is_nan() && want.is_nan());
        Some(match (got - want).abs() / self.bound {
            _ if equal => 0.0,
            ratio if ratio.is_nan() => f64::INFINITY,
            ratio => ratio,
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, got, want, bound } = self;
        write!(f, "{location}: got {got:e}, want {want:e}, bound {bound:.2e}")
    }
}

/// Largest difference between an engine's output and the reference's own run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// Where, in the last layer.
    pub location: Location,
    /// The engine's value.
    pub got: f32,
    /// The reference's.
    pub want: f64,
    /// `|got - want|`; infinite where only one is NaN, or infinities differ.
    pub difference: f64,
}

/// What [`verify`](super::verify) found.
///
/// [`Display`](fmt::Display) prints it in a few lines.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Verification {
    /// Values compared: every unit of every step, of the padding and of the final state.
    pub compared: u64,
    /// Values about which the operands decide nothing, so that they were not compared: a sum may
    /// overflow f32, or an infinity is multiplied by a value that may be 0. Always 0 for ordinary
    /// finite operands.
    pub undecided: u64,
    /// Of the values compared, those that are NaN on both sides, as their operands demand. Always
    /// 0 for finite weights, inputs and states, unless a sum overflows.
    pub not_a_number: u64,
    /// Values outside their bound.
    pub mismatches: u64,
    /// The first mismatches, [`Verification::LISTED`] at most.
    pub listed: Vec<Comparison>,
    /// The comparison with the largest ratio; `None` where nothing was compared.
    pub worst: Option<Comparison>,
    /// Largest difference of the last layer's states from those of the reference run in f64 from
    /// the start. Grows with depth and length and decides nothing. `None` for an empty output.
    pub end_to_end: Option<Deviation>,
}

impl Verification {
    /// Mismatches that are kept in [`Verification::listed`].
    pub const LISTED: usize = 16;

    /// Whether at least one value was compared and all were within their bounds.
    pub fn passed(&self) -> bool {
        self.compared > 0 && self.mismatches == 0
    }

    /// Whether nothing was compared: no rows, or nothing that the operands decide.
    pub fn is_empty(&self) -> bool {
        self.compared == 0
    }

    /// The largest `|got - want| / bound`; 0 where nothing was compared.
    pub fn worst_ratio(&self) -> f64 {
        self.worst.and_then(|w| w.ratio()).unwrap_or(0.0)
    }

    pub(super) fn record(&mut self, comparison: Comparison) {
        let Some(ratio) = comparison.ratio() else {
            self.undecided += 1;
            return;
        };
        self.compared += 1;
        self.not_a_number += u64::from(comparison.got.is_nan() && comparison.want.is_nan());
        if self.worst.is_none() || ratio > self.worst_ratio() {
            self.worst = Some(comparison);
        }
        if ratio > 1.0 {
            self.mismatches += 1;
            if self.listed.len() < Self::LISTED {
                self.listed.push(comparison);
            }
        }
    }

    pub(super) fn record_end_to_end(&mut self, location: Location, got: f32, want: f64) {
        let exact = f64::from(got);
        let equal = exact == want || (exact.is_nan() && want.is_nan());
        let difference = match (exact - want).abs() {
            _ if equal => 0.0,
            d if d.is_nan() => f64::INFINITY,
            d => d,
        };
        if self.end_to_end.is_none_or(|largest| difference > largest.difference) {
            self.end_to_end = Some(Deviation { location, got, want, difference });
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.passed() {
            true => "passed",
            false if self.is_empty() => "nothing to compare",
            false => "FAILED",
        };
        write!(f, "{verdict}: {} values compared", self.compared)?;
        if self.not_a_number > 0 {
            write!(f, ", {} of them NaN on both sides", self.not_a_number)?;
        }
        if self.undecided > 0 {
            write!(f, ", {} undecided", self.undecided)?;
        }
        write!(f, ", {} mismatches", self.mismatches)?;
        if let Some(worst) = &self.worst {
            write!(f, "\nworst: {:.3} of the bound at {worst}", self.worst_ratio())?;
        }
        if let Some(Deviation { location, got, want, difference }) = &self.end_to_end {
            write!(f, "\nend to end: {difference:.2e} at {location}: got {got:e}, want {want:e}")?;
        }
        for mismatch in &self.listed {
            write!(f, "\nmismatch at {mismatch}")?;
        }
        if self.mismatches > self.listed.len() as u64 {
            write!(f, "\n... and {} more", self.mismatches - self.listed.len() as u64)?;
        }
        Ok(())
    }
}
