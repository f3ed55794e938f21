//! How far one step of an engine may lie from the exact step on the same operands.
//!
//! Forward error analysis of the equations in [the module's documentation](super), operation by
//! operation, in the operands' own magnitudes. With `u` the unit roundoff and `d(v)` the error
//! bound of a computed value `v`:
//!
//! - a sum of n products `W v + b` is within `gamma(n) (|W| |v| + |b|)` plus `|W| d(v)`;
//! - an activation multiplies by its largest slope nearby and adds its own error;
//! - a product is within `|a| d(b) + |b| d(a) + d(a) d(b)` plus its rounding;
//! - in `h' = (1-z) n + z h` the error of `z` counts once, times `h - n`.
//!
//! An infinite bound means that nothing can be said: a sum may pass the largest f32, or an
//! infinity meets a factor whose error interval holds 0. Elsewhere infinities and NaN are exact:
//! the engine must have the same.

use super::activation::{self, clip};
use super::arithmetic::{Arithmetic, FLUSH, LARGEST, UNIT, gamma};
use super::cell::{Affine, Cell, Step};
use crate::cell::{GATES, Gate, ResetForm};

const R: usize = Gate::Reset as usize;
const Z: usize = Gate::Update as usize;
const N: usize = Gate::New as usize;

/// The error analysis of one cell.
#[derive(Debug)]
pub(super) struct Bounds<'a> {
    cell: &'a Cell,
    arithmetic: Arithmetic,
    input: [SumError; GATES],
    recurrent: [SumError; GATES],
}

/// The error of `W v + b`.
#[derive(Debug)]
struct SumError {
    gamma: f64,
    /// `e -> |W| e + gamma |b| + underflow`.
    map: Affine,
}

impl SumError {
    fn new(exact: &Affine, terms: usize, arithmetic: &Arithmetic) -> Self {
        let gamma = arithmetic.gamma(terms);
        // Every product and every sum may be flushed.
        let underflow = 2.0 * terms as f64 * FLUSH;
        // A weight that may be flushed is wrong by itself: gamma times this covers it.
        let weight = |w: f64| match finite(w) {
            w if arithmetic.flushes_weight(w) => w / gamma,
            w => w,
        };
        let bias = |b: f64| gamma * finite(b) + underflow;
        Self { gamma, map: exact.map(weight, bias) }
    }

    /// Error of the sum where operand `v[i]` is itself wrong by `dv(i)`.
    fn apply(&self, arithmetic: &Arithmetic, v: &[f64], dv: impl Fn(usize) -> f64) -> Vec<f64> {
        let round = arithmetic.round_operand();
        let operand = |(i, v): (usize, &f64)| {
            if v.is_finite() {
                let wrong = arithmetic.operand_error(*v, dv(i));
                self.gamma * finite(round(*v)) + (1.0 + self.gamma) * wrong
            } else {
                dv(i)
            }
        };
        let operands: Vec<f64> = v.iter().enumerate().map(operand).collect();
        let mut out = Vec::new();
        self.map.apply(&operands, &mut out);
        out
    }
}

impl<'a> Bounds<'a> {
    pub(super) fn new(cell: &'a Cell, arithmetic: &Arithmetic) -> Self {
        let terms = |g: usize, columns: usize| match (g, cell.reset) {
            // The two products of reset-after's candidate are summed apart.
            (N, ResetForm::After) => columns + 1,
            _ => cell.inputs + cell.units + 2,
        };
        let error = |affine: &Affine, terms| SumError::new(affine, terms, arithmetic);
        Self {
            cell,
            arithmetic: *arithmetic,
            input: std::array::from_fn(|g| error(&cell.input[g], terms(g, cell.inputs))),
            recurrent: std::array::from_fn(|g| error(&cell.recurrent[g], terms(g, cell.units))),
        }
    }

