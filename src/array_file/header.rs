//! The header of an `.npy` file, checked before and after it is parsed.

use std::io::Read;

use half::f16;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use crate::error::{Error, ErrorKind, Result};

/// Longest header that is parsed; NumPy itself refuses more than 10,000 bytes by default.
const MAX_HEADER: usize = 10_000;
/// Bytes of magic number, version and the longest form of the header's length.
const PREAMBLE: usize = 12;

/// What the elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Signed,
    Unsigned,
    Bool,
}

/// A parsed header whose declared length is that of the file.
#[derive(Debug)]
pub(crate) struct Header {
    /// The element type as the file spells it.
    pub(crate) descr: String,
    pub(crate) kind: Kind,
    /// Bytes of an element.
    pub(crate) size: usize,
    big_endian: bool,
    pub(crate) shape: Vec<usize>,
    /// Number of elements.
    pub(crate) len: usize,
    pub(crate) fortran: bool,
    pub(crate) data_start: u64,
}

impl Header {
    /// Reads the header of a file that is `length` bytes long.
    pub(crate) fn read(file: &mut impl Read, length: u64) -> Result<Self> {
        let mut start = Vec::new();
        file.take((PREAMBLE + MAX_HEADER) as u64)
            .read_to_end(&mut start)
            .map_err(|e| Error::with_source(ErrorKind::Io, format!("cannot read: {e}"), e))?;
        let text_range = text_range(&start)?;
        let data_start = text_range.end as u64;
        screen(&start[text_range.clone()])?;
        let parsed = NpyHeader::from_reader(&start[..text_range.end])
            .map_err(|e| invalid(format!("the header: {e}")))?;
        Self::check(&parsed, data_start, length)
    }

    fn check(parsed: &NpyHeader, data_start: u64, length: u64) -> Result<Self> {
        let dtype = parsed.dtype();
        let DType::Plain(plain) = &dtype else {
            return Err(wrong_type("a record of several fields"));
        };
        let descr = plain.to_string();
        let kind = match plain.type_char() {
            TypeChar::Float => Kind::Float,
            TypeChar::Int => Kind::Signed,
            TypeChar::Uint => Kind::Unsigned,
            TypeChar::Bool => Kind::Bool,
            TypeChar::Object => return Err(wrong_type("pickled Python objects")),
            _ => return Err(wrong_type(&format!("of the type '{descr}'"))),
        };
        let size = plain.num_bytes().unwrap_or(0);
        let known = match kind {
            Kind::Float => matches!(size, 2 | 4 | 8),
            Kind::Bool => size == 1,
            _ => matches!(size, 1 | 2 | 4 | 8),
        };
        if !known {
            return Err(wrong_type(&format!("of the type '{descr}'")));
        }
        let shape: Vec<usize> =
            parsed.shape().iter().filter_map(|n| usize::try_from(*n).ok()).collect();
        // The product cannot overflow: `screen` bounds it.
        let len: usize = shape.iter().product();
        let declared = (len as u64).checked_mul(size as u64);
        let given = length - data_start.min(length);
        if declared != Some(given) {
            return Err(invalid(format!(
                "the shape {shape:?} of '{descr}' wants {} bytes, {given} follow the header",
                declared.map_or("2^64 or more".to_owned(), |n| n.to_string())
            )));
        }
        Ok(Self {
            descr,
            kind,
            size,
            big_endian: plain.endianness() == Endianness::Big,
            shape,
            len,
            fortran: parsed.order() == Order::Fortran,
            data_start,
        })
    }

    /// One element's bytes, least significant first, extended with zeros.
    fn little_endian(&self, element: &[u8]) -> [u8; 8] {
        let mut out = [0; 8];
        out[..element.len()].copy_from_slice(element);
        if self.big_endian {
            out[..element.len()].reverse();
        }
        out
    }

