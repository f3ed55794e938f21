//! Safetensors files that are not what they say: each is one clear error.

use std::fs;
use std::path::Path;

use wgru::ErrorKind::{self, InvalidFile, InvalidWeights, Io, Unsupported};
use wgru::{Gru, LoadOptions};

use crate::assert_error;

/// A file of this header and this many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(std::iter::repeat_n(0u8, data));
    bytes
}

/// A header's entry of f32 values.
fn tensor(name: &str, shape: &str, from: u64, to: u64) -> String {
    format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

fn valid() -> String {
    let (ih, hh) =
        (tensor("weight_ih_l0", "[3,2]", 0, 24), tensor("weight_hh_l0", "[3,1]", 24, 36));
    format!("{{{ih},{hh}}}")
}

fn load(bytes: &[u8]) -> wgru::Result<Gru> {
    Gru::from_bytes(bytes.to_vec(), &LoadOptions::new())
}

#[test]
fn the_table_starts_from_a_valid_file() {
    let gru = load(&file(&valid(), 36)).unwrap();
    assert_eq!((gru.config().input_size, gru.config().hidden_size), (2, 1));
}

#[test]
fn hostile_headers() {
    let max = u64::MAX;
    let two = |a: String, b: String| format!("{{{a},{b}}}");
    // Each end is the sum of sizes that are right for their shapes; together they pass 2^64.
    let big = 1u64 << 60;
    let wrap: Vec<String> = (0..15)
        .map(|i| tensor(&format!("t{i}"), &format!("[{}]", big / 4), i * big, (i + 1) * big))
        .chain([tensor("last", &format!("[{}]", big / 4 - 1), 15 * big, max - 3)])
        .collect();
    let wrap = format!("{{{}}}", wrap.join(","));
    let deep = format!("{{\"__metadata__\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let table: Vec<(&str, Vec<u8>, ErrorKind, &[&str])> = vec![
        ("empty", vec![], InvalidFile, &["empty"]),
        ("cut in the length", vec![1, 0, 0], Unsupported, &["known kinds"]),
        ("only a length", file("", 0), Unsupported, &["known kinds"]),
        ("header of nothing", file("{}", 0), InvalidWeights, &["no GRU"]),
        ("truncated data", file(&valid(), 35), InvalidFile, &["36", "35"]),
        ("trailing data", file(&valid(), 37), InvalidFile, &["36", "37"]),
        ("no data", file(&valid(), 0), InvalidFile, &["36", "0 follow"]),
        ("cut header", file(&valid(), 36)[..40].to_vec(), InvalidFile, &["declared", "32 follow"]),
        (
            "lying header length",
            [&max.to_le_bytes()[..], &file(&valid(), 36)[8..]].concat(),
            InvalidFile,
            &["18446744073709551615"],
        ),
        (
            "huge header length",
            [&(1u64 << 40).to_le_bytes()[..], &file(&valid(), 36)[8..]].concat(),
            InvalidFile,
            &["1099511627776"],
        ),
        ("not JSON", file("{\"a\":}", 0), InvalidFile, &["header"]),
        ("no object", file("[1,2]", 0), Unsupported, &["known kinds"]),
        ("deep JSON", file(&deep, 0), InvalidFile, &["header"]),
        (
            "a hole",
            file(&two(tensor("a", "[1]", 0, 4), tensor("b", "[1]", 8, 12)), 12),
            InvalidFile,
            &["`b`"],
        ),
        (
            "an overlap",
            file(&two(tensor("a", "[2]", 0, 8), tensor("b", "[2]", 4, 12)), 12),
            InvalidFile,
            &["`b`"],
        ),
        (
            "a start past 0",
            file(&format!("{{{}}}", tensor("a", "[1]", 4, 8)), 8),
            InvalidFile,
            &["`a`"],
        ),
        (
            "end before start",
            file(&format!("{{{}}}", tensor("a", "[0]", 8, 0)), 8),
            InvalidFile,
            &["`a`"],
        ),
        (
            "out of range",
            file(&format!("{{{}}}", tensor("a", "[100]", 0, 400)), 8),
            InvalidFile,
            &["400", "8"],
        ),
        (
            "shape against offsets",
            file(&format!("{{{}}}", tensor("a", "[3]", 0, 8)), 8),
            InvalidFile,
            &["shape"],
        ),
        (
            "overflowing shape",
            file(&format!("{{{}}}", tensor("a", "[4294967296,4294967296,16]", 0, 0)), 0),
            InvalidFile,
            &["overflow"],
        ),
        (
            "overflowing bits",
            file(&format!("{{{}}}", tensor("a", "[9223372036854775807]", 0, 8)), 8),
            InvalidFile,
            &["overflow"],
        ),
        ("offsets that wrap", file(&wrap, 36), InvalidFile, &["header"]),
        (
            "negative shape",
            file(&format!("{{{}}}", tensor("a", "[-1]", 0, 4)), 4),
            InvalidFile,
            &["header"],
        ),
        (
            "float shape",
            file(&format!("{{{}}}", tensor("a", "[1.5]", 0, 4)), 4),
            InvalidFile,
            &["header"],
        ),
        (
            "shape past u64",
            file(&format!("{{{}}}", tensor("a", "[99999999999999999999]", 0, 4)), 4),
            InvalidFile,
            &["header"],
        ),
        (
            "unknown type",
            file(r#"{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}"#, 4),
            InvalidFile,
            &["Q9"],
        ),
        (
            "no offsets",
            file(r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4),
            InvalidFile,
            &["data_offsets"],
        ),
        (
            "one name twice",
            file(&two(tensor("twice", "[1]", 0, 4), tensor("twice", "[1]", 0, 4)), 4),
            InvalidFile,
            &["'twice'"],
        ),
        (
            "one metadata key twice",
            file(r#"{"__metadata__":{"k":"1","k":"2"}}"#, 0),
            InvalidFile,
            &["'k'"],
        ),
        ("metadata of numbers", file(r#"{"__metadata__":{"k":1}}"#, 0), InvalidFile, &["header"]),
        (
            "line breaks in a name",
            file(&format!("{{{}}}", tensor("a\\nweight_ih_l0\\u001b", "[1]", 8, 12)), 4),
            InvalidFile,
            &["\\n"],
        ),
        (
            "integers where weights are needed",
            file(&valid().replacen("F32", "I32", 1), 36),
            InvalidWeights,
            &["weight_ih_l0", "I32", "f32, f64, f16 and bf16"],
        ),
    ];
    for (what, bytes, kind, words) in table {
        println!("{what}");
        assert_error(load(&bytes), kind, words);
    }
    let mut not_utf8 = file(&valid(), 36);
    not_utf8[12] = 0xff;
    assert_error(load(&not_utf8), InvalidFile, &["UTF-8"]);
}

#[test]
fn offsets_that_wrap_to_the_files_length_are_refused() {
    // The end of the last tensor, plus the header, is the file's length modulo 2^64.
    let big = 1u64 << 60;
    let name = |i| format!("t{i:02}");
    let header = |last_end: u64, header_bytes: usize| {
        let mut parts: Vec<String> = (0..15)
            .map(|i| tensor(&name(i), &format!("[{}]", big / 4), i * big, (i + 1) * big))
            .collect();
        let last = last_end - 15 * big;
        parts.push(format!(
            r#""last":{{"dtype":"U8","shape":[{last}],"data_offsets":[{},{last_end}]}}"#,
            15 * big
        ));
        format!("{:<header_bytes$}", format!("{{{}}}", parts.join(",")))
    };
    let length = header(u64::MAX, 0).len();
    let wrapping_end = 0u64.wrapping_sub(8 + length as u64);
    let text = header(wrapping_end, length);
    assert_eq!(wrapping_end.wrapping_add(8 + text.len() as u64), 0);
    for data in [0, 1] {
        assert_error(load(&file(&text, data)), InvalidFile, &["declares"]);
    }
}

#[test]
fn tensors_of_other_types_beside_the_network_are_ignored() {
    let entry = r#""step":{"dtype":"I64","shape":[],"data_offsets":[0,8]}"#;
    let (ih, hh) =
        (tensor("weight_ih_l0", "[3,2]", 8, 32), tensor("weight_hh_l0", "[3,1]", 32, 44));
    assert!(load(&file(&format!("{{{entry},{ih},{hh}}}"), 44)).is_ok());
}

#[test]
fn what_is_no_file_is_an_io_error() {
    let folder = tempfile::tempdir().unwrap();
    assert_error(Gru::open(folder.path()), Io, &["directory"]);
    let missing = folder.path().join("none.safetensors");
    assert_error(Gru::open(&missing), Io, &["none.safetensors", "cannot open"]);
    assert_error(Gru::open(missing.join("below")), Io, &["cannot open"]);
    #[cfg(unix)]
    assert_error(Gru::open("/dev/zero"), Io, &["not a regular file"]);
}

#[test]
fn other_kinds_of_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let table: [(&str, &[u8], ErrorKind, &str); 5] = [
        ("empty", b"", InvalidFile, "empty"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", Unsupported, "HDF5"),
        ("x.npy", b"\x93NUMPY\x01\x00", Unsupported, "NumPy array"),
        ("model.pt", b"\x80\x02}q\x00", Unsupported, "pickle"),
        ("text", b"hello, world", Unsupported, "none of the known kinds"),
    ];
    for (name, bytes, kind, word) in table {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert_error(Gru::open(&path), kind, &[name, word]);
        assert_error(Gru::list(&path), kind, &[name, word]);
    }
    // The name decides where the content does not.
    let path = folder.path().join("short.safetensors");
    fs::write(&path, b"abc").unwrap();
    assert_error(Gru::open(&path), InvalidFile, &["short.safetensors", "at least 8 bytes"]);
    assert!(!Path::new("short.safetensors").exists());
}
