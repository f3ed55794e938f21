//! Cases that name a model file, an input and what the model must give.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array3;
use serde_json::Value;
use wgru::{Gru, Inputs, LoadOptions, OutputOrder, ResetForm, reference};

use crate::test_file;

/// A case's `.json`.
pub(crate) struct Case {
    pub(crate) value: Value,
    pub(crate) file: PathBuf,
}

/// Every case of a folder of `tests/data/`.
pub(crate) fn cases(folder: &str) -> Vec<Case> {
    let folder = test_file("data").join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let value: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            let file = folder.join(value["file"].as_str().unwrap());
            Case { value, file }
        })
        .collect()
}

impl Case {
    pub(crate) fn name(&self) -> &str {
        self.value["name"].as_str().unwrap()
    }

    /// What has to be asked for.
    pub(crate) fn options(&self) -> LoadOptions {
        let mut options = LoadOptions::new();
        for (key, value) in self.value["options"].as_object().unwrap() {
            options = match (key.as_str(), value) {
                ("reset", value) if value == "after" => options.reset(ResetForm::After),
                ("reset", value) if value == "before" => options.reset(ResetForm::Before),
                ("go_backwards", Value::Bool(true)) => options.go_backwards(true),
                ("activations", Value::String(pair)) => {
                    let (gate, candidate) = pair.split_once(',').unwrap();
                    options.activations(gate.parse().unwrap(), candidate.parse().unwrap())
                }
                other => panic!("the option {other:?} is not known"),
            };
        }
        options
    }

    fn array(&self, key: &str) -> Option<Array3<f64>> {
        let value = self.value[key].as_object()?;
        let shape: [usize; 3] = serde_json::from_value(value["shape"].clone()).unwrap();
        Some(
            Array3::from_shape_vec(shape, serde_json::from_value(value["data"].clone()).unwrap())
                .unwrap(),
        )
    }

    /// Asserts that `gru` has the case's sizes and gives its results in f64.
    #[track_caller]
    pub(crate) fn check(&self, gru: &Gru) {
        let (name, config) = (self.name(), &self.value["config"]);
        let loaded = gru.config();
        assert_eq!(config["input_size"], loaded.input_size, "{name}");
        assert_eq!(config["hidden_size"], loaded.hidden_size, "{name}");
        assert_eq!(config["num_layers"], loaded.num_layers, "{name}");
        assert_eq!(config["direction"], loaded.directions.to_string(), "{name}");
        assert_eq!(config["reset"], loaded.reset.to_string(), "{name}");
        assert_eq!(config["bias"], gru.description().bias, "{name}");
        let input = self.array("input").unwrap();
        let state = self.array("initial_state");
        let lengths: Option<Vec<usize>> =
            serde_json::from_value(self.value["lengths"].clone()).unwrap();
        let mut inputs = Inputs::new(input.view());
        if let Some(state) = &state {
            inputs = inputs.initial_state(state.view());
        }
        if let Some(lengths) = &lengths {
            inputs = inputs.lengths(lengths);
        }
        let mut given = reference::forward(loaded, gru.weights(), &inputs).unwrap();
        if gru.description().output_order == OutputOrder::Processing {
            given.hidden_states.invert_axis(ndarray::Axis(0));
        }
        for (what, given, wanted) in [
            ("output", &given.hidden_states, self.array("output").unwrap()),
            ("final state", &given.final_state, self.array("final_state").unwrap()),
        ] {
            assert_eq!(given.shape(), wanted.shape(), "{name}: {what}");
            let worst = given.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-12, "{name}: {what} differs by {worst:e}");
        }
    }
}

/// Asserts that two networks are the same: configuration and every weight, bit by bit.
#[track_caller]
pub(crate) fn assert_same(a: &Gru, b: &Gru, what: &str) {
    assert_eq!(a.config(), b.config(), "{what}");
    for (a, b) in a.weights().cells().iter().zip(b.weights().cells()) {
        let biases = [(&a.input_bias, &b.input_bias), (&a.recurrent_bias, &b.recurrent_bias)];
        let values = |view: &wgru::MatrixView| -> Vec<u64> {
            let mut out = vec![0.0; view.cols()];
            (0..view.rows())
                .flat_map(|r| {
                    view.read_row_f64(r, &mut out);
                    out.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
                })
                .collect()
        };
        for g in 0..wgru::GATES {
            assert_eq!(values(&a.input[g]), values(&b.input[g]), "{what}");
            assert_eq!(values(&a.recurrent[g]), values(&b.recurrent[g]), "{what}");
            for (a, b) in biases {
                // No bias and a bias of zeros are the same network.
                let bits = |view: &Option<wgru::MatrixView>| view.as_ref().map(values);
                match (bits(&a[g]), bits(&b[g])) {
                    (Some(a), Some(b)) => assert_eq!(a, b, "{what}"),
                    (a, b) => assert!(a.or(b).is_none_or(|v| v.iter().all(|v| *v == 0)), "{what}"),
                }
            }
        }
    }
}

/// A copy of `file` in a folder of its own.
pub(crate) fn copy_to(folder: &Path, file: &Path) -> PathBuf {
    let to = folder.join(file.file_name().unwrap());
    fs::copy(file, &to).unwrap();
    to
}
