//! A row of the grid with its network and its inputs, the same for a seed on every machine.

use ndarray::Array3;
use wgru::{Error, Gru, Inputs, ResetForm};

use super::grid::Row;

pub(crate) struct Problem {
    pub(crate) row: Row,
    pub(crate) gru: Gru,
    input: Array3<f32>,
    pub(crate) lengths: Option<Vec<usize>>,
}

impl Problem {
    pub(crate) fn new(row: &Row, reset: ResetForm, seed: u64) -> Result<Self, Error> {
        let gru = Gru::random(row.config(reset), seed)?;
        let mut random = fastrand::Rng::with_seed(seed);
        // Between an eighth of the steps and all of them; one row has them all.
        let lengths = row.lengths.then(|| {
            let mut lengths: Vec<usize> =
                (0..row.batch).map(|_| random.usize(row.steps / 8..=row.steps)).collect();
            lengths[0] = row.steps;
            lengths
        });
        let dim = (row.steps, row.batch, row.input);
        let input = Array3::from_shape_simple_fn(dim, || 2.0 * random.f32() - 1.0);
        Ok(Self { row: row.clone(), gru, input, lengths })
    }

    pub(crate) fn inputs(&self) -> Inputs<'_, f32> {
        let mut inputs = Inputs::new(self.input.view());
        inputs.lengths = self.lengths.as_deref();
        inputs
    }

    /// The first `steps` steps of every row.
    pub(crate) fn prefix(&self, steps: usize) -> Inputs<'_, f32> {
        Inputs::new(self.input.slice(ndarray::s![..steps, .., ..]))
    }

    pub(crate) fn length(&self, row: usize) -> usize {
        self.lengths.as_ref().map_or(self.row.steps, |l| l[row])
    }

    /// Steps of all rows.
    pub(crate) fn row_steps(&self) -> usize {
        (0..self.row.batch).map(|b| self.length(b)).sum()
    }

    /// Operations of the matrix products of a run.
    pub(crate) fn flops(&self) -> f64 {
        self.row_steps() as f64 * self.row.flops_per_row_step()
    }
}
