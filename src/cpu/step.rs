//! The kernels: input projection, and one time step of both reset forms.
//!
//! All work on a part: some rows, and the panels `panels` of the units. States are
//! `[row][all units]`.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cell::GATES;

use super::kernel::{Rows, Tile, Tiled, cover, product, vectors, vectors_mut};
use super::math::{CellMath, Functions, Standard};
use super::pack::Weights;

/// The candidate among the vectors of a panel, after r and z.
const N: usize = 2;

/// The product over the input with which a step begins: computed before for a chunk of steps, or
/// within the step. The bits are the same.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// `[panel of the part][row of the chunk][V][L]`: what one panel's step reads lies side by
    /// side.
    Projected {
        data: &'a [f32],
        /// Rows of the chunk.
        rows: usize,
        /// The row of the chunk that is row 0 of the step.
        first: usize,
    },
    /// Pays where a step has rows enough to use every weight several times: nothing is stored
    /// between.
    Input { rows: Rows<'a>, weights: &'a Weights },
}

impl Source<'_> {
    /// The products of the rows from `row` and the panels from `panel` on; the part's panels begin
    /// at `start`.
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const ROWS: usize, const P: usize>(
        &self,
        simd: S,
        row: usize,
        panel: usize,
        start: usize,
    ) -> Tile<S::f32s, V, ROWS, P> {
        let mut acc: Tile<S::f32s, V, ROWS, P> = [[[simd.splat_f32s(0.0); V]; ROWS]; P];
        match self {
            Source::Projected { data, rows, first } => {
                let projected = vectors::<S, V>(data);
                for p in 0..P {
                    let from = &projected[(panel + p - start) * rows + first + row..][..ROWS];
                    acc[p].copy_from_slice(from);
                }
                acc
            }
            Source::Input { rows, weights } => {
                let bias = &vectors::<S, V>(&weights.bias)[panel..][..P];
                for p in 0..P {
                    acc[p] = [bias[p]; ROWS];
                }
                product(simd, rows, row, weights, panel, acc)
            }
        }
    }
}

/// Products over the input for a chunk of steps, as [`Source::Projected`].
pub(super) struct Project<'a, const V: usize> {
    pub(super) rows: Rows<'a>,
    pub(super) weights: &'a Weights,
    pub(super) panels: Range<usize>,
    pub(super) out: &'a mut [f32],
}

impl<const V: usize> WithSimd for Project<'_, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        cover(simd, self.rows.count, self.panels.clone(), false, &mut self);
    }
}

impl<S: Simd, const V: usize> Tiled<S> for Project<'_, V> {
    const VECTORS: usize = V;

    #[inline(always)]
    fn tile<const ROWS: usize, const P: usize>(&mut self, simd: S, row: usize, panel: usize) {
        let source = Source::Input { rows: self.rows, weights: self.weights };
        let acc = source.tile::<S, V, ROWS, P>(simd, row, panel, self.panels.start);
        let out = vectors_mut::<S, V>(self.out);
        for (p, acc) in acc.iter().enumerate() {
            let first = (panel + p - self.panels.start) * self.rows.count + row;
            out[first..][..ROWS].copy_from_slice(acc);
        }
    }
}

/// A whole step of the reset-after form.
pub(super) struct StepAfter<'a> {
    pub(super) source: Source<'a>,
    pub(super) state: Rows<'a>,
    pub(super) weights: &'a Weights,
    pub(super) panels: Range<usize>,
    /// Takes the last panels first.
    pub(super) backward: bool,
    pub(super) functions: Functions,
    /// `[row][all units]`, of the stride of `state`.
    pub(super) next: &'a mut [f32],
}

impl WithSimd for StepAfter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        cover(simd, self.state.count, self.panels.clone(), self.backward, &mut self);
    }
}

impl<S: Simd> Tiled<S> for StepAfter<'_> {
    const VECTORS: usize = GATES;

    #[inline(always)]
    fn tile<const ROWS: usize, const P: usize>(&mut self, simd: S, row: usize, panel: usize) {
        let mut acc = self.source.tile::<S, GATES, ROWS, P>(simd, row, panel, self.panels.start);
        let mut input = [[simd.splat_f32s(0.0); ROWS]; P];
        let bias = vectors::<S, GATES>(&self.weights.bias);
        for p in 0..P {
            for r in 0..ROWS {
                input[p][r] = acc[p][r][N];
                acc[p][r][N] = bias[panel + p][N];
            }
        }
        let acc = product(simd, &self.state, row, self.weights, panel, acc);
        let (sums, input) = (acc.as_flattened(), input.as_flattened());
        let (rows, panels) = (row..row + ROWS, panel..panel + P);
        if self.functions.standard() {
            self.finish(simd, Standard, sums, input, rows, panels);
        } else {
            self.finish(simd, self.functions, sums, input, rows, panels);
        }
    }
}

impl StepAfter<'_> {
    /// The new states of `rows` and `panels` from their sums, `[panel][row]`, and the candidate's
    /// products over the input.
    #[inline(always)]
    fn finish<S: Simd>(
        &mut self,
        simd: S,
        math: impl CellMath,
        sums: &[[S::f32s; GATES]],
        input: &[S::f32s],
        rows: Range<usize>,
        panels: Range<usize>,
    ) {
        let stride = self.state.stride / S::F32_LANES;
        let state = vectors::<S, 1>(self.state.data);
        let next = vectors_mut::<S, 1>(self.next);
        let mut sums = sums.iter().zip(input);
        for panel in panels {
            for (row, ([r, z, n], input)) in rows.clone().zip(&mut sums) {
                let unit = row * stride + panel;
                let (reset, update) = (math.gate(simd, *r), math.gate(simd, *z));
                let candidate = math.candidate(simd, simd.mul_add_e_f32s(reset, *n, *input));
                next[unit][0] = blend(simd, update, candidate, state[unit][0]);
            }
        }
    }
}