    /// Bounds of `|engine's h' - step.next|`, `[rows, H]`, where `step` is the exact step on `x`
    /// and `h`.
    pub(super) fn of(&self, x: &[f64], h: &[f64], step: &Step) -> Vec<f64> {
        let functions = &self.cell.functions;
        let Step { from_input, from_state, r, z, n, next } = step;
        let exact = |_: usize| 0.0;
        let sum = |g: usize| {
            let input = self.input[g].apply(&self.arithmetic, x, exact);
            let state = self.recurrent[g].apply(&self.arithmetic, h, exact);
            let gamma = self.input[g].gamma;
            input.into_iter().zip(state).map(|(a, b)| limit(a + b, gamma)).collect::<Vec<_>>()
        };
        let activated = |function, a: f64, da: f64| {
            activation::error(function, clip(functions, a), settle(a, da), &self.arithmetic)
        };
        let gate = |g: usize| -> Vec<f64> {
            let wrong = sum(g).into_iter().enumerate();
            wrong
                .map(|(i, da)| activated(functions.gate, from_input[g][i] + from_state[g][i], da))
                .collect()
        };
        let (dr, dz) = (gate(R), gate(Z));
        let dp = self.input[N].apply(&self.arithmetic, x, exact);
        let candidate: Vec<(f64, f64)> = match self.cell.reset {
            ResetForm::Before => {
                let rh: Vec<f64> = r.iter().zip(h).map(|(r, h)| r * h).collect();
                let drh = |i: usize| product(r[i], dr[i], h[i], 0.0);
                let dq = self.recurrent[N].apply(&self.arithmetic, &rh, drh);
                let sums = from_input[N].iter().zip(&from_state[N]).map(|(p, q)| p + q);
                let gamma = self.input[N].gamma;
                sums.zip(dp.iter().zip(dq).map(|(p, q)| limit(p + q, gamma))).collect()
            }
            ResetForm::After => {
                let dq = self.recurrent[N].apply(&self.arithmetic, h, exact);
                let one = |i: usize| {
                    let (p, q) = (from_input[N][i], from_state[N][i]);
                    let dp = settle(p, limit(dp[i], self.input[N].gamma));
                    let dq = settle(q, limit(dq[i], self.recurrent[N].gamma));
                    let drq = product(r[i], dr[i], q, dq);
                    (p + r[i] * q, total(p, dp, r[i] * q, drq))
                };
                (0..n.len()).map(one).collect()
            }
        };
        let unit = |i: usize| {
            let (a, da) = candidate[i];
            let dn = activated(functions.candidate, a, da);
            settle(next[i], update_error(z[i], dz[i], n[i], dn, h[i]))
        };
        (0..next.len()).map(unit).collect()
    }
}

/// The error of a sum with relative error `gamma`, unbounded where its magnitudes pass the largest
/// f32: a partial sum may overflow. NaN is an unbounded operand times a weight of 0.
fn limit(error: f64, gamma: f64) -> f64 {
    if error.is_nan() || error > gamma * LARGEST { f64::INFINITY } else { error }
}

/// Error of `(1-z) n + z h`.
fn update_error(z: f64, dz: f64, n: f64, dn: f64, h: f64) -> f64 {
    let keep = 1.0 - z;
    if !(z.is_finite() && n.is_finite() && h.is_finite()) {
        let dkeep = dz + UNIT * (finite(keep) + dz);
        return total(keep * n, product(keep, dkeep, n, dn), z * h, product(z, dz, h, 0.0));
    }
    let carried = (h - n).abs() * dz + keep.abs() * dn + dz * dn;
    let [keep, z, n, h] = [keep.abs() + dz, z.abs() + dz, n.abs() + dn, h.abs()];
    if keep * n + z * h > LARGEST {
        return f64::INFINITY;
    }
    // Both terms pass three roundings at most; four factors and four results may be flushed.
    carried + gamma(3) * (keep * n + z * h) + FLUSH * (keep + n + z + h + 4.0)
}

/// Error of the rounded product of `a` and `b`, wrong by `da` and `db`.
fn product(a: f64, da: f64, b: f64, db: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return if da.is_finite() && db.is_finite() { 0.0 } else { f64::INFINITY };
    }
    if a.is_infinite() || b.is_infinite() {
        // NaN or infinite, of either sign: it depends on which side of 0 the other factor lies.
        let certain = |v: f64, dv: f64| v.abs() > dv;
        return if certain(a, da) && certain(b, db) { 0.0 } else { f64::INFINITY };
    }
    let (a, b) = (a.abs(), b.abs());
    let [largest_a, largest_b] = [a + da, b + db];
    let largest = largest_a * largest_b;
    if largest.is_nan() || largest > LARGEST {
        return f64::INFINITY;
    }
    a * db + b * da + da * db + UNIT * largest + FLUSH * (largest_a + largest_b + 1.0)
}

/// Error of the rounded sum of `a` and `b`, wrong by `da` and `db`.
fn total(a: f64, da: f64, b: f64, db: f64) -> f64 {
    let magnitude = finite(a) + da + finite(b) + db;
    if magnitude > LARGEST {
        return f64::INFINITY;
    }
    da + db + UNIT * magnitude + FLUSH
}

/// The error of a value that may not be finite: an infinity or NaN that the exact step has for
/// certain is exact.
fn settle(value: f64, error: f64) -> f64 {
    if !error.is_finite() {
        f64::INFINITY
    } else if value.is_finite() {
        error
    } else {
        0.0
    }
}

/// The magnitude of a finite value, 0 of another: infinities and NaN are not rounded.
fn finite(v: f64) -> f64 {
    if v.is_finite() { v.abs() } else { 0.0 }
}
