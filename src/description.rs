//! What a file was understood to hold, and how sure that is.

use std::fmt;

use crate::cell::ResetForm;
use crate::config::GruConfig;
use crate::convention::Convention;
use crate::tensor::ElementType;

/// Where a network's weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A safetensors file.
    Safetensors,
    /// A NumPy archive.
    Npz,
    /// An ONNX file.
    Onnx,
    /// Tensors that the caller handed over.
    Memory,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Npz => "npz",
            Self::Onnx => "onnx",
            Self::Memory => "memory",
        })
    }
}

/// How a fact about a network was established, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The file states it.
    Stated,
    /// The caller asked for it.
    Asked,
    /// It follows from the names or shapes of the tensors, or from what the convention allows.
    Implied,
    /// Nothing says so: it is the usual case of the convention.
    Assumed,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stated => "stated",
            Self::Asked => "asked",
            Self::Implied => "implied",
            Self::Assumed => "assumed",
        })
    }
}

/// The order in which a network that reads backwards gives its outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutputOrder {
    /// An output lies at its input's time index.
    #[default]
    Time,
    /// Output 0 is the first one computed, that is of a row's last input step: a Keras layer made
    /// with `go_backwards=True`.
    Processing,
}

impl fmt::Display for OutputOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "time",
            Self::Processing => "processing",
        })
    }
}

/// What a network's file said, how it was understood, and how sure that is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The kind of file.
    pub format: Format,
    /// How the weights are named and ordered.
    pub convention: Convention,
    /// How the convention was established.
    pub convention_evidence: Evidence,
    /// The prefix or the node that was read; `None` where the names have no prefix.
    pub name: Option<String>,
    /// Element types of the weights, each once.
    pub element_types: Vec<ElementType>,
    /// The program that wrote the file, where the file says so.
    pub producer: Option<String>,
    /// Number of trained values that the file holds for this network.
    pub parameters: u64,
    /// Whether there are bias vectors.
    pub bias: bool,
    /// How the reset form was established.
    pub reset_evidence: Evidence,
    /// How the activations were established.
    pub activations_evidence: Evidence,
    /// Order of the outputs of a network that reads backwards.
    pub output_order: OutputOrder,
    /// Facts worth knowing, one a line.
    pub notes: Vec<String>,
    /// What is probably wrong, or may surprise, one a line.
    pub warnings: Vec<String>,
}

impl Description {
    /// The description of a network that was read from `format` in `convention`.
    pub(crate) fn new(format: Format, convention: Convention) -> Self {
        Self {
            format,
            convention,
            convention_evidence: Evidence::Implied,
            name: None,
            element_types: Vec::new(),
            producer: None,
            parameters: 0,
            bias: false,
            reset_evidence: Evidence::Implied,
            activations_evidence: Evidence::Implied,
            output_order: OutputOrder::Time,
            notes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Counts a tensor of the network.
    pub(crate) fn count(&mut self, tensor: &crate::tensor::Tensor) {
        self.parameters += tensor.len() as u64;
        if !self.element_types.contains(&tensor.element_type()) {
            self.element_types.push(tensor.element_type());
        }
    }
}

/// One recurrent network of a file, as [`Gru::list`](crate::Gru::list) gives them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ListedGru {
    /// The prefix (files of named tensors) or the node (ONNX) that selects it; empty for tensors
    /// without prefix.
    pub name: String,
    /// How it is named and ordered.
    pub convention: Convention,
    /// Its configuration, or why it does not load: one line.
    pub config: Result<GruConfig, String>,
    /// Facts worth knowing, one a line; none where it does not load.
    pub notes: Vec<String>,
    /// What is probably wrong, one a line; none where it does not load.
    pub warnings: Vec<String>,
}

impl ListedGru {
    /// The entry for what loading it gave.
    pub(crate) fn new(name: &str, convention: Convention, loaded: LoadResult) -> Self {
        let (config, notes, warnings) = match loaded {
            Ok((config, description)) => (Ok(config), description.notes, description.warnings),
            Err(error) => (Err(error.to_string()), Vec::new(), Vec::new()),
        };
        Self { name: name.to_owned(), convention, config, notes, warnings }
    }
}

type LoadResult = crate::error::Result<(GruConfig, Description)>;

impl fmt::Display for ListedGru {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "(no prefix)" } else { &self.name };
        write!(f, "{name}: {}, ", self.convention)?;
        match &self.config {
            Ok(config) => write!(f, "{}", Summary(config)),
            Err(reason) => f.write_str(reason),
        }
    }
}

/// A configuration in half a line.
struct Summary<'a>(&'a GruConfig);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.0;
        let layers = if c.num_layers == 1 { "layer" } else { "layers" };
        let form = match c.reset {
            ResetForm::Before => "reset-before",
            ResetForm::After => "reset-after",
        };
        write!(
            f,
            "{} {} {layers}, input {}, hidden {}, {form}",
            c.num_layers, c.directions, c.input_size, c.hidden_size
        )
    }
}
