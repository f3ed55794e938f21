//! The committed cases of `tests/golden` and `tests/data`; see the READMEs there.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};
use serde_json::Value;
use wgru::{Gru, Inputs, LoadOptions, Output, ResetForm, Tensor, TensorSet};

/// A network, a run and what it must give.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) gru: Gru,
    pub(crate) input: Array3<f64>,
    pub(crate) state: Option<Array3<f64>>,
    pub(crate) lengths: Option<Vec<usize>>,
    pub(crate) mask: Option<Array2<bool>>,
    /// In float64, from the weights as the file stores them.
    pub(crate) want: Output<f64>,
    /// In float64, from the weights rounded to f32: what an engine is compared with.
    pub(crate) want_of_f32: Output<f64>,
}

/// The package's folder where the test runs, which need not be where it was built.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into()).into()
}

/// Every case, sorted by name.
pub(crate) fn all() -> Vec<Golden> {
    let mut cases = Vec::new();
    for folder in ["tests/golden", "tests/data"] {
        let folder = root().join(folder);
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            .map(|entry| entry.expect("the folder is readable").path());
        for path in entries.filter(|path| path.extension().is_some_and(|e| e == "json")) {
            cases.push(Golden::read(&folder, &path));
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

impl Golden {
    fn read(folder: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the case is readable");
        let json: Value = serde_json::from_str(&text).expect("the case is JSON");
        let stem = path.file_stem().expect("a file has a name").to_string_lossy();
        let name = format!("{}/{stem}", folder.file_name().unwrap_or_default().to_string_lossy());
        let gru = match json["file"].as_str() {
            Some(file) => {
                let options = match json["prefix"].as_str() {
                    Some(prefix) => LoadOptions::new().prefix(prefix),
                    None => LoadOptions::new(),
                };
                Gru::open_with(folder.join(file), &options)
            }
            None => from_tensors(&json),
        };
        let gru = gru.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        check_config(&name, &gru, &json["config"]);
        let optional = |field: &str| json.get(field).filter(|v| !v.is_null());
        let want = Output {
            hidden_states: array(&json["output"]),
            final_state: array(&json["final_state"]),
        };
        let want_of_f32 = match optional("output_f32_weights") {
            Some(states) => Output {
                hidden_states: array(states),
                final_state: array(&json["final_state_f32_weights"]),
            },
            None => want.clone(),
        };
        Self {
            gru,
            input: array(&json["input"]),
            state: optional("initial_state").map(array),
            lengths: optional("lengths")
                .map(|v| v.as_array().expect("a list").iter().map(size).collect()),
            mask: optional("reset_mask").map(|v| {
                let flags = data(v).iter().map(|v| *v != 0.0).collect();
                let shape: [usize; 2] = shape(v).try_into().expect("two dimensions");
                Array2::from_shape_vec(shape, flags).expect("as many flags as the shape says")
            }),
            want,
            want_of_f32,
            name,
        }
    }

    pub(crate) fn inputs(&self) -> Inputs<'_, f64> {
        Inputs {
            input: self.input.view(),
            initial_state: self.state.as_ref().map(|s| s.view()),
            lengths: self.lengths.as_deref(),
            reset_mask: self.mask.as_ref().map(|m| m.view()),
            batch_first: false,
        }
    }
}

fn from_tensors(json: &Value) -> wgru::Result<Gru> {
    let mut set = TensorSet::new();
    for (name, value) in json["tensors"].as_object().expect("tensors by name") {
        let values: Vec<f32> = data(value).into_iter().map(exact_f32).collect();
        set.insert(Tensor::from_f32(name, &shape(value), &values)?);
    }
    let mut options = LoadOptions::new();
    if json["config"]["reset"] == "before" {
        options = options.reset(ResetForm::Before);
    }
    Gru::from_tensors(&set, &options)
}

/// What was loaded is what the generator computed.
fn check_config(name: &str, gru: &Gru, described: &Value) {
    let config = gru.config();
    let given = [config.input_size, config.hidden_size, config.num_layers, config.num_directions()];
    let directions = 1 + usize::from(described["bidirectional"] == true);
    let [inputs, units, layers] =
        ["input_size", "hidden_size", "num_layers"].map(|field| size(&described[field]));
    assert_eq!(given, [inputs, units, layers, directions], "{name}");
    assert_eq!(described["reset"], config.reset.to_string(), "{name}");
    assert_eq!(described["bias"], gru.description().bias, "{name}");
    assert_eq!(described["activations"], serde_json::json!(["sigmoid", "tanh"]), "{name}");
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

fn array(value: &Value) -> Array3<f64> {
    let shape: [usize; 3] = shape(value).try_into().expect("three dimensions");
    Array3::from_shape_vec(shape, data(value)).expect("as many values as the shape says")
}

/// Inputs and weights of the cases are exact in f32; reading a decimal may be off by its last bit.
#[expect(clippy::cast_possible_truncation, reason = "the rounding is what is tested")]
pub(crate) fn exact_f32(value: f64) -> f32 {
    let rounded = value as f32;
    let wrong = (f64::from(rounded) - value).abs();
    assert!(wrong <= 2.0 * f64::EPSILON * value.abs(), "{value} is no f32");
    rounded
}