    /// The elements in C order, little-endian; `stored` has all of them.
    pub(crate) fn to_little_endian_c_order(&self, stored: &[u8]) -> Vec<u8> {
        let mut out = vec![0; stored.len()];
        // Strides of C order, by axis.
        let mut strides = vec![1; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        for (index, element) in stored.chunks_exact(self.size).enumerate() {
            let place = match self.fortran {
                false => index,
                true => self.unravel(index).iter().zip(&strides).map(|(i, s)| i * s).sum(),
            };
            let at = place * self.size;
            out[at..at + self.size].copy_from_slice(&self.little_endian(element)[..self.size]);
        }
        out
    }

    /// Whether the elements are stored in C order, little-endian.
    pub(crate) fn is_plain(&self) -> bool {
        !self.fortran && !self.big_endian
    }

    /// Value of a float element.
    pub(crate) fn float(&self, element: &[u8]) -> f64 {
        let bytes = self.little_endian(element);
        let [a, b, c, d, ..] = bytes;
        match self.size {
            2 => f16::from_le_bytes([a, b]).to_f64(),
            4 => f64::from(f32::from_le_bytes([a, b, c, d])),
            _ => f64::from_le_bytes(bytes),
        }
    }

    /// Value of an integer or boolean element.
    pub(crate) fn integer(&self, element: &[u8]) -> i128 {
        let value = u64::from_le_bytes(self.little_endian(element));
        let unused = 64 - 8 * self.size;
        match self.kind {
            Kind::Signed => i128::from((value << unused).cast_signed() >> unused),
            _ => i128::from(value),
        }
    }

    /// The index of the element that is `stored` places from the first.
    pub(crate) fn unravel(&self, mut stored: usize) -> Vec<usize> {
        let mut out = vec![0; self.shape.len()];
        let mut put = |(slot, size): (&mut usize, &usize)| {
            *slot = stored % size.max(&1);
            stored /= size.max(&1);
        };
        let axes = out.iter_mut().zip(&self.shape);
        if self.fortran {
            axes.for_each(&mut put)
        } else {
            axes.rev().for_each(&mut put)
        }
        out
    }
}

/// Where the header's text stands.
fn text_range(start: &[u8]) -> Result<std::ops::Range<usize>> {
    let (first, declared) = match start {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => {
            (10, u64::from(u16::from_le_bytes([*a, *b])))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (12, u64::from(u32::from_le_bytes([*a, *b, *c, *d])))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            return Err(invalid("its version is not 1, 2 or 3, or it ends there".to_owned()));
        }
        [] => return Err(invalid("the file is empty".to_owned())),
        _ => return Err(invalid("it does not begin with NumPy's magic number".to_owned())),
    };
    usize::try_from(declared)
        .ok()
        .filter(|n| *n <= MAX_HEADER && first + n <= start.len())
        .map(|n| first..first + n)
        .ok_or_else(|| {
            invalid(format!(
                "the header is declared to be {declared} bytes long, at most {} can be",
                MAX_HEADER.min(start.len() - first)
            ))
        })
}

/// Passes only what a plain array's header consists of: the parser recurses with the nesting and
/// multiplies dimensions unchecked.
fn screen(text: &[u8]) -> Result<()> {
    let mut elements: usize = 1;
    let mut depth = 0;
    let mut quote = None;
    let mut number: Option<usize> = None;
    for (at, byte) in text.iter().chain(b" ").enumerate() {
        if let Some(open) = quote {
            quote = (*byte != open).then_some(open);
            continue;
        }
        if let digit @ b'0'..=b'9' = byte {
            let more = |n: usize| n.checked_mul(10)?.checked_add(usize::from(digit - b'0'));
            let grown = more(number.unwrap_or(0))
                .ok_or_else(|| invalid("a dimension is 2^64 or more".to_owned()))?;
            number = Some(grown);
            continue;
        }
        if let Some(dimension) = number.take() {
            elements = elements
                .checked_mul(dimension.max(1))
                .filter(|n| *n <= isize::MAX as usize)
                .ok_or_else(|| invalid("the shape has 2^63 elements or more".to_owned()))?;
        }
        match byte {
            b'\'' | b'"' => quote = Some(*byte),
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            b' ' | b'\n' | b',' | b':' => {}
            // True and False.
            b'T' | b'r' | b'u' | b'e' | b'F' | b'a' | b'l' | b's' => {}
            b'-' => return Err(invalid("a dimension is negative".to_owned())),
            other => {
                return Err(invalid(format!(
                    "'{}' at byte {at} of the header is not part of a plain array's",
                    other.escape_ascii()
                )));
            }
        }
        // A dictionary of a tuple; records of fields nest one level deeper.
        if depth > 4 {
            return Err(invalid("the header nests too deeply".to_owned()));
        }
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidFile, format!("not a valid npy file: {message}"))
}

fn wrong_type(what: &str) -> Error {
    Error::new(ErrorKind::InvalidShape, format!("elements must be plain numbers, they are {what}"))
}
