//! The tensors that a network needs: every one that is missing or misshapen is reported at once.

use crate::description::Description;
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;
use crate::tensor::Tensor;
use crate::tensor_set::TensorSet;

/// Problems that one message lists before it only counts the rest.
const MAX_LISTED: usize = 6;

/// Collects needed tensors and what is wrong with them.
#[derive(Debug)]
pub(super) struct Requirements<'a> {
    set: &'a TensorSet,
    tensors: Vec<Tensor>,
    problems: Vec<String>,
}

/// The place of a needed tensor among those that [`Requirements::finish`] returns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(usize);

impl<'a> Requirements<'a> {
    pub(super) fn new(set: &'a TensorSet) -> Self {
        Self { set, tensors: Vec::new(), problems: Vec::new() }
    }

    /// Needs the tensor `name` of shape `wanted`; `axes` is that shape in letters.
    pub(super) fn need(&mut self, name: &str, axes: &str, wanted: &[usize]) -> Slot {
        let slot = Slot(self.tensors.len());
        match self.set.shape(name) {
            None => self.problems.push(format!("{name} {axes} = {wanted:?} is missing")),
            Some(shape) if shape != wanted => self
                .problems
                .push(format!("{name} must have the shape {axes} = {wanted:?}, it has {shape:?}")),
            Some(_) => match self.set.get(name) {
                Ok(tensor) => self.tensors.push(tensor.clone()),
                Err(error) => self.problems.push(error.to_string()),
            },
        }
        slot
    }

    /// Reports something else that is wrong.
    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// The tensors in the order in which they were needed, counted in `description`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWeights`], listing every problem; or naming the first weight that is
    /// not finite, unless `options` allow it.
    pub(super) fn finish(
        self,
        options: &LoadOptions,
        description: &mut Description,
    ) -> Result<Tensors> {
        if !self.problems.is_empty() {
            let mut message = self.problems[..self.problems.len().min(MAX_LISTED)].join("; ");
            if self.problems.len() > MAX_LISTED {
                message += &format!("; and {} more", self.problems.len() - MAX_LISTED);
            }
            return Err(Error::new(ErrorKind::InvalidWeights, message));
        }
        for tensor in &self.tensors {
            check_finite(tensor, options, &mut description.warnings)?;
            description.count(tensor);
        }
        Ok(Tensors(self.tensors))
    }
}

/// Adds a warning where `options` allow what is not finite.
///
/// # Errors
/// [`ErrorKind::InvalidWeights`] where a value is NaN or infinite (or overflows f32) and
/// `options` do not allow it, naming the tensor and the index.
pub(crate) fn check_finite(
    tensor: &Tensor,
    options: &LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let Some((index, value)) = tensor.first_non_finite() else { return Ok(()) };
    let why = if value.is_finite() { ", beyond the range of f32," } else { "" };
    let found = format!("{} holds {value:e}{why} at {:?}", tensor.name(), tensor.unravel(index));
    if options.allow_non_finite {
        warnings.push(format!("{found}: what it reaches is not finite either"));
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidWeights,
        format!("{found}; weights must be finite unless non-finite ones are allowed"),
    ))
}

/// The needed tensors, by slot.
#[derive(Debug)]
pub(super) struct Tensors(Vec<Tensor>);

impl std::ops::Index<Slot> for Tensors {
    type Output = Tensor;

    fn index(&self, slot: Slot) -> &Tensor {
        &self.0[slot.0]
    }
}
