//! The canonical form: the same network, every weight bit by bit.

use std::fs;

use wgru::{Convention, ElementType, Evidence, Gru, LoadOptions, OutputOrder};

use crate::golden::{assert_same, cases, copy_to};
use crate::{assert_error, test_file, wgru};

#[test]
fn every_model_survives_conversion() {
    let mut checked = 0;
    for folder in ["onnx", "keras"] {
        for case in cases(folder) {
            let gru = Gru::open_with(&case.file, &case.options()).unwrap();
            let bytes = gru.to_safetensors().unwrap();
            let again = Gru::from_bytes(bytes.clone(), &LoadOptions::new()).unwrap();
            assert_same(&gru, &again, case.name());
            case.check(&again);
            let (before, after) = (gru.description(), again.description());
            assert_eq!(after.convention, Convention::Wgru);
            assert_eq!(after.convention_evidence, Evidence::Stated);
            assert_eq!(after.reset_evidence, Evidence::Stated);
            assert_eq!(after.activations_evidence, Evidence::Stated);
            assert_eq!(after.element_types, before.element_types, "{}", case.name());
            assert_eq!(after.output_order, before.output_order);
            assert_eq!(after.warnings, [""; 0]);
            // Writing is deterministic, and the form is its own.
            assert_eq!(again.config(), gru.config());
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked} models");
    for name in ["textbook_two_layers", "gru_cell", "pytorch_f16", "pytorch_bf16", "pytorch_f64"] {
        let gru = Gru::open(test_file(&format!("data/{name}.safetensors"))).unwrap();
        let again = Gru::from_bytes(gru.to_safetensors().unwrap(), &LoadOptions::new()).unwrap();
        assert_same(&gru, &again, name);
        assert_eq!(gru.description().element_types, again.description().element_types);
    }
}

#[test]
fn outputs_in_processing_order_stay_so() {
    let path = test_file("data/keras/backwards.npz");
    let gru = Gru::open_with(path, &LoadOptions::new().go_backwards(true)).unwrap();
    let bytes = gru.to_safetensors().unwrap();
    let again = Gru::from_bytes(bytes, &LoadOptions::new()).unwrap();
    assert_eq!(again.description().output_order, OutputOrder::Processing);
    let notes = again.description().notes.join("\n");
    assert!(notes.contains("converted from keras (npz)"), "{notes}");
}

#[test]
fn gates_of_unlike_types_are_joined_in_one_that_holds_both() {
    use wgru::{Tensor, TensorSet};
    let mut set = TensorSet::new();
    let half: Vec<u8> = [0x3c01u16, 0x4000, 0xbc00].iter().flat_map(|v| v.to_le_bytes()).collect();
    let half = Tensor::new("W_u", &[1, 3], ElementType::F16, half.into(), 0).unwrap();
    set.insert(half);
    let brain: Vec<u8> = [0x3f81u16, 0x4000, 0xbf80].iter().flat_map(|v| v.to_le_bytes()).collect();
    set.insert(Tensor::new("W_R", &[1, 3], ElementType::Bf16, brain.into(), 0).unwrap());
    set.insert(Tensor::from_f32("W_h", &[1, 3], &[0.1, 0.2, 0.3]).unwrap());
    let gru = Gru::from_tensors(&set, &LoadOptions::new()).unwrap();
    let again = Gru::from_bytes(gru.to_safetensors().unwrap(), &LoadOptions::new()).unwrap();
    assert_same(&gru, &again, "unlike types");
    assert_eq!(again.description().element_types, [ElementType::F32]);
    set.insert(Tensor::from_f64("W_h", &[1, 3], &[0.1, 0.2, 0.3]).unwrap());
    let gru = Gru::from_tensors(&set, &LoadOptions::new()).unwrap();
    let again = Gru::from_bytes(gru.to_safetensors().unwrap(), &LoadOptions::new()).unwrap();
    assert_same(&gru, &again, "unlike types");
    assert_eq!(again.description().element_types, [ElementType::F64]);
}

#[test]
fn the_command_writes_a_file_that_loads() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let convert = |model: &std::path::Path, more: &[&str]| {
        wgru().arg("convert").args(more).args([model, &output]).output().unwrap()
    };
    let model = test_file("data/onnx/faulty_exporter.onnx");
    let done = convert(&model, &["--reset", "after"]);
    assert!(done.status.success() && done.stderr.is_empty() && done.stdout.is_empty());
    let gru = Gru::open(&output).unwrap();
    assert_eq!(gru.config().reset.to_string(), "after");
    let metadata = String::from_utf8_lossy(&fs::read(&output).unwrap()).into_owned();
    assert!(metadata.contains("wgru.source") && metadata.contains("onnx"));
    // The exporter's fault is told of where nothing was asked for.
    let done = convert(&model, &[]);
    assert!(done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).starts_with("wgru: warning: pytorch"));

    // A model that does not load leaves what stands there.
    let broken = test_file("data/onnx/two_grus.onnx");
    let before = fs::read(&output).unwrap();
    let done = convert(&broken, &[]);
    assert_eq!(done.status.code(), Some(2));
    assert_eq!(fs::read(&output).unwrap(), before);
    // The source itself, under whatever name, is not written over.
    let own = copy_to(folder.path(), &test_file("data/textbook.safetensors"));
    let before = fs::read(&own).unwrap();
    let again = folder.path().join(".").join(own.file_name().unwrap());
    let done = wgru().arg("convert").args([&own, &again]).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    let line = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(line.starts_with("wgru: error: ") && line.contains("another file"), "{line}");
    assert_eq!(fs::read(&own).unwrap(), before);
    assert_error(Gru::open(folder.path()), wgru::ErrorKind::Io, &["directory"]);
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 2, "no temporary file is left");
}

/// A clip of one direction alone stays one of that direction.
#[test]
fn a_clip_of_one_direction_survives_saving() {
    let source = Gru::open(test_file("data/pytorch_f32.safetensors")).unwrap();
    assert_eq!(source.config().directions, wgru::Directions::Bidirectional);
    for clips in [[Some(3.0), None], [None, Some(3.0)], [Some(3.0), Some(2.0)], [None, None]] {
        let mut config = source.config().clone();
        for (functions, clip) in config.functions.iter_mut().zip(clips) {
            functions.clip = clip;
        }
        let gru = Gru::new(config.clone(), source.weights().clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clipped.safetensors");
        fs::write(&path, gru.to_safetensors().unwrap()).unwrap();
        assert_eq!(Gru::open(&path).unwrap().config(), &config);
    }
}
