//! Whether a run's results are right, at a cost that does not grow with the run.
//!
//! The reference is restarted at every step from the engine's own previous state, so any pair of a
//! step and a row can be checked by itself: a sample of them is handed over as the rows of a
//! batch of one step.

use ndarray::{Array3, ArrayView3, s};
use wgru::reference::{Arithmetic, Verification, verify};
use wgru::{Error, Inputs, Output, Precision};

use super::problem::Problem;
use super::record::Verified;

/// About how many operations of the f64 reference a check may take.
const EFFORT: f64 = 1e9;
const MOST_PLACES: f64 = 64.0;
const FEWEST_PLACES: f64 = 6.0;

/// The outcome: what was checked, or what is wrong.
pub(crate) type Checked = Result<Verified, String>;

/// Checks `output`, the states of whose layers are `layers` (`[T, B, D*H]` each).
pub(crate) fn check(
    problem: &Problem,
    output: &Output<f32>,
    layers: &[ArrayView3<'_, f32>],
    arithmetic: &Arithmetic,
    seed: u64,
) -> Result<Checked, Error> {
    let places = places(problem, seed);
    let report = check_places(problem, layers, &places, arithmetic)?;
    if !report.passed() {
        return Ok(Err(report.to_string().replace('\n', "; ")));
    }
    if let Some(fault) = fault_of_the_whole(problem, output, layers) {
        return Ok(Err(fault));
    }
    Ok(Ok(Verified {
        places: places.len(),
        values: report.compared,
        worst_ratio: report.worst_ratio(),
        whole_output:
            "finite, of magnitude 1 at most, padding zero, final states those of the last steps"
                .into(),
    }))
}

/// Pairs of step and row: the ends and the middle of the first, a middle and the last row, then
/// random ones.
fn places(problem: &Problem, seed: u64) -> Vec<(usize, usize)> {
    let row = &problem.row;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "6 to 64")]
    let wanted =
        (EFFORT / (3.0 * row.flops_per_row_step())).clamp(FEWEST_PLACES, MOST_PLACES) as usize;
    let mut found = Vec::new();
    let mut add = |step: usize, b: usize| {
        if step < problem.length(b) && !found.contains(&(step, b)) && found.len() < wanted {
            found.push((step, b));
        }
    };
    for b in [0, row.batch - 1, row.batch / 2] {
        let n = problem.length(b);
        for step in [0, n.wrapping_sub(1), n / 2, 1, n.wrapping_sub(2)] {
            add(step, b);
        }
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..8 * wanted {
        let b = random.usize(..row.batch);
        add(random.usize(..problem.length(b).max(1)), b);
    }
    found
}

