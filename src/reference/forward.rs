//! The loops over layers, directions and steps.

use ndarray::{Array3, s};

use super::cell::{Cell, Step};
use super::rows::{Place, Rows};
use crate::config::GruConfig;
use crate::error::Result;
use crate::sequence::{Inputs, OutputViews};
use crate::tensor::MatrixView;
use crate::weights::GruWeights;

/// Runs the network and fills `out`, whose views have been zeroed.
pub(super) fn run(
    config: &GruConfig,
    weights: &GruWeights,
    inputs: &Inputs<'_, f64>,
    mut out: OutputViews<'_, f64>,
) -> Result<()> {
    let shape = inputs.validate(config)?;
    weights.validate(config)?;
    let inputs = inputs.time_major();
    let rows = Rows { steps: shape.steps, lengths: inputs.lengths, reset_mask: inputs.reset_mask };
    let (directions, width) = (config.num_directions(), config.hidden_size);
    let mut below: Option<Array3<f64>> = None;
    for layer in 0..config.num_layers {
        let input = below.as_ref().map_or(inputs.input, |b| b.view());
        let mut states = Array3::zeros((shape.steps, shape.batch, config.output_size()));
        for direction in 0..directions {
            let reverse = config.directions.is_reverse(direction);
            let read = MatrixView::read_row_f64;
            let cell = Cell::new(config, weights, layer, direction, read, read, |v| v);
            let plane = layer * directions + direction;
            let mut state = out.final_state.slice_mut(s![plane, .., ..]);
            if let Some(initial) = &inputs.initial_state {
                state.assign(&initial.slice(s![plane, .., ..]));
            }
            let (mut x, mut h, mut step) = (Vec::new(), Vec::new(), Step::default());
            for index in 0..shape.steps {
                let places: Vec<Place> =
                    (0..shape.batch).filter_map(|row| rows.place(index, row, reverse)).collect();
                x.clear();
                h.clear();
                for place in &places {
                    x.extend(input.slice(s![place.step, place.row, ..]));
                    let before = state.row(place.row);
                    h.extend(before.iter().map(|v| if place.reset { 0.0 } else { *v }));
                }
                cell.step(&x, &h, &mut step);
                for (place, next) in places.iter().zip(step.next.chunks_exact(width)) {
                    for (unit, value) in next.iter().enumerate() {
                        state[[place.row, unit]] = *value;
                        states[[place.step, place.row, direction * width + unit]] = *value;
                    }
                }
            }
        }
        if let Some(kept) = out.layers.get_mut(layer) {
            kept.assign(&states);
        }
        below = Some(states);
    }
    if let Some(last) = below {
        out.hidden_states.assign(&last);
    }
    Ok(())
}
