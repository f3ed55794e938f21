//! One layer and direction of some rows and units over all time: what one thread runs.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis, s};

use crate::cell::GATES;

use super::aligned::Aligned;
use super::kernel::{Panels, Rows};
use super::pack::{CpuModel, PackedCell, Recurrent};
use super::step::{Candidate, Gates, Project, Projected, StepAfter};
use super::team::Member;

/// Bytes of projected input that a thread keeps at a time: they should stay in its cache.
const PROJECTED_BYTES: usize = 1 << 20;

/// Inputs and outputs of one part; rows and units are the part's own unless stated otherwise.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) layer: usize,
    pub(super) direction: usize,
    /// `[T, rows, K]`.
    pub(super) input: ArrayView3<'a, f32>,
    /// `[rows, all units]`.
    pub(super) initial: Option<ArrayView2<'a, f32>>,
    pub(super) lengths: Option<&'a [usize]>,
    /// `[T, rows]`.
    pub(super) mask: Option<ArrayView2<'a, bool>>,
    pub(super) panels: Range<usize>,
    /// Steps that are done already; above 0 the scratch memory holds the states after them.
    pub(super) from: usize,
    pub(super) member: Option<Member<'a>>,
    /// `[T, rows, units]`.
    pub(super) out: ArrayViewMut3<'a, f32>,
    /// `[rows, units]`.
    pub(super) last: ArrayViewMut2<'a, f32>,
}

/// One thread's working memory, reused by every run.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Rows by falling length.
    order: Vec<usize>,
    input: Aligned,
    projected: Aligned,
    state: Aligned,
    next: Aligned,
    scaled: Aligned,
    update: Aligned,
}

/// The rows that run together: those of `order`, whose lengths fall.
struct Block<'a> {
    order: &'a [usize],
    lengths: Option<&'a [usize]>,
    steps: usize,
    /// Rows of the part, of which the block may be some.
    rows: usize,
}

impl Block<'_> {
    fn length(&self, slot: usize) -> usize {
        self.lengths.map_or(self.steps, |lengths| lengths[self.order[slot]])
    }

    /// Number of rows that have a step `step`: the first ones.
    fn active(&self, step: usize) -> usize {
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
}

/// Rows that one block holds at most, so that a step's projected input fits its memory.
pub(super) fn block_rows(model: &CpuModel, panels: usize) -> usize {
    let row_bytes = panels * GATES * model.lanes * size_of::<f32>();
    (PROJECTED_BYTES / row_bytes).clamp(32, 1024) / 8 * 8
}

