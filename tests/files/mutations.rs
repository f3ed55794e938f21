//! Mutated files never panic, and every error is one line.

use std::fs;

use proptest::prelude::*;
use wgru::{Gru, LoadOptions, array_file};

use crate::test_file;

/// One change of a file's bytes. Positions are taken modulo the length.
#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize, usize),
    Truncate(usize),
    Word(usize, u64),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Headers stand in the first bytes: most changes go there.
    let at = prop_oneof![4 => 0usize..600, 1 => any::<usize>()];
    let word = prop_oneof![
        Just(0u64),
        Just(u64::MAX),
        Just(1 << 63),
        Just(1 << 32),
        Just(1 << 20),
        any::<u64>()
    ];
    // JSON's and Python's punctuation and digits are worth more than other bytes.
    let byte = prop_oneof![2 => proptest::sample::select(b"{}[](),:\"'0159-+eE. \n<>|fiOUTF".to_vec()), 1 => any::<u8>()];
    prop_oneof![
        4 => (at.clone(), byte.clone()).prop_map(|(i, b)| Mutation::Set(i, b)),
        2 => (at.clone(), byte).prop_map(|(i, b)| Mutation::Insert(i, b)),
        1 => (at.clone(), 1usize..40).prop_map(|(i, n)| Mutation::Remove(i, n)),
        1 => any::<usize>().prop_map(Mutation::Truncate),
        1 => (at, word).prop_map(|(i, w)| Mutation::Word(i, w)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for m in mutations {
        let len = bytes.len().max(1);
        match *m {
            _ if bytes.is_empty() => return,
            Mutation::Set(i, b) => bytes[i % len] = b,
            Mutation::Insert(i, b) => bytes.insert(i % len, b),
            Mutation::Remove(i, n) => drop(bytes.drain(i % len..(i % len + n).min(len))),
            Mutation::Truncate(i) => bytes.truncate(i % len),
            Mutation::Word(i, w) => {
                let i = i % len;
                let n = (len - i).min(8);
                bytes[i..i + n].copy_from_slice(&w.to_le_bytes()[..n]);
            }
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    prop::collection::vec(mutation(), 1..6)
}

fn one_line(result: Result<(), wgru::Error>) {
    if let Err(error) = result {
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn safetensors(mutations in mutations(), file in 0usize..3) {
        let name = ["textbook", "gru_cell", "pytorch_prefixed"][file];
        let mut bytes = fs::read(test_file(&format!("data/{name}.safetensors"))).unwrap();
        mutate(&mut bytes, &mutations);
        one_line(Gru::from_bytes(bytes, &LoadOptions::new()).map(drop));
    }

    #[test]
    fn onnx(mutations in mutations(), file in 0usize..4) {
        let name = ["bidirectional_after", "typed_fields", "two_layers_dynamo", "activations_each_direction"][file];
        let mut bytes = fs::read(test_file(&format!("data/onnx/{name}.onnx"))).unwrap();
        mutate(&mut bytes, &mutations);
        one_line(Gru::from_bytes(bytes, &LoadOptions::new()).map(drop));
    }

    #[test]
    fn npz(mutations in mutations(), file in 0usize..2) {
        let name = ["after", "before"][file];
        let mut bytes = fs::read(test_file(&format!("data/keras/{name}.npz"))).unwrap();
        mutate(&mut bytes, &mutations);
        one_line(Gru::from_bytes(bytes, &LoadOptions::new()).map(drop));
    }

    #[test]
    fn npy(mutations in mutations(), version in 0usize..3) {
        let mut bytes = crate::arrays::npy(version, "<f4", false, "(3, 4)", &[0; 48]);
        mutate(&mut bytes, &mutations);
        one_line(array_file::parse::<f32>(&bytes).map(drop));
    }
}
