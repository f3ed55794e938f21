//! A network with the states of many streams on the device.

mod check;
mod host;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut3, Axis, s};

use crate::config::Directions;
use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::gpu::{GpuSlots, Waiting};
use crate::model::Gru;
use crate::operands;
use crate::plan::PlanOptions;
use crate::sequence::{Inputs, zeroed};
use crate::session::{Engine, Session};
use crate::shape::SequenceShape;
use crate::tune::Tuning;
use host::HostSlots;

/// A network on a device with the states of many streams: sequences that arrive piece by piece.
///
/// Each stream has a *slot*, 0 to N-1, that holds its state `[L, H]`; all are zero at first. A call
/// of [`advance`](Self::advance) feeds any of the slots, each any number of steps; the states stay
/// on the device, so a call moves inputs, outputs and a list of slots. Feeding a stream whole, in
/// pieces or one step at a time gives the same bits, whatever other streams take part.
///
/// Made by [`Gru::streams`]. One thread at a time uses it. After the first calls no GPU object is
/// created.
///
/// A call that returns an error, and an async call that is dropped before its end, leave every
/// slot as it was. Where the device itself is lost, so are the states on it: what must survive
/// that is to be [saved](Self::save).
///
/// # Examples
/// ```
/// use ndarray::Array3;
/// use wgru::{Device, Gru, Inputs, SequenceShape};
///
/// let gru = Gru::open("tests/data/gru_cell.safetensors")?;
/// // 100 slots; a call takes up to 8 steps of up to 32 streams.
/// let mut streams = gru.streams(&Device::cpu(), 100, SequenceShape::new(8, 32))?;
/// let input = Array3::from_elem((8, 3, gru.config().input_size), 0.1_f32); // [T, n, I]
/// // 8 steps of the stream in slot 42, none of that in slot 7, 5 of that in slot 99.
/// let inputs = Inputs::new(input.view()).lengths(&[8, 0, 5]);
/// let states = streams.advance(&[42, 7, 99], &inputs)?; // [T, n, H], zero past a stream's steps
/// assert_eq!(states.dim(), (8, 3, gru.config().hidden_size));
/// streams.reset(42)?; // slot 42 is another stream's now
/// let kept = streams.save(99)?; // [L, H]
/// streams.restore(42, kept.view())?;
/// # Ok::<(), wgru::Error>(())
/// ```
#[derive(Debug)]
pub struct Streams {
    session: Session,
    states: States,
    slots: usize,
    /// For each slot 1 + the row of the call under check that names it; 0 outside of a check.
    named: Vec<usize>,
}

#[derive(Debug)]
enum States {
    Gpu(GpuSlots),
    Cpu(HostSlots<f32>),
    /// The reference carries f64 from step to step.
    Reference(HostSlots<f64>),
}

impl Gru {
    /// This network on `device` with `slots` streams, for calls that advance up to
    /// `call.batch` of them by up to `call.steps` steps, with default options.
    ///
    /// # Errors
    /// Those of [`streams_with`](Self::streams_with).
    pub fn streams(&self, device: &Device, slots: usize, call: SequenceShape) -> Result<Streams> {
        self.streams_with(device, slots, call, &PlanOptions::default())
    }

    /// This network on `device` with `slots` streams, for calls that advance up to
    /// `call.batch` of them by up to `call.steps` steps.
    ///
    /// The states of the slots are not counted in [`PlanOptions::memory_budget`]: they take 32
    /// bytes for each slot, layer and four units.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for a network that reads backwards, and for no slots;
    /// [`ErrorKind::ExceedsLimits`] where the states exceed a binding of the device, saying how
    /// many slots are possible; those of [`session_with`](Self::session_with).
    pub fn streams_with(
        &self,
        device: &Device,
        slots: usize,
        call: SequenceShape,
        options: &PlanOptions,
    ) -> Result<Streams> {
        let directions = self.config().directions;
        if directions != Directions::Forward {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("streams need a forward network, this one is {directions}"),
            ));
        }
        if slots == 0 {
            let message = "streams need at least 1 slot, 0 were given";
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        let session = self.session_with(device, call, options)?;
        let states = match &session.engine {
            Engine::Gpu(gpu) => States::Gpu(GpuSlots::new(gpu, slots)?),
            Engine::Cpu(..) => States::Cpu(HostSlots::new(self, slots)?),
            Engine::Reference => States::Reference(HostSlots::new(self, slots)?),
        };
        let named = check::zeroed_rows(slots)?;
        Ok(Streams { session, states, slots, named })
    }
}

