//! What a run reads: sequences, state, lengths and resets from files, or random sequences.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, Axis, Ix2, Ix3};
use wgru::array_file::{self, Real};
use wgru::{GruConfig, Inputs};

use crate::failure::Failure;

/// Options beside the sequences themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct SequenceArgs {
    /// Sequences and outputs are [B, T, ...] rather than [T, B, ...]
    #[arg(long)]
    batch_first: bool,
    /// Initial state [L*D, B, H] [default: zero]
    #[arg(long, value_name = "NPY")]
    h0: Option<PathBuf>,
    /// Steps of each row, integers [B] [default: all T]
    #[arg(long, value_name = "NPY")]
    lengths: Option<PathBuf>,
    /// Where a row's state is zeroed before a step, booleans or 0/1 [T, B] [default: nowhere]
    #[arg(long, value_name = "NPY")]
    reset_mask: Option<PathBuf>,
}

/// One run's arrays, as [`Inputs`] wants them.
#[derive(Debug)]
pub(crate) struct Sequences<A> {
    input: Array3<A>,
    initial_state: Option<Array3<A>>,
    pub(crate) lengths: Option<Vec<usize>>,
    reset_mask: Option<Array2<bool>>,
    pub(crate) batch_first: bool,
    /// The input has no batch axis: one sequence `[T, I]`.
    pub(crate) unbatched: bool,
}

impl SequenceArgs {
    /// Reads every file and checks it against the network.
    pub(crate) fn read<A: Real>(
        &self,
        input: &Path,
        config: &GruConfig,
    ) -> Result<Sequences<A>, Failure> {
        let array = array_file::read::<A>(input)?;
        let wanted = if self.batch_first { "[B, T, I]" } else { "[T, B, I]" };
        let shape = array.shape().to_vec();
        let unbatched = shape.len() == 2;
        let array = if unbatched { array.insert_axis(Axis(1)) } else { array };
        let array = array.into_dimensionality::<Ix3>().map_err(|_| {
            Failure::Request(format!(
                "{}: an input must have the dimensions {wanted}, or [T, I] for one sequence; the \
                 shape is {shape:?}",
                input.display()
            ))
        })?;
        self.with(array, unbatched, config)
    }

    /// Random sequences, uniform in [-2, 2), the same for a seed on every machine.
    pub(crate) fn random(
        &self,
        [steps, batch]: [usize; 2],
        seed: u64,
        config: &GruConfig,
    ) -> Result<Sequences<f32>, Failure> {
        let shape = if self.batch_first { [batch, steps] } else { [steps, batch] };
        let [outer, inner] = shape;
        let mut values: Vec<f32> = Vec::new();
        // An array's strides are products of its sizes even where one of them is 0.
        let strides = [steps, batch, config.input_size]
            .iter()
            .try_fold(1usize, |n, f| n.checked_mul(*f.max(&1)))
            .filter(|n| isize::try_from(*n).is_ok());
        let elements = strides.map(|_| steps * batch * config.input_size);
        if elements.is_none_or(|n| values.try_reserve_exact(n).is_err()) {
            return Err(Failure::Request(format!(
                "an input of {steps} steps, {batch} rows and {} features does not fit into memory",
                config.input_size
            )));
        }
        let mut random = fastrand::Rng::with_seed(seed);
        values.extend((0..elements.unwrap_or(0)).map(|_| 4.0 * random.f32() - 2.0));
        let array = Array3::from_shape_vec((outer, inner, config.input_size), values)
            .expect("as many values as the shape holds");
        self.with(array, false, config)
    }

    /// Adds what the options name to `input`.
    fn with<A: Real>(
        &self,
        input: Array3<A>,
        unbatched: bool,
        config: &GruConfig,
    ) -> Result<Sequences<A>, Failure> {
        let initial_state = match &self.h0 {
            None => None,
            Some(path) => Some(read_state::<A>(path, unbatched, config)?),
        };
        let lengths = self.lengths.as_ref().map(array_file::read_lengths).transpose()?;
        let mask = self.reset_mask.as_ref().map(|path| self.read_mask(path, unbatched));
        let reset_mask = mask.transpose()?;
        let batch_first = self.batch_first && !unbatched;
        let sequences =
            Sequences { input, initial_state, lengths, reset_mask, batch_first, unbatched };
        sequences.inputs().validate(config)?;
        Ok(sequences)
    }

    fn read_mask(&self, path: &Path, unbatched: bool) -> Result<Array2<bool>, Failure> {
        let mask = array_file::read_mask(path)?;
        let shape = mask.shape().to_vec();
        let mask = match unbatched {
            true if shape.len() == 1 => Some(mask.insert_axis(Axis(1))),
            true => None,
            false => Some(mask),
        };
        mask.and_then(|m| m.into_dimensionality::<Ix2>().ok()).ok_or_else(|| {
            let wanted = match (unbatched, self.batch_first) {
                (true, _) => "[T], as the input is one sequence",
                (false, true) => "[B, T]",
                (false, false) => "[T, B]",
            };
            Failure::Request(format!(
                "{}: a reset mask must have the dimensions {wanted}; the shape is {shape:?}",
                path.display()
            ))
        })
    }
}

impl<A> Sequences<A> {
    /// Views of the arrays.
    pub(crate) fn inputs(&self) -> Inputs<'_, A> {
        let mut inputs = Inputs::new(self.input.view());
        inputs.initial_state = self.initial_state.as_ref().map(|s| s.view());
        inputs.lengths = self.lengths.as_deref();
        inputs.reset_mask = self.reset_mask.as_ref().map(|m| m.view());
        inputs.batch_first = self.batch_first;
        inputs
    }
}

fn read_state<A: Real>(
    path: &Path,
    unbatched: bool,
    config: &GruConfig,
) -> Result<Array3<A>, Failure> {
    let state = array_file::read::<A>(path)?;
    let shape = state.shape().to_vec();
    let (planes, units) = (config.state_planes(), config.hidden_size);
    let (state, wanted) = if unbatched {
        (
            (shape == [planes, units]).then(|| state.insert_axis(Axis(1))),
            format!("[L*D, H] = [{planes}, {units}], as the input is one sequence"),
        )
    } else {
        (Some(state), format!("[L*D, B, H] with L*D {planes} and H {units}"))
    };
    state.and_then(|s| s.into_dimensionality::<Ix3>().ok()).ok_or_else(|| {
        Failure::Request(format!(
            "{}: an initial state must have the shape {wanted}; the shape is {shape:?}",
            path.display()
        ))
    })
}
