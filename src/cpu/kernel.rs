//! The register-blocked product under every kernel, and how rows and panels are cut into tiles.
//!
//! An output is one chain of fused multiply-adds over ascending k, whatever the tile it lies in.
//! So its bits do not depend on the number of rows, steps or threads.

use std::ops::Range;

use pulp::Simd;

use super::pack::Weights;

/// Rows of operands: row `r` begins at `r * stride`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
    pub(super) count: usize,
}

impl<'a> Rows<'a> {
    /// The first `len` elements of `N` rows from `first` on.
    #[inline(always)]
    fn take<const N: usize>(&self, first: usize, len: usize) -> [&'a [f32]; N] {
        // A closure would not be compiled for the kernel's instruction set.
        let mut out = [&self.data[..0]; N];
        for (r, slot) in out.iter_mut().enumerate() {
            *slot = &self.data[(first + r) * self.stride..][..len];
        }
        out
    }
}

/// The panels of `weights` from `first` on.
#[inline(always)]
fn take_panels<S: Simd, const V: usize, const N: usize>(
    weights: &Weights,
    first: usize,
) -> [&[[S::f32s; V]]; N] {
    let size = weights.features * V * S::F32_LANES;
    let mut out: [&[[S::f32s; V]]; N] = [&[]; N];
    for (p, slot) in out.iter_mut().enumerate() {
        // The length is known to the loops over k, which then check no index.
        *slot = &vectors::<S, V>(&weights.data[(first + p) * size..][..size])[..weights.features];
    }
    out
}

/// `data` as groups of `V` vectors.
#[inline(always)]
pub(super) fn vectors<S: Simd, const V: usize>(data: &[f32]) -> &[[S::f32s; V]] {
    let vectors: &[S::f32s] = bytemuck::cast_slice(data);
    vectors.as_chunks::<V>().0
}

/// `data` as groups of `V` vectors.
#[inline(always)]
pub(super) fn vectors_mut<S: Simd, const V: usize>(data: &mut [f32]) -> &mut [[S::f32s; V]] {
    let vectors: &mut [S::f32s] = bytemuck::cast_slice_mut(data);
    vectors.as_chunks_mut::<V>().0
}

/// Accumulators of `P` panels by `R` rows of `V` vectors each.
pub(super) type Tile<F, const V: usize, const R: usize, const P: usize> = [[[F; V]; R]; P];

/// `acc + rows * weights` for the rows from `row` and the panels from `panel` on.
#[inline(always)]
pub(super) fn product<S: Simd, const V: usize, const R: usize, const P: usize>(
    simd: S,
    rows: &Rows<'_>,
    row: usize,
    weights: &Weights,
    panel: usize,
    mut acc: Tile<S::f32s, V, R, P>,
) -> Tile<S::f32s, V, R, P> {
    let rows: [&[f32]; R] = rows.take(row, weights.features);
    let panels: [&[[S::f32s; V]]; P] = take_panels::<S, V, P>(weights, panel);
    for k in 0..weights.features {
        for p in 0..P {
            let w = panels[p][k];
            for r in 0..R {
                let x = simd.splat_f32s(rows[r][k]);
                for v in 0..V {
                    acc[p][r][v] = simd.mul_add_e_f32s(x, w[v], acc[p][r][v]);
                }
            }
        }
    }
    acc
}

/// What is done with a tile of `R` rows by `P` panels.
pub(super) trait Tiled<S: Simd> {
    /// Vectors that a row and panel accumulate.
    const VECTORS: usize;

    fn tile<const R: usize, const P: usize>(&mut self, simd: S, row: usize, panel: usize);
}

/// Covers `rows` rows by `panels` with tiles that fill the registers: 24 (or 12) accumulators of
/// one panel, or of several panels where there are few rows. `backward` takes the last panels
/// first.
#[inline(always)]
pub(super) fn cover<S: Simd, O: Tiled<S>>(
    simd: S,
    rows: usize,
    panels: Range<usize>,
    backward: bool,
    op: &mut O,
) {
    let wide = S::REGISTER_COUNT >= 32;
    let most = if wide { 24 } else { 12 } / O::VECTORS;
    match rows {
        0 => {}
        // In pairs, `backward` finds half of these panels in the innermost cache.
        1 if panels.len() <= 4 => few::<S, 1, 2>(simd, panels, backward, op),
        1 => few::<S, 1, 4>(simd, panels, backward, op),
        2 => few::<S, 2, 2>(simd, panels, backward, op),
        3 if wide => few::<S, 3, 2>(simd, panels, backward, op),
        _ => {
            let tiles = rows.div_ceil(most);
            let (size, larger) = (rows / tiles, rows % tiles);
            for index in 0..panels.len() {
                let panel = if backward { panels.end - 1 - index } else { panels.start + index };
                let mut row = 0;
                for tile in 0..tiles {
                    let count = size + usize::from(tile < larger);
                    match count {
                        2 => op.tile::<2, 1>(simd, row, panel),
                        3 => op.tile::<3, 1>(simd, row, panel),
                        4 => op.tile::<4, 1>(simd, row, panel),
                        5 if most >= 5 => op.tile::<5, 1>(simd, row, panel),
                        6 if most >= 6 => op.tile::<6, 1>(simd, row, panel),
                        7 if most >= 7 => op.tile::<7, 1>(simd, row, panel),
                        8 if most >= 8 => op.tile::<8, 1>(simd, row, panel),
                        9 if most >= 9 => op.tile::<9, 1>(simd, row, panel),
                        10 if most >= 10 => op.tile::<10, 1>(simd, row, panel),
                        11 if most >= 11 => op.tile::<11, 1>(simd, row, panel),
                        12 if most >= 12 => op.tile::<12, 1>(simd, row, panel),
                        _ => unreachable!("tiles of {count} rows"),
                    }
                    row += count;
                }
            }
        }
    }
}

/// Groups of `P` panels, then those left over one by one; or the other way round.
#[inline(always)]
fn few<S: Simd, const R: usize, const P: usize>(
    simd: S,
    panels: Range<usize>,
    backward: bool,
    op: &mut impl Tiled<S>,
) {
    let groups = panels.len() / P;
    let rest = panels.len() % P;
    for index in 0..groups + rest {
        let index = if backward { groups + rest - 1 - index } else { index };
        if index < groups {
            op.tile::<R, P>(simd, 0, panels.start + index * P);
        } else {
            op.tile::<R, 1>(simd, 0, panels.end - rest + index - groups);
        }
    }
}
