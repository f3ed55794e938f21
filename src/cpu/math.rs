//! Activations on SIMD vectors: saturating, right at infinities, NaN in gives NaN out.
//!
//! Sigmoid and tanh come from one exponential: `x = n ln 2 + r`, `|r| <= ln 2 / 2`, and Cephes'
//! minimax polynomial of `e^r` (Moshier, `expf.c`). Their absolute error over all floats stays
//! below two thirds of [`ACTIVATION_ERROR`](crate::ACTIVATION_ERROR).

use pulp::Simd;

use crate::activation::Activation;
use crate::cell::CellFunctions;

/// `(p, s)` with `e^x = s + s p`; `x` must lie in `[-87, 87]` or be NaN.
#[inline(always)]
fn exp_parts<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low mantissa bits.
    let magic = simd.splat_f32s(12_582_912.0);
    let shifted = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-std::f32::consts::LN_2), x);
    let mut p = simd.splat_f32s(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(c));
    }
    let p = simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), r);
    let exponent =
        simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let one = simd.transmute_u32s_f32s(simd.splat_f32s(1.0));
    (p, simd.transmute_f32s_u32s(simd.add_u32s(exponent, one)))
}

/// `x` limited to `[low, high]`; NaN stays NaN.
#[inline(always)]
fn clamp<S: Simd>(simd: S, x: S::f32s, low: f32, high: f32) -> S::f32s {
    let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
    if S::IS_SCALAR {
        // `f32::max` would drop a NaN.
        let x = simd.select_f32s(simd.less_than_f32s(x, low), low, x);
        return simd.select_f32s(simd.greater_than_f32s(x, high), high, x);
    }
    // The vector instructions hand on a NaN that is their second operand.
    simd.min_f32s(high, simd.max_f32s(low, x))
}

/// `1 / x` for `x` in `[1, 2^126)`, off by two units in the last place at most.
#[inline(always)]
fn reciprocal<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    // A division of 16 lanes holds the unit that multiplies for 16 cycles; an approximation to
    // 2^-14 and one Newton step take four.
    #[cfg(target_arch = "x86_64")]
    if let Some(v4) = (&simd as &dyn std::any::Any).downcast_ref::<pulp::x86::V4>() {
        let approximate = v4.avx512f._mm512_rcp14_ps(bytemuck::cast(x));
        let y: S::f32s = bytemuck::cast(approximate);
        return simd.mul_add_e_f32s(simd.negate_mul_add_e_f32s(x, y, one), y, y);
    }
    simd.div_f32s(one, x)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (p, s) = exp_parts(simd, clamp(simd, simd.neg_f32s(x), -87.0, 87.0));
    let e = simd.mul_add_e_f32s(s, p, s);
    reciprocal(simd, simd.add_f32s(simd.splat_f32s(1.0), e))
}

/// `tanh x`, as `e / (e + 2)` with `e = e^2x - 1`: relative precision is kept near zero.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // tanh rounds to +-1 from 9.02 on.
    let x = clamp(simd, x, -9.5, 9.5);
    let (p, s) = exp_parts(simd, simd.add_f32s(x, x));
    let e = simd.mul_add_e_f32s(s, p, simd.sub_f32s(s, simd.splat_f32s(1.0)));
    let divisor = simd.add_f32s(e, simd.splat_f32s(2.0));
    let y = reciprocal(simd, divisor);
    // One correction, or the result may lie outside [-1, 1].
    let quotient = simd.mul_f32s(e, y);
    simd.mul_add_e_f32s(simd.negate_mul_add_e_f32s(quotient, divisor, e), y, quotient)
}

/// The cell's functions, ready for the kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Functions {
    gate: Activation,
    candidate: Activation,
    clip: Option<f32>,
    /// Sigmoid and tanh without clip.
    standard: bool,
}

impl Functions {
    pub(super) fn new(functions: &CellFunctions) -> Self {
        let standard = *functions == CellFunctions::default();
        let CellFunctions { gate, candidate, clip } = *functions;
        Self { gate, candidate, clip, standard }
    }

