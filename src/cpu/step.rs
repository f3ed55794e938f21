//! The kernels: input projection, and one time step of both reset forms.
//!
//! All work on a part: some rows, and the panels `panels` of the units. Buffers hold vectors
//! `[row][panel of the part][...]` or, for states, `[row][all units]`.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cell::GATES;

use super::kernel::{Panels, Rows, Tile, Tiled, cover, product};
use super::math::Functions;

const R: usize = 0;
const Z: usize = 1;
const N: usize = 2;

/// Projected input of a chunk of steps, `[panel of the part][row of the chunk][r, z, n][L]`: what
/// one panel's step reads lies side by side.
#[derive(Clone, Copy)]
pub(super) struct Projected<'a> {
    pub(super) data: &'a [f32],
    /// Rows of the chunk.
    pub(super) rows: usize,
    /// The row of the chunk that is row 0 of the step.
    pub(super) first: usize,
}

impl<'a> Projected<'a> {
    /// The rows from `row` of the step on, of panel `panel` of the part.
    #[inline(always)]
    fn take<S: Simd>(&self, panel: usize, row: usize) -> &'a [[S::f32s; GATES]] {
        &vectors::<S, GATES>(self.data)[panel * self.rows + self.first + row..]
    }
}

/// `out = bias + input * weights`: the part of the gates that does not depend on the state.
pub(super) struct Project<'a> {
    pub(super) input: Rows<'a>,
    pub(super) weights: Panels<'a>,
    /// `[panel][r, z, n][L]`.
    pub(super) bias: &'a [f32],
    pub(super) panels: Range<usize>,
    /// As [`Projected`].
    pub(super) out: &'a mut [f32],
}

impl WithSimd for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        cover(simd, self.input.count, self.panels.clone(), false, &mut self);
    }
}

impl<S: Simd> Tiled<S> for Project<'_> {
    #[inline(always)]
    fn tile<const ROWS: usize, const P: usize>(&mut self, simd: S, row: usize, panel: usize) {
        let bias: &[[S::f32s; GATES]] = vectors::<S, GATES>(self.bias);
        let mut acc: Tile<S::f32s, GATES, ROWS, P> = [[[simd.splat_f32s(0.0); GATES]; ROWS]; P];
        for p in 0..P {
            acc[p] = [bias[panel + p]; ROWS];
        }
        let acc = product(simd, &self.input, row, &self.weights, panel, acc);
        let rows = self.input.count;
        let out = vectors_mut::<S, GATES>(self.out);
        for p in 0..P {
            let first = (panel + p - self.panels.start) * rows + row;
            out[first..first + ROWS].copy_from_slice(&acc[p]);
        }
    }
}

/// A whole step of the reset-after form.
pub(super) struct StepAfter<'a> {
    pub(super) state: Rows<'a>,
    pub(super) weights: Panels<'a>,
    /// `b_hn`, `[panel][L]`.
    pub(super) bias: &'a [f32],
    pub(super) projected: Projected<'a>,
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
    #[inline(always)]
    fn tile<const ROWS: usize, const P: usize>(&mut self, simd: S, row: usize, panel: usize) {
        let bias = vectors::<S, 1>(self.bias);
        let mut acc: Tile<S::f32s, GATES, ROWS, P> = [[[simd.splat_f32s(0.0); GATES]; ROWS]; P];
        for p in 0..P {
            let projected = &self.projected.take::<S>(panel + p - self.panels.start, row)[..ROWS];
            for r in 0..ROWS {
                let x = projected[r];
                acc[p][r] = [x[R], x[Z], bias[panel + p][0]];
            }
        }
        let acc = product(simd, &self.state, row, &self.weights, panel, acc);
        let stride = self.state.stride / S::F32_LANES;
        let state = vectors::<S, 1>(self.state.data);
        let next = vectors_mut::<S, 1>(self.next);
        for (p, acc) in acc.iter().enumerate() {
            let projected = &self.projected.take::<S>(panel + p - self.panels.start, row)[..ROWS];
            for (r, acc) in acc.iter().enumerate() {
                let unit = (row + r) * stride + panel + p;
                let reset = self.functions.gate(simd, acc[R]);
                let update = self.functions.gate(simd, acc[Z]);
                let sum = simd.mul_add_e_f32s(reset, acc[N], projected[r][N]);
                let candidate = self.functions.candidate(simd, sum);
                next[unit][0] = blend(simd, update, candidate, state[unit][0]);
            }
        }
    }
}

