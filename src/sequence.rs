//! What every engine is given and gives back: inputs, states, lengths, resets, outputs.

use ndarray::{Array3, ArrayView2, ArrayView3, ArrayViewMut3};

use crate::config::{Directions, GruConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::shape::{SequenceShape, checked_product};

/// One run's inputs. `A` is `f32` for the engines, `f64` for the reference.
///
/// Views may have any strides. Shapes are time-major, `[T, B, ...]`, unless
/// [`batch_first`](Inputs::batch_first) is set.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, A = f32> {
    /// The sequences, `[T, B, I]`; `[B, T, I]` with `batch_first`.
    pub input: ArrayView3<'a, A>,
    /// State before the first step, `[L*D, B, H]`. Default: zero.
    pub initial_state: Option<ArrayView3<'a, A>>,
    /// Steps of each row, `[B]`, each 0..=T, in any order. Default: all T.
    pub lengths: Option<&'a [usize]>,
    /// Where true, the row's state is zero before that step, `[T, B]` (`[B, T]` with
    /// `batch_first`). Forward networks only. Default: never.
    pub reset_mask: Option<ArrayView2<'a, bool>>,
    /// Input, output and mask have the batch as their first axis. Default: false.
    pub batch_first: bool,
}

impl<'a, A> Inputs<'a, A> {
    /// Sequences `[T, B, I]` from a zero state, all rows T steps long, no resets.
    pub fn new(input: ArrayView3<'a, A>) -> Self {
        Self { input, initial_state: None, lengths: None, reset_mask: None, batch_first: false }
    }

    /// Sets the state before the first step, `[L*D, B, H]`.
    pub fn initial_state(mut self, state: ArrayView3<'a, A>) -> Self {
        self.initial_state = Some(state);
        self
    }

    /// Sets the number of steps of each row, `[B]`.
    pub fn lengths(mut self, lengths: &'a [usize]) -> Self {
        self.lengths = Some(lengths);
        self
    }

    /// Sets where states are zeroed before a step, `[T, B]`.
    pub fn reset_mask(mut self, mask: ArrayView2<'a, bool>) -> Self {
        self.reset_mask = Some(mask);
        self
    }

    /// Says that input, output and mask are batch-first.
    pub fn batch_first(mut self) -> Self {
        self.batch_first = true;
        self
    }

    /// The shape of the run: steps and rows of the input.
    pub fn shape(&self) -> SequenceShape {
        let (a, b, _) = self.input.dim();
        let (steps, batch) = if self.batch_first { (b, a) } else { (a, b) };
        SequenceShape { steps, batch }
    }

    /// The same inputs with time as the first axis of every view. Copies no element.
    pub fn time_major(&self) -> Self
    where
        A: Clone,
    {
        if !self.batch_first {
            return Self {
                input: self.input,
                initial_state: self.initial_state,
                lengths: self.lengths,
                reset_mask: self.reset_mask,
                batch_first: false,
            };
        }
        Self {
            input: self.input.permuted_axes([1, 0, 2]),
            initial_state: self.initial_state,
            lengths: self.lengths,
            reset_mask: self.reset_mask.map(|m| m.reversed_axes()),
            batch_first: false,
        }
    }

    /// Checks every shape against the network and the other shapes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidShape`], naming the array, the shape wanted and the shape given;
    /// [`ErrorKind::InvalidRequest`] for a reset mask on a network that reads backwards.
    pub fn validate(&self, config: &GruConfig) -> Result<SequenceShape> {
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidShape, message));
        let SequenceShape { steps, batch } = self.shape();
        let features = self.input.dim().2;
        if features != config.input_size {
            return wrong(format!(
                "input must have {} features a step, the shape {:?} has {features}",
                config.input_size,
                self.input.shape()
            ));
        }
        checked_product("the output", &[steps, batch, config.output_size()])?;
        checked_product("the state", &[config.state_planes(), batch, config.hidden_size])?;
        if let Some(state) = &self.initial_state {
            let wanted = [config.state_planes(), batch, config.hidden_size];
            if state.shape() != wanted {
                return wrong(format!(
                    "initial state must have the shape [L*D, B, H] = {wanted:?}, {:?} was given",
                    state.shape()
                ));
            }
        }
        if let Some(lengths) = self.lengths {
            if lengths.len() != batch {
                return wrong(format!(
                    "lengths must hold one number a row, {batch} were wanted, {} were given",
                    lengths.len()
                ));
            }
            if let Some((row, length)) = lengths.iter().enumerate().find(|(_, n)| **n > steps) {
                return wrong(format!(
                    "length of row {row} must be 0 to {steps} steps, {length} was given"
                ));
            }
        }
        if let Some(mask) = &self.reset_mask {
            check_mask(config, self.shape(), mask.dim(), self.batch_first)?;
        }
        Ok(SequenceShape { steps, batch })
    }
}

/// Checks the shape of a reset mask, and that the network takes one.
pub(crate) fn check_mask(
    config: &GruConfig,
    shape: SequenceShape,
    (a, b): (usize, usize),
    batch_first: bool,
) -> Result<()> {
    let SequenceShape { steps, batch } = shape;
    let given = if batch_first { [b, a] } else { [a, b] };
    if given != [steps, batch] {
        return Err(Error::new(
            ErrorKind::InvalidShape,
            format!(
                "reset mask must have one flag a step and row, T {steps} and B {batch} were \
                 wanted, {given:?} were given"
            ),
        ));
    }
    if config.directions != Directions::Forward {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("a reset mask needs a forward network, this one is {}", config.directions),
        ));
    }
    Ok(())
}

