//! Arrays in NumPy's `.npy` files: inputs, states, lengths and masks in; results out.
//!
//! Headers are parsed by the `npyz` crate, after a check that bounds what the parser has to
//! handle. A declared size is compared with the file's before anything of it is allocated.

pub(crate) mod header;

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, ShapeBuilder};
use npyz::WriterBuilder;

use crate::error::{Error, ErrorKind, Result};
use crate::format::open_regular;
use crate::output_file::{OutputFile, cannot_write};
use header::{Header, Kind};

/// Bytes decoded at a time.
const CHUNK: usize = 1 << 20;

/// Reads an array of f32, f64 or f16 in C or Fortran order, little or big endian.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("x.npy");
/// use wgru::{OutputFile, array_file};
///
/// let x = ndarray::Array3::from_elem((5, 2, 3), 0.5f32);
/// let mut file = OutputFile::create(&path)?;
/// array_file::write(&mut file, x.view().into_dyn())?;
/// file.commit()?;
/// assert_eq!(array_file::read::<f32>(&path)?, x.into_dyn());
/// # Ok::<(), wgru::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Io`] where the file cannot be read; [`ErrorKind::InvalidFile`] where it is no
/// `.npy` file or its length is not the one declared; [`ErrorKind::InvalidShape`] where its
/// elements are of another type, or a finite one is beyond the range of `A`.
pub fn read<A: Real>(path: impl AsRef<Path>) -> Result<ArrayD<A>> {
    open_as(path.as_ref(), REALS, decode_reals)
}

/// As [`read()`], from the bytes of a file.
///
/// # Errors
/// As [`read()`], less those of reading.
pub fn parse<A: Real>(bytes: &[u8]) -> Result<ArrayD<A>> {
    read_as(&mut Cursor::new(bytes), bytes.len() as u64, REALS, decode_reals)
}

const REALS: &str = "f32, f64 or f16";

fn decode_reals<A: Real>(
    header: &Header,
    bytes: &[u8],
    out: &mut Vec<A>,
) -> Option<Result<(), String>> {
    if header.kind != Kind::Float {
        return None;
    }
    for element in bytes.chunks_exact(header.size) {
        let value = header.float(element);
        let rounded = A::round(value);
        if value.is_finite() && !rounded.is_finite() {
            return Some(Err(format!("{value:e}, beyond the range of {}", A::NAME)));
        }
        out.push(rounded);
    }
    Some(Ok(()))
}

/// Reads row lengths: one dimension of integers of any width, or a single integer without
/// dimensions for one row.
///
/// # Errors
/// As [`read()`]; also [`ErrorKind::InvalidShape`] for a negative length or more dimensions.
pub fn read_lengths(path: impl AsRef<Path>) -> Result<Vec<usize>> {
    let path = path.as_ref();
    let array = open_as(path, "integers", |header, bytes, out: &mut Vec<usize>| {
        if !matches!(header.kind, Kind::Signed | Kind::Unsigned) {
            return None;
        }
        for element in bytes.chunks_exact(header.size) {
            let value = header.integer(element);
            match usize::try_from(value) {
                Ok(value) => out.push(value),
                Err(_) => return Some(Err(format!("{value}, a length is 0 or more"))),
            }
        }
        Some(Ok(()))
    })?;
    if array.ndim() > 1 {
        return Err(Error::new(
            ErrorKind::InvalidShape,
            format!(
                "{}: lengths must have one dimension [B], the shape is {:?}",
                path.display(),
                array.shape()
            ),
        ));
    }
    Ok(array.into_iter().collect())
}

/// Reads a mask: booleans, or integers that are 0 or 1.
///
/// # Errors
/// As [`read()`]; also [`ErrorKind::InvalidShape`] for an integer that is neither 0 nor 1.
pub fn read_mask(path: impl AsRef<Path>) -> Result<ArrayD<bool>> {
    open_as(path.as_ref(), "booleans or integers", |header, bytes, out: &mut Vec<bool>| {
        if header.kind == Kind::Float {
            return None;
        }
        for element in bytes.chunks_exact(header.size) {
            match header.integer(element) {
                value @ (0 | 1) => out.push(value == 1),
                value => return Some(Err(format!("{value}, a flag is 0 or 1"))),
            }
        }
        Some(Ok(()))
    })
}

