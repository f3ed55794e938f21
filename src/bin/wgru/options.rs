//! Options that several commands share.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use wgru::{Activation, Convention, Error, Gru, LoadOptions, ResetForm};

/// What `--convention` takes; ONNX files need none.
const CONVENTIONS: [&str; 6] = ["auto", "textbook", "pytorch", "keras", "onnx", "wgru"];

/// Which GRU of which file, and what the file does not say.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// The model: a safetensors, npz or ONNX file
    pub(crate) model: PathBuf,
    /// Which GRU of a safetensors or npz file: tensors named P.weight_ih_l0, ...
    #[arg(long, value_name = "P")]
    pub(crate) prefix: Option<String>,
    /// Which GRU node of an ONNX file: its name, an output's name, or its index
    #[arg(long, value_name = "N")]
    pub(crate) node: Option<String>,
    /// How the tensors are named and ordered: auto, textbook, pytorch, keras, wgru
    #[arg(long, value_name = "C", default_value = "auto", value_parser = CONVENTIONS,
          hide_possible_values = true)]
    convention: String,
    /// The reset form, where the file does not say: before, after
    #[arg(long, value_name = "R", value_parser = reset)]
    reset: Option<ResetForm>,
    /// Gate and candidate activation, where the file does not say [default: sigmoid,tanh]
    #[arg(long, value_name = "G,C", value_parser = activations)]
    activations: Option<(Activation, Activation)>,
    /// A Keras layer that reads its input backwards
    #[arg(long)]
    go_backwards: bool,
    /// Accept NaN or inf among the weights
    #[arg(long)]
    allow_non_finite: bool,
}

impl ModelArgs {
    /// What the library is asked for.
    pub(crate) fn load_options(&self) -> Result<LoadOptions, Error> {
        let mut options = LoadOptions::new()
            .go_backwards(self.go_backwards)
            .allow_non_finite(self.allow_non_finite);
        if let Some(prefix) = &self.prefix {
            options = options.prefix(prefix);
        }
        if let Some(node) = &self.node {
            options = options.node(node);
        }
        if self.convention != "auto" {
            options = options.convention(Convention::from_name(&self.convention)?);
        }
        if let Some(reset) = self.reset {
            options = options.reset(reset);
        }
        if let Some((gate, candidate)) = self.activations {
            options = options.activations(gate, candidate);
        }
        Ok(options)
    }

    /// Loads the GRU.
    pub(crate) fn open(&self) -> Result<Gru, Error> {
        Gru::open_with(&self.model, &self.load_options()?)
    }
}

/// A whole number, 0 included.
pub(crate) fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    let bits = 8 * size_of::<N>();
    text.parse().map_err(|_| format!("a whole number from 0 to 2^{bits} - 1 is wanted"))
}

/// A whole number of something that there must be.
pub(crate) fn at_least_one<N: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<N, String> {
    let number = text.parse::<N>().ok().filter(|n| *n >= N::from(1));
    number.ok_or_else(|| "a whole number of at least 1 is wanted".to_owned())
}

pub(crate) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let number = at_least_one::<usize>(text)?;
    NonZeroUsize::new(number).ok_or_else(|| "a whole number of at least 1 is wanted".to_owned())
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|s| (0.0..=1e6).contains(s));
    number.ok_or_else(|| "a number of seconds from 0 to a million is wanted".to_owned())
}

pub(crate) fn reset(text: &str) -> Result<ResetForm, String> {
    match text {
        "before" => Ok(ResetForm::Before),
        "after" => Ok(ResetForm::After),
        _ => Err("before or after is wanted".to_owned()),
    }
}

/// Two activations with a comma between them; their parameters are in parentheses.
fn activations(text: &str) -> Result<(Activation, Activation), String> {
    let mut depth = 0;
    let comma = text.char_indices().find(|(_, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        *c == ',' && depth == 0
    });
    let Some((at, _)) = comma else {
        return Err("two names are wanted, as in sigmoid,tanh".to_owned());
    };
    let parse = |name: &str| name.parse::<Activation>().map_err(|e| e.to_string());
    Ok((parse(&text[..at])?, parse(&text[at + 1..])?))
}
