//! Names of tensors: which module is meant, which tensors are missing or misshapen, what metadata
//! states.

use wgru::ErrorKind::{InvalidFile, InvalidRequest, InvalidWeights, Unsupported};
use wgru::{
    Activation, Convention, Directions, Evidence, Gru, LoadOptions, ResetForm, Tensor, TensorSet,
};

use crate::{assert_error, test_file};

/// A set of tensors of these shapes, all 0.5.
fn set_of(tensors: &[(&str, &[usize])]) -> TensorSet {
    let mut set = TensorSet::new();
    for (name, shape) in tensors {
        let values = vec![0.5; shape.iter().product()];
        set.insert(Tensor::from_f32(name, shape, &values).unwrap());
    }
    set
}

fn load(set: &TensorSet) -> wgru::Result<Gru> {
    Gru::from_tensors(set, &LoadOptions::new())
}

const GRU: [(&str, &[usize]); 4] = [
    ("weight_ih_l0", &[6, 5]),
    ("weight_hh_l0", &[6, 2]),
    ("bias_ih_l0", &[6]),
    ("bias_hh_l0", &[6]),
];

#[test]
fn several_modules_are_listed() {
    let path = test_file("data/pytorch_prefixed.safetensors");
    assert_error(
        Gru::open(&path),
        InvalidRequest,
        &["pytorch_prefixed.safetensors", "2 GRUs", "--prefix", "encoder.rnn", "decoder.gru"],
    );
    let wrong = LoadOptions::new().prefix("middle");
    assert_error(Gru::open_with(&path, &wrong), InvalidRequest, &["'middle'", "encoder.rnn"]);
    let listed = Gru::list(&path).unwrap();
    let names: Vec<_> = listed.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["decoder.gru", "encoder.rnn"]);
    assert_eq!(listed[0].config.as_ref().unwrap().hidden_size, 5);
    // A separator at the end, as in the tensors' names, is the same prefix.
    assert!(Gru::open_with(&path, &LoadOptions::new().prefix("encoder.rnn.")).is_ok());
}

