//! The residual check: every step of an engine against the exact step from the same operands.

use ndarray::{ArrayView3, s};

use super::arithmetic::{Arithmetic, read_f32};
use super::bound::Bounds;
use super::cell::{Cell, Step};
use super::report::{Comparison, Location, Verification};
use super::rows::{Place, Rows};
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sequence::Inputs;
use crate::weights::GruWeights;

/// Steps of rows that are computed together, so that weights are read once for all of them.
const TILE: usize = 32;

/// Checks an engine's run, step by step.
///
/// Every step of every row, layer and direction is computed anew in f64 from what the engine
/// itself had before it: its own previous state and its own layer input. The engine's next state
/// must lie within a bound that is derived from these operands and from `arithmetic`: rounding of
/// the sums in proportion to the magnitudes summed, carried through the activations' slopes and
/// the products. Errors therefore do not add up over time, and the bound is tight at any length.
/// Past a row's length states must be exactly 0; the final state must be exactly the state after
/// the row's last step (the initial state, where it has none). NaN and infinities must be where
/// the equations put them.
///
/// - `inputs`: what the engine was given.
/// - `layers`: its states, one `[T, B, D*H]` a layer, time-major even where `inputs` are
///   batch-first. The last one is to be the engine's output itself.
/// - `final_state`: `[L*D, B, H]`.
///
/// Where nothing can be compared (no rows), the report says so and does not pass.
///
/// # Errors
/// [`ErrorKind::InvalidShape`] where an array does not fit `config`, naming it; otherwise those of
/// [`forward`](super::forward()).
///
/// # Examples
/// ```
/// use ndarray::Array3;
/// use wgru::reference::{Arithmetic, verify};
/// use wgru::{CellWeights, GruConfig, GruWeights, Inputs, MatrixView, Tensor};
///
/// // Zero weights halve the state at every step.
/// let zeros = Tensor::from_f32("zeros", &[1, 1], &[0.0])?;
/// let view = || MatrixView::new(&zeros, 0, [1, 1], [1, 1]);
/// let cell = CellWeights {
///     input: [view(), view(), view()],
///     recurrent: [view(), view(), view()],
///     input_bias: [None, None, None],
///     recurrent_bias: [None, None, None],
/// };
/// let config = GruConfig::new(1, 1);
/// let weights = GruWeights::new(&config, vec![cell])?;
/// let (input, state) = (Array3::zeros((2, 1, 1)), Array3::from_elem((1, 1, 1), 8.0));
/// let inputs = Inputs::new(input.view()).initial_state(state.view());
///
/// // What an engine gave: the second step is off by 0.001.
/// let states = Array3::from_shape_vec((2, 1, 1), vec![4.0, 2.001]).unwrap();
/// let last = Array3::from_elem((1, 1, 1), 2.001);
/// let arithmetic = Arithmetic::f32();
/// let report = verify(&config, &weights, &inputs, &[states.view()], last.view(), &arithmetic)?;
/// assert!(!report.passed());
/// assert_eq!(report.mismatches, 1);
/// assert_eq!(report.worst.unwrap().location.step, Some(1));
/// # Ok::<(), wgru::Error>(())
/// ```
pub fn verify(
    config: &GruConfig,
    weights: &GruWeights,
    inputs: &Inputs<'_, f32>,
    layers: &[ArrayView3<'_, f32>],
    final_state: ArrayView3<'_, f32>,
    arithmetic: &Arithmetic,
) -> Result<Verification> {
    let shape = inputs.validate(config)?;
    weights.validate(config)?;
    let (steps, batch) = (shape.steps, shape.batch);
    if layers.len() != config.num_layers {
        return Err(Error::new(
            ErrorKind::InvalidShape,
            format!(
                "the states of {} layers were wanted, of {} were given",
                config.num_layers,
                layers.len()
            ),
        ));
    }
    let states = layers
        .iter()
        .enumerate()
        .map(|(l, v)| (format!("states of layer {l}"), [steps, batch, config.output_size()], v));
    let last = [config.state_planes(), batch, config.hidden_size];
    for (name, wanted, given) in states.chain([("final state".into(), last, &final_state)]) {
        if given.shape() != wanted {
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!("{name} must have the shape {wanted:?}, {:?} was given", given.shape()),
            ));
        }
    }
    let inputs = inputs.time_major();
    let rows = Rows { steps, lengths: inputs.lengths, reset_mask: inputs.reset_mask };
    let run = Run { config, inputs, rows, batch, layers, final_state };
    let mut report = Verification::default();
    for layer in 0..config.num_layers {
        for direction in 0..config.num_directions() {
            let matrices = arithmetic.read_weights();
            let operand = arithmetic.round_operand();
            let cell = Cell::new(config, weights, layer, direction, matrices, read_f32, operand);
            run.check(layer, direction, &cell, &Bounds::new(&cell, arithmetic), &mut report);
        }
    }
    run.end_to_end(weights, &mut report)?;
    Ok(report)
}

