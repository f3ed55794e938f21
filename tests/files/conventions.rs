//! Every convention against the stored tensors, value by value, by the definition of the layouts.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use wgru::ErrorKind::{InvalidFile, InvalidRequest, InvalidWeights, Unsupported};
use wgru::{
    Activation, Convention, Directions, ElementType, Evidence, Format, Gate, Gru, LoadOptions,
    MatrixView, ResetForm, Tensor, TensorSet,
};

use crate::{assert_error, test_file};

/// Row-major values and shape of each stored tensor.
type Stored = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

fn matrix(view: &MatrixView) -> Vec<Vec<f64>> {
    (0..view.rows())
        .map(|r| {
            let mut row = vec![0.0; view.cols()];
            view.read_row_f64(r, &mut row);
            row
        })
        .collect()
}

/// Rows `rows`, columns `cols` of a stored matrix, times `sign`.
fn block(
    (shape, values): &(Vec<usize>, Vec<f64>),
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
    sign: f64,
) -> Vec<Vec<f64>> {
    let width = shape.get(1).copied().unwrap_or(1);
    rows.map(|r| cols.clone().map(|c| sign * values[r * width + c]).collect()).collect()
}

/// Rows `rows` of a stored vector as one row.
fn slice(
    stored: &(Vec<usize>, Vec<f64>),
    rows: std::ops::Range<usize>,
    sign: f64,
) -> Vec<Vec<f64>> {
    vec![stored.1[rows].iter().map(|v| sign * v).collect()]
}

/// Checks a loaded GRU against a case's `config` and the tensors, all named after `prefix`.
fn check(gru: &Gru, config: &Value, stored: &Stored, prefix: &str, what: &str) {
    let size = |key: &str| usize::try_from(config[key].as_u64().unwrap()).unwrap();
    let (layers, h) = (size("num_layers"), size("hidden_size"));
    let bidirectional = config["bidirectional"].as_bool().unwrap();
    let has_bias = config["bias"].as_bool().unwrap();
    let loaded = gru.config();
    assert_eq!(loaded.input_size, size("input_size"), "{what}");
    assert_eq!((loaded.hidden_size, loaded.num_layers), (h, layers), "{what}");
    assert_eq!(loaded.directions == Directions::Bidirectional, bidirectional, "{what}");
    assert_eq!(loaded.reset.to_string(), config["reset"].as_str().unwrap(), "{what}");
    assert_eq!(gru.description().bias, has_bias, "{what}");
    let mut values = 0;
    for layer in 0..layers {
        for direction in 0..loaded.num_directions() {
            let cell = gru.weights().cell(layer, direction);
            let k = loaded.layer_input_size(layer);
            for gate in Gate::ALL {
                let g = gate as usize;
                let [input, recurrent, input_bias, recurrent_bias] =
                    if config["convention"] == "textbook" {
                        textbook_gate(stored, layer, gate, [k, h], has_bias)
                    } else {
                        let suffix = if direction == 1 { "_reverse" } else { "" };
                        pytorch_gate(stored, prefix, layer, suffix, g, [k, h], has_bias)
                    };
                let at = format!("{what}: layer {layer}, direction {direction}, gate {gate:?}");
                assert_eq!(Some(matrix(&cell.input[g])), input, "{at}");
                assert_eq!(Some(matrix(&cell.recurrent[g])), recurrent, "{at}");
                assert_eq!(cell.input_bias[g].as_ref().map(matrix), input_bias, "{at}");
                assert_eq!(cell.recurrent_bias[g].as_ref().map(matrix), recurrent_bias, "{at}");
                values += [input, recurrent, input_bias, recurrent_bias]
                    .iter()
                    .flatten()
                    .flatten()
                    .map(Vec::len)
                    .sum::<usize>();
            }
        }
    }
    assert_eq!(gru.description().parameters, values as u64, "{what}");
}

type GateTensors = [Option<Vec<Vec<f64>>>; 4];

fn pytorch_gate(
    stored: &Stored,
    prefix: &str,
    layer: usize,
    suffix: &str,
    g: usize,
    [k, h]: [usize; 2],
    has_bias: bool,
) -> GateTensors {
    let get = |role: &str| {
        let layered = format!("{prefix}{role}_l{layer}{suffix}");
        stored.get(&layered).or_else(|| stored.get(&format!("{prefix}{role}"))).unwrap()
    };
    let rows = g * h..(g + 1) * h;
    [
        Some(block(get("weight_ih"), rows.clone(), 0..k, 1.0)),
        Some(block(get("weight_hh"), rows.clone(), 0..h, 1.0)),
        has_bias.then(|| slice(get("bias_ih"), rows.clone(), 1.0)),
        has_bias.then(|| slice(get("bias_hh"), rows.clone(), 1.0)),
    ]
}

