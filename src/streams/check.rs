//! What a call may ask of streams.

use super::Streams;
use crate::error::{Error, ErrorKind, Result};
use crate::sequence::Inputs;
use crate::shape::SequenceShape;

impl Streams {
    pub(super) fn output_dim(
        &self,
        SequenceShape { steps, batch }: SequenceShape,
        first: bool,
    ) -> [usize; 3] {
        let width = self.gru().config().hidden_size;
        if first { [batch, steps, width] } else { [steps, batch, width] }
    }

    /// The shape of the call, after every check that needs no device.
    pub(super) fn check(
        &mut self,
        slots: &[usize],
        inputs: &Inputs<'_, f32>,
    ) -> Result<SequenceShape> {
        let shape = self.session.check(inputs)?;
        if inputs.initial_state.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "an initial state was given to streams: they go on from the states of their \
                 slots, which restore() sets",
            ));
        }
        if slots.len() != shape.batch {
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!(
                    "slots must be one a row, {} were wanted, {} were given",
                    shape.batch,
                    slots.len()
                ),
            ));
        }
        self.check_slots(slots)?;
        Ok(shape)
    }

    /// Checks that every slot exists.
    pub(super) fn check_range(&self, slots: &[usize]) -> Result<()> {
        match slots.iter().enumerate().find(|(_, slot)| **slot >= self.slots) {
            None => Ok(()),
            Some((row, slot)) => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "slot {slot} (number {row} of the call) does not exist, there are slots 0 to {}",
                    self.slots - 1
                ),
            )),
        }
    }

    /// Checks that every slot exists and is named once.
    pub(super) fn check_slots(&mut self, slots: &[usize]) -> Result<()> {
        self.check_range(slots)?;
        let mut twice = None;
        for (row, slot) in slots.iter().enumerate() {
            let first = std::mem::replace(&mut self.named[*slot], row + 1);
            if first > 0 {
                twice = Some((*slot, first - 1, row));
                break;
            }
        }
        for slot in slots {
            self.named[*slot] = 0;
        }
        match twice {
            None => Ok(()),
            Some((slot, first, second)) => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "slot {slot} is named twice, as numbers {first} and {second} of the call: a \
                     call may name a slot once"
                ),
            )),
        }
    }
}

/// A zero for each slot, or an error where memory cannot hold them.
pub(super) fn zeroed_rows(slots: usize) -> Result<Vec<usize>> {
    Vec::<usize>::new().try_reserve_exact(slots).map_err(|_| {
        let message = format!("a list of {slots} slots does not fit into memory");
        Error::new(ErrorKind::OutOfMemory, message)
    })?;
    Ok(vec![0; slots])
}
