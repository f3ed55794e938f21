//! The committed cases of `tests/data` and `tests/golden` as files and arguments of the command.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use ndarray::{ArrayD, Axis, IxDyn};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::{Workplace, npy, root, text};

pub(crate) struct Case {
    json: Value,
    /// Where the case lies, and its model file with it.
    folder: PathBuf,
    /// `--reset`, where the names do not say the form.
    reset: Option<&'static str>,
    pub(crate) input: ArrayD<f64>,
    pub(crate) initial_state: Option<ArrayD<f64>>,
    pub(crate) lengths: Option<Vec<i64>>,
    pub(crate) reset_mask: Option<ArrayD<bool>>,
    pub(crate) output: ArrayD<f64>,
    pub(crate) final_state: ArrayD<f64>,
}

/// How the arrays of a case are handed over.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Layout {
    TimeFirst,
    BatchFirst,
}

impl Case {
    /// The case `tests/NAME.json`.
    pub(crate) fn read(name: &str) -> Self {
        let path = root().join("tests").join(name).with_extension("json");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let json: Value = serde_json::from_str(&text).expect("the case is JSON");
        let array = |key: &str| (!json[key].is_null()).then(|| array(&json[key]));
        let wanted = |key: &str| array(key).unwrap_or_else(|| panic!("{name} has no {key}"));
        Self {
            input: wanted("input"),
            initial_state: array("initial_state"),
            lengths: serde_json::from_value(json["lengths"].clone()).expect("a list or null"),
            reset_mask: array("reset_mask").map(|mask| mask.mapv(|v| v != 0.0)),
            output: wanted("output"),
            final_state: wanted("final_state"),
            reset: None,
            folder: path.parent().expect("the path has a folder").to_owned(),
            json,
        }
    }

    pub(crate) fn with_reset(self, reset: &'static str) -> Self {
        Self { reset: Some(reset), ..self }
    }

    /// The case with other results: `output_SUFFIX`, `final_state_SUFFIX`, where it has them.
    pub(crate) fn expecting(mut self, suffix: &str) -> Self {
        for (slot, key) in [(&mut self.output, "output"), (&mut self.final_state, "final_state")] {
            let value = &self.json[format!("{key}_{suffix}")];
            if !value.is_null() {
                *slot = array(value);
            }
        }
        self
    }

    /// The model's file and what selects the GRU in it.
    pub(crate) fn model(&self, place: &Workplace) -> Vec<String> {
        let mut out = match self.json["file"].as_str() {
            Some(file) => vec![text(&self.folder.join(file)).to_owned()],
            None => {
                self.write_model(place, "model.safetensors", &[]);
                vec!["model.safetensors".into()]
            }
        };
        let said = &self.json["options"];
        let options = [
            ("--prefix", self.json["prefix"].as_str()),
            ("--reset", self.reset.or(said["reset"].as_str())),
            ("--activations", said["activations"].as_str()),
        ];
        for (option, value) in options {
            out.extend(value.into_iter().flat_map(|v| [option.to_owned(), v.to_owned()]));
        }
        if said["go_backwards"] == true {
            out.push("--go-backwards".into());
        }
        out
    }

    /// Writes the case's tensors with these metadata.
    pub(crate) fn write_model(&self, place: &Workplace, name: &str, metadata: &[(&str, &str)]) {
        let tensors = self.json["tensors"].as_object().expect("the case has tensors");
        let data: Vec<(&String, ArrayD<f64>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, value)| (name, array(value)))
            .map(|(name, a)| (name, a.clone(), a.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let views = data.iter().map(|(name, array, bytes)| {
            let view = TensorView::new(Dtype::F64, array.shape().to_vec(), bytes);
            (name.as_str(), view.expect("the bytes fit the shape"))
        });
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let metadata = (!metadata.is_empty()).then_some(metadata);
        safetensors::serialize_to_file(views, metadata, &place.path(name))
            .expect("the folder is writable");
    }

    /// Writes the arrays and gives the options that name them.
    pub(crate) fn options(&self, place: &Workplace, layout: Layout) -> Vec<String> {
        let mut out = vec![];
        let mut add = |option: &str, name: &str| {
            out.extend([option.to_owned(), text(&place.path(name)).to_owned()]);
            place.path(name)
        };
        npy::write_f64(&add("--input", "x.npy"), &layout.of(self.input.clone()));
        if let Some(state) = &self.initial_state {
            npy::write_f64(&add("--h0", "h0.npy"), state);
        }
        if let Some(lengths) = &self.lengths {
            npy::write_i64(&add("--lengths", "lengths.npy"), &[lengths.len()], lengths);
        }
        if let Some(mask) = &self.reset_mask {
            npy::write_bool(&add("--reset-mask", "mask.npy"), &layout.of(mask.clone()));
        }
        if layout == Layout::BatchFirst {
            out.push("--batch-first".into());
        }
        out
    }

    /// Runs the case on `device` and gives the output, time first, and the final state.
    #[track_caller]
    pub(crate) fn run(&self, device: &str, layout: Layout) -> [ArrayD<f64>; 2] {
        let place = Workplace::new();
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(self.model(&place));
        arguments.extend(self.options(&place, layout));
        let results = ["--output", "y.npy", "--final", "final.npy", "--device", device];
        arguments.extend(results.map(str::to_owned));
        place.succeed(&arguments);
        let descr = if device == "reference" { "<f8" } else { "<f4" };
        let output = npy::read(&place.path("y.npy"), descr);
        [layout.of(output), npy::read(&place.path("final.npy"), descr)]
    }
}

impl Layout {
    /// Exchanges time and batch where they are exchanged. Its own inverse.
    pub(crate) fn of<A: Clone>(self, mut array: ArrayD<A>) -> ArrayD<A> {
        if self == Self::BatchFirst {
            array.swap_axes(0, 1);
        }
        array
    }
}

fn array(value: &Value) -> ArrayD<f64> {
    let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).expect("a shape");
    let data: Vec<f64> = serde_json::from_value(value["data"].clone()).expect("numbers");
    ArrayD::from_shape_vec(IxDyn(&shape), data).expect("the data fit the shape")
}

/// Fails unless the arrays have one shape and differ by `tolerance` at most, relative to values
/// above 1 (states of unbounded activations).
#[track_caller]
pub(crate) fn assert_close(got: &ArrayD<f64>, want: &ArrayD<f64>, tolerance: f64, what: &str) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    let worst =
        got.iter().zip(want).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
    let finite = got.iter().all(|v| v.is_finite());
    assert!(finite && worst <= tolerance, "{what}: differs by {worst:e}, {tolerance:e} is allowed");
}

/// The array with axis 0 reversed.
pub(crate) fn flipped(mut array: ArrayD<f64>) -> ArrayD<f64> {
    array.invert_axis(Axis(0));
    array
}
