//! The order in which a plan takes the rows of a batch: the longest first.

use std::ops::Range;

use ndarray::ArrayView2;

use crate::error::{Error, ErrorKind, Result};
use crate::shape::SequenceShape;

/// Rows by falling length. A *position* is a place in that order; plans speak of positions, and
/// the rows that take part in a step are always the first ones of a tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowOrder {
    shape: SequenceShape,
    /// What the caller gave; `None` where every row has all steps.
    given: Option<Vec<usize>>,
    /// By position: the caller's row; empty where every row has all steps.
    order: Vec<usize>,
}

impl RowOrder {
    /// Rows of `shape.steps` steps each.
    pub(crate) fn full(shape: SequenceShape) -> Self {
        Self { shape, given: None, order: Vec::new() }
    }

    /// Rows of `lengths` steps, of all steps where there are none.
    pub(crate) fn new(shape: SequenceShape, lengths: Option<&[usize]>) -> Result<Self> {
        let Some(lengths) = lengths else { return Ok(Self::full(shape)) };
        if lengths.len() != shape.batch {
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!(
                    "lengths must hold one number a row, {} were wanted, {} were given",
                    shape.batch,
                    lengths.len()
                ),
            ));
        }
        if let Some((row, length)) = lengths.iter().enumerate().find(|(_, n)| **n > shape.steps) {
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!(
                    "length of row {row} must be 0 to {} steps, {length} was given",
                    shape.steps
                ),
            ));
        }
        if lengths.iter().all(|n| *n == shape.steps) {
            return Ok(Self::full(shape));
        }
        let mut order: Vec<usize> = (0..shape.batch).collect();
        // Stable: rows of one length stay in the caller's order.
        order.sort_by_key(|row| std::cmp::Reverse(lengths[*row]));
        Ok(Self { shape, given: Some(lengths.to_vec()), order })
    }

    pub(crate) fn shape(&self) -> SequenceShape {
        self.shape
    }

    /// Whether this is the order of a run of `shape` with `lengths`.
    pub(crate) fn is_for(&self, shape: SequenceShape, lengths: Option<&[usize]>) -> bool {
        let full = |n: &[usize]| n.iter().all(|n| *n == shape.steps);
        self.shape == shape
            && match (&self.given, lengths) {
                (Some(own), Some(lengths)) => own == lengths,
                (None, Some(lengths)) => full(lengths),
                (None, None) => true,
                (Some(_), None) => false,
            }
    }

    /// The caller's row at `position`.
    pub(crate) fn row(&self, position: usize) -> usize {
        if self.given.is_some() { self.order[position] } else { position }
    }

    /// Steps of the row at `position`.
    pub(crate) fn length(&self, position: usize) -> usize {
        match &self.given {
            Some(lengths) => lengths[self.order[position]],
            None => self.shape.steps,
        }
    }

    /// Whether every row has all steps.
    pub(crate) fn is_full(&self) -> bool {
        self.given.is_none()
    }

    /// Steps of the longest of `positions`.
    pub(crate) fn longest(&self, positions: &Range<usize>) -> usize {
        if positions.is_empty() { 0 } else { self.length(positions.start) }
    }

    /// How many of `positions` have not ended at processing step `k`: the first ones.
    pub(crate) fn active(&self, positions: &Range<usize>, k: usize) -> usize {
        if self.given.is_none() {
            return if k < self.shape.steps { positions.len() } else { 0 };
        }
        self.order[positions.clone()]
            .partition_point(|row| self.given.as_ref().is_some_and(|lengths| lengths[*row] > k))
    }

    /// What kernels are told of the rows at `positions`: their lengths, then one reset bit a step
    /// and row where there is a mask, `[T, B]`.
    pub(crate) fn words(
        &self,
        positions: &Range<usize>,
        mask: Option<&ArrayView2<'_, bool>>,
    ) -> Vec<u32> {
        let word = |n: usize| u32::try_from(n).expect("the plan bounds steps");
        let mut words: Vec<u32> = positions.clone().map(|p| word(self.length(p))).collect();
        if let Some(mask) = mask {
            let per_step = positions.len().div_ceil(32);
            let first = words.len();
            words.resize(first + mask.nrows() * per_step, 0);
            for (t, flags) in mask.outer_iter().enumerate() {
                for (i, position) in positions.clone().enumerate() {
                    if flags[self.row(position)] {
                        words[first + t * per_step + i / 32] |= 1 << (i % 32);
                    }
                }
            }
        }
        words
    }

    /// The sum of all lengths.
    pub(crate) fn steps_in_all(&self) -> u64 {
        match &self.given {
            Some(lengths) => lengths.iter().map(|n| *n as u64).sum(),
            None => (self.shape.steps as u64).saturating_mul(self.shape.batch as u64),
        }
    }
}
