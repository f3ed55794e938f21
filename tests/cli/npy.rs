//! NumPy files, written here byte by byte so that the crate's own writer proves nothing to itself.

use std::fs;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};

/// Writes an array of `descr` elements in C or Fortran order.
pub(crate) fn write(path: &Path, descr: &str, shape: &[usize], fortran: bool, elements: &[u8]) {
    let sizes: Vec<String> = shape.iter().map(|n| format!("{n},")).collect();
    let order = if fortran { "True" } else { "False" };
    let mut header = format!(
        "{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({}), }}",
        sizes.join(" ")
    );
    // The whole head takes a multiple of 64 bytes and ends with a line feed.
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).expect("a short header");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    fs::write(path, bytes).expect("the folder is writable");
}

#[expect(clippy::cast_possible_truncation, reason = "the cases hold exact f32 values")]
pub(crate) fn write_f32(path: &Path, array: &ArrayD<f64>) {
    let bytes: Vec<u8> = array.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect();
    write(path, "<f4", array.shape(), false, &bytes);
}

pub(crate) fn write_f64(path: &Path, array: &ArrayD<f64>) {
    let bytes: Vec<u8> = array.iter().flat_map(|v| v.to_le_bytes()).collect();
    write(path, "<f8", array.shape(), false, &bytes);
}

pub(crate) fn write_i64(path: &Path, shape: &[usize], values: &[i64]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    write(path, "<i8", shape, false, &bytes);
}

pub(crate) fn write_bool(path: &Path, array: &ArrayD<bool>) {
    let bytes: Vec<u8> = array.iter().map(|v| u8::from(*v)).collect();
    write(path, "|b1", array.shape(), false, &bytes);
}

/// Reads a file of `descr`, `<f4` or `<f8`, in C order.
#[track_caller]
pub(crate) fn read(path: &Path, descr: &str) -> ArrayD<f64> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).expect("the header is text");
    assert!(header.contains(&format!("'{descr}'")), "{descr} is wanted: {header}");
    assert!(header.contains("'fortran_order': False"), "C order is wanted: {header}");
    let sizes = header.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let shape: Vec<usize> = sizes
        .expect("the header has a shape")
        .0
        .split(',')
        .filter(|size| !size.trim().is_empty())
        .map(|size| size.trim().parse().expect("a size is a number"))
        .collect();
    let values = match descr {
        "<f4" => bytes[end..]
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes"))))
            .collect(),
        _ => bytes[end..]
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")))
            .collect(),
    };
    ArrayD::from_shape_vec(IxDyn(&shape), values).expect("the file holds its shape")
}
