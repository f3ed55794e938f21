//! The workgroups of the sequence kernels, from sizes and the class of device.

use super::{Capabilities, PlanOptions};
use crate::cell::ResetForm;
use crate::config::GruConfig;
use crate::kernels::{Kernel, Resident, Sharing, quads};
use crate::precision::Precision;

/// Invocations that a GPU's workgroup takes where it can.
const GOOD_INVOCATIONS: u32 = 256;
const MOST_INVOCATIONS: u32 = 512;
/// Registers that one workgroup may use on a discrete GPU, and those of an invocation that hold
/// weights; what an invocation needs besides. From a cost model of one large GPU.
const REGISTERS: u64 = 64 << 10;
const WEIGHT_REGISTERS: u64 = 192;
const OTHER_REGISTERS: u64 = 48;
/// Workgroups that keep a discrete GPU busy: a larger batch shares workgroups.
const GOOD_WORKGROUPS: usize = 64;

/// The sequence kernel of networks with this reset form.
pub(super) fn kernel(reset: ResetForm) -> Kernel {
    match reset {
        ResetForm::After => Kernel::SequenceAfter,
        ResetForm::Before => Kernel::SequenceBefore,
    }
}

/// The workgroup for runs of up to `batch` rows, or what keeps the sequence kernels from running
/// the network.
///
/// How the products are shared, and so the order of every sum, does not depend on the batch.
pub(super) fn choose(
    config: &GruConfig,
    batch: usize,
    capabilities: &Capabilities,
    options: &PlanOptions,
) -> Result<Resident, String> {
    let c = config;
    let needs = |bytes: u64| {
        let available = capabilities.max_workgroup_memory;
        format!(
            "hidden size {} takes {bytes} bytes of workgroup memory for one row of the batch, the \
             device has {available}",
            c.hidden_size
        )
    };
    let state_bytes = (c.hidden_size as u64).saturating_mul(4);
    let unit_quads = u32::try_from(quads(c.hidden_size.max(1)))
        .ok()
        .filter(|_| state_bytes <= u64::from(capabilities.max_workgroup_memory))
        .ok_or_else(|| needs(state_bytes))?;
    let mut resident = if capabilities.software {
        let block_quads = unit_quads.next_power_of_two().min(8);
        Resident { unit_quads, block_quads, rows: 4, parts: 1, sharing: Sharing::Quads }
    } else {
        shared_by_units(unit_quads, capabilities, options)
    };
    if let Some(obstacle) = beyond_rows(&resident, config, capabilities, options.precision) {
        return Err(obstacle);
    }
    let wanted = if capabilities.software { 4 } else { batch.div_ceil(GOOD_WORKGROUPS).min(8) };
    let wanted = u32::try_from(wanted.min(batch).max(1)).expect("8 at most");
    // Powers of two, the largest that is neither more than wanted nor too large.
    for tile in [8, 4, 2, 1].into_iter().filter(|t| *t <= wanted) {
        resident.rows = tile.min(4);
        resident.parts = tile / resident.rows;
        let bytes = resident.workgroup_bytes(kernel(c.reset));
        if bytes <= u64::from(capabilities.max_workgroup_memory) {
            return Ok(resident);
        }
    }
    Err(needs(resident.workgroup_bytes(kernel(c.reset))))
}

/// What keeps sequence kernels of this workgroup from running the network, whatever its tile.
fn beyond_rows(
    resident: &Resident,
    config: &GruConfig,
    capabilities: &Capabilities,
    precision: Precision,
) -> Option<String> {
    let units = u64::from(resident.unit_quads.next_multiple_of(resident.block_quads));
    let matrix = (48 * precision.weight_bytes() * config.num_directions() as u64)
        .saturating_mul(units.saturating_mul(u64::from(resident.k_quads())));
    let limit = capabilities.max_storage_binding.min(capabilities.max_buffer);
    if matrix > limit {
        return Some(format!(
            "a layer's recurrent weights take {matrix} bytes in one binding, the device binds \
             {limit} at most"
        ));
    }
    let iterations = resident.step_iterations(kernel(config.reset));
    let most = capabilities.loop_iterations();
    (iterations > most).then(|| {
        format!("a step takes {iterations} loop iterations, a dispatch of the device holds {most}")
    })
}

/// What keeps sequence kernels of exactly this workgroup from running the network.
pub(super) fn obstacle(
    resident: &Resident,
    config: &GruConfig,
    capabilities: &Capabilities,
    precision: Precision,
) -> Option<String> {
    let (bytes, most) =
        (resident.workgroup_bytes(kernel(config.reset)), capabilities.max_workgroup_memory);
    if bytes > u64::from(most) {
        return Some(format!("{bytes} bytes of workgroup memory, the device has {most}"));
    }
    let (invocations, most) = (resident.invocations(), capabilities.max_invocations);
    if invocations > most {
        return Some(format!("{invocations} invocations of a workgroup, the device has {most}"));
    }
    beyond_rows(resident, config, capabilities, precision)
}

/// For GPUs: weights in registers where the cost model says that they fit, else streamed.
fn shared_by_units(
    unit_quads: u32,
    capabilities: &Capabilities,
    options: &PlanOptions,
) -> Resident {
    let most = capabilities.max_invocations.min(MOST_INVOCATIONS);
    let units = unit_quads.saturating_mul(4);
    let shape = |block_quads, slices, registers| {
        // None without a quad of k.
        let slices = unit_quads.div_ceil(unit_quads.div_ceil(slices));
        let sharing = Sharing::Units { slices, registers };
        Resident { unit_quads, block_quads, rows: 1, parts: 1, sharing }
    };
    if units > most {
        return shape(most / 4, 1, false);
    }
    let good = (GOOD_INVOCATIONS.min(most) / units).clamp(1, unit_quads);
    if !capabilities.integrated && !capabilities.software {
        let all = (good..=most / units).take_while(|s| *s <= unit_quads);
        for slices in all {
            let held = shape(unit_quads, slices, true);
            let weights = held.weight_registers(options.precision);
            let registers = u64::from(held.invocations()) * (weights + OTHER_REGISTERS);
            if weights <= WEIGHT_REGISTERS && registers <= REGISTERS {
                return held;
            }
        }
    }
    shape(unit_quads, good, false)
}
