//! The check of what is rounded to f16 before it is multiplied: a finite value past f16's range would
//! become an infinity.

use half::f16;
use ndarray::ArrayView3;

use crate::error::{Error, ErrorKind, Result};
use crate::sequence::Inputs;

/// Checks every input that a step reads, and the initial states.
pub(crate) fn check_inputs(inputs: &Inputs<'_, f32>) -> Result<()> {
    if let Some(state) = &inputs.initial_state {
        check_states("initial state", *state)?;
    }
    let inputs = inputs.time_major();
    for ((step, row, feature), value) in inputs.input.indexed_iter() {
        let is_read = inputs.lengths.is_none_or(|lengths| step < lengths[row]);
        if overflows(*value) && is_read {
            let place = format!("input of step {step}, row {row}, feature {feature}");
            return Err(refusal(&place, *value));
        }
    }
    Ok(())
}

/// Checks states, `[planes, rows, units]`.
pub(crate) fn check_states(name: &str, states: ArrayView3<'_, f32>) -> Result<()> {
    match states.indexed_iter().find(|(_, value)| overflows(**value)) {
        None => Ok(()),
        Some(((plane, row, unit), value)) => {
            Err(refusal(&format!("{name} of plane {plane}, row {row}, unit {unit}"), *value))
        }
    }
}

fn overflows(value: f32) -> bool {
    // Half a step beyond the largest f16, 65504, rounds to an infinity.
    value.abs() >= 65504.0 && value.is_finite() && f16::from_f32(value).is_infinite()
}

fn refusal(place: &str, value: f32) -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        format!(
            "{place} is {value}: it overflows f16, whose largest value is 65504, and the kernel \
             family 'matrix' multiplies in f16; ask for another"
        ),
    )
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn finite_values_that_round_to_infinities_are_refused_where_they_are_read() {
        for (value, refused) in [
            (65519.996, false),
            (65520.0, true),
            (-1e30, true),
            (f32::INFINITY, false),
            (f32::NAN, false),
        ] {
            let mut input = Array3::zeros((3, 2, 4));
            input[[2, 1, 3]] = value;
            let whole = Inputs::new(input.view());
            let checked = check_inputs(&whole);
            assert_eq!(checked.is_err(), refused, "{value}");
            if let Err(error) = checked {
                assert_eq!(error.kind(), ErrorKind::InvalidRequest);
                assert!(error.to_string().contains("step 2, row 1, feature 3"), "{error}");
            }
            check_inputs(&whole.lengths(&[3, 2])).unwrap();
            let batch_first = Inputs::new(input.view().permuted_axes([1, 0, 2])).batch_first();
            assert_eq!(check_inputs(&batch_first).is_err(), refused, "{value}");
            let zeros = Array3::zeros((3, 2, 4));
            let state = Inputs::new(zeros.view()).initial_state(input.view());
            assert_eq!(check_inputs(&state).is_err(), refused, "{value}");
        }
    }
}
