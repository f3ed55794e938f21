//! What an engine's arithmetic may do to a value, for the bounds of the check.

use half::{bf16, f16};

use super::cell::{ReadRow, Round};
use crate::activation::ACTIVATION_ERROR;
use crate::tensor::{ElementType, MatrixView};

/// Unit roundoff of an f32 operation, 2^-24, plus that of the f64 operation that checks it, 2^-53.
pub(super) const UNIT: f64 = f32::EPSILON as f64 / 2.0 + f64::EPSILON / 2.0;

/// Largest error of flushing a denormal f32 to zero, which GPUs may do to any operand or result.
pub(super) const FLUSH: f64 = f32::MIN_POSITIVE as f64;

/// The largest f32: beyond it an engine's value is infinite.
pub(super) const LARGEST: f64 = f32::MAX as f64;

/// Relative error of a sum of `terms` products in any order, fused or not, against the sum of
/// their magnitudes: `n u / (1 - n u)` (Higham, "Accuracy and Stability of Numerical Algorithms",
/// section 3.1; a bias is one more term).
pub(super) fn gamma(terms: usize) -> f64 {
    relative(terms, UNIT)
}

fn relative(terms: usize, unit: f64) -> f64 {
    let nu = terms as f64 * unit;
    if nu < 1.0 { nu / (1.0 - nu) } else { f64::INFINITY }
}

/// The arithmetic that an engine promises: what [`verify`](super::verify) derives its bounds from.
///
/// Sums, gates and states are f32 in every engine, rounded to nearest; denormals may be flushed to
/// zero; biases are f32.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Arithmetic {
    /// Type in which the engine holds the weight matrices. The check rounds them as loading does,
    /// to f32 and from there to this type, both to nearest even: the rounding of weights is part
    /// of the wanted value of a step, not of its bound. (The end-to-end difference has them as the
    /// file holds them.)
    pub weights: ElementType,
    /// Type to which `x` and `h` (or `r * h`) are rounded, to nearest even and to an infinity past
    /// its range, before they are multiplied with weights. The check rounds them too, as it does
    /// weights; its bound has what denormals may lose, and that `r * h` may fall on either side of
    /// a tie.
    pub operands: ElementType,
    /// Error of an addition within a sum of products, relative to the magnitudes summed. Default:
    /// 2^-24, that of f32 rounded to nearest.
    pub addition_error: f64,
    /// Largest absolute error of the engine's sigmoid and tanh. Default: [`ACTIVATION_ERROR`].
    pub activation_error: f64,
}

impl Arithmetic {
    /// f32 weights, f32 operands.
    pub fn f32() -> Self {
        Self {
            weights: ElementType::F32,
            operands: ElementType::F32,
            addition_error: f64::from(f32::EPSILON) / 2.0,
            activation_error: ACTIVATION_ERROR,
        }
    }

    /// f16 weights, f32 operands.
    pub fn f16_weights() -> Self {
        Self { weights: ElementType::F16, ..Self::f32() }
    }

    /// f16 weights, f16 operands; products and sums in f32, as matrix units take them.
    ///
    /// Such units align the products of a block and what is summed already to the largest of them,
    /// and truncate (Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of NVIDIA tensor cores",
    /// 2021): a block of k products loses less than (k + 1) 2^-23 of the magnitudes summed, with
    /// k of 4 at least less than 2^-22 a product.
    pub fn f16_operands() -> Self {
        Self {
            operands: ElementType::F16,
            addition_error: 2.0 * f64::from(f32::EPSILON),
            ..Self::f16_weights()
        }
    }

    /// [`gamma`] of a sum of products.
    pub(super) fn gamma(&self, terms: usize) -> f64 {
        relative(terms, self.addition_error + f64::EPSILON / 2.0)
    }

    /// How the engine's weight matrices become f64.
    pub(super) fn read_weights(&self) -> ReadRow {
        match self.weights {
            ElementType::F64 => MatrixView::read_row_f64,
            ElementType::F32 => read_f32,
            ElementType::F16 => |view, row, out| {
                read_f32(view, row, out);
                out.iter_mut().for_each(|v| *v = f16::from_f32(narrow(*v)).to_f64());
            },
            ElementType::Bf16 => |view, row, out| {
                read_f32(view, row, out);
                out.iter_mut().for_each(|v| *v = bf16::from_f32(narrow(*v)).to_f64());
            },
        }
    }

    /// Whether a weight may be flushed to zero where the engine holds it.
    pub(super) fn flushes_weight(&self, weight: f64) -> bool {
        weight.abs() < smallest_normal(self.weights)
    }

    /// How an operand, an f32 in the engine, becomes a factor.
    pub(super) fn round_operand(&self) -> Round {
        match self.operands {
            ElementType::F64 | ElementType::F32 => |v| v,
            ElementType::F16 => |v| f16::from_f32(narrow(v)).to_f64(),
            ElementType::Bf16 => |v| bf16::from_f32(narrow(v)).to_f64(),
        }
    }

    /// Largest difference between the rounding of the finite operand `v` and what the engine has
    /// for it, whose operand is within `dv` of `v`; infinite where nothing can be said.
    pub(super) fn operand_error(&self, v: f64, dv: f64) -> f64 {
        let round = self.round_operand();
        let (rounded, low, high) = (round(v), round(v - dv), round(v + dv));
        if v.abs() + dv > LARGEST {
            return f64::INFINITY;
        }
        if low == rounded && high == rounded && !rounded.is_finite() {
            return 0.0;
        }
        // Rounding is monotonic.
        let moved = match self.operands {
            ElementType::F64 | ElementType::F32 => dv,
            ElementType::F16 | ElementType::Bf16 => (high - rounded).max(rounded - low),
        };
        let smallest = smallest_normal(self.operands);
        let flushed = if v.abs() - dv < smallest { smallest.min(v.abs() + dv) } else { 0.0 };
        let error = moved + flushed;
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

impl Default for Arithmetic {
    fn default() -> Self {
        Self::f32()
    }
}

/// Reads a row rounded to f32.
pub(super) fn read_f32(view: &MatrixView, row: usize, out: &mut [f64]) {
    let mut values = vec![0.0f32; out.len()];
    view.read_row_f32(row, &mut values);
    out.iter_mut().zip(values).for_each(|(slot, v)| *slot = f64::from(v));
}

#[expect(clippy::cast_possible_truncation, reason = "the engine's value is an f32")]
fn narrow(v: f64) -> f32 {
    v as f32
}

fn smallest_normal(element: ElementType) -> f64 {
    match element {
        ElementType::F16 => f16::MIN_POSITIVE.to_f64(),
        // Weights and operands of the wider types are f32 when they are multiplied.
        ElementType::F32 | ElementType::F64 | ElementType::Bf16 => FLUSH,
    }
}
