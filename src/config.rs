//! The description of a network: sizes, layers, directions, reset form, cell functions.

use crate::cell::{CellFunctions, GATES, ResetForm};
use crate::error::{Error, ErrorKind, Result};

/// The directions in which a layer reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Directions {
    /// From the first step to the last.
    Forward,
    /// From each row's last step to its first; outputs stay at their input's time index.
    Reverse,
    /// Both; outputs are concatenated, forward first.
    Bidirectional,
}

impl Directions {
    /// 1, or 2 for bidirectional (D in shapes).
    pub fn count(self) -> usize {
        match self {
            Self::Bidirectional => 2,
            _ => 1,
        }
    }

    /// Whether direction `index` of a layer reads backwards.
    pub fn is_reverse(self, index: usize) -> bool {
        match self {
            Self::Forward => false,
            Self::Reverse => true,
            Self::Bidirectional => index == 1,
        }
    }
}

impl std::fmt::Display for Directions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
            Self::Bidirectional => "bidirectional",
        })
    }
}

/// A GRU network: `num_layers` layers of `hidden_size` units, each reading the one below.
#[derive(Clone, Debug, PartialEq)]
pub struct GruConfig {
    /// Features of an input step, I.
    pub input_size: usize,
    /// Units of a layer and direction, H.
    pub hidden_size: usize,
    /// Layers, L.
    pub num_layers: usize,
    /// Directions of every layer.
    pub directions: Directions,
    /// Where the reset gate acts.
    pub reset: ResetForm,
    /// Cell functions by direction (of all layers); index 1 is used by bidirectional networks
    /// alone.
    pub functions: [CellFunctions; 2],
}

impl GruConfig {
    /// One forward layer of PyTorch's form (reset-after, sigmoid and tanh).
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self {
            input_size,
            hidden_size,
            num_layers: 1,
            directions: Directions::Forward,
            reset: ResetForm::After,
            functions: [CellFunctions::default(); 2],
        }
    }

    /// D: 1, or 2 for bidirectional.
    pub fn num_directions(&self) -> usize {
        self.directions.count()
    }

    /// Features that layer `layer` reads: I for layer 0, else D*H.
    pub fn layer_input_size(&self, layer: usize) -> usize {
        if layer == 0 { self.input_size } else { self.output_size() }
    }

    /// Features of an output step, D*H.
    pub fn output_size(&self) -> usize {
        self.num_directions() * self.hidden_size
    }

    /// First dimension of a state, L*D.
    pub fn state_planes(&self) -> usize {
        self.num_layers * self.num_directions()
    }

    /// Number of trained values, counting both bias vectors of every cell.
    pub fn parameter_count(&self) -> u64 {
        (0..self.num_layers)
            .map(|l| {
                let k = self.layer_input_size(l) as u64 + self.hidden_size as u64 + 2;
                (self.num_directions() * GATES * self.hidden_size) as u64 * k
            })
            .sum()
    }

    /// Checks that no size is zero and that no tensor's element count overflows.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], naming the field.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in [
            ("input_size", self.input_size),
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
        ] {
            if value == 0 {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    format!("{field} must be at least 1, 0 was given"),
                ));
            }
        }
        // Everything below indexes a layer's weights with products of these.
        let widest = self.input_size.max(2usize.saturating_mul(self.hidden_size));
        let fits = self
            .hidden_size
            .checked_mul(2 * GATES)
            .and_then(|n| n.checked_mul(widest))
            .and_then(|n| n.checked_mul(self.num_layers))
            .is_some_and(|n| n <= isize::MAX as usize / 16);
        if !fits {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!(
                    "input_size {}, hidden_size {}, num_layers {}: the weights would have more \
                     elements than memory can address",
                    self.input_size, self.hidden_size, self.num_layers
                ),
            ));
        }
        for functions in &self.functions {
            if let Some(clip) = functions.clip
                && !(clip.is_finite() && clip > 0.0)
            {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    format!("clip must be finite and above 0, {clip} was given"),
                ));
            }
        }
        Ok(())
    }
}
