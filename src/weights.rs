//! A network's weights in canonical form: per cell, one view a gate, in the order r, z, n.

use crate::cell::{GATES, Gate};
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::MatrixView;

/// The weights of one cell (one layer, one direction), gates in the order of [`Gate::ALL`].
///
/// Views into the file's tensors: loading a convention rearranges views and copies nothing.
#[derive(Clone, Debug)]
pub struct CellWeights {
    /// `W_ir, W_iz, W_in`, each `[H, K]` where K is what the layer reads (I, or D*H above the
    /// first layer).
    pub input: [MatrixView; GATES],
    /// `W_hr, W_hz, W_hn`, each `[H, H]`.
    pub recurrent: [MatrixView; GATES],
    /// `b_ir, b_iz, b_in`, each `[1, H]`; `None` is zero.
    pub input_bias: [Option<MatrixView>; GATES],
    /// `b_hr, b_hz, b_hn`, each `[1, H]`; `None` is zero.
    pub recurrent_bias: [Option<MatrixView>; GATES],
}

/// The weights of a network.
#[derive(Clone, Debug)]
pub struct GruWeights {
    cells: Vec<CellWeights>,
    directions: usize,
}

impl GruWeights {
    /// Takes the cells of a network, layer-major: `cells[layer * D + direction]`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWeights`] where the number of cells or a shape does not fit `config`,
    /// naming the cell and the tensor; [`ErrorKind::InvalidConfig`] where `config` is invalid.
    pub fn new(config: &GruConfig, cells: Vec<CellWeights>) -> Result<Self> {
        let this = Self { cells, directions: config.num_directions() };
        this.validate(config)?;
        Ok(this)
    }

    /// Checks that these are weights of a network of `config`.
    ///
    /// # Errors
    /// Those of [`GruWeights::new`].
    pub fn validate(&self, config: &GruConfig) -> Result<()> {
        config.validate()?;
        let directions = config.num_directions();
        let wanted = config.state_planes();
        if self.cells.len() != wanted || self.directions != directions {
            return Err(Error::new(
                ErrorKind::InvalidWeights,
                format!(
                    "the network has {wanted} cells in {directions} directions, weights of {} \
                     cells in {} directions were given",
                    self.cells.len(),
                    self.directions
                ),
            ));
        }
        for (index, cell) in self.cells.iter().enumerate() {
            let (layer, direction) = (index / directions, index % directions);
            let [h, k] = [config.hidden_size, config.layer_input_size(layer)];
            for gate in Gate::ALL {
                let g = gate as usize;
                let views = [
                    (Some(&cell.input[g]), [h, k], "input"),
                    (Some(&cell.recurrent[g]), [h, h], "recurrent"),
                    (cell.input_bias[g].as_ref(), [1, h], "input bias"),
                    (cell.recurrent_bias[g].as_ref(), [1, h], "recurrent bias"),
                ];
                for (view, shape, role) in views {
                    let Some(view) = view else { continue };
                    if [view.rows(), view.cols()] != shape {
                        return Err(Error::new(
                            ErrorKind::InvalidWeights,
                            format!(
                                "{}: the {role} weights of gate {gate:?}, layer {layer}, direction \
                                 {direction} must be {shape:?}, {:?} were given",
                                view.tensor().name(),
                                [view.rows(), view.cols()]
                            ),
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The weights of one cell.
    ///
    /// # Panics
    /// Where `layer` or `direction` is out of range.
    pub fn cell(&self, layer: usize, direction: usize) -> &CellWeights {
        assert!(direction < self.directions, "direction {direction} of {}", self.directions);
        &self.cells[layer * self.directions + direction]
    }

    /// All cells, layer-major.
    pub fn cells(&self) -> &[CellWeights] {
        &self.cells
    }

    /// Every matrix and bias vector of every cell.
    pub(crate) fn views(&self) -> impl Iterator<Item = &MatrixView> {
        self.cells.iter().flat_map(|cell| {
            let biases = cell.input_bias.iter().chain(&cell.recurrent_bias).flatten();
            cell.input.iter().chain(&cell.recurrent).chain(biases)
        })
    }
}
