//! Long runs of stacked forward networks, window by window of time.
//!
//! Only so many states between layers are kept at a time. The bits are those of one run: a state
//! handed from one window to the next is the state that the next step would have read.

use ndarray::s;

use crate::config::Directions;
use crate::error::Result;
use crate::sequence::{Inputs, OutputViews, zeroed};
use crate::shape::SequenceShape;

use super::session::CpuSession;

/// Bytes of one layer's states that a window holds: they should be in a cache still when the next
/// layer reads them.
const BYTES: usize = 8 << 20;

/// Steps of a window at least: each hands every layer to the threads once.
const STEPS: usize = 32;

impl CpuSession {
    /// Computes one run. `inputs` are time-major and valid for the model; `out` has the shapes
    /// of the run and arrives zeroed where rows differ in length.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) where threads cannot be started,
    /// or the states between layers do not fit.
    pub(crate) fn run(
        &mut self,
        inputs: &Inputs<'_, f32>,
        out: &mut OutputViews<'_, f32>,
    ) -> Result<()> {
        let shape = inputs.shape();
        let window = self.window(shape);
        if window >= shape.steps || !out.layers.is_empty() {
            return self.run_window(inputs, out);
        }
        let (planes, batch, hidden) = out.final_state.dim();
        let mut state = zeroed("the states between windows", [planes, batch, hidden])?;
        if let Some(initial) = &inputs.initial_state {
            state.assign(initial);
        }
        let mut lengths = Vec::new();
        let mut first = 0;
        while first < shape.steps {
            let end = shape.steps.min(first.saturating_add(window));
            if let Some(all) = inputs.lengths {
                lengths.clear();
                lengths.extend(all.iter().map(|n| n.saturating_sub(first).min(end - first)));
            }
            let part = Inputs {
                input: inputs.input.slice(s![first..end, .., ..]),
                initial_state: Some(state.view()),
                lengths: inputs.lengths.map(|_| lengths.as_slice()),
                reset_mask: inputs.reset_mask.as_ref().map(|m| m.slice(s![first..end, ..])),
                batch_first: false,
            };
            let mut views = OutputViews {
                hidden_states: out.hidden_states.slice_mut(s![first..end, .., ..]),
                final_state: out.final_state.view_mut(),
                layers: Vec::new(),
            };
            self.run_window(&part, &mut views)?;
            state.assign(&out.final_state);
            first = end;
        }
        Ok(())
    }

    /// Steps that run at a time: all, where a layer must end before the next can begin.
    fn window(&self, shape: SequenceShape) -> usize {
        #[cfg(test)]
        if let Some(steps) = self.forced_window {
            return steps;
        }
        let config = self.config();
        if config.num_layers == 1 || config.directions != Directions::Forward {
            return usize::MAX;
        }
        let step = shape.batch.saturating_mul(config.output_size() * size_of::<f32>());
        (BYTES / step.max(1)).max(STEPS)
    }
}
