//! States of slots in host memory, for the engines that compute there.

use ndarray::{Array3, ArrayView3, ArrayViewMut3, Axis, s};

use crate::cpu::CpuSession;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Gru;
use crate::reference;
use crate::sequence::num_zero::Zero;
use crate::sequence::{Inputs, OutputViews, zeroed};

/// States of type `A`: what the engine carries from step to step.
#[derive(Debug)]
pub(super) struct HostSlots<A> {
    /// `[slots, L, H]`
    states: Array3<A>,
    /// States before and after the call at hand, `[L, n, H]` each; they only grow.
    before: Vec<A>,
    after: Vec<A>,
}

impl<A: Copy + Zero> HostSlots<A> {
    pub(super) fn new(gru: &Gru, slots: usize) -> Result<Self> {
        let config = gru.config();
        let dim = [slots, config.num_layers, config.hidden_size];
        let states = zeroed("the states of the slots", dim)?;
        Ok(Self { states, before: Vec::new(), after: Vec::new() })
    }

    pub(super) fn reset(&mut self, slot: usize) {
        self.states.index_axis_mut(Axis(0), slot).fill(A::ZERO);
    }

    /// Copies the states of `slots` to `out`, `[L, n, H]`.
    pub(super) fn save(
        &self,
        slots: &[usize],
        mut out: ArrayViewMut3<'_, f32>,
        rounded: impl Fn(A) -> f32,
    ) {
        for (mut to, slot) in out.axis_iter_mut(Axis(1)).zip(slots) {
            let from = self.states.index_axis(Axis(0), *slot);
            to.zip_mut_with(&from, |to, from| *to = rounded(*from));
        }
    }

    /// Sets the states of `slots` to `states`, `[L, n, H]`.
    pub(super) fn restore(&mut self, slots: &[usize], states: ArrayView3<'_, f32>)
    where
        A: From<f32>,
    {
        for (from, slot) in states.axis_iter(Axis(1)).zip(slots) {
            let mut to = self.states.index_axis_mut(Axis(0), *slot);
            to.zip_mut_with(&from, |to, from| *to = A::from(*from));
        }
    }

    /// The states of `slots`, and room for those after the call, `[L, n, H]` each.
    fn begin(&mut self, slots: &[usize]) -> Result<(ArrayView3<'_, A>, ArrayViewMut3<'_, A>)> {
        let (_, layers, hidden) = self.states.dim();
        let dim = (layers, slots.len(), hidden);
        let elements = layers * slots.len() * hidden;
        for buffer in [&mut self.before, &mut self.after] {
            let more = elements.saturating_sub(buffer.len());
            buffer.try_reserve_exact(more).map_err(|_| {
                let message = format!("the states of {} slots do not fit into memory", slots.len());
                Error::new(ErrorKind::OutOfMemory, message)
            })?;
            buffer.resize(elements.max(buffer.len()), A::ZERO);
        }
        let before = &mut self.before[..elements];
        let mut view = ArrayViewMut3::from_shape(dim, &mut *before).expect("sized for the shape");
        for (mut to, slot) in view.axis_iter_mut(Axis(1)).zip(slots) {
            to.assign(&self.states.index_axis(Axis(0), *slot));
        }
        let before = ArrayView3::from_shape(dim, before).expect("sized for the shape");
        let after = ArrayViewMut3::from_shape(dim, &mut self.after[..elements])
            .expect("sized for the shape");
        Ok((before, after))
    }
}

/// Takes `after`, `[L, n, H]`, as the states of those of `slots` that have advanced.
fn commit<A: Copy>(
    states: &mut Array3<A>,
    slots: &[usize],
    lengths: Option<&[usize]>,
    after: ArrayView3<'_, A>,
) {
    for (row, slot) in slots.iter().enumerate() {
        if lengths.is_none_or(|lengths| lengths[row] > 0) {
            states.index_axis_mut(Axis(0), *slot).assign(&after.slice(s![.., row, ..]));
        }
    }
}

impl HostSlots<f32> {
    /// Runs `inputs` (time-major, checked) from the states of `slots` on the CPU engine.
    pub(super) fn advance(
        &mut self,
        cpu: &mut CpuSession,
        slots: &[usize],
        inputs: &Inputs<'_, f32>,
        hidden_states: ArrayViewMut3<'_, f32>,
    ) -> Result<()> {
        let (dim, lengths) = (self.states.dim(), inputs.lengths);
        let (before, final_state) = self.begin(slots)?;
        let inputs = Inputs { initial_state: Some(before), ..*inputs };
        let mut out = OutputViews { hidden_states, final_state, layers: Vec::new() };
        cpu.run(&inputs, &mut out)?;
        let dim = (dim.1, slots.len(), dim.2);
        let after = ArrayView3::from_shape(dim, &self.after[..dim.0 * dim.1 * dim.2])
            .expect("sized for the shape");
        commit(&mut self.states, slots, lengths, after);
        Ok(())
    }
}

impl HostSlots<f64> {
    /// Runs `inputs` (time-major, checked) from the states of `slots` on the reference.
    pub(super) fn advance(
        &mut self,
        gru: &Gru,
        slots: &[usize],
        inputs: &Inputs<'_, f32>,
        mut hidden_states: ArrayViewMut3<'_, f32>,
    ) -> Result<()> {
        let input = inputs.input.mapv(f64::from);
        let (before, _) = self.begin(slots)?;
        let exact = Inputs {
            input: input.view(),
            initial_state: Some(before),
            lengths: inputs.lengths,
            reset_mask: inputs.reset_mask,
            batch_first: false,
        };
        let output = reference::forward(gru.config(), gru.weights(), &exact)?;
        hidden_states.zip_mut_with(&output.hidden_states, |to, from| *to = rounded(*from));
        commit(&mut self.states, slots, inputs.lengths, output.final_state.view());
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is the contract")]
pub(super) fn rounded(value: f64) -> f32 {
    value as f32
}
