//! Every convention against the stored tensors, value by value, by the definition of the layouts.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use wgru::{
    Directions, ElementType, Format, Gate, Gru, LoadOptions, MatrixView, ResetForm, Tensor,
    TensorSet,
};

use crate::test_file;

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
