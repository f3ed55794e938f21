//! What `wgru` refuses: one line that names the thing, exit code 2, and no file touched.

use std::fs;

use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, TensorView};

use crate::case::Case;
use crate::{Workplace, assert_words, model, npy};

/// A folder with a good input `x.npy` for `pytorch_f32` and an output `y.npy` that exists.
fn workplace() -> Workplace {
    let place = Workplace::new();
    npy::write_f32(&place.path("x.npy"), &Case::read("data/pytorch_f32").input);
    fs::write(place.path("y.npy"), b"what was there").unwrap();
    place
}

/// Refused with and without an existing output.
#[track_caller]
fn refused(place: &Workplace, model: &str, options: &[&str], words: &[&str]) {
    for output in ["y.npy", "new.npy"] {
        let arguments = [&["run", model, "--output", output][..], options].concat();
        assert_words(&place.refuse(&arguments), words);
    }
}

#[track_caller]
fn refused_with_input(place: &Workplace, model: &str, options: &[&str], words: &[&str]) {
    refused(place, model, &[&["--input", "x.npy"], options].concat(), words);
}

#[test]
fn inputs_that_do_not_fit() {
    let place = workplace();
    let model = model("pytorch_f32");
    let zeros = |shape: &[usize]| ArrayD::<f64>::zeros(IxDyn(shape));
    let write = |name: &str, shape: &[usize]| npy::write_f32(&place.path(name), &zeros(shape));
    write("flat.npy", &[6]);
    write("deep.npy", &[5, 3, 6, 1]);
    write("narrow.npy", &[5, 3, 5]);
    npy::write_i64(&place.path("integers.npy"), &[5, 3, 6], &[0; 90]);
    let whole = fs::read(place.path("x.npy")).unwrap();
    fs::write(place.path("short.npy"), &whole[..whole.len() - 1]).unwrap();
    fs::write(place.path("long.npy"), [&whole[..], b"x"].concat()).unwrap();
    fs::write(place.path("empty.npy"), b"").unwrap();
    fs::create_dir(place.path("folder.npy")).unwrap();
    let huge = npy::write;
    huge(&place.path("huge.npy"), "<f4", &[1 << 40, 1 << 40, 6], false, &[]);
    huge(&place.path("lying.npy"), "<f4", &[1 << 36, 3, 6], false, &[0; 72]);
    huge(&place.path("hollow.npy"), "<f4", &[1 << 62, 0, 6], false, &[]);
    huge(&place.path("wide.npy"), "<f4", &[1 << 60, 0, 6], false, &[]);
    let cases: [(&str, &[&str]); 13] = [
        ("flat.npy", &["[T, B, I]", "[6]"]),
        ("deep.npy", &["[T, B, I]", "[5, 3, 6, 1]"]),
        ("narrow.npy", &["6 features", "[5, 3, 5]"]),
        ("integers.npy", &["f32, f64 or f16", "<i8"]),
        ("short.npy", &["short.npy"]),
        ("long.npy", &["long.npy"]),
        ("empty.npy", &["empty.npy"]),
        ("folder.npy", &["folder.npy", "directory"]),
        ("none.npy", &["none.npy", "cannot open"]),
        ("huge.npy", &["huge.npy"]),
        ("lying.npy", &["lying.npy"]),
        ("hollow.npy", &["hollow.npy"]),
        ("wide.npy", &["memory can address"]),
    ];
    for (name, words) in cases {
        refused(&place, &model, &["--input", name], words);
    }
    refused(&place, &model, &["--input", &model], &["pytorch_f32.safetensors", "npy"]);
    refused(&place, &model, &["--input", "flat.npy", "--batch-first"], &["[B, T, I]"]);
}

