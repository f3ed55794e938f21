//! Tensors as a file holds them, and strided views of them: what a convention rearranges.

use std::fmt;
use std::sync::Arc;

use half::{bf16, f16};

use crate::error::{Error, ErrorKind, Result};
use crate::shape::checked_product;

/// Element type of a stored tensor (little-endian).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE binary32.
    F32,
    /// IEEE binary64; engines round it to f32, the reference keeps it.
    F64,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
}

impl ElementType {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    fn decode(self, bytes: &[u8]) -> f64 {
        match self {
            Self::F32 => f64::from(f32::from_le_bytes(array(bytes))),
            Self::F64 => f64::from_le_bytes(array(bytes)),
            Self::F16 => f16::from_le_bytes(array(bytes)).to_f64(),
            Self::Bf16 => bf16::from_le_bytes(array(bytes)).to_f64(),
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller slices exactly one element")
}

/// A named tensor over shared bytes, row-major. Cloning copies no data.
#[derive(Clone)]
pub struct Tensor {
    name: Arc<str>,
    shape: Vec<usize>,
    element: ElementType,
    bytes: Arc<Vec<u8>>,
    start: usize,
}

impl Tensor {
    /// The tensor whose elements begin at byte `start` of `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWeights`] where `bytes` is too short for `shape`.
    pub fn new(
        name: &str,
        shape: &[usize],
        element: ElementType,
        bytes: Arc<Vec<u8>>,
        start: usize,
    ) -> Result<Self> {
        let wanted = checked_product(name, shape)?
            .checked_mul(element.size())
            .and_then(|n| n.checked_add(start));
        if wanted.is_none_or(|n| n > bytes.len()) {
            return Err(Error::new(
                ErrorKind::InvalidWeights,
                format!(
                    "{name}: shape {shape:?} of {element} from byte {start} on does not fit into \
                     the {} bytes given",
                    bytes.len()
                ),
            ));
        }
        Ok(Self { name: name.into(), shape: shape.to_vec(), element, bytes, start })
    }

    /// A tensor of f32 values in row-major order.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWeights`] where the number of values is not the product of `shape`.
    pub fn from_f32(name: &str, shape: &[usize], values: &[f32]) -> Result<Self> {
        Self::from_values(name, shape, ElementType::F32, values.len(), |out| {
            out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        })
    }

    /// A tensor of f64 values in row-major order.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWeights`] where the number of values is not the product of `shape`.
    pub fn from_f64(name: &str, shape: &[usize], values: &[f64]) -> Result<Self> {
        Self::from_values(name, shape, ElementType::F64, values.len(), |out| {
            out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        })
    }

    fn from_values(
        name: &str,
        shape: &[usize],
        element: ElementType,
        given: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Self> {
        let wanted = checked_product(name, shape)?;
        if wanted != given {
            return Err(Error::new(
                ErrorKind::InvalidWeights,
                format!("{name}: shape {shape:?} wants {wanted} values, {given} were given"),
            ));
        }
        let mut bytes = Vec::with_capacity(given * element.size());
        fill(&mut bytes);
        Self::new(name, shape, element, Arc::new(bytes), 0)
    }

    /// The name that the file or the caller gave.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element type.
    pub fn element_type(&self) -> ElementType {
        self.element
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at row-major index `index`.
    ///
    /// # Panics
    /// Where `index` is out of range.
    pub fn get(&self, index: usize) -> f64 {
        let size = self.element.size();
        let at = self.start + index * size;
        self.element.decode(&self.bytes[at..at + size])
    }

    /// Row-major index and value of the first element that is NaN or infinite, as an engine sees
    /// it: an f64 value that overflows f32 counts.
    pub fn first_non_finite(&self) -> Option<(usize, f64)> {
        #[expect(clippy::cast_possible_truncation, reason = "the rounding is what is tested")]
        (0..self.len()).map(|i| (i, self.get(i))).find(|(_, v)| !(*v as f32).is_finite())
    }

    /// The multi-dimensional index of row-major `index`.
    pub fn unravel(&self, mut index: usize) -> Vec<usize> {
        let mut out = vec![0; self.shape.len()];
        for (slot, size) in out.iter_mut().zip(&self.shape).rev() {
            *slot = index % size.max(&1);
            index /= size.max(&1);
        }
        out
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.name, self.shape, self.element)
    }
}

/// A strided, optionally negated view of a tensor as a matrix `[rows, cols]`. Copies nothing.
#[derive(Clone, Debug)]
pub struct MatrixView {
    tensor: Tensor,
    offset: usize,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    negate: bool,
}

impl MatrixView {
    /// The view whose element `(r, c)` is element `offset + r*row_stride + c*col_stride` of
    /// `tensor`.
    ///
    /// # Panics
    /// Where the last element lies outside the tensor: callers check shapes first.
    pub fn new(
        tensor: &Tensor,
        offset: usize,
        [rows, cols]: [usize; 2],
        [row_stride, col_stride]: [usize; 2],
    ) -> Self {
        if rows > 0 && cols > 0 {
            let last = offset + (rows - 1) * row_stride + (cols - 1) * col_stride;
            assert!(last < tensor.len(), "the view of {tensor:?} ends inside the tensor");
        }
        let tensor = tensor.clone();
        Self { tensor, offset, rows, cols, row_stride, col_stride, negate: false }
    }

    /// The same view with every value negated.
    pub fn negated(mut self) -> Self {
        self.negate = !self.negate;
        self
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The tensor under the view.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Writes row `row` to `out`, exact.
    ///
    /// # Panics
    /// Where `out` is not `cols` long or `row` is out of range.
    pub fn read_row_f64(&self, row: usize, out: &mut [f64]) {
        self.read_row(row, out, |v| v, f64::from);
    }

    /// Writes row `row` to `out`, rounded to f32.
    ///
    /// # Panics
    /// Where `out` is not `cols` long or `row` is out of range.
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the contract")]
    pub fn read_row_f32(&self, row: usize, out: &mut [f32]) {
        self.read_row(row, out, |v| v as f32, |v| v);
    }

    fn read_row<T: std::ops::Neg<Output = T> + Copy>(
        &self,
        row: usize,
        out: &mut [T],
        from_f64: impl Fn(f64) -> T,
        from_f32: impl Fn(f32) -> T,
    ) {
        assert!(row < self.rows && out.len() == self.cols, "one whole row is read");
        let size = self.tensor.element.size();
        let first = self.tensor.start + (self.offset + row * self.row_stride) * size;
        let stride = self.col_stride * size;
        let bytes = &self.tensor.bytes[..];
        for (c, slot) in out.iter_mut().enumerate() {
            let at = first + c * stride;
            let element = &bytes[at..at + size];
            let value = match self.tensor.element {
                ElementType::F32 => from_f32(f32::from_le_bytes(array(element))),
                other => from_f64(other.decode(element)),
            };
            *slot = if self.negate { -value } else { value };
        }
    }
}
