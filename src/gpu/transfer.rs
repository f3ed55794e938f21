//! The host side of a run: rows of sequences into the layout that the kernels read, and back.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array3, ArrayViewMut1, s};

use crate::error::Result;
use crate::kernels::quads;
use crate::plan::{HostSequence, Plan, Residency, Window};
use crate::sequence::{Inputs, OutputViews, zeroed};

/// A run's arrays: the caller's, and the sequences between layers where those are in host memory.
pub(super) struct Host<'i, 'a, 'o> {
    plan: Arc<Plan>,
    inputs: Inputs<'i, f32>,
    out: &'a mut OutputViews<'o, f32>,
    between: Vec<Option<Array3<f32>>>,
}

impl<'i, 'a, 'o> Host<'i, 'a, 'o> {
    /// `inputs` are time-major and validated.
    pub(super) fn new(
        plan: &Arc<Plan>,
        inputs: Inputs<'i, f32>,
        out: &'a mut OutputViews<'o, f32>,
    ) -> Result<Self> {
        let config = &plan.config;
        let shape = inputs.shape();
        let on_host = plan.memory.residency == Residency::HostBetweenLayers;
        let between = (0..config.num_layers)
            .map(|layer| {
                let kept = on_host && layer + 1 < config.num_layers;
                let dim = [shape.steps, shape.batch, config.output_size()];
                kept.then(|| zeroed("the states between layers", dim)).transpose()
            })
            .collect::<Result<_>>()?;
        Ok(Self { plan: Arc::clone(plan), inputs, out, between })
    }

    /// Lengths of the rows, then one reset bit a step and row where the run has a mask.
    pub(super) fn row_words(&self, rows: &Range<usize>) -> Vec<u32> {
        self.plan.rows.words(rows, self.inputs.reset_mask.as_ref())
    }

    pub(super) fn has_mask(&self) -> bool {
        self.inputs.reset_mask.is_some()
    }

    pub(super) fn has_initial_state(&self) -> bool {
        self.inputs.initial_state.is_some()
    }

    /// Time and the caller's row of flat row `m` of a window; the time is past the row's length
    /// where the row has ended.
    fn place(&self, window: &Window, m: usize) -> (usize, usize, usize) {
        let position = window.rows.start + m % window.rows.len();
        let k = window.steps.start + m / window.rows.len();
        let reversed = window.direction.is_some_and(|d| self.plan.config.directions.is_reverse(d));
        let length = self.plan.rows.length(position);
        let time = if reversed && k < length { length - 1 - k } else { k };
        (time, self.plan.rows.row(position), length)
    }

    /// Writes flat rows `range` of a window to `out`, `stride` values a row, zero-padded.
    pub(super) fn gather(
        &self,
        window: &Window,
        range: Range<usize>,
        stride: usize,
        out: &mut Vec<f32>,
    ) {
        out.clear();
        let straight = window.direction.is_none_or(|d| !self.plan.config.directions.is_reverse(d));
        if window.sequence == HostSequence::Input
            && straight
            && self.plan.rows.is_full()
            && stride == self.plan.config.input_size
            && window.rows.len() == self.inputs.input.dim().1
            && let Some(all) = self.inputs.input.as_slice()
        {
            let first = window.steps.start * window.rows.len();
            out.extend_from_slice(
                &all[(first + range.start) * stride..(first + range.end) * stride],
            );
            return;
        }
        out.resize(range.len() * stride, 0.0);
        let h = self.plan.config.hidden_size;
        for (m, slot) in range.zip(out.chunks_exact_mut(stride)) {
            let (t, row, _) = self.place(window, m);
            match window.sequence {
                HostSequence::Input => {
                    let source = self.inputs.input.slice(s![t, row, ..]);
                    match source.as_slice() {
                        Some(from) => slot[..from.len()].copy_from_slice(from),
                        None => slot.iter_mut().zip(source).for_each(|(to, from)| *to = *from),
                    }
                }
                HostSequence::Layer(layer) => {
                    let kept = self.between[layer].as_ref().expect("the plan keeps what it reads");
                    let source = kept.slice(s![t, row, ..]);
                    let source = source.as_slice().expect("own arrays are contiguous");
                    for (to, from) in slot.chunks_mut(4 * quads(h)).zip(source.chunks(h)) {
                        to[..h].copy_from_slice(from);
                    }
                }
            }
        }
    }

