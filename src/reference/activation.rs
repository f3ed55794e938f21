//! The activations in f64.

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
pub(super) fn value(function: Activation, x: f64) -> f64 {
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