/// The gates of the reset-before form: the update gate, and the state scaled by the reset gate.
pub(super) struct Gates<'a> {
    pub(super) state: Rows<'a>,
    pub(super) weights: Panels<'a>,
    pub(super) projected: Projected<'a>,
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
    #[inline(always)]
    fn tile<const ROWS: usize, const P: usize>(&mut self, simd: S, row: usize, panel: usize) {
        let mut acc: Tile<S::f32s, 2, ROWS, P> = [[[simd.splat_f32s(0.0); 2]; ROWS]; P];
        for p in 0..P {
            let projected = &self.projected.take::<S>(panel + p - self.panels.start, row)[..ROWS];
            for r in 0..ROWS {
                acc[p][r] = [projected[r][R], projected[r][Z]];
            }
        }
        let acc = product(simd, &self.state, row, &self.weights, panel, acc);
        let stride = self.state.stride / S::F32_LANES;
        let state = vectors::<S, 1>(self.state.data);
        let scaled = vectors_mut::<S, 1>(self.scaled);
        let update = vectors_mut::<S, 1>(self.update);
        for (p, acc) in acc.iter().enumerate() {
            for (r, acc) in acc.iter().enumerate() {
                let unit = (row + r) * stride + panel + p;
                let reset = self.functions.gate(simd, acc[R]);
                scaled[unit][0] = simd.mul_f32s(reset, state[unit][0]);
                update[unit][0] = self.functions.gate(simd, acc[Z]);
            }
        }
    }
}

/// The candidate and the new state of the reset-before form, by pairs of panels.
pub(super) struct Candidate<'a> {
    /// `r * h`.
    pub(super) scaled: Rows<'a>,
    /// `[pair][k][even, odd panel][L]`.
    pub(super) weights: Panels<'a>,
    pub(super) projected: Projected<'a>,
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
    #[inline(always)]
    fn tile<const ROWS: usize, const P: usize>(&mut self, simd: S, row: usize, pair: usize) {
        let mut acc: Tile<S::f32s, 2, ROWS, P> = [[[simd.splat_f32s(0.0); 2]; ROWS]; P];
        for p in 0..P {
            let panel = 2 * (pair + p - self.pairs.start);
            let even = &self.projected.take::<S>(panel, row)[..ROWS];
            let odd = &self.projected.take::<S>(panel + 1, row)[..ROWS];
            for r in 0..ROWS {
                acc[p][r] = [even[r][N], odd[r][N]];
            }
        }
        let acc = product(simd, &self.scaled, row, &self.weights, pair, acc);
        let stride = self.scaled.stride / S::F32_LANES;
        let state = vectors::<S, 1>(self.state);
        let update = vectors::<S, 1>(self.update);
        let next = vectors_mut::<S, 1>(self.next);
        for (p, acc) in acc.iter().enumerate() {
            for (r, acc) in acc.iter().enumerate() {
                for (v, acc) in acc.iter().enumerate() {
                    let unit = (row + r) * stride + 2 * (pair + p) + v;
                    let candidate = self.functions.candidate(simd, *acc);
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

#[inline(always)]
fn vectors<S: Simd, const V: usize>(data: &[f32]) -> &[[S::f32s; V]] {
    let vectors: &[S::f32s] = bytemuck::cast_slice(data);
    vectors.as_chunks::<V>().0
}

#[inline(always)]
fn vectors_mut<S: Simd, const V: usize>(data: &mut [f32]) -> &mut [[S::f32s; V]] {
    let vectors: &mut [S::f32s] = bytemuck::cast_slice_mut(data);
    vectors.as_chunks_mut::<V>().0
}
