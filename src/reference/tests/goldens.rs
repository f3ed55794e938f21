//! Every golden case, whose results come from float64 PyTorch, the ONNX reference evaluator or the
//! textbook's equations in numpy; see `tests/golden/README.md`.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};
use serde_json::Value;

use super::support::{from_pytorch, from_textbook};
use crate::cell::ResetForm;
use crate::config::{Directions, GruConfig};
use crate::reference::forward;
use crate::sequence::Inputs;
use crate::tensor::Tensor;
use crate::weights::{CellWeights, GruWeights};

/// Largest difference allowed. The goldens' own sources agree within 1e-13.
const GOLDEN_TOLERANCE: f64 = 1e-12;

/// The package's root where the test runs, which need not be where it was built.
fn golden_folder() -> PathBuf {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into());
    Path::new(&root).join("tests/golden")
}

struct Golden {
    config: GruConfig,
    weights: GruWeights,
    input: Array3<f64>,
    initial_state: Option<Array3<f64>>,
    lengths: Option<Vec<usize>>,
    reset_mask: Option<Array2<bool>>,
    output: Array3<f64>,
    final_state: Array3<f64>,
}

fn size(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a size is an integer")).expect("a size fits")
}

fn shape(value: &Value) -> Vec<usize> {
    value["shape"].as_array().expect("an array has a shape").iter().map(size).collect()
}

fn data(value: &Value) -> Vec<f64> {
    let values = value["data"].as_array().expect("an array has data").iter();
    values.map(|v| v.as_f64().expect("data are numbers")).collect()
}

fn array3(value: &Value) -> Array3<f64> {
    let shape: [usize; 3] = shape(value).try_into().expect("three dimensions");
    Array3::from_shape_vec(shape, data(value)).expect("as many values as the shape says")
}

impl Golden {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the golden file is readable");
        let json: Value = serde_json::from_str(&text).expect("the golden file is JSON");
        let described = &json["config"];
        assert_eq!(described["activations"], serde_json::json!(["sigmoid", "tanh"]));
        let flag = |field: &str| described[field].as_bool().expect("a flag");
        let config = GruConfig {
            num_layers: size(&described["num_layers"]),
            directions: if flag("bidirectional") {
                Directions::Bidirectional
            } else {
                Directions::Forward
            },
            reset: match described["reset"].as_str() {
                Some("before") => ResetForm::Before,
                Some("after") => ResetForm::After,
                other => panic!("reset form {other:?}"),
            },
            ..GruConfig::new(size(&described["input_size"]), size(&described["hidden_size"]))
        };
        let textbook = match described["convention"].as_str() {
            Some("textbook") => true,
            Some("pytorch") => false,
            other => panic!("convention {other:?}"),
        };
        let cells = (0..config.state_planes()).map(|i| {
            let (layer, direction) = (i / config.num_directions(), i % config.num_directions());
            if textbook {
                textbook_cell(&json["tensors"], config.hidden_size, layer)
            } else {
                pytorch_cell(&json["tensors"], config.hidden_size, layer, direction, flag("bias"))
            }
        });
        let weights = GruWeights::new(&config, cells.collect()).expect("the tensors fit");
        let optional = |field: &str| Some(&json[field]).filter(|v| !v.is_null());
        Self {
            weights,
            input: array3(&json["input"]),
            initial_state: optional("initial_state").map(array3),
            lengths: optional("lengths")
                .map(|v| v.as_array().expect("a list").iter().map(size).collect()),
            reset_mask: optional("reset_mask").map(|v| {
                let shape: [usize; 2] = shape(v).try_into().expect("two dimensions");
                let flags = data(v).iter().map(|v| *v != 0.0).collect();
                Array2::from_shape_vec(shape, flags).expect("as many flags as the shape says")
            }),
            output: array3(&json["output"]),
            final_state: array3(&json["final_state"]),
            config,
        }
    }

    fn inputs(&self) -> Inputs<'_, f64> {
        let mut inputs = Inputs::new(self.input.view());
        inputs.initial_state = self.initial_state.as_ref().map(|v| v.view());
        inputs.lengths = self.lengths.as_deref();
        inputs.reset_mask = self.reset_mask.as_ref().map(|v| v.view());
        inputs
    }
}

fn tensor(tensors: &Value, name: &str) -> Tensor {
    let value = &tensors[name];
    assert!(value.is_object(), "tensor {name} is in the file");
    Tensor::from_f64(name, &shape(value), &data(value)).expect("as many values as the shape says")
}

fn pytorch_cell(
    tensors: &Value,
    units: usize,
    layer: usize,
    direction: usize,
    bias: bool,
) -> CellWeights {
    let suffix = if tensors.get("weight_ih").is_some() {
        String::new()
    } else {
        format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" })
    };
    let named = |name: &str| tensor(tensors, &format!("{name}{suffix}"));
    let [b_ih, b_hh] = ["bias_ih", "bias_hh"].map(|name| bias.then(|| named(name)));
    from_pytorch(units, &named("weight_ih"), &named("weight_hh"), b_ih.as_ref(), b_hh.as_ref())
}

fn textbook_cell(tensors: &Value, units: usize, layer: usize) -> CellWeights {
    let suffix = if tensors.get("W_u").is_some() { String::new() } else { format!("_l{layer}") };
    let w = ["W_R", "W_u", "W_h"].map(|name| tensor(tensors, &format!("{name}{suffix}")));
    let b = ["b_R", "b_u", "b_h"].map(|name| tensor(tensors, &format!("{name}{suffix}")));
    from_textbook(units, w.each_ref(), b.each_ref())
}

fn largest_difference(a: &Array3<f64>, b: &Array3<f64>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    // NaN on either side must not vanish in the maximum.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |m, d| if d <= m { m } else { d })
}

#[test]
fn the_reference_equals_every_golden() {
    let folder = golden_folder();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    let mut failures = Vec::new();
    for path in &paths {
        let golden = Golden::read(path);
        let got = forward(&golden.config, &golden.weights, &golden.inputs()).unwrap();
        let difference = largest_difference(&got.hidden_states, &golden.output)
            .max(largest_difference(&got.final_state, &golden.final_state));
        if difference.is_nan() || difference > GOLDEN_TOLERANCE {
            failures.push(format!("{}: {difference:e}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    // Both reset forms, one and two directions, and the textbook's notation are all there.
    for stem in ["reset_after_bidirectional", "reset_before_bidirectional", "textbook_two_layers"] {
        assert!(paths.iter().any(|p| p.file_stem().is_some_and(|s| s == stem)), "{stem} is there");
    }
}
