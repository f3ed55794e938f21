//! `.npy` files: every element type and order, hostile headers, and writing.

use std::fs;
use std::path::PathBuf;

use half::f16;
use ndarray::{ArrayD, IxDyn, arr2};
use tempfile::TempDir;
use wgru::ErrorKind::{self, InvalidFile, InvalidShape, Io};
use wgru::{OutputFile, array_file};

use crate::assert_error;

/// An `.npy` file by the format's definition. `version` counts from 0.
pub(crate) fn npy(version: usize, descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    with_header(version, &header, data)
}

fn with_header(version: usize, header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([u8::try_from(version + 1).unwrap(), 0]);
    match version {
        0 => bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes()),
        _ => bytes.extend(u32::try_from(header.len()).unwrap().to_le_bytes()),
    }
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("array.npy");
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn reals_of_every_type_and_order() {
    let values = [1.5f64, -2.0, 0.25, 1024.0, -0.125, 3.0];
    let wanted = arr2(&[[1.5f32, -2.0, 0.25], [1024.0, -0.125, 3.0]]).into_dyn();
    let columns = [1.5f64, 1024.0, -2.0, -0.125, 0.25, 3.0];
    type Encode = fn(f64) -> Vec<u8>;
    #[expect(clippy::cast_possible_truncation, reason = "the values are exact in f32")]
    let encodings: [(&str, Encode); 6] = [
        ("<f8", |v| v.to_le_bytes().to_vec()),
        (">f8", |v| v.to_be_bytes().to_vec()),
        ("<f4", |v| (v as f32).to_le_bytes().to_vec()),
        (">f4", |v| (v as f32).to_be_bytes().to_vec()),
        ("<f2", |v| f16::from_f64(v).to_le_bytes().to_vec()),
        (">f2", |v| f16::from_f64(v).to_be_bytes().to_vec()),
    ];
    for (descr, encode) in encodings {
        for version in 0..3 {
            let c: Vec<u8> = values.iter().flat_map(|v| encode(*v)).collect();
            let f: Vec<u8> = columns.iter().flat_map(|v| encode(*v)).collect();
            let c = npy(version, descr, false, "(2, 3)", &c);
            let f = npy(version, descr, true, "(2, 3)", &f);
            assert_eq!(array_file::parse::<f32>(&c).unwrap(), wanted, "{descr}");
            assert_eq!(array_file::parse::<f32>(&f).unwrap(), wanted, "{descr}, Fortran order");
            assert_eq!(array_file::parse::<f64>(&c).unwrap(), wanted.mapv(f64::from), "{descr}");
        }
    }
}