/// One run's results.
#[derive(Clone, Debug, PartialEq)]
pub struct Output<A = f32> {
    /// State of the last layer after every step, `[T, B, D*H]` (`[B, T, D*H]` with
    /// `batch_first`); zero past a row's length.
    pub hidden_states: Array3<A>,
    /// State of every layer and direction after the row's last step, `[L*D, B, H]`.
    pub final_state: Array3<A>,
}

impl<A> Output<A> {
    /// Puts the states of a network that reads backwards into the order in which they were
    /// computed, each row by itself: index 0 becomes that of the row's last step. Rows past their
    /// length stay 0. Keras gives a layer made with `go_backwards=True` so; see
    /// [`OutputOrder`](crate::OutputOrder).
    ///
    /// `lengths` and `batch_first` are those of the run. Lengths beyond T count as T.
    pub fn reverse_time(&mut self, lengths: Option<&[usize]>, batch_first: bool) {
        let mut states = self.hidden_states.view_mut();
        if !batch_first {
            states.swap_axes(0, 1);
        }
        for (row, mut states) in states.outer_iter_mut().enumerate() {
            let length = lengths.and_then(|l| l.get(row)).map_or(usize::MAX, |n| *n);
            let (steps, width) = states.dim();
            let length = length.min(steps);
            for step in 0..length / 2 {
                for column in 0..width {
                    states.swap([step, column], [length - 1 - step, column]);
                }
            }
        }
    }
}

impl<A: Clone + num_zero::Zero> Output<A> {
    /// Zeroed outputs of the right shapes for a run of `shape`.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`] where they do not fit.
    pub(crate) fn zeros(
        config: &GruConfig,
        shape: SequenceShape,
        batch_first: bool,
    ) -> Result<Self> {
        let [dim, states] = dimensions(config, shape, batch_first);
        Ok(Self {
            hidden_states: zeroed("the output", dim)?,
            final_state: zeroed("the state", states)?,
        })
    }

    /// Whether the arrays have the shapes of a run of `shape`.
    pub(crate) fn is_for(
        &self,
        config: &GruConfig,
        shape: SequenceShape,
        batch_first: bool,
    ) -> bool {
        let [dim, states] = dimensions(config, shape, batch_first);
        self.hidden_states.shape() == dim && self.final_state.shape() == states
    }

    /// Time-major views of the outputs for an engine to fill.
    pub(crate) fn views(&mut self, batch_first: bool) -> OutputViews<'_, A> {
        let hidden_states = if batch_first {
            self.hidden_states.view_mut().permuted_axes([1, 0, 2])
        } else {
            self.hidden_states.view_mut()
        };
        OutputViews { hidden_states, final_state: self.final_state.view_mut(), layers: Vec::new() }
    }
}

/// Shapes of the states of the last layer and of the final states of a run.
fn dimensions(config: &GruConfig, shape: SequenceShape, batch_first: bool) -> [[usize; 3]; 2] {
    let SequenceShape { steps, batch } = shape;
    let width = config.output_size();
    let dim = if batch_first { [batch, steps, width] } else { [steps, batch, width] };
    [dim, [config.state_planes(), batch, config.hidden_size]]
}

/// Where an engine writes its results: time-major views that arrive zeroed where rows differ in length
/// or there is nothing to compute.
#[derive(Debug)]
pub(crate) struct OutputViews<'a, A = f32> {
    /// `[T, B, D*H]`.
    pub(crate) hidden_states: ArrayViewMut3<'a, A>,
    /// `[L*D, B, H]`.
    pub(crate) final_state: ArrayViewMut3<'a, A>,
    /// Empty, or one `[T, B, D*H]` a layer: the states of every layer, kept for verification.
    pub(crate) layers: Vec<ArrayViewMut3<'a, A>>,
}

/// A zeroed array, or an error that names `what` where memory cannot hold it.
pub(crate) fn zeroed<A: Clone + num_zero::Zero>(what: &str, dim: [usize; 3]) -> Result<Array3<A>> {
    // An array's strides are products of its sizes even where one of them is 0.
    checked_product(what, &dim.map(|n| n.max(1)))?;
    let elements = checked_product(what, &dim)?;
    // Reserving tells whether there is room; the pages of the array itself are zeroed when used.
    Vec::<A>::new().try_reserve_exact(elements).map_err(|_| {
        Error::new(
            ErrorKind::OutOfMemory,
            format!("{what} of shape {dim:?} does not fit into memory"),
        )
    })?;
    Ok(Array3::from_elem(dim, A::ZERO))
}

/// The zero of the two element types, without a numeric-traits dependency.
pub(crate) mod num_zero {
    /// A type with a zero.
    pub trait Zero {
        /// The additive identity.
        const ZERO: Self;
    }
    impl Zero for f32 {
        const ZERO: Self = 0.0;
    }
    impl Zero for f64 {
        const ZERO: Self = 0.0;
    }
}
