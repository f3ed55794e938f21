//! The rows that run together: their order, their place in time, their inputs and outputs.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView3, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3, Axis, s};

use super::aligned::{Aligned, odd_lines};
use super::kernel::Rows;

/// The rows that run together: those of `order`, whose lengths fall.
pub(super) struct Block<'a> {
    pub(super) order: &'a [usize],
    pub(super) lengths: Option<&'a [usize]>,
    pub(super) steps: usize,
    /// Rows of the part, of which the block may be some.
    pub(super) rows: usize,
}

impl Block<'_> {
    pub(super) fn length(&self, slot: usize) -> usize {
        self.lengths.map_or(self.steps, |lengths| lengths[self.order[slot]])
    }

    /// Number of rows that have a step `step`: the first ones.
    pub(super) fn active(&self, step: usize) -> usize {
        self.order.partition_point(|row| self.lengths.map_or(self.steps, |l| l[*row]) > step)
    }

    /// Where in time all rows stand in step `step`, where they stand together; slots are rows then.
    fn common_time(&self, step: usize, reverse: bool) -> Option<usize> {
        let time = if reverse { self.steps - 1 - step } else { step };
        let in_order = self.order.first() == Some(&0) && self.order.len() == self.rows;
        (self.lengths.is_none() && in_order).then_some(time)
    }

    /// Where in time row `slot` stands in its step `step`.
    fn time(&self, slot: usize, step: usize, reverse: bool) -> usize {
        if reverse { self.length(slot) - 1 - step } else { step }
    }

    /// Copies the inputs of the steps `chunk`, of all rows that have them, step after step, to
    /// `out`, [`odd_lines`] apart. Returns their number.
    pub(super) fn gather(
        &self,
        input: &ArrayView3<'_, f32>,
        chunk: Range<usize>,
        reverse: bool,
        out: &mut Aligned,
    ) -> usize {
        let features = input.dim().2;
        let stride = odd_lines(features);
        out.grow(chunk.len() * self.active(chunk.start) * stride);
        let mut count = 0;
        for step in chunk {
            if let Some(time) = self.common_time(step, reverse) {
                let plane = input.index_axis(Axis(0), time);
                for (row, target) in
                    plane.outer_iter().zip(out[count * stride..].chunks_mut(stride))
                {
                    copy_to(row, &mut target[..features]);
                }
                count += self.rows;
                continue;
            }
            for (slot, row) in self.order[..self.active(step)].iter().enumerate() {
                let time = self.time(slot, step, reverse);
                copy_to(input.slice(s![time, *row, ..]), &mut out[count * stride..][..features]);
                count += 1;
            }
        }
        count
    }

    /// Writes the states after step `step` to `out`, `[T, rows, units]`, and to `last`,
    /// `[rows, units]`, after a row's last step.
    pub(super) fn store(
        &self,
        step: usize,
        reverse: bool,
        states: &Rows<'_>,
        out: &mut ArrayViewMut3<'_, f32>,
        last: &mut ArrayViewMut2<'_, f32>,
    ) {
        let units = last.ncols();
        if let Some(time) = self.common_time(step, reverse) {
            let mut plane = out.index_axis_mut(Axis(0), time);
            for (state, row) in states.data.chunks(states.stride).zip(plane.outer_iter_mut()) {
                copy_from(&state[..units], row);
            }
            if step + 1 == self.steps {
                for (state, row) in states.data.chunks(states.stride).zip(last.outer_iter_mut()) {
                    copy_from(&state[..units], row);
                }
            }
            return;
        }
        for (slot, row) in self.order[..states.count].iter().enumerate() {
            let state = &states.data[slot * states.stride..][..units];
            let time = self.time(slot, step, reverse);
            copy_from(state, out.slice_mut(s![time, *row, ..]));
            if step + 1 == self.length(slot) {
                copy_from(state, last.row_mut(*row));
            }
        }
    }
}

#[inline]
pub(super) fn copy_to(from: ArrayView1<'_, f32>, to: &mut [f32]) {
    match from.as_slice() {
        Some(from) => to.copy_from_slice(from),
        None => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}

#[inline]
pub(super) fn copy_from(from: &[f32], mut to: ArrayViewMut1<'_, f32>) {
    match to.as_slice_mut() {
        Some(to) => to.copy_from_slice(&from[..to.len()]),
        None => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}