/// Whatever is in a file, and whichever convention it is to be read in.
#[test]
fn other_conventions_are_refused_network_by_network() {
    use Convention::{Keras, Pytorch, Textbook, Wgru};
    let of_pytorch = |c| matches!(c, Pytorch | Wgru);
    let mut refused = 0;
    for entry in std::fs::read_dir(test_file("data")).unwrap() {
        let path = entry.unwrap().path();
        for asked in [Pytorch, Textbook, Keras, Wgru] {
            let options = LoadOptions::new().convention(asked);
            for network in Gru::list_with(&path, &options).into_iter().flatten() {
                let own = network.convention;
                if own == asked || of_pytorch(own) && of_pytorch(asked) || own == Convention::Onnx {
                    continue;
                }
                let reason = network.config.unwrap_err();
                assert!(reason.contains(asked.name()) && reason.contains(own.name()), "{reason}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn every_missing_or_misshapen_tensor_is_named() {
    let mut tensors = GRU.to_vec();
    tensors[0].1 = &[7, 5];
    tensors[2].1 = &[6, 1];
    tensors.pop();
    assert_error(
        load(&set_of(&tensors)),
        InvalidWeights,
        &[
            "weight_ih_l0",
            "[3H, I] = [6, 5]",
            "[7, 5]",
            "bias_ih_l0",
            "[3H] = [6]",
            "[6, 1]",
            "bias_hh_l0 [3H] = [6] is missing",
        ],
    );
    assert_error(load(&set_of(&GRU[..1])), InvalidWeights, &["weight_hh_l0 [3H, H] is missing"]);
    assert_error(load(&set_of(&GRU[1..2])), InvalidWeights, &["weight_ih_l0 [3H, I] is missing"]);
    let textbook: [(&str, &[usize]); 3] = [("W_u", &[2, 7]), ("W_R", &[2, 8]), ("b_u", &[3])];
    assert_error(
        load(&set_of(&textbook)),
        InvalidWeights,
        &[
            "W_R must have the shape [H, I+H] = [2, 7], it has [2, 8]",
            "W_h [H, I+H] = [2, 7] is missing",
            "b_u must have the shape [H] = [2], it has [3]",
            "b_R",
            "b_h",
        ],
    );
    let flat: [(&str, &[usize]); 2] = [("W_u", &[7]), ("W_h", &[7])];
    assert_error(load(&set_of(&flat)), InvalidWeights, &["W_u", "[H, I+H]", "[7]"]);
    let no_input: [(&str, &[usize]); 2] = [("W_u", &[7, 7]), ("W_h", &[7, 7])];
    assert_error(load(&set_of(&no_input)), InvalidWeights, &["W_u", "[H, I+H]", "[7, 7]"]);
}

#[test]
fn gaps_and_lone_reverses_are_errors() {
    let mut gap = GRU.to_vec();
    gap.extend([("weight_ih_l2", &[6, 2][..]), ("weight_hh_l2", &[6, 2])]);
    assert_error(load(&set_of(&gap)), InvalidWeights, &["weight_ih_l1 is missing", "layer 2"]);
    let mut lone = GRU[..2].to_vec();
    lone.extend([("weight_ih_l1", &[6, 4][..]), ("weight_hh_l1", &[6, 2])]);
    lone.extend([("weight_ih_l0_reverse", &[6, 5][..]), ("weight_hh_l0_reverse", &[6, 2])]);
    assert_error(
        load(&set_of(&lone)),
        InvalidWeights,
        &["weight_ih_l1_reverse [3H, D*H] = [6, 4] is missing", "weight_hh_l1_reverse"],
    );
    let textbook: [(&str, &[usize]); 2] = [("W_u_l1", &[2, 7]), ("W_h_l1", &[2, 7])];
    assert_error(load(&set_of(&textbook)), InvalidWeights, &["W_u_l0 is missing"]);
    let twice: [(&str, &[usize]); 3] = [("W_u", &[2, 7]), ("W_h", &[2, 7]), ("W_u_l0", &[2, 7])];
    assert_error(load(&set_of(&twice)), InvalidWeights, &["W_u", "W_u_l0"]);
    let both: [(&str, &[usize]); 4] =
        [("W_u", &[2, 7]), ("W_h", &[2, 7]), ("W_R", &[2, 7]), ("W_r", &[2, 7])];
    assert_error(load(&set_of(&both)), InvalidWeights, &["W_R and W_r"]);
    let mut cell = GRU.to_vec();
    cell.push(("weight_ih", &[6, 5]));
    assert_error(load(&set_of(&cell)), InvalidWeights, &["nn.GRUCell"]);
}

#[test]
fn other_networks_are_named() {
    let lstm: [(&str, &[usize]); 2] =
        [("rnn.weight_ih_l0", &[8, 5]), ("rnn.weight_hh_l0", &[8, 2])];
    assert_error(load(&set_of(&lstm)), Unsupported, &["rnn", "LSTM", "[8, 2]"]);
    let plain: [(&str, &[usize]); 2] = [("weight_ih_l0", &[2, 5]), ("weight_hh_l0", &[2, 2])];
    assert_error(load(&set_of(&plain)), Unsupported, &["plain RNN", "[2, 2]"]);
    let mut projected = GRU.to_vec();
    projected.push(("weight_hr_l0", &[1, 2]));
    assert_error(load(&set_of(&projected)), Unsupported, &["weight_hr"]);
    assert_error(load(&set_of(&[("a", &[1])])), InvalidWeights, &["no GRU", "weight_ih_l0"]);
    assert_error(load(&TensorSet::new()), InvalidWeights, &["no GRU"]);
    // A GRU beside an LSTM is the only GRU.
    let mut beside = lstm.to_vec();
    beside.extend([("gru.weight_ih_l0", &[6, 5][..]), ("gru.weight_hh_l0", &[6, 2])]);
    assert_eq!(load(&set_of(&beside)).unwrap().description().name.as_deref(), Some("gru"));
    let asked = LoadOptions::new().prefix("rnn");
    assert_error(Gru::from_tensors(&set_of(&beside), &asked), Unsupported, &["LSTM"]);
}

#[test]
fn non_finite_weights_are_named_unless_allowed() {
    for (bad, word) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let mut set = set_of(&GRU);
        let mut values = [0.5; 12];
        values[7] = bad;
        set.insert(Tensor::from_f32("weight_hh_l0", &[6, 2], &values).unwrap());
        assert_error(load(&set), InvalidWeights, &["weight_hh_l0", word, "[3, 1]"]);
        let allowed = LoadOptions::new().allow_non_finite(true);
        let gru = Gru::from_tensors(&set, &allowed).unwrap();
        let warnings = gru.description().warnings.join("; ");
        assert!(warnings.contains("weight_hh_l0") && warnings.contains(word), "{warnings}");
    }
    let mut set = set_of(&GRU);
    set.insert(Tensor::from_f64("bias_ih_l0", &[6], &[0.0, 1e39, 0.0, 0.0, 0.0, 0.0]).unwrap());
    assert_error(load(&set), InvalidWeights, &["bias_ih_l0", "1e39", "range of f32", "[1]"]);
}

#[test]
fn an_unsigned_zero_size_is_an_error() {
    let none: [(&str, &[usize]); 2] = [("weight_ih_l0", &[0, 5]), ("weight_hh_l0", &[0, 0])];
    assert_error(load(&set_of(&none)), wgru::ErrorKind::InvalidConfig, &["hidden_size"]);
    let huge: [(&str, &[usize]); 2] = [("weight_ih_l0", &[0, 5]), ("weight_hh_l0", &[0, 1 << 62])];
    assert_error(load(&set_of(&huge)), wgru::ErrorKind::InvalidConfig, &["hidden_size"]);
}

#[test]
fn conventions_asked_for_and_ambiguous() {
    let mut tensors = GRU.to_vec();
    tensors.extend([("W_u", &[2, 7][..]), ("W_R", &[2, 7]), ("W_h", &[2, 7])]);
    let set = set_of(&tensors);
    assert_error(load(&set), InvalidRequest, &["--convention", "pytorch", "textbook"]);
    let with = |c| Gru::from_tensors(&set, &LoadOptions::new().convention(c));
    let textbook = with(Convention::Textbook).unwrap();
    assert_eq!(textbook.config().reset, ResetForm::Before);
    assert_eq!(textbook.description().convention_evidence, Evidence::Asked);
    assert_eq!(with(Convention::Pytorch).unwrap().config().reset, ResetForm::After);
    let only = set_of(&GRU);
    let asked = LoadOptions::new().convention(Convention::Textbook);
    assert_error(Gru::from_tensors(&only, &asked), InvalidRequest, &["textbook", "pytorch"]);
    // PyTorch's names need metadata to be the crate's own convention.
    let own = LoadOptions::new().convention(Convention::Wgru);
    assert_error(Gru::from_tensors(&only, &own), InvalidFile, &["wgru.reset"]);
    let node = LoadOptions::new().node("n");
    assert_error(Gru::from_tensors(&only, &node), InvalidRequest, &["'n'", "ONNX"]);
    let backwards = LoadOptions::new().go_backwards(true);
    assert_error(Gru::from_tensors(&only, &backwards), InvalidRequest, &["Keras"]);
}

#[test]
fn metadata_states_what_names_cannot() {
    let mut set = set_of(&GRU[..3]);
    assert_error(load(&set), InvalidWeights, &["bias_hh_l0"]);
    for (key, value) in [
        ("wgru.version", "1"),
        ("wgru.convention", "wgru"),
        ("wgru.reset", "before"),
        ("wgru.directions", "reverse"),
        ("wgru.gate_activation", "HardSigmoid(0.25, 0.5)"),
        ("wgru.candidate_activation", "Relu"),
        ("wgru.clip", "1.5"),
        ("format", "pt"),
    ] {
        set.set_metadata(key, value);
    }
    let gru = load(&set).unwrap();
    let config = gru.config();
    assert_eq!(config.reset, ResetForm::Before);
    assert_eq!(config.directions, Directions::Reverse);
    for functions in config.functions {
        assert_eq!(functions.gate, Activation::HardSigmoid { alpha: 0.25, beta: 0.5 });
        assert_eq!(functions.candidate, Activation::Relu);
        assert_eq!(functions.clip, Some(1.5));
    }
    let description = gru.description();
    assert_eq!(description.convention, Convention::Wgru);
    assert_eq!(description.convention_evidence, Evidence::Stated);
    assert_eq!(description.reset_evidence, Evidence::Stated);
    assert!(gru.weights().cell(0, 0).recurrent_bias.iter().all(Option::is_none));

    let after = LoadOptions::new().reset(ResetForm::After);
    assert_error(Gru::from_tensors(&set, &after), InvalidRequest, &["before", "after"]);
    let tanh = LoadOptions::new().activations(Activation::Sigmoid, Activation::Tanh);
    assert_error(Gru::from_tensors(&set, &tanh), InvalidRequest, &["Relu", "Sigmoid"]);
    for (key, value) in [
        ("wgru.reset", "both"),
        ("wgru.colour", "blue"),
        ("wgru.clip", "-1"),
        ("wgru.version", "2"),
        ("wgru.gate_activation", "Sigmoid(1)"),
        ("wgru.directions.reverse", "forward"),
        ("wgru.directions", "bidirectional"),
    ] {
        let mut wrong = set.clone();
        wrong.set_metadata(key, value);
        assert_error(load(&wrong), InvalidFile, &[value.split('(').next().unwrap()]);
    }
}

#[test]
fn the_reset_form_of_pytorchs_names_may_be_another() {
    let mut set = set_of(&GRU);
    let asked = LoadOptions::new().reset(ResetForm::Before);
    let gru = Gru::from_tensors(&set, &asked).unwrap();
    assert_eq!(gru.description().reset_evidence, Evidence::Asked);
    assert!(gru.description().warnings[0].contains("torch.nn.GRU itself"));
    // Beside PyTorch's names, metadata states it.
    set.set_metadata("wgru.reset", "before");
    let gru = load(&set).unwrap();
    assert_eq!(gru.description().convention, Convention::Pytorch);
    assert_eq!(gru.description().reset_evidence, Evidence::Stated);
    assert_eq!(gru.description().warnings, [""; 0]);
}

#[test]
fn the_textbook_gate_needs_a_symmetric_activation() {
    let set = set_of(&[("W_u", &[2, 7]), ("W_R", &[2, 7]), ("W_h", &[2, 7])]);
    let with =
        |gate| Gru::from_tensors(&set, &LoadOptions::new().activations(gate, Activation::Relu));
    assert!(with(Activation::Sigmoid).is_ok());
    assert!(with(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }).is_ok());
    assert_error(with(Activation::Tanh), Unsupported, &["U = 1 - z", "Tanh"]);
    let lopsided = Activation::HardSigmoid { alpha: 0.2, beta: 0.4 };
    assert_error(with(lopsided), Unsupported, &["U = 1 - z", "0.4"]);
}

#[test]
fn a_gru_is_shared_between_threads_and_cheap_to_clone() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let gru = load(&set_of(&GRU)).unwrap();
    shared(&gru);
    assert!(std::mem::size_of_val(&gru) <= std::mem::size_of::<usize>());
}
