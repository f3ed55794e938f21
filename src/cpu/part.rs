//! One layer and direction of some rows and units over all time: what one thread runs.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis};

use crate::cell::GATES;

use super::aligned::{Aligned, odd_lines};
use super::kernel::Rows;
use super::pack::{CpuModel, PackedCell, Products};
use super::rows::{Block, copy_from, copy_to};
use super::step::{Candidate, Gates, Project, Source, StepAfter};
use super::team::Member;

/// Bytes of projected input that a thread keeps at a time: they should stay in its cache.
const PROJECTED_BYTES: usize = 1 << 20;

/// Rows from which on products over the input are computed within each step, as are those of a
/// single step.
const DIRECT_ROWS: usize = 16;

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
    /// The first step takes the last panels first; from step to step this alternates, so that each
    /// begins with the weights that are still in the cache.
    pub(super) backward: bool,
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
    /// Of all gates, or of r and z alone for reset-before.
    projected: Aligned,
    projected_candidate: Aligned,
    state: Aligned,
    next: Aligned,
    scaled: Aligned,
    update: Aligned,
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
        if let Products::Before { .. } = cell.products {
            scratch.scaled.grow(rows * stride);
            scratch.update.grow(rows * stride);
        }
        if self.from == 0 {
            self.load_initial(model, &block, &mut scratch.state);
        }

        let row_floats = self.panels.len() * GATES * model.lanes + odd_lines(cell.input_size);
        let longest = if rows == 0 { 0 } else { block.length(0) };
        let direct = rows >= DIRECT_ROWS || longest.saturating_sub(self.from) <= 1;
        let chunk = match direct {
            true => 1,
            false => (PROJECTED_BYTES / size_of::<f32>() / (rows * row_floats)).max(1),
        };
        let mut step = self.from;
        while step < longest {
            let chunk = step..longest.min(step + chunk);
            let count = block.gather(&self.input, chunk.clone(), cell.reverse, &mut scratch.input);
            if !direct {
                self.project(model, cell, count, scratch);
            }
            let mut first = 0;
            for step in chunk.clone() {
                let projected = (!direct).then_some([first, count]);
                if !self.step(model, cell, &block, step, projected, scratch) {
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

    /// Products over the input of the steps `chunk` of all rows that have them, step after step.
    /// `count` is the number of rows of all these steps.
    fn project(&self, model: &CpuModel, cell: &PackedCell, count: usize, scratch: &mut Scratch) {
        let Scratch { input, projected, projected_candidate, .. } = scratch;
        let rows = Rows { data: input, stride: odd_lines(cell.input_size), count };
        let vectors = count * self.panels.len() * model.lanes;
        let panels = self.panels.clone();
        match &cell.products {
            Products::After { input: weights, .. } => {
                projected.grow(vectors * GATES);
                let out = &mut projected[..vectors * GATES];
                model.arch.dispatch(Project::<'_, GATES> { rows, weights, panels, out });
            }
            Products::Before { gates: [gates, _], candidate: [candidate, _] } => {
                projected.grow(vectors * 2);
                let out = &mut projected[..vectors * 2];
                model.arch.dispatch(Project::<'_, 2> { rows, weights: gates, panels, out });
                projected_candidate.grow(vectors);
                let (panels, out) = (self.pairs(), &mut projected_candidate[..vectors]);
                model.arch.dispatch(Project::<'_, 2> { rows, weights: candidate, panels, out });
            }
        }
    }

    fn pairs(&self) -> Range<usize> {
        self.panels.start / 2..self.panels.end / 2
    }

    /// One step of all active rows. `projected` is, where products over the input have been
    /// computed, the number of the step's first row among the rows of the chunk, and the number of
    /// these. Whether the run goes on.
    fn step(
        &mut self,
        model: &CpuModel,
        cell: &PackedCell,
        block: &Block<'_>,
        step: usize,
        projected: Option<[usize; 2]>,
        scratch: &mut Scratch,
    ) -> bool {
        let active = block.active(step);
        let stride = model.state_stride();
        let backward = self.backward != (step % 2 == 1);
        let (panels, functions) = (self.panels.clone(), cell.functions);
        let Scratch {
            input, projected: all, projected_candidate, state, next, scaled, update, ..
        } = scratch;
        let input = Rows { data: input, stride: odd_lines(cell.input_size), count: active };
        let source = |data, weights| match projected {
            Some([first, rows]) => Source::Projected { data, rows, first },
            None => Source::Input { rows: input, weights },
        };
        if let Some(mask) = &self.mask {
            for (slot, row) in block.order[..active].iter().enumerate() {
                if mask[[step, *row]] {
                    state[slot * stride..][..stride].fill(0.0);
                }
            }
        }
        match &cell.products {
            Products::After { input, recurrent } => model.arch.dispatch(StepAfter {
                source: source(all, input),
                state: Rows { data: state, stride, count: active },
                weights: recurrent,
                panels,
                backward,
                functions,
                next,
            }),
            Products::Before { gates, candidate } => {
                model.arch.dispatch(Gates {
                    source: source(all, &gates[0]),
                    state: Rows { data: state, stride, count: active },
                    weights: &gates[1],
                    panels,
                    backward,
                    functions,
                    scaled,
                    update,
                });
                if let Some(member) = &mut self.member {
                    member.exchange(scaled, active, stride);
                }
                model.arch.dispatch(Candidate {
                    source: source(projected_candidate, &candidate[0]),
                    scaled: Rows { data: scaled, stride, count: active },
                    weights: &candidate[1],
                    pairs: self.pairs(),
                    backward,
                    functions,
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
        let own = self.panels.start * model.lanes;
        let states = Rows { data: &next[own..], stride, count: active };
        block.store(step, cell.reverse, &states, &mut self.out, &mut self.last);
        std::mem::swap(&mut scratch.state, &mut scratch.next);
        goes_on
    }
}