/// The reference's check of `places`, each as a row of a batch of one step.
fn check_places(
    problem: &Problem,
    layers: &[ArrayView3<'_, f32>],
    places: &[(usize, usize)],
    arithmetic: &Arithmetic,
) -> Result<Verification, Error> {
    let config = problem.gru.config();
    let (units, directions) = (config.hidden_size, config.num_directions());
    let inputs = problem.inputs();
    let mut input = Array3::<f32>::zeros((1, places.len(), config.input_size));
    let mut before = Array3::<f32>::zeros((config.state_planes(), places.len(), units));
    let mut after = before.clone();
    let mut states =
        vec![Array3::<f32>::zeros((1, places.len(), config.output_size())); layers.len()];
    for (i, &(step, row)) in places.iter().enumerate() {
        input.slice_mut(s![0, i, ..]).assign(&inputs.input.slice(s![step, row, ..]));
        for (l, layer) in layers.iter().enumerate() {
            states[l].slice_mut(s![0, i, ..]).assign(&layer.slice(s![step, row, ..]));
            for d in 0..directions {
                let columns = s![.., d * units..(d + 1) * units];
                let plane = l * directions + d;
                let of_row = layer.slice(s![.., row, ..]);
                let of_row = of_row.slice(columns);
                after.slice_mut(s![plane, i, ..]).assign(&of_row.row(step));
                let previous = if config.directions.is_reverse(d) {
                    Some(step + 1).filter(|k| *k < problem.length(row))
                } else {
                    step.checked_sub(1)
                };
                if let Some(k) = previous {
                    before.slice_mut(s![plane, i, ..]).assign(&of_row.row(k));
                }
            }
        }
    }
    let states: Vec<_> = states.iter().map(|a| a.view()).collect();
    let inputs = Inputs::new(input.view()).initial_state(before.view());
    verify(config, problem.gru.weights(), &inputs, &states, after.view(), arithmetic)
}

/// What is wrong with the whole output, as far as that can be seen without computing it.
fn fault_of_the_whole(
    problem: &Problem,
    output: &Output<f32>,
    layers: &[ArrayView3<'_, f32>],
) -> Option<String> {
    let config = problem.gru.config();
    let (units, directions) = (config.hidden_size, config.num_directions());
    // A state is between the candidate, which tanh bounds, and the state before it.
    if let Some(value) = output.hidden_states.iter().find(|v| v.is_nan() || v.abs() > 1.0) {
        return Some(format!("the output holds {value}, states of tanh are within -1 to 1"));
    }
    for row in 0..problem.row.batch {
        let n = problem.length(row);
        if output.hidden_states.slice(s![n.., row, ..]).iter().any(|v| *v != 0.0) {
            return Some(format!("row {row} has {n} steps, what lies past them is not 0"));
        }
        for (l, layer) in layers.iter().enumerate() {
            for d in 0..directions {
                let last = if config.directions.is_reverse(d) { 0 } else { n.saturating_sub(1) };
                let columns = d * units..(d + 1) * units;
                let wanted = layer.slice(s![last, row, columns]);
                let last_state = output.final_state.slice(s![l * directions + d, row, ..]);
                // A row without steps keeps the initial state, which is 0.
                let right =
                    if n > 0 { last_state == wanted } else { last_state.iter().all(|v| *v == 0.0) };
                if !right {
                    return Some(format!("the final state of layer {l}, row {row} is another"));
                }
            }
        }
    }
    None
}

/// Values of an output, evenly spread: all of them where they are few.
pub(crate) struct Sample {
    /// Whose output it is.
    pub(crate) of: String,
    pub(crate) precision: Precision,
    every: usize,
    values: Vec<f32>,
}

impl Sample {
    const MOST: usize = 1 << 20;

    pub(crate) fn new(output: &Output<f32>, of: String, precision: Precision) -> Self {
        // Odd: not a divisor of the rows' lengths, which are powers of two as a rule.
        let every = output.hidden_states.len().div_ceil(Self::MOST) | 1;
        let values = output.hidden_states.iter().step_by(every).copied().collect();
        Self { of, precision, every, values }
    }

    /// The largest difference of `output` from the values.
    pub(crate) fn difference(&self, output: &Output<f32>) -> f32 {
        let pairs = output.hidden_states.iter().step_by(self.every).zip(&self.values);
        pairs.map(|(x, y)| (x - y).abs()).fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m })
    }
}

#[cfg(test)]
mod tests {
    use wgru::{Device, ResetForm};

    use super::super::grid::Row;
    use super::*;

    /// A right run passes; a fault in any layer, direction, step or row that is sampled does not.
    #[test]
    fn faults_are_found() {
        for (bi, lengths) in [(false, false), (true, true)] {
            let row = Row {
                name: "row".into(),
                batch: 3,
                steps: 6,
                input: 4,
                hidden: 5,
                layers: 2,
                bi,
                lengths,
                ..Row::default()
            };
            let problem = Problem::new(&row, ResetForm::Before, 3).unwrap();
            let mut session = problem.gru.session(&Device::cpu(), row.shape()).unwrap();
            let (output, layers) = session.run_layers(&problem.inputs()).unwrap();
            let arithmetic = session.arithmetic();
            let outcome = |output: &Output<f32>, layers: &[Array3<f32>]| {
                let views: Vec<_> = layers.iter().map(|l| l.view()).collect();
                check(&problem, output, &views, &arithmetic, 1).unwrap()
            };
            let verified = outcome(&output, &layers).unwrap();
            assert!(verified.places >= 10 && verified.worst_ratio < 1.0, "{verified:?}");
            for layer in 0..2 {
                for column in 0..row.directions() * 5 {
                    let mut wrong = layers.clone();
                    wrong[layer][[0, 0, column]] += 0.001;
                    assert!(outcome(&output, &wrong).is_err(), "layer {layer} column {column}");
                }
            }
            let mut wrong = output.clone();
            wrong.final_state[[1, 0, 3]] += 1e-6;
            assert!(outcome(&wrong, &layers).unwrap_err().contains("final state"));
            let mut wrong = output.clone();
            wrong.hidden_states[[5, 1, 0]] = f32::NAN;
            assert!(outcome(&wrong, &layers).is_err());
            let sample = Sample::new(&output, "cpu".into(), wgru::Precision::F32);
            assert!(sample.difference(&wrong).is_nan() && sample.difference(&output) == 0.0);
        }
    }
}