/// The gates of the reset-before form: the update gate, and the state scaled by the reset gate.
pub(super) struct Gates<'a> {
    pub(super) source: Source<'a>,
    pub(super) state: Rows<'a>,
    pub(super) weights: &'a Weights,
    pub(super) panels: Range<usize>,
    /// Takes the last panels first.
    pub(super) backward: bool,
    pub(super) functions: Functions,
    /// `r * h`, `[row][all units]`, of the stride of `state`.
    pub(super) scaled: &'a mut [f32],
    /// `z`, laid out as `scaled`.
    pub(super) update: &'a mut [f32],
}

impl WithSimd for Gates<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        cover(simd, self.state.count, self.panels.clone(), self.backward, &mut self);
    }
}

impl<S: Simd> Tiled<S> for Gates<'_> {
    const VECTORS: usize = 2;

    #[inline(always)]
    fn tile<const ROWS: usize, const P: usize>(&mut self, simd: S, row: usize, panel: usize) {
        let acc = self.source.tile::<S, 2, ROWS, P>(simd, row, panel, self.panels.start);
        let acc = product(simd, &self.state, row, self.weights, panel, acc);
        let sums = acc.as_flattened();
        let (rows, panels) = (row..row + ROWS, panel..panel + P);
        if self.functions.standard() {
            self.finish(simd, Standard, sums, rows, panels);
        } else {
            self.finish(simd, self.functions, sums, rows, panels);
        }
    }
}

impl Gates<'_> {
    /// `r * h` and `z` of `rows` and `panels` from their sums, `[panel][row]`.
    #[inline(always)]
    fn finish<S: Simd>(
        &mut self,
        simd: S,
        math: impl CellMath,
        sums: &[[S::f32s; 2]],
        rows: Range<usize>,
        panels: Range<usize>,
    ) {
        let stride = self.state.stride / S::F32_LANES;
        let state = vectors::<S, 1>(self.state.data);
        let scaled = vectors_mut::<S, 1>(self.scaled);
        let update = vectors_mut::<S, 1>(self.update);
        let mut sums = sums.iter();
        for panel in panels {
            for (row, [r, z]) in rows.clone().zip(&mut sums) {
                let unit = row * stride + panel;
                scaled[unit][0] = simd.mul_f32s(math.gate(simd, *r), state[unit][0]);
                update[unit][0] = math.gate(simd, *z);
            }
        }
    }
}

/// The candidate and the new state of the reset-before form, by pairs of panels.
pub(super) struct Candidate<'a> {
    pub(super) source: Source<'a>,
    /// `r * h`.
    pub(super) scaled: Rows<'a>,
    pub(super) weights: &'a Weights,
    /// Pairs of panels.
    pub(super) pairs: Range<usize>,
    /// Takes the last pairs first.
    pub(super) backward: bool,
    pub(super) functions: Functions,
    /// `[row][all units]`.
    pub(super) state: &'a [f32],
    /// `z`, laid out as `state`.
    pub(super) update: &'a [f32],
    /// Laid out as `state`.
    pub(super) next: &'a mut [f32],
}

impl WithSimd for Candidate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        cover(simd, self.scaled.count, self.pairs.clone(), self.backward, &mut self);
    }
}

impl<S: Simd> Tiled<S> for Candidate<'_> {
    const VECTORS: usize = 2;

    #[inline(always)]
    fn tile<const ROWS: usize, const P: usize>(&mut self, simd: S, row: usize, pair: usize) {
        let acc = self.source.tile::<S, 2, ROWS, P>(simd, row, pair, self.pairs.start);
        let acc = product(simd, &self.scaled, row, self.weights, pair, acc);
        let sums = acc.as_flattened();
        let (rows, pairs) = (row..row + ROWS, pair..pair + P);
        if self.functions.standard() {
            self.finish(simd, Standard, sums, rows, pairs);
        } else {
            self.finish(simd, self.functions, sums, rows, pairs);
        }
    }
}

impl Candidate<'_> {
    /// The new states of `rows` and `pairs` from their sums, `[pair][row]`.
    #[inline(always)]
    fn finish<S: Simd>(
        &mut self,
        simd: S,
        math: impl CellMath,
        sums: &[[S::f32s; 2]],
        rows: Range<usize>,
        pairs: Range<usize>,
    ) {
        let stride = self.scaled.stride / S::F32_LANES;
        let state = vectors::<S, 1>(self.state);
        let update = vectors::<S, 1>(self.update);
        let next = vectors_mut::<S, 1>(self.next);
        let mut sums = sums.iter();
        for pair in pairs {
            for (row, both) in rows.clone().zip(&mut sums) {
                for (v, sum) in both.iter().enumerate() {
                    let unit = row * stride + 2 * pair + v;
                    let candidate = math.candidate(simd, *sum);
                    next[unit][0] = blend(simd, update[unit][0], candidate, state[unit][0]);
                }
            }
        }
    }
}

/// `(1 - z) n + z h`: exactly `h` for z = 1 and exactly `n` for z = 0.
#[inline(always)]
fn blend<S: Simd>(simd: S, update: S::f32s, candidate: S::f32s, state: S::f32s) -> S::f32s {
    let rest = simd.sub_f32s(simd.splat_f32s(1.0), update);
    simd.mul_add_e_f32s(update, state, simd.mul_f32s(rest, candidate))
}