/// `z = 1 - U = sigmoid(-(W_u [x, h] + b_u))`.
fn textbook_gate(
    stored: &Stored,
    layer: usize,
    gate: Gate,
    [k, h]: [usize; 2],
    has_bias: bool,
) -> GateTensors {
    let (letters, sign): (&[&str], f64) = match gate {
        Gate::Reset => (&["R", "r"], 1.0),
        Gate::Update => (&["u"], -1.0),
        Gate::New => (&["h"], 1.0),
    };
    let get = |kind: &str| {
        let names = letters.iter().flat_map(|l| {
            let bare = (layer == 0).then(|| format!("{kind}_{l}"));
            bare.into_iter().chain([format!("{kind}_{l}_l{layer}")])
        });
        names.filter_map(|n| stored.get(&n)).next().unwrap()
    };
    [
        Some(block(get("W"), 0..h, 0..k, sign)),
        Some(block(get("W"), 0..h, k..k + h, sign)),
        has_bias.then(|| slice(get("b"), 0..h, sign)),
        None,
    ]
}

fn json(path: &std::path::Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The paths of every `.json` file of a folder of `tests/`.
fn cases(folder: &str) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(test_file(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn tensors_of_every_golden_case_load() {
    let paths = cases("golden");
    assert!(paths.len() > 40, "{} cases", paths.len());
    for path in paths {
        let case = json(&path);
        let mut set = TensorSet::new();
        let mut stored = Stored::new();
        for (name, array) in case["tensors"].as_object().unwrap() {
            let shape: Vec<usize> = serde_json::from_value(array["shape"].clone()).unwrap();
            let values: Vec<f64> = serde_json::from_value(array["data"].clone()).unwrap();
            set.insert(Tensor::from_f64(name, &shape, &values).unwrap());
            stored.insert(name.clone(), (shape, values));
        }
        let mut options = LoadOptions::new();
        if case["config"]["reset"] == "before" {
            options = options.reset(ResetForm::Before);
        }
        let gru = Gru::from_tensors(&set, &options).unwrap();
        check(&gru, &case["config"], &stored, "", &path.display().to_string());
        assert_eq!(gru.description().format, Format::Memory);
    }
}

/// The tensors of a file as the `safetensors` crate alone reads them.
fn stored_tensors(bytes: &[u8]) -> Stored {
    use safetensors::Dtype;
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let decode = |dtype: Dtype, data: &[u8]| -> Vec<f64> {
        match dtype {
            Dtype::F64 => {
                data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
            }
            Dtype::F32 => data
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            Dtype::F16 => data
                .chunks_exact(2)
                .map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f64())
                .collect(),
            // The upper half of a binary32.
            Dtype::BF16 => data
                .chunks_exact(2)
                .map(|b| f64::from(f32::from_le_bytes([0, 0, b[0], b[1]])))
                .collect(),
            _ => Vec::new(),
        }
    };
    file.iter()
        .map(|(name, view)| {
            (name.to_owned(), (view.shape().to_vec(), decode(view.dtype(), view.data())))
        })
        .collect()
}

#[test]
fn every_model_file_loads() {
    let mut checked = 0;
    for path in cases("data") {
        let case = json(&path);
        let Some(file) = case["file"].as_str().filter(|f| f.ends_with(".safetensors")) else {
            continue;
        };
        let file = test_file("data").join(file);
        let stored = stored_tensors(&fs::read(&file).unwrap());
        let (options, prefix) = match case["prefix"].as_str() {
            Some(prefix) => (LoadOptions::new().prefix(prefix), format!("{prefix}.")),
            None => (LoadOptions::new(), String::new()),
        };
        let gru = Gru::open_with(&file, &options).unwrap();
        check(&gru, &case["config"], &stored, &prefix, &path.display().to_string());
        let description = gru.description();
        assert_eq!(description.format, Format::Safetensors);
        assert_eq!(description.convention.name(), case["config"]["convention"]);
        assert_eq!(description.name.as_deref(), case["prefix"].as_str());
        let element = match case["dtype"].as_str().unwrap() {
            "float32" => ElementType::F32,
            "float64" => ElementType::F64,
            "float16" => ElementType::F16,
            "bfloat16" => ElementType::Bf16,
            other => panic!("{other} is no element type"),
        };
        assert_eq!(description.element_types, [element]);
        checked += 1;
    }
    assert!(checked >= 12, "{checked} cases");
}

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
        assert!(Gru::from_tensors(&set, &allowed).is_ok());
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
