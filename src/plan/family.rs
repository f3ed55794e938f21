//! Which kernels compute the steps.

use std::fmt;

use super::{Capabilities, PlanOptions, resident};
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::shape::SequenceShape;

/// How the steps of a network are computed on a GPU. The last bits of a result may depend on it: a
/// session keeps one family for all its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelFamily {
    /// One dispatch a step, two for reset-before; runs everything.
    Step,
    /// One dispatch a chunk of steps: a workgroup keeps the states of its rows.
    Sequence,
}

impl fmt::Display for KernelFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Step => "step",
            Self::Sequence => "sequence",
        })
    }
}

/// A family, and why it is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FamilyChoice {
    pub(crate) family: KernelFamily,
    pub(crate) why: &'static str,
}

impl FamilyChoice {
    /// The family that `options` force, else the table's, for runs of up to `shape`.
    pub(crate) fn choose(
        config: &GruConfig,
        shape: SequenceShape,
        capabilities: &Capabilities,
        options: &PlanOptions,
    ) -> Result<Self> {
        let obstacle = resident::choose(config, shape.batch, capabilities, options).err();
        match (options.family, obstacle) {
            (Some(KernelFamily::Sequence), Some(obstacle)) => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("the kernel family 'sequence' cannot run here: {obstacle}"),
            )),
            (Some(family), _) => Ok(Self { family, why: "as asked for" }),
            (None, _) => Ok(Self { family: KernelFamily::Step, why: "it runs everything" }),
        }
    }
}
