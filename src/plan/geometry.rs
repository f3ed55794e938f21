//! Sizes of workgroups and register blocks, from sizes and the class of device.

use super::family::{FamilyChoice, KernelFamily};
use super::matrix::{self, MatrixTiles};
use super::{Capabilities, PlanOptions, cascade, resident, wavefront};
use crate::config::GruConfig;
use crate::error::Result;
use crate::kernels::{Resident, quads};
use crate::precision::Precision;
use crate::shape::SequenceShape;

/// The kernels of one plan and their constants. A session keeps those of its largest shape, so
/// that the bits of a run do not depend on its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub(crate) family: FamilyChoice,
    /// Whether a dispatch of steps holds a diagonal of layers.
    pub(crate) wavefront: bool,
    pub(crate) precision: Precision,
    /// Quads of units of a workgroup, in every kernel: weights are packed by it.
    pub(crate) lanes: u32,
    /// Rows of an invocation of a step kernel.
    pub(crate) step_rows: u32,
    /// Row blocks of a workgroup of a step kernel.
    pub(crate) step_groups: u32,
    /// Rows of an invocation of the projection.
    pub(crate) projection_rows: u32,
    /// Row blocks of a workgroup of the projection.
    pub(crate) projection_groups: u32,
    /// The workgroup of the sequence kernels, where they compute the steps.
    pub(crate) resident: Option<Resident>,
    /// The workgroups of the matrix kernels, where they compute the steps.
    pub(crate) matrix: Option<MatrixTiles>,
    /// Whether a dispatch of a sequence kernel holds a diagonal of layers.
    pub(crate) cascade: bool,
}

impl Geometry {
    /// Software adapters want small workgroups and deep row blocks (a vector register holds the
    /// lanes, weights are reread a row block); GPUs want whole subgroups along the units.
    pub(crate) fn choose(
        config: &GruConfig,
        shape: SequenceShape,
        capabilities: &Capabilities,
        options: &PlanOptions,
    ) -> Result<Self> {
        super::check_request(config, capabilities, options)?;
        let batch = shape.batch;
        let resident = resident::choose(config, batch, capabilities, options);
        let family = FamilyChoice::choose(config, shape, capabilities, options, &resident)?;
        let resident = resident.ok().filter(|_| family.family == KernelFamily::Sequence);
        let matrix = match family.family {
            KernelFamily::Matrix => {
                let tiles = matrix::choose(config, batch, capabilities, options);
                Some(tiles.map_err(|obstacle| family.family.refused(&obstacle))?)
            }
            KernelFamily::Step | KernelFamily::Sequence => None,
        };
        let widest = if capabilities.software { 8 } else { 32 };
        let lanes = quads(config.hidden_size).next_power_of_two().min(widest);
        let rows = |available: usize, most: u32| -> u32 {
            [8, 4, 2].into_iter().find(|r| *r <= most && *r as usize <= available).unwrap_or(1)
        };
        let groups = |rows: u32, available: usize| -> u32 {
            if capabilities.software {
                return 1;
            }
            let most = capabilities.max_invocations.min(128);
            let room = most / u32::try_from(lanes).unwrap_or(u32::MAX).max(1);
            let blocks = u32::try_from(available.div_ceil(rows as usize)).unwrap_or(u32::MAX);
            room.min(blocks).max(1)
        };
        let step_rows = rows(batch, 4);
        // A chunk's rows are steps x batch: blocks are full but for the shortest runs. Eight rows
        // of three gates exceed a software adapter's registers.
        let projection_rows = if capabilities.software { 4 } else { 8 };
        let mut geometry = Self {
            family,
            wavefront: false,
            precision: options.precision,
            lanes: u32::try_from(lanes).expect("lanes are at most 32"),
            step_rows,
            step_groups: groups(step_rows, batch),
            projection_rows,
            projection_groups: groups(projection_rows, usize::MAX),
            resident,
            matrix,
            cascade: false,
        };
        if let Some(MatrixTiles { step, projection }) = matrix {
            // The product of rows and groups is what a workgroup of the matrix kernels owns; so
            // divided, it suits the exchange of states with slots, too.
            geometry.lanes = step.lanes();
            geometry.step_groups = 4;
            geometry.step_rows = step.rows() / 4;
            geometry.projection_groups = 4;
            geometry.projection_rows = projection.rows() / 4;
        }
        geometry.wavefront = wavefront::choose(config, shape, &geometry, capabilities, options)?;
        geometry.cascade = cascade::choose(config, shape, &geometry, capabilities, options);
        Ok(geometry)
    }

    /// Rows that a workgroup of the kernels that compute the steps shares: they carry their states
    /// on together.
    pub(crate) fn row_block(&self) -> u32 {
        self.resident.map_or(self.step_rows * self.step_groups, |r| r.tile())
    }
}