#[test]
fn states_lengths_and_masks_that_do_not_fit() {
    let place = workplace();
    let (network, forward) = (model("pytorch_f32"), model("pytorch_one_layer_no_bias"));
    let zeros = |shape: &[usize]| ArrayD::<f64>::zeros(IxDyn(shape));
    npy::write_f32(&place.path("h.npy"), &zeros(&[4, 2, 9]));
    npy::write_f32(&place.path("h2.npy"), &zeros(&[4, 9]));
    npy::write_i64(&place.path("two.npy"), &[2], &[5, 5]);
    npy::write_i64(&place.path("beyond.npy"), &[3], &[5, 6, 5]);
    npy::write_i64(&place.path("negative.npy"), &[3], &[5, -1, 5]);
    npy::write_i64(&place.path("square.npy"), &[3, 1], &[5, 5, 5]);
    npy::write_f32(&place.path("floats.npy"), &zeros(&[3]));
    npy::write_i64(&place.path("mask.npy"), &[5, 3], &[0; 15]);
    npy::write_i64(&place.path("twos.npy"), &[5, 3], &[2; 15]);
    npy::write_i64(&place.path("turned.npy"), &[3, 5], &[0; 15]);
    npy::write_i64(&place.path("line.npy"), &[5], &[0; 5]);
    npy::write_i64(&place.path("scalar.npy"), &[], &[0]);
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--h0", "h.npy"], &["initial state", "[4, 3, 9]", "[4, 2, 9]"]),
        (&["--h0", "h2.npy"], &["h2.npy", "[L*D, B, H]", "[4, 9]"]),
        (&["--h0", "none.npy"], &["none.npy"]),
        (&["--lengths", "two.npy"], &["lengths", "3", "2"]),
        (&["--lengths", "beyond.npy"], &["row 1", "0 to 5", "6"]),
        (&["--lengths", "negative.npy"], &["negative.npy", "-1"]),
        (&["--lengths", "square.npy"], &["square.npy", "[3, 1]"]),
        (&["--lengths", "floats.npy"], &["floats.npy", "integers"]),
        (&["--reset-mask", "mask.npy"], &["reset mask", "forward", "bidirectional"]),
    ];
    for (options, words) in cases {
        refused_with_input(&place, &network, options, words);
    }
    npy::write_f32(&place.path("x5.npy"), &zeros(&[5, 3, 5]));
    npy::write_f32(&place.path("one.npy"), &zeros(&[5, 5]));
    let masks: [(&[&str], &[&str]); 6] = [
        (&["--reset-mask", "twos.npy"], &["twos.npy", "0 or 1"]),
        (&["--reset-mask", "turned.npy"], &["reset mask", "T 5", "B 3", "[3, 5]"]),
        (&["--reset-mask", "floats.npy"], &["floats.npy", "booleans"]),
        (&["--reset-mask", "line.npy"], &["line.npy", "[T, B]", "[5]"]),
        (&["--reset-mask", "scalar.npy"], &["scalar.npy", "[T, B]", "[]"]),
        (&["--reset-mask", "turned.npy", "--batch-first"], &["reset mask"]),
    ];
    for (options, words) in masks {
        refused(&place, &forward, &[&["--input", "x5.npy"], options].concat(), words);
    }
    let single: [(&[&str], &[&str]); 4] = [
        (&["--h0", "h.npy"], &["h.npy", "[L*D, H] = [1, 16]", "[4, 2, 9]"]),
        (&["--reset-mask", "mask.npy"], &["mask.npy", "[T]", "[5, 3]"]),
        (&["--reset-mask", "scalar.npy"], &["scalar.npy", "[T]", "[]"]),
        (&["--lengths", "two.npy"], &["lengths", "1", "2"]),
    ];
    for (options, words) in single {
        refused(&place, &forward, &[&["--input", "one.npy"], options].concat(), words);
    }
}

