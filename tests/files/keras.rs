//! Keras layers in npz and safetensors.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use wgru::ErrorKind::{InvalidFile, InvalidRequest, InvalidWeights, Unsupported};
use wgru::{
    Activation, Convention, Directions, Evidence, Format, Gru, LoadOptions, OutputOrder, ResetForm,
    Tensor, TensorSet,
};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::arrays::npy;
use crate::golden::cases;
use crate::{assert_error, test_file};

fn file(name: &str) -> PathBuf {
    test_file("data/keras").join(name)
}

#[test]
fn every_file_gives_its_results() {
    let cases = cases("keras");
    assert!(cases.len() >= 16, "{} cases", cases.len());
    for case in cases {
        let gru = Gru::open_with(&case.file, &case.options())
            .unwrap_or_else(|e| panic!("{}: {e}", case.name()));
        case.check(&gru);
        let description = gru.description();
        assert_eq!(description.convention, Convention::Keras);
        let format = if case.file.extension().is_some_and(|e| e == "npz") {
            Format::Npz
        } else {
            Format::Safetensors
        };
        assert_eq!(description.format, format);
        let asked = case.options() != LoadOptions::new().reset(gru.config().reset)
            && case.value["options"].get("activations").is_some();
        let evidence = if asked { Evidence::Asked } else { Evidence::Assumed };
        assert_eq!(description.activations_evidence, evidence, "{}", case.name());
    }
}

#[test]
fn the_reset_form_without_a_bias_has_to_be_said() {
    assert_error(Gru::open(file("after_no_bias.npz")), InvalidRequest, &["bias", "--reset"]);
    // With one, it shows.
    let asked = LoadOptions::new().reset(ResetForm::Before);
    assert_error(Gru::open_with(file("after.npz"), &asked), InvalidRequest, &["after", "before"]);
    let gru = Gru::open(file("before.npz")).unwrap();
    assert_eq!(gru.description().reset_evidence, Evidence::Implied);
}

#[test]
fn names_of_layers() {
    let open = |name, prefix| Gru::open_with(file(name), &LoadOptions::new().prefix(prefix));
    for prefix in ["gru/gru_cell", "gru/gru_cell/", "gru", "gru/"] {
        let gru = open("paths.npz", prefix).unwrap();
        assert_eq!(gru.description().name.as_deref(), Some("gru/gru_cell"));
    }
    assert_error(open("paths.npz", "dense"), InvalidRequest, &["'dense'", "gru/gru_cell"]);
    assert_error(open("paths.npz", "gr"), InvalidRequest, &["'gr'"]);
    let both = Gru::open(file("both.npz")).unwrap();
    assert_eq!(both.config().directions, Directions::Bidirectional);
    assert_eq!(both.description().name.as_deref(), Some("both/forward_gru/gru_cell"));
    assert!(both.description().notes[0].contains("both/backward_gru/gru_cell"));
    assert!(open("both.npz", "both").is_ok());
}

#[test]
fn going_backwards() {
    let backwards = LoadOptions::new().go_backwards(true);
    let gru = Gru::open_with(file("backwards.npz"), &backwards).unwrap();
    assert_eq!(gru.config().directions, Directions::Reverse);
    assert_eq!(gru.description().output_order, OutputOrder::Processing);
    let both = Gru::open_with(file("both.npz"), &backwards);
    assert_error(both, InvalidRequest, &["one direction", "bidirectional"]);
}

/// A set of f32 tensors, all 0.5.
fn set_of(tensors: &[(&str, &[usize])]) -> TensorSet {
    let mut set = TensorSet::new();
    for (name, shape) in tensors {
        let values = vec![0.5; shape.iter().product()];
        set.insert(Tensor::from_f32(name, shape, &values).unwrap());
    }
    set
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let load =
        |tensors: &[(&str, &[usize])]| Gru::from_tensors(&set_of(tensors), &LoadOptions::new());
    let kernels: [(&str, &[usize]); 2] = [("kernel", &[4, 6]), ("recurrent_kernel", &[2, 6])];
    let with_bias = |bias: &[usize]| load(&[kernels[0], kernels[1], ("bias", bias)]);
    assert_eq!(with_bias(&[6]).unwrap().config().reset, ResetForm::Before);
    assert_eq!(with_bias(&[2, 6]).unwrap().config().reset, ResetForm::After);
    assert_error(with_bias(&[5]), InvalidWeights, &["bias", "[3H] = [6]", "[5]"]);
    assert_error(with_bias(&[6, 2]), InvalidWeights, &["bias", "[2, 3H] = [2, 6]", "[6, 2]"]);
    assert_error(load(&[kernels[1]]), InvalidWeights, &["kernel [I, 3H] is missing"]);
    assert_error(
        load(&[("kernel", &[4, 7]), kernels[1], ("bias", &[6])]),
        InvalidWeights,
        &["kernel", "[4, 6]", "[4, 7]"],
    );
    let lstm = load(&[("kernel", &[4, 8]), ("recurrent_kernel", &[2, 8])]);
    assert_error(lstm, Unsupported, &["LSTM", "recurrent_kernel", "[2, 8]"]);
    let plain = load(&[("kernel", &[4, 2]), ("recurrent_kernel", &[2, 2])]);
    assert_error(plain, Unsupported, &["plain RNN"]);
    // A layer that reads backwards of another size is not the other direction of this one.
    let unlike: [(&str, &[usize]); 6] = [
        ("forward_a/kernel", &[4, 6]),
        ("forward_a/recurrent_kernel", &[2, 6]),
        ("forward_a/bias", &[6]),
        ("backward_a/kernel", &[4, 9]),
        ("backward_a/recurrent_kernel", &[3, 9]),
        ("backward_a/bias", &[9]),
    ];
    assert_error(load(&unlike), InvalidWeights, &["backward_a/kernel", "[4, 6]", "[4, 9]"]);
}