    /// Takes flat rows `range` of a window of a layer's states from `data`.
    pub(super) fn scatter(
        &mut self,
        window: &Window,
        range: Range<usize>,
        stride: usize,
        data: &[f32],
    ) {
        let HostSequence::Layer(layer) = window.sequence else { return };
        let (h, padded) = (self.plan.config.hidden_size, 4 * quads(self.plan.config.hidden_size));
        let directions = match window.direction {
            Some(d) => d..d + 1,
            None => 0..self.plan.config.num_directions(),
        };
        let last = layer + 1 == self.plan.config.num_layers;
        if self.scatter_straight(window, layer, range.start, stride, data) {
            return;
        }
        for (m, source) in range.zip(data.chunks_exact(stride)) {
            let (t, row, length) = self.place(window, m);
            if t >= length {
                // Outputs arrive zeroed; the device leaves what it likes past a row's end.
                continue;
            }
            for (i, d) in directions.clone().enumerate() {
                let values = &source[i * padded..i * padded + h];
                let place = s![t, row, d * h..(d + 1) * h];
                if last {
                    copy(self.out.hidden_states.slice_mut(place), values);
                }
                if let Some(all) = self.out.layers.get_mut(layer) {
                    copy(all.slice_mut(place), values);
                }
                if let Some(kept) = &mut self.between[layer] {
                    copy(kept.slice_mut(place), values);
                }
            }
        }
    }

    /// [`scatter`](Self::scatter) in one copy, where the device's rows and the host's are the same
    /// values in the same order: `true` where it was done.
    fn scatter_straight(
        &mut self,
        window: &Window,
        layer: usize,
        first: usize,
        stride: usize,
        data: &[f32],
    ) -> bool {
        let config = &self.plan.config;
        let straight = window.direction.is_none_or(|d| !config.directions.is_reverse(d));
        let whole = window.rows.len() == self.inputs.input.dim().1 && self.plan.rows.is_full();
        if !straight || !whole || stride != config.output_size() {
            return false;
        }
        let last = layer + 1 == config.num_layers;
        let targets = [
            last.then(|| self.out.hidden_states.as_slice_mut()),
            self.out.layers.get_mut(layer).map(|all| all.as_slice_mut()),
            self.between[layer].as_mut().map(|kept| kept.as_slice_mut()),
        ];
        let targets = targets.into_iter().flatten();
        let Some(targets) = targets.collect::<Option<Vec<_>>>() else { return false };
        let at = (window.steps.start * window.rows.len() + first) * stride;
        for target in targets {
            target[at..at + data.len()].copy_from_slice(data);
        }
        true
    }

    /// The initial states of cell `plane` for `rows`, padded units and rows zero.
    pub(super) fn gather_state(&self, plane: usize, rows: &Range<usize>, out: &mut Vec<f32>) {
        let (h, padded) = (self.plan.config.hidden_size, 4 * quads(self.plan.config.hidden_size));
        out.clear();
        out.resize(rows.len() * padded, 0.0);
        if let Some(state) = &self.inputs.initial_state {
            for (position, slot) in rows.clone().zip(out.chunks_exact_mut(padded)) {
                let row = self.plan.rows.row(position);
                for (to, from) in slot[..h].iter_mut().zip(state.slice(s![plane, row, ..])) {
                    *to = *from;
                }
            }
        }
    }

    /// Takes the states of cell `plane` at `positions`, those of the rows that end in `parity`.
    pub(super) fn scatter_state(
        &mut self,
        plane: usize,
        positions: Range<usize>,
        parity: usize,
        data: &[f32],
    ) {
        let (h, padded) = (self.plan.config.hidden_size, 4 * quads(self.plan.config.hidden_size));
        for (position, values) in positions.zip(data.chunks_exact(padded)) {
            if self.plan.final_parity(position) == parity {
                let row = self.plan.rows.row(position);
                copy(self.out.final_state.slice_mut(s![plane, row, ..]), &values[..h]);
            }
        }
    }
}

fn copy(mut to: ArrayViewMut1<'_, f32>, from: &[f32]) {
    match to.as_slice_mut() {
        Some(slice) => slice.copy_from_slice(from),
        None => to.iter_mut().zip(from).for_each(|(t, f)| *t = *f),
    }
}
