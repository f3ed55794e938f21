//! Which kernels compute the steps.

use std::fmt;

use super::{Capabilities, PlanOptions, SoftwareDriver};
use crate::cell::ResetForm;
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{Resident, Sharing};
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
    /// The dispatches of [`Step`](Self::Step), their products by cooperative matrices: inputs and
    /// states are rounded to f16, to nearest even, where they are multiplied, and are infinities
    /// there from 65520 on; sums, gates and carried states are f32. For [`Precision::F16`](crate::Precision::F16), on devices opened with
    /// [`GpuOptions::cooperative_matrices`](crate::GpuOptions::cooperative_matrices). No table
    /// chooses it.
    Matrix,
}

impl KernelFamily {
    /// What says that the family was asked for and cannot run.
    pub(super) fn refused(self, obstacle: &str) -> Error {
        Error::new(
            ErrorKind::InvalidRequest,
            format!("the kernel family '{self}' cannot run here: {obstacle}"),
        )
    }
}

impl fmt::Display for KernelFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Step => "step",
            Self::Sequence => "sequence",
            Self::Matrix => "matrix",
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
    /// The family that `options` force, else the table's, for runs of up to `shape`; `resident` is the
    /// workgroup of the sequence kernels, or why they cannot run.
    pub(crate) fn choose(
        config: &GruConfig,
        shape: SequenceShape,
        capabilities: &Capabilities,
        options: &PlanOptions,
        resident: &Result<Resident, String>,
    ) -> Result<Self> {
        match (options.family, resident) {
            (Some(KernelFamily::Sequence), Err(obstacle)) => {
                Err(KernelFamily::Sequence.refused(obstacle))
            }
            (Some(family), _) => Ok(Self { family, why: "as asked for" }),
            // A wavefront of steps is one of the step kernels.
            (None, Ok(resident)) if options.wavefront != Some(true) => {
                Ok(Self::of_table(resident, config, shape, capabilities))
            }
            (None, _) => Ok(Self { family: KernelFamily::Step, why: "it runs everything" }),
        }
    }

    /// The table. For software adapters it is measured (llvmpipe, SwiftShader). For discrete GPUs it is from a
    /// cost model of one large GPU: weights that stay in registers beat a dispatch a step at
    /// every batch. Elsewhere the step kernels stand until a measurement says otherwise. The
    /// matrix kernels are in no row of it: they round operands, need an experimental feature, and
    /// no GPU has been measured with them.
    ///
    /// On GPUs it does not depend on the shape, so that no bit of a result does.
    fn of_table(
        resident: &Resident,
        config: &GruConfig,
        shape: SequenceShape,
        capabilities: &Capabilities,
    ) -> Self {
        let in_registers = matches!(resident.sharing, Sharing::Units { registers: true, .. });
        let (family, why) = if capabilities.software {
            match (capabilities.software_driver, is_small(config, shape, capabilities)) {
                (SoftwareDriver::SwiftShader, _) => {
                    (KernelFamily::Step, "dispatches are cheap on this adapter")
                }
                (_, true) => (KernelFamily::Sequence, "a step's work is small beside a dispatch"),
                (_, false) => (KernelFamily::Step, "a step's work is large beside a dispatch"),
            }
        } else if in_registers {
            (KernelFamily::Sequence, "a workgroup's registers hold a layer's weights")
        } else if capabilities.integrated {
            (KernelFamily::Step, "how many registers the device has is not known")
        } else {
            (KernelFamily::Step, "a workgroup's registers do not hold a layer's weights")
        };
        Self { family, why }
    }
}

/// Whether a software adapter takes longer to begin the dispatches of several steps than to share
/// their work. By the products of a step of both directions; a reset-before step is two dispatches,
/// and a dispatch of a deep stack's wavefront has more work in it.
fn is_small(config: &GruConfig, shape: SequenceShape, capabilities: &Capabilities) -> bool {
    let (hidden, directions) = (config.hidden_size as u64, config.num_directions() as u64);
    let rows = (shape.batch as u64).saturating_mul(directions);
    let deep = config.num_layers > 2 && directions == 1;
    let (widest, most) = match (capabilities.software_driver, config.reset) {
        (SoftwareDriver::Llvmpipe26, _) if deep => (256, 1 << 16),
        (SoftwareDriver::Llvmpipe26, _) => (256, 6 << 20),
        _ if deep => (128, 1 << 16),
        (_, ResetForm::After) => (128, 3 << 16),
        (_, ResetForm::Before) => (128, 5 << 16),
    };
    let products = hidden.saturating_mul(hidden).saturating_mul(rows);
    shape.steps > 1 && hidden <= widest && rows <= 256 && products < most
}
