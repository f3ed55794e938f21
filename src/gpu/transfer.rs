//! The host side of a run: rows of sequences into the layout that the kernels read, and back.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array3, ArrayViewMut1, ArrayViewMut3, s};

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

    /// Time, the caller's row and its length for each of the flat rows `range` of a window; the time
    /// is past the row's length where the row has ended.
    fn places(
        &self,
        window: &Window,
        range: Range<usize>,
    ) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (plan, rows) = (Arc::clone(&self.plan), window.rows.clone());
        let reversed = window.direction.is_some_and(|d| plan.config.directions.is_reverse(d));
        let width = rows.len().max(1);
        let mut k = window.steps.start + range.start / width;
        let mut position = rows.start + range.start % width;
        range.map(move |_| {
            let length = plan.rows.length(position);
            let time = if reversed && k < length { length - 1 - k } else { k };
            let place = (time, plan.rows.row(position), length);
            position += 1;
            if position == rows.end {
                (position, k) = (rows.start, k + 1);
            }
            place
        })
    }

    /// The values of flat rows `range` of a window as they lie in the caller's input, where the
    /// device takes the same values in the same order.
    pub(super) fn straight(
        &self,
        window: &Window,
        range: &Range<usize>,
        stride: usize,
    ) -> Option<&'i [f32]> {
        let forwards = window.direction.is_none_or(|d| !self.plan.config.directions.is_reverse(d));
        let same = window.sequence == HostSequence::Input
            && forwards
            && self.plan.rows.is_full()
            && stride == self.plan.config.input_size
            && window.rows.len() == self.inputs.input.dim().1;
        let all = self.inputs.input.to_slice().filter(|_| same)?;
        let first = window.steps.start * window.rows.len();
        Some(&all[(first + range.start) * stride..(first + range.end) * stride])
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
        out.resize(range.len() * stride, 0.0);
        let (h, places) = (self.plan.config.hidden_size, self.places(window, range));
        let source = match window.sequence {
            HostSequence::Input => self.inputs.input.view(),
            HostSequence::Layer(layer) => {
                self.between[layer].as_ref().expect("the plan keeps what it reads").view()
            }
        };
        let (_, batch, width) = source.dim();
        // Of states, each direction's are padded by itself.
        let (from_part, to_part) = match window.sequence {
            HostSequence::Input => (width, stride),
            HostSequence::Layer(_) => (h, 4 * quads(h)),
        };
        let flat = source.as_slice();
        for ((t, row, _), slot) in places.zip(out.chunks_exact_mut(stride)) {
            let Some(flat) = flat else {
                let values = source.slice(s![t, row, ..]);
                slot.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
                continue;
            };
            let at = (t * batch + row) * width;
            let values = flat[at..at + width].chunks(from_part);
            for (to, from) in slot.chunks_mut(to_part).zip(values) {
                to[..from.len()].copy_from_slice(from);
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
        let places = self.places(window, range);
        let targets = [
            last.then(|| self.out.hidden_states.view_mut()),
            self.out.layers.get_mut(layer).map(|all| all.view_mut()),
            self.between[layer].as_mut().map(|kept| kept.view_mut()),
        ];
        let mut targets: Vec<_> = targets.into_iter().flatten().map(Rows::new).collect();
        for ((t, row, length), source) in places.zip(data.chunks_exact(stride)) {
            if t >= length {
                // Outputs arrive zeroed; the device leaves what it likes past a row's end.
                continue;
            }
            for (i, d) in directions.clone().enumerate() {
                let values = &source[i * padded..i * padded + h];
                targets.iter_mut().for_each(|to| to.put(t, row, d * h, values));
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

/// A time-major array whose rows are written one by one.
enum Rows<'a> {
    /// Tightly packed, as arrays are that this crate makes: found without the strides.
    Packed {
        values: &'a mut [f32],
        batch: usize,
        width: usize,
    },
    Strided(ArrayViewMut3<'a, f32>),
}

impl<'a> Rows<'a> {
    fn new(array: ArrayViewMut3<'a, f32>) -> Self {
        let (_, batch, width) = array.dim();
        if !array.is_standard_layout() {
            return Self::Strided(array);
        }
        let values = array.into_slice().expect("of standard layout");
        Self::Packed { values, batch, width }
    }

    /// Writes `values` from feature `first` of a row's step on.
    fn put(&mut self, time: usize, row: usize, first: usize, values: &[f32]) {
        match self {
            Self::Packed { values: all, batch, width } => {
                let at = (time * *batch + row) * *width + first;
                all[at..at + values.len()].copy_from_slice(values);
            }
            Self::Strided(all) => {
                copy(all.slice_mut(s![time, row, first..first + values.len()]), values);
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