impl Part<'_> {
    /// Computes the part: fills `out` and `last`.
    pub(super) fn run(&mut self, model: &CpuModel, scratch: &mut Scratch) {
        let mut order = std::mem::take(&mut scratch.order);
        order.clear();
        order.extend(0..self.last.nrows());
        if let Some(lengths) = self.lengths {
            order.sort_by_key(|row| std::cmp::Reverse(lengths[*row]));
        }
        // Every member of a team must cut alike, whatever its own share of the panels.
        let widest = match &self.member {
            Some(_) => model.panels,
            None => self.panels.len(),
        };
        for rows in order.chunks(block_rows(model, widest)) {
            self.run_block(model, rows, scratch);
        }
        scratch.order = order;
    }

    fn run_block(&mut self, model: &CpuModel, order: &[usize], scratch: &mut Scratch) {
        let cell = model.cell(self.layer, self.direction);
        let steps = self.out.len_of(Axis(0));
        let block = Block { order, lengths: self.lengths, steps, rows: self.last.nrows() };
        let rows = order.len();
        let stride = model.state_stride();
        for buffer in [&mut scratch.state, &mut scratch.next] {
            buffer.grow(rows * stride);
        }
        if let Recurrent::Before { .. } = cell.recurrent {
            scratch.scaled.grow(rows * stride);
            scratch.update.grow(rows * stride);
        }
        if self.from == 0 {
            self.load_initial(model, &block, &mut scratch.state);
        }

        let row_floats = self.panels.len() * GATES * model.lanes;
        let chunk = PROJECTED_BYTES / size_of::<f32>() / (rows * row_floats);
        let chunk = chunk.clamp(1, steps.max(1));
        let longest = if rows == 0 { 0 } else { block.length(0) };
        let mut step = self.from;
        while step < longest {
            let chunk = step..longest.min(step + chunk);
            let count = self.project(model, cell, &block, chunk.clone(), scratch);
            let mut first = 0;
            for step in chunk.clone() {
                if !self.step(model, cell, &block, step, [first, count], scratch) {
                    return;
                }
                first += block.active(step);
            }
            step = chunk.end;
        }
    }

    /// Initial states go to the working state, and to `last` for rows without a step.
    fn load_initial(&mut self, model: &CpuModel, block: &Block<'_>, state: &mut Aligned) {
        let stride = model.state_stride();
        let hidden = model.config.hidden_size;
        let units = self.panels.start * model.lanes..;
        for (slot, row) in block.order.iter().enumerate() {
            let target = &mut state[slot * stride..][..stride];
            match self.initial {
                Some(initial) => copy_to(initial.row(*row), &mut target[..hidden]),
                None => target[..hidden].fill(0.0),
            }
            target[hidden..].fill(0.0);
            if block.length(slot) == 0 {
                copy_from(&target[units.clone()], self.last.row_mut(*row));
            }
        }
    }

    /// Projects the input of the steps `chunk` of all rows that have them, step after step.
    /// Returns the number of rows of all these steps.
    fn project(
        &self,
        model: &CpuModel,
        cell: &PackedCell,
        block: &Block<'_>,
        chunk: Range<usize>,
        scratch: &mut Scratch,
    ) -> usize {
        let features = cell.input_size;
        let stride = odd_lines(features);
        let row_floats = self.panels.len() * GATES * model.lanes;
        let most = chunk.len() * block.active(chunk.start);
        scratch.input.grow(most * stride);
        scratch.projected.grow(most * row_floats);
        let mut count = 0;
        for step in chunk {
            if let Some(time) = block.common_time(step, cell.reverse) {
                let plane = self.input.index_axis(Axis(0), time);
                let targets = scratch.input[count * stride..].chunks_mut(stride);
                for (row, target) in plane.outer_iter().zip(targets) {
                    copy_to(row, &mut target[..features]);
                }
                count += block.rows;
                continue;
            }
            for (slot, row) in block.order[..block.active(step)].iter().enumerate() {
                let time = block.time(slot, step, cell.reverse);
                let target = &mut scratch.input[count * stride..][..features];
                copy_to(self.input.slice(s![time, *row, ..]), target);
                count += 1;
            }
        }
        model.arch.dispatch(Project {
            input: Rows { data: &scratch.input, stride, count },
            weights: Panels { data: &cell.input, features },
            bias: &cell.bias,
            panels: self.panels.clone(),
            out: &mut scratch.projected[..count * row_floats],
        });
        count
    }

    /// One step of all active rows; `first` is the number of its first row among the `rows` rows
    /// of the chunk. Whether the run goes on.
    fn step(
        &mut self,
        model: &CpuModel,
        cell: &PackedCell,
        block: &Block<'_>,
        step: usize,
        [first, rows]: [usize; 2],
        scratch: &mut Scratch,
    ) -> bool {
        let active = block.active(step);
        let stride = model.state_stride();
        let features = model.config.hidden_size;
        // Every other step takes the panels backwards: it begins with the weights that are still
        // in the cache.
        let backward = step % 2 == 1;
        let Scratch { projected: all, state, next, scaled, update, .. } = scratch;
        let projected = Projected { data: all, rows, first };
        if let Some(mask) = &self.mask {
            for (slot, row) in block.order[..active].iter().enumerate() {
                if mask[[step, *row]] {
                    state[slot * stride..][..stride].fill(0.0);
                }
            }
        }
        match &cell.recurrent {
            Recurrent::After { weights, bias } => model.arch.dispatch(StepAfter {
                state: Rows { data: state, stride, count: active },
                weights: Panels { data: weights, features },
                bias,
                projected,
                panels: self.panels.clone(),
                backward,
                functions: cell.functions,
                next,
            }),
            Recurrent::Before { gates, candidate } => {
                model.arch.dispatch(Gates {
                    state: Rows { data: state, stride, count: active },
                    weights: Panels { data: gates, features },
                    projected,
                    panels: self.panels.clone(),
                    backward,
                    functions: cell.functions,
                    scaled,
                    update,
                });
                if let Some(member) = &mut self.member {
                    member.exchange(scaled, active, stride);
                }
                model.arch.dispatch(Candidate {
                    scaled: Rows { data: scaled, stride, count: active },
                    weights: Panels { data: candidate, features },
                    projected,
                    pairs: self.panels.start / 2..self.panels.end / 2,
                    backward,
                    functions: cell.functions,
                    state,
                    update,
                    next,
                });
            }
        }
        let goes_on = match &mut self.member {
            Some(member) => member.end_step(step, next, active, stride),
            None => true,
        };
        self.store(model, cell, block, step, active, next);
        std::mem::swap(&mut scratch.state, &mut scratch.next);
        goes_on
    }

    /// Writes the part's units of the new states to `out`, and to `last` after a row's last step.
    fn store(
        &mut self,
        model: &CpuModel,
        cell: &PackedCell,
        block: &Block<'_>,
        step: usize,
        active: usize,
        state: &[f32],
    ) {
        let stride = model.state_stride();
        let first = self.panels.start * model.lanes;
        let units = self.last.ncols();
        if let Some(time) = block.common_time(step, cell.reverse) {
            let mut plane = self.out.index_axis_mut(Axis(0), time);
            for (values, row) in state.chunks(stride).zip(plane.outer_iter_mut()) {
                copy_from(&values[first..][..units], row);
            }
            if step + 1 == block.steps {
                for (values, row) in state.chunks(stride).zip(self.last.outer_iter_mut()) {
                    copy_from(&values[first..][..units], row);
                }
            }
            return;
        }
        for (slot, row) in block.order[..active].iter().enumerate() {
            let values = &state[slot * stride + first..][..units];
            let time = block.time(slot, step, cell.reverse);
            copy_from(values, self.out.slice_mut(s![time, *row, ..]));
            if step + 1 == block.length(slot) {
                copy_from(values, self.last.row_mut(*row));
            }
        }
    }
}

/// The smallest stride of at least `len` floats that is an odd number of cache lines: rows at
/// equal columns then fall into different sets of a cache.
pub(super) fn odd_lines(len: usize) -> usize {
    (len.div_ceil(16) | 1) * 16
}

#[inline]
fn copy_to(from: ndarray::ArrayView1<'_, f32>, to: &mut [f32]) {
    match from.as_slice() {
        Some(from) => to.copy_from_slice(from),
        None => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}

#[inline]
fn copy_from(from: &[f32], mut to: ndarray::ArrayViewMut1<'_, f32>) {
    match to.as_slice_mut() {
        Some(to) => to.copy_from_slice(&from[..to.len()]),
        None => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}
