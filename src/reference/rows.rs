//! Which step of which row is read when: lengths, directions, resets.

use ndarray::ArrayView2;

/// The time axis of a run as its rows see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    /// Steps, T.
    pub(super) steps: usize,
    pub(super) lengths: Option<&'a [usize]>,
    /// `[T, B]`.
    pub(super) reset_mask: Option<ArrayView2<'a, bool>>,
}

/// One step of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) row: usize,
    /// Where the input is read and the state is stored.
    pub(super) step: usize,
    /// Where the state before the step is stored; `None` for the initial state.
    pub(super) previous: Option<usize>,
    /// Whether that state is replaced by 0.
    pub(super) reset: bool,
}

impl Rows<'_> {
    pub(super) fn length(&self, row: usize) -> usize {
        self.lengths.map_or(self.steps, |l| l[row])
    }

    /// What `row` does as the `index`th step of a direction; `None` where it has ended.
    pub(super) fn place(&self, index: usize, row: usize, reverse: bool) -> Option<Place> {
        let length = self.length(row);
        if index >= length {
            return None;
        }
        let step = if reverse { length - 1 - index } else { index };
        let previous = match (index, reverse) {
            (0, _) => None,
            (_, false) => Some(step - 1),
            (_, true) => Some(step + 1),
        };
        Some(Place { row, step, previous, reset: self.reset_mask.is_some_and(|m| m[[step, row]]) })
    }

    /// The step after which `row`'s state is final; `None` where it reads none.
    pub(super) fn last(&self, row: usize, reverse: bool) -> Option<usize> {
        match self.length(row) {
            0 => None,
            _ if reverse => Some(0),
            length => Some(length - 1),
        }
    }
}