/// Writes an array in C order, little-endian.
///
/// # Errors
/// [`ErrorKind::Io`] where writing fails.
pub fn write<A: Real>(file: &mut OutputFile, array: ArrayViewD<'_, A>) -> Result<()> {
    let shape: Vec<u64> = array.shape().iter().map(|n| *n as u64).collect();
    let name = file.name().to_owned();
    let write = |file: &mut OutputFile| {
        let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(&mut *file).begin_nd()?;
        writer.extend(array.iter())?;
        writer.finish()?;
        file.flush()
    };
    write(file).map_err(|e| cannot_write(&name, e))
}

/// The element types that arrays are read as: `f32` and `f64`.
pub trait Real: Copy + npyz::AutoSerialize + private::Sealed {
    /// Name in messages.
    #[doc(hidden)]
    const NAME: &'static str;
    /// Rounds to this type.
    #[doc(hidden)]
    fn round(value: f64) -> Self;
    /// Whether the value is neither NaN nor infinite.
    #[doc(hidden)]
    fn is_finite(self) -> bool;
}

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    const NAME: &'static str = "f32";
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the contract")]
    fn round(value: f64) -> Self {
        value as f32
    }
    fn is_finite(self) -> bool {
        Self::is_finite(self)
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";
    fn round(value: f64) -> Self {
        value
    }
    fn is_finite(self) -> bool {
        Self::is_finite(self)
    }
}

/// Decodes a file as [`read_as`] says, naming it in errors.
fn open_as<A>(path: &Path, wanted: &str, decode: impl Decode<A>) -> Result<ArrayD<A>> {
    open_regular(path)
        .and_then(|(mut file, length)| read_as(&mut file, length, wanted, decode))
        .map_err(|e| e.context(path.display()))
}

/// Appends the decoded elements of whole bytes. `None` where the element type is not read, or
/// what is wrong with the first element that was not pushed.
trait Decode<A>: Fn(&Header, &[u8], &mut Vec<A>) -> Option<Result<(), String>> {}
impl<A, F: Fn(&Header, &[u8], &mut Vec<A>) -> Option<Result<(), String>>> Decode<A> for F {}

/// Decodes `length` bytes of a file chunk by chunk; `wanted` names the types that `decode` reads.
fn read_as<A>(
    file: &mut (impl Read + Seek),
    length: u64,
    wanted: &str,
    decode: impl Decode<A>,
) -> Result<ArrayD<A>> {
    let header = Header::read(file, length)?;
    if decode(&header, &[], &mut Vec::new()).is_none() {
        return Err(Error::new(
            ErrorKind::InvalidShape,
            format!("elements must be {wanted}, they are of the type '{}'", header.descr),
        ));
    }
    let values = read_values(file, &header, decode)?;
    let shape = header.shape.clone().set_f(header.fortran);
    ArrayD::from_shape_vec(shape, values)
        .map_err(|e| Error::new(ErrorKind::InvalidShape, format!("the shape: {e}")))
}

fn read_values<A>(
    file: &mut (impl Read + Seek),
    header: &Header,
    decode: impl Decode<A>,
) -> Result<Vec<A>> {
    let cannot =
        |e: std::io::Error| Error::with_source(ErrorKind::Io, format!("cannot read: {e}"), e);
    let mut out = Vec::new();
    out.try_reserve_exact(header.len).map_err(|_| {
        Error::new(ErrorKind::OutOfMemory, format!("{} elements do not fit", header.len))
    })?;
    file.seek(SeekFrom::Start(header.data_start)).map_err(cannot)?;
    let mut left = header.len * header.size;
    let mut chunk = vec![0; left.min(CHUNK)];
    while left > 0 {
        let part = &mut chunk[..left.min(CHUNK)];
        file.read_exact(part).map_err(cannot)?;
        if let Some(Err(problem)) = decode(header, part, &mut out) {
            let at = header.unravel(out.len());
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!("the element at {at:?} is {problem}"),
            ));
        }
        left -= part.len();
    }
    Ok(out)
}
