//! The register-blocked product under every kernel, and how rows and panels are cut into tiles.
//!
//! An output is one chain of fused multiply-adds over ascending k, whatever the tile it lies in.
//! So its bits do not depend on the number of rows, steps or threads.

use std::ops::Range;

use pulp::Simd;

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
        let mut out = [&self.data[..0]; N];
        for (r, slot) in out.iter_mut().enumerate() {
            *slot = &self.data[(first + r) * self.stride..][..len];
        }
        out
    }
}

/// Panels of weights `[panel][k][V][L]`.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) data: &'a [f32],
    /// k: features of an input.
    pub(super) features: usize,
}

impl<'a> Panels<'a> {
    #[inline(always)]
    fn take<S: Simd, const V: usize, const N: usize>(
        &self,
        first: usize,
    ) -> [&'a [[S::f32s; V]]; N] {
        let vectors: &[S::f32s] = bytemuck::cast_slice(self.data);
        let mut out: [&[[S::f32s; V]]; N] = [&[]; N];
        for (p, slot) in out.iter_mut().enumerate() {
            let panel = &vectors[(first + p) * self.features * V..][..self.features * V];
            *slot = panel.as_chunks::<V>().0;
        }
        out
    }
}

/// Accumulators of `P` panels by `R` rows of `V` vectors each.
pub(super) type Tile<F, const V: usize, const R: usize, const P: usize> = [[[F; V]; R]; P];

/// `acc + rows * panels` for the rows from `row` and the panels from `panel` on.
#[inline(always)]
pub(super) fn product<S: Simd, const V: usize, const R: usize, const P: usize>(
    simd: S,
    rows: &Rows<'_>,
    row: usize,
    panels: &Panels<'_>,
    panel: usize,
    mut acc: Tile<S::f32s, V, R, P>,
) -> Tile<S::f32s, V, R, P> {
    let rows: [&[f32]; R] = rows.take(row, panels.features);
    let weights: [&[[S::f32s; V]]; P] = panels.take::<S, V, P>(panel);
    for k in 0..panels.features {
        for p in 0..P {
            let w = weights[p][k];
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
    fn tile<const R: usize, const P: usize>(&mut self, simd: S, row: usize, panel: usize);
}

/// Covers `rows` rows by `panels` with tiles that fill the registers: up to eight rows of one
/// panel, or several panels where there are few rows. `backward` takes the last panels first.
#[inline(always)]
pub(super) fn cover<S: Simd>(
    simd: S,
    rows: usize,
    panels: Range<usize>,
    backward: bool,
    op: &mut impl Tiled<S>,
) {
    let wide = S::REGISTER_COUNT >= 32;
    match rows {
        0 => {}
        1 => few::<S, 1, 4>(simd, panels, backward, op),
        2 => few::<S, 2, 2>(simd, panels, backward, op),
        3 if wide => few::<S, 3, 2>(simd, panels, backward, op),
        _ => {
            let tiles = rows.div_ceil(if wide { 8 } else { 4 });
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
                        5 if wide => op.tile::<5, 1>(simd, row, panel),
                        6 if wide => op.tile::<6, 1>(simd, row, panel),
                        7 if wide => op.tile::<7, 1>(simd, row, panel),
                        8 if wide => op.tile::<8, 1>(simd, row, panel),
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
