//! Writing a network in this crate's own convention.

use std::borrow::Cow;
use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, View};

use crate::convention::{Loaded, Statements};
use crate::description::Description;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{ElementType, MatrixView};

/// A safetensors file of the network.
pub(crate) fn write(network: &Loaded) -> Result<Vec<u8>> {
    let (config, description) = (&network.config, &network.description);
    let mut metadata: HashMap<String, String> =
        Statements::describe(config, description).into_iter().collect();
    metadata.insert("wgru.source".to_owned(), source(description));
    let cells = network.weights.cells();
    // A bias that any cell has, every cell gets: the convention knows it for all or for none.
    let has = [
        cells.iter().any(|c| c.input_bias.iter().any(Option::is_some)),
        cells.iter().any(|c| c.recurrent_bias.iter().any(Option::is_some)),
    ];
    let mut tensors = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        let directions = config.num_directions();
        let suffix = if index % directions == 1 { "_reverse" } else { "" };
        let mut put = |role: &str, tensor: JoinedTensor| {
            tensors.push((format!("{role}_l{}{suffix}", index / directions), tensor));
        };
        put("weight_ih", JoinedTensor::of_matrices(&cell.input)?);
        put("weight_hh", JoinedTensor::of_matrices(&cell.recurrent)?);
        if has[0] {
            put("bias_ih", JoinedTensor::of_biases(&cell.input_bias, config.hidden_size)?);
        }
        if has[1] {
            put("bias_hh", JoinedTensor::of_biases(&cell.recurrent_bias, config.hidden_size)?);
        }
    }
    safetensors::serialize(tensors, Some(metadata)).map_err(|e| {
        Error::with_source(ErrorKind::Internal, format!("cannot write safetensors: {e}"), e)
    })
}

/// Where the weights come from, in a line.
fn source(description: &Description) -> String {
    let mut out = format!("{} ({})", description.convention, description.format);
    if let Some(name) = &description.name {
        out += &format!(", GRU '{name}'");
    }
    if let Some(producer) = &description.producer {
        out += &format!(", written by {producer}");
    }
    out
}

/// Gates one below the other.
struct JoinedTensor {
    element: ElementType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl JoinedTensor {
    fn of_matrices(gates: &[MatrixView]) -> Result<Self> {
        let views: Vec<Option<&MatrixView>> = gates.iter().map(Some).collect();
        let (rows, cols) = (gates[0].rows(), gates[0].cols());
        Self::join(&views, rows, cols, vec![gates.len() * rows, cols])
    }

    /// Gates without a bias get zeros.
    fn of_biases(gates: &[Option<MatrixView>], hidden_size: usize) -> Result<Self> {
        let views: Vec<Option<&MatrixView>> = gates.iter().map(Option::as_ref).collect();
        Self::join(&views, 1, hidden_size, vec![gates.len() * hidden_size])
    }

    fn join(
        gates: &[Option<&MatrixView>],
        rows: usize,
        cols: usize,
        shape: Vec<usize>,
    ) -> Result<Self> {
        let element = common_type(gates.iter().flatten().map(|v| v.tensor().element_type()));
        let mut bytes = Vec::new();
        let size = gates.len() * rows * cols * element.size();
        bytes.try_reserve_exact(size).map_err(|_| {
            Error::new(ErrorKind::OutOfMemory, format!("{size} bytes of weights do not fit"))
        })?;
        let mut row = vec![0.0; cols];
        for gate in gates {
            for r in 0..rows {
                match gate {
                    Some(view) => view.read_row_f64(r, &mut row),
                    None => row.fill(0.0),
                }
                encode(&row, element, &mut bytes);
            }
        }
        Ok(Self { element, shape, bytes })
    }
}

/// The smallest type that holds every value of the given ones.
fn common_type(types: impl Iterator<Item = ElementType>) -> ElementType {
    types
        .reduce(|a, b| match (a, b) {
            (a, b) if a == b => a,
            (ElementType::F64, _) | (_, ElementType::F64) => ElementType::F64,
            _ => ElementType::F32,
        })
        .unwrap_or(ElementType::F32)
}

#[expect(clippy::cast_possible_truncation, reason = "the values are of that type")]
fn encode(values: &[f64], element: ElementType, out: &mut Vec<u8>) {
    for value in values {
        match element {
            ElementType::F64 => out.extend(value.to_le_bytes()),
            ElementType::F32 => out.extend((*value as f32).to_le_bytes()),
            ElementType::F16 => out.extend(f16::from_f64(*value).to_le_bytes()),
            ElementType::Bf16 => out.extend(bf16::from_f64(*value).to_le_bytes()),
        }
    }
}

impl View for JoinedTensor {
    fn dtype(&self) -> Dtype {
        match self.element {
            ElementType::F32 => Dtype::F32,
            ElementType::F64 => Dtype::F64,
            ElementType::F16 => Dtype::F16,
            ElementType::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
