//! The activations in f64, and how errors pass through them.

use super::arithmetic::{Arithmetic, FLUSH, LARGEST, UNIT};
use crate::activation::Activation;
use crate::cell::CellFunctions;

/// The activation of `x` clamped to the functions' clip.
pub(super) fn clipped(function: Activation, functions: &CellFunctions, x: f64) -> f64 {
    value(function, clip(functions, x))
}

/// `x` clamped to the functions' clip; NaN stays NaN.
pub(super) fn clip(functions: &CellFunctions, x: f64) -> f64 {
    functions.clip.map_or(x, |c| x.clamp(-f64::from(c), f64::from(c)))
}

/// The activation of `x`: NaN for NaN, the limit for an infinity.
pub(crate) fn value(function: Activation, x: f64) -> f64 {
    // Comparisons are written so that NaN takes the branch that returns it.
    match function {
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::LeakyRelu { alpha } => {
            if x < 0.0 {
                f64::from(alpha) * x
            } else {
                x
            }
        }
        Activation::ThresholdedRelu { alpha } => {
            if x <= f64::from(alpha) {
                0.0
            } else {
                x
            }
        }
        Activation::Elu { alpha } => {
            if x < 0.0 {
                f64::from(alpha) * x.exp_m1()
            } else {
                x
            }
        }
        Activation::HardSigmoid { alpha, beta } => {
            (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
        }
        Activation::Softsign => {
            if x.is_infinite() {
                x.signum()
            } else {
                x / (1.0 + x.abs())
            }
        }
        Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Activation::Affine { alpha, beta } => f64::from(alpha) * x + f64::from(beta),
        Activation::ScaledTanh { alpha, beta } => f64::from(alpha) * (f64::from(beta) * x).tanh(),
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Largest difference between an engine's activation and the exact one at `x`, where the engine's
/// argument is within `dx` of `x`. Infinite where nothing can be said.
pub(crate) fn error(function: Activation, x: f64, dx: f64, arithmetic: &Arithmetic) -> f64 {
    if !dx.is_finite() {
        return f64::INFINITY;
    }
    let y = value(function, x);
    if !y.is_finite() {
        return 0.0;
    }
    let carried =
        if x.is_finite() { slope(function, x, dx) * dx + jump(function, x, dx) } else { 0.0 };
    let error = carried + own_error(function, x, y, arithmetic) + FLUSH;
    // An affine function's product may overflow where its sum does not.
    let product = match function {
        Activation::Affine { alpha, .. } => (f64::from(alpha) * x).abs(),
        _ => 0.0,
    };
    if y.abs().max(product) + error > LARGEST { f64::INFINITY } else { error }
}

/// Largest slope between `x - dx` and `x + dx`: a Lipschitz constant there.
pub(super) fn slope(function: Activation, x: f64, dx: f64) -> f64 {
    // The sigmoids are steepest at 0: their slope is taken at the nearest point to it.
    let nearest = (x.abs() - dx).max(0.0);
    match function {
        Activation::Sigmoid => sigmoid(nearest) * sigmoid(-nearest),
        Activation::Tanh => 1.0 - nearest.tanh().powi(2),
        Activation::ScaledTanh { alpha, beta } => {
            let (alpha, beta) = (f64::from(alpha).abs(), f64::from(beta).abs());
            alpha * beta * (1.0 - (beta * nearest).tanh().powi(2))
        }
        Activation::Softsign => (1.0 + nearest).powi(-2),
        Activation::Relu | Activation::ThresholdedRelu { .. } | Activation::Softplus => 1.0,
        Activation::LeakyRelu { alpha } | Activation::Elu { alpha } => {
            f64::from(alpha).abs().max(1.0)
        }
        Activation::HardSigmoid { alpha, .. } | Activation::Affine { alpha, .. } => {
            f64::from(alpha).abs()
        }
    }
}

/// The step of a function that is not continuous, where it lies between `x - dx` and `x + dx`.
fn jump(function: Activation, x: f64, dx: f64) -> f64 {
    match function {
        Activation::ThresholdedRelu { alpha } if (x - f64::from(alpha)).abs() <= dx => {
            f64::from(alpha).abs()
        }
        _ => 0.0,
    }
}

/// Error of an engine's function at an exact argument `x`, where the exact value is `y`.
///
/// Sigmoid and tanh are promised ([`ACTIVATION_ERROR`](crate::ACTIVATION_ERROR)). The others count
/// the roundings of their formula, each `u` relative, with the accuracy that WGSL gives its
/// built-in functions near 1: exp 3 ULP (6u), log 2^-21 absolute (8u), division 2.5 ULP (5u).
fn own_error(function: Activation, x: f64, y: f64, arithmetic: &Arithmetic) -> f64 {
    let u = UNIT;
    match function {
        Activation::Sigmoid | Activation::Tanh => arithmetic.activation_error,
        // alpha * tanh(beta * x): the inner product moves tanh by u |t| sech^2 t < u / 2.
        Activation::ScaledTanh { alpha, .. } => {
            f64::from(alpha).abs() * (arithmetic.activation_error + 2.0 * u)
        }
        Activation::Relu | Activation::ThresholdedRelu { .. } => 0.0,
        Activation::LeakyRelu { .. } => u * y.abs(),
        // (3 + 2|x|) ULP of e^x is largest at 0; then a difference and a product.
        Activation::Elu { alpha } => {
            if x < 0.0 {
                8.0 * u * f64::from(alpha).abs()
            } else {
                0.0
            }
        }
        // The line only counts where it is within [0, 1]: |alpha x| <= 1 + |beta|.
        Activation::HardSigmoid { beta, .. } => u * (2.0 + f64::from(beta).abs()),
        Activation::Affine { alpha, .. } => u * ((f64::from(alpha) * x).abs() + y.abs()),
        Activation::Softsign => 6.0 * u * y.abs(),
        // exp through log's slope e/(1+e) <= 1/2, the sum 1 + e, the log, the last sum.
        Activation::Softplus => u * (12.0 + y.abs()),
    }
}
