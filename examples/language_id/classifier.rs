//! The network: letters to embedding rows, the GRU, a linear layer. README.md says each step.

use std::collections::HashMap;
use std::error::Error;

use ndarray::{Array1, Array2, Array3, Axis, concatenate, s};
use safetensors::{Dtype, SafeTensors};
use unicode_normalization::UnicodeNormalization;
use wgru::{Device, Gru, Inputs, LoadOptions, SequenceShape, Session, Tensor, TensorSet};

const MODEL: &[u8] = include_bytes!("model.safetensors");

/// A language classifier of words.
pub(crate) struct Classifier {
    gru: Gru,
    /// `[1 + letters, E]`; row 0 stands for letters that are not in the alphabet.
    embedding: Array2<f32>,
    /// `[languages, 2 H]`.
    head: Array2<f32>,
    head_bias: Array1<f32>,
    /// Row of the embedding by letter.
    alphabet: HashMap<char, usize>,
    pub(crate) languages: Vec<String>,
}

impl Classifier {
    pub(crate) fn load() -> Result<Self, Box<dyn Error>> {
        let (_, header) = SafeTensors::read_metadata(MODEL)?;
        let metadata = header.metadata().as_ref().ok_or("the model file has no metadata")?;
        let list = |key: &str| -> Result<Vec<String>, Box<dyn Error>> {
            let text = metadata.get(key).ok_or_else(|| format!("the metadata lacks {key}"))?;
            Ok(serde_json::from_str(text)?)
        };
        let letters = list("alphabet")?;
        let alphabet =
            letters.iter().flat_map(|l| l.chars()).enumerate().map(|(i, c)| (c, i + 1)).collect();
        let mut tensors = TensorSet::new();
        for (name, view) in SafeTensors::deserialize(MODEL)?.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(format!("{name} must be f32, it is {}", view.dtype()).into());
            }
            let values: Vec<f32> = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            tensors.insert(Tensor::from_f32(&name, view.shape(), &values)?);
        }
        let head_bias = matrix(tensors.get("head.bias")?)?.remove_axis(Axis(0));
        Ok(Self {
            gru: Gru::from_tensors(&tensors, &LoadOptions::new().prefix("gru"))?,
            embedding: matrix(tensors.get("embedding.weight")?)?,
            head: matrix(tensors.get("head.weight")?)?,
            head_bias,
            alphabet,
            languages: list("languages")?,
        })
    }

    /// A session for these words as one batch.
    pub(crate) fn session(&self, device: &Device, words: &[String]) -> wgru::Result<Session> {
        let steps = words.iter().map(|w| w.chars().count()).max().unwrap_or(0);
        self.gru.session(device, SequenceShape::new(steps, words.len()))
    }

    /// The logits of normalised words, `[words, languages]`, all words as one batch.
    pub(crate) fn logits(
        &self,
        session: &mut Session,
        words: &[String],
    ) -> wgru::Result<Array2<f32>> {
        let lengths: Vec<usize> = words.iter().map(|w| w.chars().count()).collect();
        let steps = lengths.iter().copied().max().unwrap_or(0);
        let mut input = Array3::zeros((steps, words.len(), self.embedding.ncols()));
        for (row, word) in words.iter().enumerate() {
            for (step, letter) in word.chars().enumerate() {
                let index = self.alphabet.get(&letter).copied().unwrap_or(0);
                input.slice_mut(s![step, row, ..]).assign(&self.embedding.row(index));
            }
        }
        let output = session.run_with(&Inputs::new(input.view()).lengths(&lengths))?;
        // The last layer's final states, forward and reverse.
        let states = output.final_state;
        let planes = states.len_of(Axis(0));
        let forward = states.index_axis(Axis(0), planes - 2);
        let reverse = states.index_axis(Axis(0), planes - 1);
        let features =
            concatenate(Axis(1), &[forward, reverse]).expect("both directions have equal shapes");
        Ok(features.dot(&self.head.t()) + &self.head_bias)
    }
}

/// A word in the form that the network was trained on: composed, lower case.
pub(crate) fn normalised(word: &str) -> String {
    word.nfc().collect::<String>().to_lowercase()
}

/// A vector is a matrix of one row.
fn matrix(tensor: &Tensor) -> Result<Array2<f32>, Box<dyn Error>> {
    let shape = match *tensor.shape() {
        [cols] => (1, cols),
        [rows, cols] => (rows, cols),
        _ => return Err(format!("{tensor:?} has too many dimensions").into()),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the tensor holds f32")]
    let values = (0..tensor.len()).map(|i| tensor.get(i) as f32).collect();
    Ok(Array2::from_shape_vec(shape, values)?)
}