#[test]
fn models_that_cannot_be_read() {
    let place = workplace();
    let good = fs::read(model("pytorch_f32")).unwrap();
    let header = |json: &str, data: usize| {
        let length = u64::try_from(json.len()).unwrap().to_le_bytes();
        [&length[..], json.as_bytes(), &vec![0; data]].concat()
    };
    let one = |shape: &str, offsets: &str| {
        format!(
            r#"{{"weight_ih_l0":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}},
                 "weight_hh_l0":{{"dtype":"F32","shape":[3,1],"data_offsets":[12,24]}}}}"#
        )
    };
    let files: [(&str, Vec<u8>); 10] = [
        ("empty", vec![]),
        ("cut", good[..good.len() / 2].to_vec()),
        ("header_cut", good[..20].to_vec()),
        ("long_header", [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        ("not_json", header("}{", 24)),
        ("overlap", header(&one("[3,1]", "[6,18]"), 24)),
        ("outside", header(&one("[3,1]", "[24,36]"), 24)),
        ("backwards", header(&one("[3,1]", "[12,0]"), 24)),
        ("overflow", header(&one("[4294967296,4294967296,16]", "[0,12]"), 24)),
        ("absurd", header(&one("[3,1000000000000]", "[0,12]"), 24)),
    ];
    for (name, bytes) in files {
        fs::write(place.path(name), bytes).unwrap();
        refused_with_input(&place, name, &[], &[name]);
    }
    fs::create_dir(place.path("folder")).unwrap();
    refused_with_input(&place, "folder", &[], &["folder", "directory"]);
    refused_with_input(&place, "nowhere", &[], &["nowhere", "cannot open"]);
    refused_with_input(&place, "x.npy", &[], &["x.npy"]);
}

/// Writes `weight_ih_l0` and `weight_hh_l0` of a network of 6 features and 2 units.
fn write_weights(place: &Workplace, name: &str, input: [usize; 2], hidden: [usize; 2], value: f32) {
    let tensor = |shape: [usize; 2]| -> Vec<u8> {
        let mut values = vec![0.1f32; shape[0] * shape[1]];
        values[3] = value;
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    };
    let (a, b) = (tensor(input), tensor(hidden));
    let mut views = vec![("weight_ih_l0", TensorView::new(Dtype::F32, input.into(), &a).unwrap())];
    if hidden != [0, 4] {
        views.push(("weight_hh_l0", TensorView::new(Dtype::F32, hidden.into(), &b).unwrap()));
    }
    safetensors::serialize_to_file(views, None, &place.path(name)).unwrap();
}

#[test]
fn weights_that_do_not_fit() {
    let place = workplace();
    write_weights(&place, "misshapen", [6, 6], [6, 3], 0.0);
    refused_with_input(&place, "misshapen", &[], &["misshapen", "weight_hh_l0", "[6, 3]"]);
    write_weights(&place, "uneven", [7, 6], [6, 2], 0.0);
    refused_with_input(&place, "uneven", &[], &["uneven", "weight_ih_l0", "[7, 6]"]);
    write_weights(&place, "nan", [6, 6], [6, 2], f32::NAN);
    refused_with_input(&place, "nan", &[], &["nan", "weight_ih_l0", "[0, 3]", "NaN"]);
    let own = ["run", "nan", "--input", "x.npy", "--allow-non-finite", "--output"];
    for name in ["nan", "x.npy"] {
        let before = fs::read(place.path(name)).unwrap();
        assert_words(&place.refuse(&[&own[..], &[name]].concat()), &["--output", name, "reads"]);
        assert_eq!(fs::read(place.path(name)).unwrap(), before);
    }
    let allowed = "run nan --input x.npy --output y.npy --device cpu --allow-non-finite";
    place.succeed(&allowed.split(' ').collect::<Vec<_>>());
    assert!(npy::read(&place.path("y.npy"), "<f4").iter().any(|v| v.is_nan()));
    let case = Case::read("golden/reset_after_one_layer");
    case.write_model(&place, "whole", &[]);
    let bytes = fs::read(place.path("whole")).unwrap();
    // The same file with a tensor under another name.
    let renamed = String::from_utf8_lossy(&bytes[8..]).find("weight_hh_l0").unwrap() + 8;
    let mut missing = bytes.clone();
    missing[renamed..renamed + 12].copy_from_slice(b"weight_xx_l0");
    fs::write(place.path("missing"), missing).unwrap();
    refused_with_input(&place, "missing", &[], &["missing", "weight_hh_l0"]);
}

#[test]
fn requests_that_make_no_sense() {
    let place = workplace();
    let network = model("pytorch_f32");
    let cases: [(&[&str], &[&str]); 20] = [
        (&["--device", "abacus"], &["'abacus'", "auto", "cpu", "reference"]),
        (&["--device", "99"], &["'99'"]),
        (&["--device", ""], &["''"]),
        (&["--device", "cpu", "--precision", "f16"], &["--precision f16", "CPU"]),
        (&["--precision", "f8"], &["--precision", "'f8'", "f32 or f16"]),
        (&["--device", "cpu", "--memory-budget", "1000"], &["--memory-budget", "CPU"]),
        (&["--memory-budget", "-1"], &["--memory-budget", "-1"]),
        (&["--kernels", "fastest"], &["--kernels", "'fastest'", "auto, step, sequence or matrix"]),
        (
            &["--device", "auto", "--kernels", "matrix"],
            &["--kernels matrix", "experimental", "--device gpu"],
        ),
        (&["--device", "cpu", "--kernels", "matrix"], &["--kernels", "CPU"]),
        (&["--device", "cpu", "--kernels", "step"], &["--kernels", "CPU"]),
        (&["--wavefront", "maybe"], &["--wavefront", "'maybe'", "auto, on or off"]),
        (&["--device", "gpu", "--wavefront", "on"], &["wavefront", "bidirectional"]),
        (&["--prefix", "encoder"], &["'encoder'"]),
        (&["--node", "0"], &["node '0'"]),
        (&["--convention", "latin"], &["'latin'", "textbook"]),
        (&["--convention", "textbook"], &["textbook", "pytorch"]),
        (&["--reset", "later"], &["'later'", "before or after"]),
        (&["--go-backwards"], &["Keras", "pytorch"]),
        (&["--final", "y.npy", "--output", "z.npy", "--output", "y.npy"], &["--output"]),
    ];
    for (options, words) in cases {
        refused_with_input(&place, &network, options, words);
    }
    let several = model("pytorch_prefixed");
    refused_with_input(&place, &several, &[], &["encoder.rnn", "decoder.gru"]);
    assert_words(&place.refuse(&["run", &network, "--input", "x.npy"]), &["--output"]);
    assert_words(&place.refuse(&["run", &network, "--output", "y.npy"]), &["--input"]);
    assert_words(&place.refuse(&["run"]), &["<MODEL>"]);
    assert_words(&place.refuse(&["paint"]), &["'paint'"]);
    assert_words(&place.refuse::<&str>(&[]), &["command"]);
    let verify = |options: &[&str]| place.refuse(&[&["verify", &network][..], options].concat());
    assert_words(&verify(&["--steps", "-3"]), &["--steps", "-3", "from 0 to 2^64 - 1 is wanted"]);
    let line = verify(&["-1"]);
    assert!(line.ends_with("unexpected argument '-1' found\n"), "{line}");
    assert_words(&verify(&["--batch", "many"]), &["--batch", "many"]);
    assert_words(&verify(&["--input", "x.npy", "--seed", "1"]), &["--seed", "--input"]);
    let many = "1000000000000000000";
    assert_words(&verify(&["--steps", many]), &[many, "memory"]);
    let plan = |options: &[&str]| place.refuse(&[&["plan", &network][..], options].concat());
    assert_words(&plan(&["--steps", "3"]), &["--batch"]);
    assert_words(&plan(&["--steps", many, "--batch", many, "--device", "gpu"]), &[many]);
    let budget = ["--steps", "3", "--batch", "3", "--device", "gpu", "--memory-budget", "10"];
    assert_words(&plan(&budget), &["10", "budget"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let place = workplace();
    let network = model("pytorch_f32");
    fs::create_dir(place.path("folder")).unwrap();
    fs::write(place.path("locked.npy"), b"what was there").unwrap();
    let mut permissions = fs::metadata(place.path("locked.npy")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(place.path("locked.npy"), permissions).unwrap();
    for (path, words) in [
        ("folder", &["folder: cannot write", "directory"][..]),
        ("nowhere/y.npy", &["nowhere/y.npy: cannot write"]),
        ("y.npy/z.npy", &["y.npy/z.npy: cannot write"]),
        ("locked.npy", &["locked.npy: cannot write"]),
        ("", &["a value is required"]),
    ] {
        let arguments = ["run", &network, "--input", "x.npy", "--output", path];
        let line = place.refuse(&arguments);
        assert_words(&line, words);
        assert!(!line.contains(".wgru-"), "the temporary file is no one's business: {line}");
        // The other output is not written either.
        let arguments = ["run", &network, "--input", "x.npy", "--output", "y.npy", "--final", path];
        assert_words(&place.refuse(&arguments), words);
    }
    let same = ["run", &network, "--input", "x.npy", "--output", "z.npy", "--final", "./z.npy"];
    assert_words(&place.refuse(&same), &["--output", "--final", "z.npy"]);
    #[cfg(target_os = "linux")]
    {
        let full = ["run", &network, "--input", "x.npy", "--output", "/dev/full"];
        assert_words(&place.refuse(&full), &["/dev/full: cannot write"]);
    }
}