#[test]
fn special_values_and_empty_arrays() {
    let data: Vec<u8> =
        [f32::NAN, f32::INFINITY, -0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let read = array_file::parse::<f32>(&npy(0, "<f4", false, "(3,)", &data)).unwrap();
    assert!(read[0].is_nan() && read[1] == f32::INFINITY && read[2].is_sign_negative());
    let empty = array_file::parse::<f32>(&npy(0, "<f4", false, "(0, 70000, 512)", &[])).unwrap();
    assert_eq!(empty.shape(), [0, 70000, 512]);
    let scalar = array_file::parse::<f32>(&npy(0, "<f4", false, "()", &[0; 4])).unwrap();
    assert_eq!(scalar.shape(), [0usize; 0]);
    // Finite in f64, not in f32: refused rather than turned into infinity.
    let big =
        npy(0, "<f8", true, "(1, 2)", &[1.0f64.to_le_bytes(), 1e39f64.to_le_bytes()].concat());
    assert_error(array_file::parse::<f32>(&big), InvalidShape, &["[0, 1]", "1e39", "f32"]);
    assert!(array_file::parse::<f64>(&big).is_ok());
}

#[test]
fn lengths_of_every_integer_type() {
    let folder = Folder::new();
    type Encode = fn(u8) -> Vec<u8>;
    let encodings: [(&str, Encode); 9] = [
        ("|i1", |v| vec![v]),
        ("|u1", |v| vec![v]),
        ("<i2", |v| i16::from(v).to_le_bytes().to_vec()),
        (">u2", |v| u16::from(v).to_be_bytes().to_vec()),
        ("<u4", |v| u32::from(v).to_le_bytes().to_vec()),
        (">i4", |v| i32::from(v).to_be_bytes().to_vec()),
        ("<i8", |v| i64::from(v).to_le_bytes().to_vec()),
        (">i8", |v| i64::from(v).to_be_bytes().to_vec()),
        ("<u8", |v| u64::from(v).to_le_bytes().to_vec()),
    ];
    for (descr, encode) in encodings {
        let data: Vec<u8> = [3u8, 0, 100].iter().flat_map(|v| encode(*v)).collect();
        let path = folder.file(&npy(0, descr, false, "(3,)", &data));
        assert_eq!(array_file::read_lengths(path).unwrap(), [3, 0, 100], "{descr}");
    }
    let lengths = |descr, shape, data: &[u8]| {
        array_file::read_lengths(folder.file(&npy(0, descr, false, shape, data)))
    };
    assert_error(
        lengths("<i4", "(2,)", &[5, 0, 0, 0, 255, 255, 255, 255]),
        InvalidShape,
        &["array.npy", "[1]", "-1"],
    );
    assert_error(lengths("<f4", "(1,)", &[0; 4]), InvalidShape, &["integers", "<f4"]);
    assert_error(lengths("|u1", "(1, 2)", &[0; 2]), InvalidShape, &["[B]", "[1, 2]"]);
    assert_eq!(lengths("<i8", "(0,)", &[]).unwrap(), [0usize; 0]);
}

#[test]
fn masks_are_booleans_or_zeros_and_ones() {
    let folder = Folder::new();
    let mask = |descr, data: &[u8]| {
        array_file::read_mask(folder.file(&npy(0, descr, true, "(2, 2)", data)))
    };
    let wanted = arr2(&[[true, false], [false, true]]).into_dyn();
    assert_eq!(mask("|b1", &[1, 0, 0, 1]).unwrap(), wanted);
    assert_eq!(mask("|u1", &[1, 0, 0, 1]).unwrap(), wanted);
    assert_eq!(mask("<i2", &[1, 0, 0, 0, 0, 0, 1, 0]).unwrap(), wanted);
    assert_error(mask("|u1", &[1, 2, 0, 1]), InvalidShape, &["[1, 0]", "2", "0 or 1"]);
    assert_error(mask("|i1", &[1, 0, 255, 1]), InvalidShape, &["[0, 1]", "-1"]);
    assert_error(mask("<f2", &[0; 8]), InvalidShape, &["booleans", "<f2"]);
}

#[test]
fn hostile_headers() {
    let v1 = |header: &str| with_header(0, header, &[0; 48]);
    let shape = |shape: &str| npy(0, "<f4", false, shape, &[0; 48]);
    let descr = |descr: &str| npy(0, descr, false, "(3, 4)", &[0; 48]);
    let mut long = with_header(1, "{}", &[]);
    long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let nested = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    // Behind an escaped quote stands what a plain scan takes for the inside of a string.
    let hidden = |what: &str, shape: &str| {
        v1(&format!(r#"{{"descr":"<f4","fortran_order":False,"shape":{shape},'\'':{what}}}"#))
    };
    let brackets = format!("{}{}", "[".repeat(28), "]".repeat(28));
    let table: Vec<(&str, Vec<u8>, ErrorKind, &[&str])> = vec![
        ("nesting behind an escape", hidden(&brackets, "(1,1)"), InvalidFile, &["escape"]),
        (
            "an overflow behind an escape",
            hidden("1", "(4294967296,4294967296)"),
            InvalidFile,
            &["2^63"],
        ),
        ("an open string", v1("{'descr"), InvalidFile, &["string"]),
        ("empty", vec![], InvalidFile, &["empty"]),
        ("not numpy", b"PK\x03\x04".to_vec(), InvalidFile, &["magic"]),
        ("cut in the preamble", b"\x93NUMPY\x01".to_vec(), InvalidFile, &["version"]),
        ("version 9", b"\x93NUMPY\x09\x00\x00\x00\x00\x00\x00".to_vec(), InvalidFile, &["version"]),
        ("cut header", shape("(3, 4)")[..30].to_vec(), InvalidFile, &["declared"]),
        ("huge header", long, InvalidFile, &["4294967295"]),
        ("deep nesting", v1(&nested), InvalidFile, &["nests"]),
        ("not a dictionary", v1("(3, 4)"), InvalidFile, &["header"]),
        ("no shape", v1("{'descr': '<f4', 'fortran_order': False}"), InvalidFile, &["shape"]),
        ("short data", npy(0, "<f4", false, "(3, 4)", &[0; 47]), InvalidFile, &["48", "47"]),
        ("long data", npy(0, "<f4", false, "(3, 4)", &[0; 49]), InvalidFile, &["48", "49"]),
        ("huge shape", shape("(1000000, 1000000)"), InvalidFile, &["4000000000000"]),
        ("overflowing shape", shape("(4294967296, 4294967296)"), InvalidFile, &["2^63"]),
        ("overflow beside zero", shape("(9223372036854775807, 3, 0)"), InvalidFile, &["2^63"]),
        ("overflowing bytes", shape("(9223372036854775807,)"), InvalidFile, &["2^64"]),
        ("past u64", shape("(99999999999999999999,)"), InvalidFile, &["2^64"]),
        ("negative", shape("(-3, 4)"), InvalidFile, &["negative"]),
        ("an expression", shape("(3+0, 4)"), InvalidFile, &["'+'"]),
        ("a float", shape("(3., 4)"), InvalidFile, &["'.'"]),
        ("objects", descr("|O"), InvalidShape, &["pickled"]),
        ("text", descr("<U1"), InvalidShape, &["<U1"]),
        ("complex", descr("<c8"), InvalidShape, &["<c8"]),
        ("integers", descr("<i4"), InvalidShape, &["f32, f64 or f16", "<i4"]),
        ("quadruple", descr("<f16"), InvalidShape, &["<f16"]),
        ("no type", descr("nonsense"), InvalidFile, &["header"]),
        (
            "a record",
            v1("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (12,)}"),
            InvalidShape,
            &["record"],
        ),
    ];
    for (what, bytes, kind, words) in table {
        println!("{what}");
        assert_error(array_file::parse::<f32>(&bytes), kind, words);
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = Folder::new();
    let path = folder.0.path().join("y.npy");
    let array =
        ArrayD::from_shape_fn(IxDyn(&[2, 3, 4]), |i| (i[0] * 100 + i[1] * 10 + i[2]) as f64);
    let mut file = OutputFile::create(&path).unwrap();
    // Any strides in, C order out.
    array_file::write(&mut file, array.view().permuted_axes(vec![2, 0, 1])).unwrap();
    file.commit().unwrap();
    let bytes = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("'<f8'") && text.contains("False") && text.contains("(4, 2, 3"));
    let read = array_file::read::<f64>(&path).unwrap();
    assert_eq!(read, array.permuted_axes(vec![2, 0, 1]));
}

#[test]
fn an_output_appears_whole_or_not_at_all() {
    use std::io::Write;
    let folder = Folder::new();
    let path = folder.0.path().join("y.npy");
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(folder.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let mut abandoned = OutputFile::create(&path).unwrap();
    abandoned.write_all(b"part").unwrap();
    drop(abandoned);
    assert!(names().is_empty());
    fs::write(&path, b"before").unwrap();
    let mut abandoned = OutputFile::create(&path).unwrap();
    abandoned.write_all(b"part").unwrap();
    abandoned.flush().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"before");
    drop(abandoned);
    assert_eq!(names(), ["y.npy"]);
    assert_eq!(fs::read(&path).unwrap(), b"before");
    let mut whole = OutputFile::create(&path).unwrap();
    whole.write_all(b"after").unwrap();
    whole.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"after");
    assert_eq!(names(), ["y.npy"]);
}

#[test]
fn several_outputs_appear_all_or_none() {
    use std::io::Write;
    let folder = Folder::new();
    let path = |name: &str| folder.0.path().join(name);
    let begin = |name: &str| {
        let mut file = OutputFile::create(path(name)).unwrap();
        file.write_all(b"after").unwrap();
        file
    };
    fs::write(path("old"), b"before").unwrap();
    let files = vec![begin("new"), begin("old"), begin("blocked")];
    // A folder with something in it cannot be replaced.
    fs::create_dir_all(path("blocked/inner")).unwrap();
    assert_error(OutputFile::commit_all(files), Io, &["blocked", "cannot write"]);
    assert_eq!(fs::read(path("old")).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 2, "nothing is left behind");
    OutputFile::commit_all(vec![begin("new"), begin("old")]).unwrap();
    assert_eq!(fs::read(path("new")).unwrap(), b"after");
    assert_eq!(fs::read(path("old")).unwrap(), b"after");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 3);
}

#[test]
fn unwritable_outputs_are_refused_at_once() {
    let folder = Folder::new();
    assert_error(OutputFile::create(folder.0.path()), Io, &["directory"]);
    let below = folder.0.path().join("none/y.npy");
    assert_error(OutputFile::create(below), Io, &["y.npy", "cannot write"]);
    let path = folder.file(b"kept");
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    assert_error(OutputFile::create(&path), Io, &["array.npy", "read-only"]);
    assert_eq!(fs::read(&path).unwrap(), b"kept");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_modes_kept() {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = Folder::new();
    let target = folder.file(b"before");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.0.path().join("link.npy");
    symlink(&target, &link).unwrap();
    let mut file = OutputFile::create(&link).unwrap();
    file.write_all(b"after").unwrap();
    file.commit().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"after");
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    // A device is written to, never replaced.
    let mut file = OutputFile::create("/dev/null").unwrap();
    file.write_all(b"gone").unwrap();
    file.commit().unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}
