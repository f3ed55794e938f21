//! Shapes of sequences, and element counts that cannot overflow unseen.

use crate::error::{Error, ErrorKind, Result};

/// Number of time steps and of rows of a batch. Either may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceShape {
    /// Time steps, T.
    pub steps: usize,
    /// Rows (independent sequences), B.
    pub batch: usize,
}

impl SequenceShape {
    /// `steps` time steps of `batch` rows.
    pub fn new(steps: usize, batch: usize) -> Self {
        Self { steps, batch }
    }
}

impl std::fmt::Display for SequenceShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "T {} x B {}", self.steps, self.batch)
    }
}

/// The product of `factors`, or an error that names `what`.
pub(crate) fn checked_product(what: &str, factors: &[usize]) -> Result<usize> {
    factors
        .iter()
        .try_fold(1usize, |a, b| a.checked_mul(*b))
        .filter(|n| *n <= isize::MAX as usize / 8)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidShape,
                format!("{what} of shape {factors:?} has more elements than memory can address"),
            )
        })
}