impl Streams {
    /// How the kernels were chosen, where [`PlanOptions::tune`] asked for measurements: by trials of
    /// calls of the largest shape.
    pub fn tuning(&self) -> Option<&Tuning> {
        self.session.tuning()
    }

    /// Feeds row b of `inputs` to the stream in slot `slots[b]` and returns the states of the
    /// last layer, `[T, n, H]` (`[n, T, H]` for batch-first inputs), zero past a row's steps.
    ///
    /// [`Inputs::lengths`] gives each row its own number of steps, 0 to T; a slot whose row has
    /// no step keeps its state to the bit. A [reset mask](Inputs::reset_mask) zeroes a stream's
    /// state before a step. Rows may come in any order.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for a slot that does not exist or is named twice, and for an
    /// initial state; [`ErrorKind::InvalidShape`] where the call has more steps or rows than the
    /// streams were made for, or not one slot a row; those of [`Inputs::validate`];
    /// [`ErrorKind::DeviceLost`] or [`ErrorKind::OutOfMemory`] where the device fails. Every slot
    /// is as it was then.
    pub fn advance(&mut self, slots: &[usize], inputs: &Inputs<'_, f32>) -> Result<Array3<f32>> {
        pollster::block_on(self.advance_new(slots, inputs, Waiting::Blocking))
    }