    /// Whether the functions are those of [`Standard`].
    pub(super) fn standard(&self) -> bool {
        self.standard
    }
}

/// A cell's functions: which ones is decided outside the loops, whose code a choice would cut up.
pub(super) trait CellMath: Copy {
    /// The reset or update gate's activation.
    fn gate<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s;

    /// The candidate's activation.
    fn candidate<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s;
}

/// Sigmoid and tanh without clip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standard;

impl CellMath for Standard {
    #[inline(always)]
    fn gate<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
        sigmoid(simd, x)
    }

    #[inline(always)]
    fn candidate<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
        tanh(simd, x)
    }
}

impl CellMath for Functions {
    #[inline(always)]
    fn gate<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
        general(simd, self.gate, self.clip, x)
    }

    #[inline(always)]
    fn candidate<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
        general(simd, self.candidate, self.clip, x)
    }
}

struct General<V> {
    function: Activation,
    clip: Option<f32>,
    x: V,
}

impl<V: bytemuck::Pod> pulp::WithSimd for General<V> {
    type Output = V;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> V {
        // `V` is `S::f32s`; the trait cannot say so.
        let x: S::f32s = bytemuck::cast(self.x);
        let x = match self.clip {
            Some(clip) => clamp(simd, x, -clip, clip),
            None => x,
        };
        bytemuck::cast(activate(simd, self.function, x))
    }
}

/// Out of line: the kernels inline the standard functions alone.
#[inline(always)]
fn general<S: Simd>(simd: S, function: Activation, clip: Option<f32>, x: S::f32s) -> S::f32s {
    simd.vectorize(General { function, clip, x })
}

#[inline(always)]
fn activate<S: Simd>(simd: S, function: Activation, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    let affine = |x: S::f32s, alpha: f32, beta: f32| {
        simd.add_f32s(simd.mul_f32s(x, simd.splat_f32s(alpha)), simd.splat_f32s(beta))
    };
    match function {
        Activation::Sigmoid => sigmoid(simd, x),
        Activation::Tanh => tanh(simd, x),
        // `x < 0` is false for NaN, which passes through.
        Activation::Relu => simd.select_f32s(simd.less_than_f32s(x, zero), zero, x),
        Activation::LeakyRelu { alpha } => simd.select_f32s(
            simd.less_than_f32s(x, zero),
            simd.mul_f32s(x, simd.splat_f32s(alpha)),
            x,
        ),
        Activation::ThresholdedRelu { alpha } => {
            simd.select_f32s(simd.less_than_or_equal_f32s(x, simd.splat_f32s(alpha)), zero, x)
        }
        Activation::HardSigmoid { alpha, beta } => clamp(simd, affine(x, alpha, beta), 0.0, 1.0),
        Activation::Affine { alpha, beta } => affine(x, alpha, beta),
        Activation::ScaledTanh { alpha, beta } => {
            let y = simd.mul_f32s(x, simd.splat_f32s(beta));
            simd.mul_f32s(tanh(simd, y), simd.splat_f32s(alpha))
        }
        Activation::Softsign | Activation::Elu { .. } | Activation::Softplus => {
            let mut lanes = x;
            for lane in bytemuck::cast_slice_mut::<S::f32s, f32>(std::slice::from_mut(&mut lanes)) {
                *lane = scalar(function, *lane);
            }
            lanes
        }
    }
}

/// The functions that the standard library's exponentials and logarithms serve best.
fn scalar(function: Activation, x: f32) -> f32 {
    match function {
        // inf / inf would be NaN.
        Activation::Softsign if x.is_infinite() => x.signum(),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Elu { alpha } if x < 0.0 => alpha * x.exp_m1(),
        Activation::Softplus if x > 0.0 => x + (-x).exp().ln_1p(),
        Activation::Softplus => x.exp().ln_1p(),
        _ => x,
    }
}