#[test]
fn both_slopes_of_hard_sigmoid() {
    let gru = Gru::open_with(
        file("after.npz"),
        &LoadOptions::new().activations("hard_sigmoid".parse().unwrap(), Activation::LINEAR),
    )
    .unwrap();
    assert_eq!(gru.config().functions[0].gate, Activation::HardSigmoid { alpha: 0.2, beta: 0.5 });
}

/// An archive of these entries.
fn archive(path: &Path, entries: &[(&str, &[u8])], method: CompressionMethod) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn hostile_archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.npz");
    let refuse = |entries: &[(&str, &[u8])], kind, words: &[&str]| {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            archive(&path, entries, method);
            assert_error(Gru::open(&path), kind, &[&["weights.npz"], words].concat());
        }
    };
    let array = |descr, shape: &str, data: &[u8]| npy(0, descr, false, shape, data);
    let kernel = array("<f4", "(1, 3)", &[0; 12]);
    let recurrent = array("<f4", "(1, 3)", &[0; 12]);
    let short = array("<f4", "(2, 3)", &[0; 12]);
    let with = |kernel: &[u8], kind, words: &[&str]| {
        refuse(&[("kernel.npy", kernel), ("recurrent_kernel.npy", &recurrent)], kind, words);
    };
    with(&short, InvalidFile, &["kernel", "24", "12"]);
    with(b"", InvalidFile, &["kernel", "empty"]);
    with(b"not numpy", InvalidFile, &["kernel", "magic"]);
    with(&array("|O", "(3,)", &[0; 24]), wgru::ErrorKind::InvalidShape, &["kernel", "pickled"]);
    with(&array("<i4", "(1, 3)", &[0; 12]), InvalidWeights, &["kernel", "<i4"]);
    with(&array("<f4", "(1, 3000000000)", &[0; 12]), InvalidFile, &["kernel"]);
    refuse(&[("kernel.npy", &kernel)], InvalidWeights, &["no GRU"]);
    refuse(&[("readme.txt", b"hello")], Unsupported, &["zip file without any .npy"]);
    refuse(&[("model/data.pkl", b"")], Unsupported, &["PyTorch", "safetensors"]);
    refuse(&[("model.weights.h5", b"")], Unsupported, &["Keras", "numpy.savez"]);

    // Cut anywhere.
    let good: [(&str, &[u8]); 2] = [("kernel.npy", &kernel), ("recurrent_kernel.npy", &recurrent)];
    archive(&path, &good, CompressionMethod::Deflated);
    assert_error(Gru::open(&path), InvalidRequest, &["--reset"]);
    let whole = fs::read(&path).unwrap();
    for cut in [4, 30, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_error(Gru::open(&path), InvalidFile, &["not a valid npz file"]);
    }
}

#[test]
fn archives_that_expand_without_bound_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.npz");
    // 64 MiB of zeros in some 64 KiB.
    let side = 4096usize;
    let zeros = vec![0u8; 4 * side * side];
    let kernel = npy(0, "<f4", false, &format!("({side}, {side})"), &zeros);
    archive(&path, &[("recurrent_kernel.npy", &kernel)], CompressionMethod::Deflated);
    assert!(fs::metadata(&path).unwrap().len() < 200_000);
    assert_error(Gru::open(&path), InvalidFile, &["recurrent_kernel", "100 times"]);
    // Of an entry that a GRU has no use for, nothing is unpacked.
    let small = npy(0, "<f4", false, "(1, 3)", &[0; 12]);
    let bias = npy(0, "<f4", false, "(3,)", &[0; 12]);
    archive(
        &path,
        &[
            ("embedding.npy", &kernel),
            ("kernel.npy", &small),
            ("recurrent_kernel.npy", &small),
            ("bias.npy", &bias),
        ],
        CompressionMethod::Deflated,
    );
    assert!(Gru::open(&path).is_ok());
}