    /// [`advance`](Self::advance) into the caller's array, of the shape that it returns.
    ///
    /// # Errors
    /// Those of [`advance`](Self::advance), and [`ErrorKind::InvalidShape`] where `out` has
    /// another shape. What `out` holds after an error is not specified.
    pub fn advance_into(
        &mut self,
        slots: &[usize],
        inputs: &Inputs<'_, f32>,
        mut out: ArrayViewMut3<'_, f32>,
    ) -> Result<()> {
        let shape = self.check(slots, inputs)?;
        let wanted = self.output_dim(shape, inputs.batch_first);
        if out.shape() != wanted {
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!("the output must have the shape {wanted:?}, {:?} was given", out.shape()),
            ));
        }
        out.fill(0.0);
        pollster::block_on(self.run(slots, inputs, out, Waiting::Blocking))
    }

    /// [`advance`](Self::advance) as a future, as [`Session::run_async`] is one. Dropping it
    /// leaves every slot as it was, and the streams usable.
    ///
    /// # Errors
    /// Those of [`advance`](Self::advance).
    pub async fn advance_async(
        &mut self,
        slots: &[usize],
        inputs: &Inputs<'_, f32>,
    ) -> Result<Array3<f32>> {
        self.advance_new(slots, inputs, Waiting::Async).await
    }

    /// Feeds each of `pieces`, a slot and its stream's new steps `[steps, I]`, and returns the
    /// states of the last layer, one `[steps, H]` a piece.
    ///
    /// # Errors
    /// Those of [`advance`](Self::advance).
    pub fn advance_each(
        &mut self,
        pieces: &[(usize, ArrayView2<'_, f32>)],
    ) -> Result<Vec<Array2<f32>>> {
        let (slots, lengths): (Vec<usize>, Vec<usize>) =
            pieces.iter().map(|(slot, input)| (*slot, input.nrows())).unzip();
        let features = self.gru().config().input_size;
        if let Some((slot, piece)) = pieces.iter().find(|(_, input)| input.ncols() != features) {
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!(
                    "the input of slot {slot} must have {features} features a step, the shape \
                     {:?} has {}",
                    piece.shape(),
                    piece.ncols()
                ),
            ));
        }
        let steps = lengths.iter().copied().max().unwrap_or(0);
        // Before memory is taken for the call.
        self.session.check_size(SequenceShape::new(steps, pieces.len()))?;
        let mut input = zeroed("the input", [steps, pieces.len(), features])?;
        for (row, (_, piece)) in pieces.iter().enumerate() {
            input.slice_mut(s![..piece.nrows(), row, ..]).assign(piece);
        }
        let states = self.advance(&slots, &Inputs::new(input.view()).lengths(&lengths))?;
        let each = lengths.iter().enumerate();
        Ok(each.map(|(row, steps)| states.slice(s![..*steps, row, ..]).to_owned()).collect())
    }

    /// Sets the state of `slot` to zero: another stream begins there. Nothing is submitted.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where there is no such slot.
    pub fn reset(&mut self, slot: usize) -> Result<()> {
        self.check_range(&[slot])?;
        match &mut self.states {
            States::Gpu(slots) => slots.reset(slot),
            States::Cpu(slots) => slots.reset(slot),
            States::Reference(slots) => slots.reset(slot),
        }
        Ok(())
    }

    /// The state of `slot`, `[L, H]`.
    ///
    /// # Errors
    /// Those of [`save_many`](Self::save_many).
    pub fn save(&mut self, slot: usize) -> Result<Array2<f32>> {
        Ok(self.save_many(&[slot])?.index_axis_move(Axis(1), 0))
    }

    /// The states of `slots`, `[L, n, H]`, as an [initial state](Inputs::initial_state) of `n`
    /// rows; rounded to f32 on the reference.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where there is no such slot; [`ErrorKind::OutOfMemory`] or
    /// [`ErrorKind::DeviceLost`] where host or device fail.
    pub fn save_many(&mut self, slots: &[usize]) -> Result<Array3<f32>> {
        pollster::block_on(self.save_new(slots, Waiting::Blocking))
    }

    /// [`save_many`](Self::save_many) as a future, as [`Session::run_async`] is one.
    ///
    /// # Errors
    /// Those of [`save_many`](Self::save_many).
    pub async fn save_async(&mut self, slots: &[usize]) -> Result<Array3<f32>> {
        self.save_new(slots, Waiting::Async).await
    }

    /// Sets the state of `slot` to `state`, `[L, H]`.
    ///
    /// # Errors
    /// Those of [`restore_many`](Self::restore_many).
    pub fn restore(&mut self, slot: usize, state: ArrayView2<'_, f32>) -> Result<()> {
        self.restore_many(&[slot], state.insert_axis(Axis(1)))
    }

    /// Sets the states of `slots` to `states`, `[L, n, H]`: what [`save_many`](Self::save_many)
    /// gave, or a [final state](crate::Output::final_state).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for a slot that does not exist or is named twice, and for a
    /// finite state that overflows f16 where the kernels are
    /// [`KernelFamily::Matrix`](crate::KernelFamily::Matrix);
    /// [`ErrorKind::InvalidShape`] for states of another shape; [`ErrorKind::DeviceLost`] where
    /// the device fails. Every slot is as it was then.
    pub fn restore_many(&mut self, slots: &[usize], states: ArrayView3<'_, f32>) -> Result<()> {
        pollster::block_on(self.restore_checked(slots, states, Waiting::Blocking))
    }

    /// [`restore_many`](Self::restore_many) as a future, as [`Session::run_async`] is one.
    /// Dropping it leaves every slot as it was.
    ///
    /// # Errors
    /// Those of [`restore_many`](Self::restore_many).
    pub async fn restore_async(
        &mut self,
        slots: &[usize],
        states: ArrayView3<'_, f32>,
    ) -> Result<()> {
        self.restore_checked(slots, states, Waiting::Async).await
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The session that runs the calls: its largest shape, network, engine and last plan.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The network.
    pub fn gru(&self) -> &Gru {
        self.session.gru()
    }

    /// Bytes of device memory, the weights and the states of the slots included; 0 where the
    /// device is no GPU.
    pub fn device_bytes(&self) -> u64 {
        match &self.states {
            States::Gpu(slots) => self.session.device_bytes() + slots.device_bytes(),
            _ => 0,
        }
    }

    async fn advance_new(
        &mut self,
        slots: &[usize],
        inputs: &Inputs<'_, f32>,
        waiting: Waiting,
    ) -> Result<Array3<f32>> {
        let shape = self.check(slots, inputs)?;
        let mut out = zeroed("the output", self.output_dim(shape, inputs.batch_first))?;
        self.run(slots, inputs, out.view_mut(), waiting).await?;
        Ok(out)
    }

    /// Runs a checked call. `out` arrives zeroed.
    async fn run(
        &mut self,
        slots: &[usize],
        inputs: &Inputs<'_, f32>,
        out: ArrayViewMut3<'_, f32>,
        waiting: Waiting,
    ) -> Result<()> {
        let out = if inputs.batch_first { out.permuted_axes([1, 0, 2]) } else { out };
        let inputs = inputs.time_major();
        let none = inputs.lengths.is_some_and(|lengths| lengths.iter().all(|n| *n == 0));
        if none || inputs.shape().steps == 0 || slots.is_empty() {
            return Ok(());
        }
        match (&mut self.states, &mut self.session.engine) {
            (States::Gpu(states), Engine::Gpu(gpu)) => {
                states.advance(gpu, slots, &inputs, out, waiting).await
            }
            (States::Cpu(states), Engine::Cpu(_, cpu)) => states.advance(cpu, slots, &inputs, out),
            (States::Reference(states), _) => {
                states.advance(&self.session.gru, slots, &inputs, out)
            }
            _ => unreachable!("the states are of the session's engine"),
        }
    }

    async fn save_new(&mut self, slots: &[usize], waiting: Waiting) -> Result<Array3<f32>> {
        self.check_range(slots)?;
        let config = self.gru().config();
        let dim = [config.num_layers, slots.len(), config.hidden_size];
        let mut out = zeroed("the states of the slots", dim)?;
        match (&self.states, &mut self.session.engine) {
            (States::Gpu(states), Engine::Gpu(gpu)) => {
                states.save(gpu, slots, out.view_mut(), waiting).await?;
            }
            (States::Cpu(states), _) => states.save(slots, out.view_mut(), |v| v),
            (States::Reference(states), _) => {
                states.save(slots, out.view_mut(), host::rounded);
            }
            _ => unreachable!("the states are of the session's engine"),
        }
        Ok(out)
    }

    async fn restore_checked(
        &mut self,
        slots: &[usize],
        states: ArrayView3<'_, f32>,
        waiting: Waiting,
    ) -> Result<()> {
        self.check_slots(slots)?;
        let config = self.gru().config();
        let wanted = [config.num_layers, slots.len(), config.hidden_size];
        if states.shape() != wanted {
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!(
                    "states must have the shape [L, n, H] = {wanted:?}, {:?} was given",
                    states.shape()
                ),
            ));
        }
        if self.session.has_half_operands() {
            operands::check_states("state", states)?;
        }
        match (&mut self.states, &mut self.session.engine) {
            (States::Gpu(own), Engine::Gpu(gpu)) => own.restore(gpu, slots, states, waiting).await,
            (States::Cpu(own), _) => {
                own.restore(slots, states);
                Ok(())
            }
            (States::Reference(own), _) => {
                own.restore(slots, states);
                Ok(())
            }
            _ => unreachable!("the states are of the session's engine"),
        }
    }
}
