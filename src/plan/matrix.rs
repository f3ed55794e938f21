//! The workgroups of the matrix kernels, from sizes and what the device's cooperative matrices are.

use super::{Capabilities, CooperativeMatrices, PlanOptions};
use crate::config::GruConfig;
use crate::kernels::{Tiles, quads};
use crate::precision::Precision;

/// Units of a workgroup, where there are as many and the device can.
const GOOD_UNITS: u32 = 32;
/// Invocations of a workgroup: more may leave too few registers for the sums.
const MOST_INVOCATIONS: u32 = 512;
/// Workgroups that keep a GPU busy: fewer take fewer rows each. From no measurement.
const GOOD_WORKGROUPS: usize = 64;
/// Gates of the widest kernel.
const PLANES: u32 = 3;

/// The workgroups of the two sorts of matrix kernels; both pack weights alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatrixTiles {
    pub(crate) step: Tiles,
    pub(crate) projection: Tiles,
}

/// The workgroups for runs of up to `batch` rows, or what keeps the matrix kernels from running
/// the network. The order of every sum depends on the size of the device's tiles alone.
pub(super) fn choose(
    config: &GruConfig,
    batch: usize,
    capabilities: &Capabilities,
    options: &PlanOptions,
) -> Result<MatrixTiles, String> {
    let Some(CooperativeMatrices { size, subgroup }) = capabilities.cooperative_matrices else {
        return Err("the device was not opened with cooperative matrices".into());
    };
    if options.precision != Precision::F16 {
        return Err(format!(
            "its operands are f16, the precision asked for is {}",
            options.precision
        ));
    }
    if ![8, 16].contains(&size) || !subgroup.is_power_of_two() || subgroup > 128 {
        return Err(format!(
            "cooperative matrices of {size}x{size} in subgroups of {subgroup} are not known"
        ));
    }
    let invocations = capabilities.max_invocations.min(MOST_INVOCATIONS);
    let memory = capabilities.max_workgroup_memory;
    let fits = |tiles: &Tiles| {
        tiles.invocations(PLANES) <= invocations && tiles.workgroup_bytes(PLANES) <= memory
    };
    let units = quads(config.hidden_size).div_ceil(size as usize / 4);
    let good = units.min((GOOD_UNITS / size) as usize).next_power_of_two();
    let shape = |row_tiles, unit_tiles| Tiles { size, subgroup, row_tiles, unit_tiles };
    let widest = [4, 2, 1].into_iter().filter(|n| *n as usize <= good).map(|n| shape(1, n));
    let Some(least) = widest.clone().find(&fits) else {
        let least = shape(1, 1);
        return Err(format!(
            "a workgroup takes {} invocations and {} bytes of memory at least, the device has \
             {invocations} and {memory}",
            least.invocations(PLANES),
            least.workgroup_bytes(PLANES)
        ));
    };
    let deepest = |most: usize| {
        let all = [4, 2, 1].into_iter().filter(|n| *n as usize <= most.max(1));
        all.map(|n| Tiles { row_tiles: n, ..least }).find(&fits).unwrap_or(least)
    };
    // Rounding the operands is shared by a workgroup's units, weights by its rows.
    let rows = batch.div_ceil(size as usize).max(1);
    let blocks = units.div_ceil(least.unit_tiles as usize) * config.num_directions();
    let most = match capabilities.software {
        true => rows.next_power_of_two(),
        false => rows.saturating_mul(blocks) / GOOD_WORKGROUPS,
    };
    Ok(MatrixTiles { step: deepest(most), projection: deepest(usize::MAX) })
}
