//! Activation functions of a GRU cell: the set of the ONNX operator.

use crate::error::{Error, ErrorKind, Result};

/// Absolute error that every engine promises for [`Activation::Sigmoid`] and [`Activation::Tanh`]
/// at any f32 input: 2^-21, four units in the last place of values just below 1. It leaves room
/// for multiply-adds that are not fused and a division that is 2.5 units off, as WGSL allows. The
/// kernels' own sweeps hold them to it, and the bounds of [`reference::verify`](crate::reference::verify) are built on it.
pub const ACTIVATION_ERROR: f64 = 1.0 / (1u32 << 21) as f64;

/// An elementwise activation. Names, parameters and defaults follow the ONNX GRU operator.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `tanh x`
    Tanh,
    /// `max(0, x)`
    Relu,
    /// `x` where `x >= 0`, else `alpha x`
    LeakyRelu {
        /// Slope below zero, 0.01 by default.
        alpha: f32,
    },
    /// `x` where `x > alpha`, else 0
    ThresholdedRelu {
        /// Threshold, 1 by default.
        alpha: f32,
    },
    /// `x` where `x >= 0`, else `alpha (e^x - 1)`
    Elu {
        /// Scale below zero, 1 by default.
        alpha: f32,
    },
    /// `min(max(alpha x + beta, 0), 1)`
    HardSigmoid {
        /// Slope, 0.2 by default (also Keras 2's; Keras 3's is 1/6).
        alpha: f32,
        /// Offset, 0.5 by default.
        beta: f32,
    },
    /// `x / (1 + |x|)`
    Softsign,
    /// `ln(1 + e^x)`
    Softplus,
    /// `alpha x + beta`; the identity ("linear") is alpha 1, beta 0
    Affine {
        /// Slope, 1 by default.
        alpha: f32,
        /// Offset, 0 by default.
        beta: f32,
    },
    /// `alpha tanh(beta x)`
    ScaledTanh {
        /// Output scale, 1 by default.
        alpha: f32,
        /// Input scale, 1 by default.
        beta: f32,
    },
}

impl Activation {
    /// The identity.
    pub const LINEAR: Self = Self::Affine { alpha: 1.0, beta: 0.0 };

    /// The activation of that name, in any case, with `alpha` and `beta` where the function takes
    /// them and the ONNX operator's defaults where they are `None`. Beside ONNX's names:
    /// `linear`, `hard_sigmoid` (the ONNX and Keras 2 slope 0.2), `hard_sigmoid_keras3` (slope
    /// 1/6).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for an unknown name, or for a parameter that the function does
    /// not take.
    pub fn from_name(name: &str, alpha: Option<f32>, beta: Option<f32>) -> Result<Self> {
        let folded: String =
            name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect();
        let (this, takes_alpha, takes_beta) = match folded.as_str() {
            "sigmoid" => (Self::Sigmoid, false, false),
            "tanh" => (Self::Tanh, false, false),
            "relu" => (Self::Relu, false, false),
            "leakyrelu" => (Self::LeakyRelu { alpha: alpha.unwrap_or(0.01) }, true, false),
            "thresholdedrelu" => {
                (Self::ThresholdedRelu { alpha: alpha.unwrap_or(1.0) }, true, false)
            }
            "elu" => (Self::Elu { alpha: alpha.unwrap_or(1.0) }, true, false),
            "hardsigmoid" => (
                Self::HardSigmoid { alpha: alpha.unwrap_or(0.2), beta: beta.unwrap_or(0.5) },
                true,
                true,
            ),
            "hardsigmoidkeras3" => {
                (Self::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, false, false)
            }
            "softsign" => (Self::Softsign, false, false),
            "softplus" => (Self::Softplus, false, false),
            "linear" => (Self::LINEAR, false, false),
            "affine" => (
                Self::Affine { alpha: alpha.unwrap_or(1.0), beta: beta.unwrap_or(0.0) },
                true,
                true,
            ),
            "scaledtanh" => (
                Self::ScaledTanh { alpha: alpha.unwrap_or(1.0), beta: beta.unwrap_or(1.0) },
                true,
                true,
            ),
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "activation '{name}' is unknown; known are Sigmoid, Tanh, Relu, LeakyRelu, \
                         ThresholdedRelu, Elu, HardSigmoid, Softsign, Softplus, Affine, \
                         ScaledTanh, linear, hard_sigmoid_keras3"
                    ),
                ));
            }
        };
        for (given, taken, parameter) in [(alpha, takes_alpha, "alpha"), (beta, takes_beta, "beta")]
        {
            if let Some(value) = given {
                if !taken {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!("activation {name} takes no {parameter}, {value} was given"),
                    ));
                }
                if !value.is_finite() {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!("activation {name} wants a finite {parameter}, {value} was given"),
                    ));
                }
            }
        }
        Ok(this)
    }

    /// The name in the ONNX operator's spelling.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sigmoid => "Sigmoid",
            Self::Tanh => "Tanh",
            Self::Relu => "Relu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::ThresholdedRelu { .. } => "ThresholdedRelu",
            Self::Elu { .. } => "Elu",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::Softsign => "Softsign",
            Self::Softplus => "Softplus",
            Self::Affine { .. } => "Affine",
            Self::ScaledTanh { .. } => "ScaledTanh",
        }
    }

    /// `(alpha, beta)` as the function uses them; 0 where it takes none.
    pub fn parameters(&self) -> (f32, f32) {
        match *self {
            Self::LeakyRelu { alpha } | Self::ThresholdedRelu { alpha } | Self::Elu { alpha } => {
                (alpha, 0.0)
            }
            Self::HardSigmoid { alpha, beta }
            | Self::Affine { alpha, beta }
            | Self::ScaledTanh { alpha, beta } => (alpha, beta),
            _ => (0.0, 0.0),
        }
    }
}

/// Reads what [`Display`](std::fmt::Display) writes, and every name of
/// [`from_name`](Activation::from_name): `tanh`, `LeakyRelu(0.1)`, `HardSigmoid(0.2, 0.5)`.
impl std::str::FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "an activation is written Name, Name(alpha) or Name(alpha, beta), '{text}' was \
                     given"
                ),
            )
        };
        let (name, parameters) = match text.trim().split_once('(') {
            None => (text.trim(), Vec::new()),
            Some((name, rest)) => {
                let inside = rest.strip_suffix(')').ok_or_else(wrong)?;
                let values: Result<Vec<f32>, _> =
                    inside.split(',').map(|v| v.trim().parse()).collect();
                (name.trim(), values.map_err(|_| wrong())?)
            }
        };
        if parameters.len() > 2 {
            return Err(wrong());
        }
        Self::from_name(name, parameters.first().copied(), parameters.get(1).copied())
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::LINEAR {
            return f.write_str("linear");
        }
        f.write_str(self.name())?;
        match *self {
            Self::LeakyRelu { alpha } | Self::ThresholdedRelu { alpha } | Self::Elu { alpha } => {
                write!(f, "({alpha})")
            }
            Self::HardSigmoid { alpha, beta }
            | Self::Affine { alpha, beta }
            | Self::ScaledTanh { alpha, beta } => write!(f, "({alpha}, {beta})"),
            _ => Ok(()),
        }
    }
}