/// An engine's run, time-major.
struct Run<'a, 'i, 'l, 'f> {
    config: &'a GruConfig,
    inputs: Inputs<'i, f32>,
    rows: Rows<'i>,
    batch: usize,
    layers: &'a [ArrayView3<'l, f32>],
    final_state: ArrayView3<'f, f32>,
}

impl Run<'_, '_, '_, '_> {
    /// Every step, the padding and the final state of one layer and direction.
    fn check(
        &self,
        layer: usize,
        direction: usize,
        cell: &Cell,
        bounds: &Bounds<'_>,
        report: &mut Verification,
    ) {
        let reverse = self.config.directions.is_reverse(direction);
        let mut tile = Vec::with_capacity(TILE);
        for index in 0..self.rows.steps {
            for row in 0..self.batch {
                match self.rows.place(index, row, reverse) {
                    Some(place) => tile.push(place),
                    // Step `index` of a row that ends before it is padding, in either direction.
                    None => self.check_copy(layer, direction, Some(index), row, report, |_| 0.0),
                }
                if tile.len() == TILE {
                    self.check_steps(layer, direction, &tile, cell, bounds, report);
                    tile.clear();
                }
            }
        }
        self.check_steps(layer, direction, &tile, cell, bounds, report);
        for row in 0..self.batch {
            let last = self.rows.last(row, reverse);
            let before = |unit| self.state(layer, direction, last, row, unit);
            self.check_copy(layer, direction, None, row, report, before);
        }
    }

    fn check_steps(
        &self,
        layer: usize,
        direction: usize,
        places: &[Place],
        cell: &Cell,
        bounds: &Bounds<'_>,
        report: &mut Verification,
    ) {
        let input = match layer {
            0 => self.inputs.input.view(),
            _ => self.layers[layer - 1].view(),
        };
        let (mut x, mut h, mut step) = (Vec::new(), Vec::new(), Step::default());
        for place in places {
            x.extend(input.slice(s![place.step, place.row, ..]).iter().map(|v| f64::from(*v)));
            h.extend((0..cell.units).map(|unit| match place.reset {
                true => 0.0,
                false => self.state(layer, direction, place.previous, place.row, unit),
            }));
        }
        cell.step(&x, &h, &mut step);
        let bounds = bounds.of(&x, &h, &step);
        for (i, place) in places.iter().enumerate() {
            for unit in 0..cell.units {
                let (want, bound) =
                    (step.next[i * cell.units + unit], bounds[i * cell.units + unit]);
                let (step, row) = (Some(place.step), place.row);
                let location = Location { layer, direction, step, row, unit };
                let got = self.layers[layer][[place.step, row, direction * cell.units + unit]];
                report.record(Comparison { location, got, want, bound });
            }
        }
    }

    /// Values of one row that are exact: padding, or the final state (`step` is `None`).
    fn check_copy(
        &self,
        layer: usize,
        direction: usize,
        step: Option<usize>,
        row: usize,
        report: &mut Verification,
        want: impl Fn(usize) -> f64,
    ) {
        let width = self.config.hidden_size;
        let plane = layer * self.config.num_directions() + direction;
        for unit in 0..width {
            let got = match step {
                Some(step) => self.layers[layer][[step, row, direction * width + unit]],
                None => self.final_state[[plane, row, unit]],
            };
            let location = Location { layer, direction, step, row, unit };
            report.record(Comparison { location, got, want: want(unit), bound: 0.0 });
        }
    }

    /// The engine's state after `step`, or the initial one.
    fn state(
        &self,
        layer: usize,
        direction: usize,
        step: Option<usize>,
        row: usize,
        unit: usize,
    ) -> f64 {
        let width = self.config.hidden_size;
        let plane = layer * self.config.num_directions() + direction;
        f64::from(match (step, &self.inputs.initial_state) {
            (Some(step), _) => self.layers[layer][[step, row, direction * width + unit]],
            (None, Some(initial)) => initial[[plane, row, unit]],
            (None, None) => 0.0,
        })
    }

    /// The last layer against the reference's own run.
    fn end_to_end(&self, weights: &GruWeights, report: &mut Verification) -> Result<()> {
        let input = self.inputs.input.mapv(f64::from);
        let initial = self.inputs.initial_state.map(|state| state.mapv(f64::from));
        let exact = Inputs {
            input: input.view(),
            initial_state: initial.as_ref().map(|state| state.view()),
            lengths: self.inputs.lengths,
            reset_mask: self.inputs.reset_mask,
            batch_first: false,
        };
        let want = super::forward(self.config, weights, &exact)?.hidden_states;
        let layer = self.config.num_layers - 1;
        let width = self.config.hidden_size;
        for ((step, row, column), want) in want.indexed_iter() {
            let (direction, unit, step_at) = (column / width, column % width, Some(step));
            let location = Location { layer, direction, step: step_at, row, unit };
            report.record_end_to_end(location, self.layers[layer][[step, row, column]], *want);
        }
        Ok(())
    }
}
