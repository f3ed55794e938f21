//! What happens within workgroups and subgroups: shared memory, barriers, sums.

use super::lab::Lab;
use super::pace::{Pace, Spreads};
use super::{Probe, Stop, check, share};
use crate::error::Result;
use crate::probe::Quantity;

const BARRIER_SIZES: [u32; 3] = [64, 256, 1024];
/// Invocations of the kernel for subgroups.
const SUMMING: u32 = 128;
const LANES: u32 = 256;

pub(super) fn memory_text() -> String {
    include_str!("../../../shaders/probe/workgroup_memory.wgsl").to_owned()
}

pub(super) fn barrier_text(lanes: u32) -> String {
    format!("const LANES = {lanes}u;\n{}", include_str!("../../../shaders/probe/barrier.wgsl"))
}

pub(super) fn subgroup_text() -> String {
    include_str!("../../../shaders/probe/subgroup.wgsl").to_owned()
}

impl Probe<'_> {
    pub(super) fn workgroup_memory(&mut self, lab: &Lab) -> Result<()> {
        self.figure(lab, Quantity::WorkgroupMemoryBandwidth, "", &[], memory)
    }

    pub(super) fn barriers(&mut self, lab: &Lab) -> Result<()> {
        let most = lab.limits.max_compute_invocations_per_workgroup;
        for lanes in BARRIER_SIZES {
            let case = format!("{lanes} invocations");
            let parameters = [("invocations", u64::from(lanes))];
            self.figure(lab, Quantity::BarrierCost, &case, &parameters, |lab, pace| {
                if lanes > most {
                    return Err(too_many(most));
                }
                barrier(lab, pace, lanes)
            })?;
        }
        Ok(())
    }

    pub(super) fn subgroups(&mut self) -> Result<()> {
        let quantity = Quantity::SubgroupReductionCost;
        if !self.has(wgpu::Features::SUBGROUP) {
            self.missing(quantity, "", "the adapter has no subgroups");
            return Ok(());
        }
        let [low, high] = self.description.subgroup_sizes;
        let case =
            if low == high { format!("{low} lanes") } else { format!("{low} to {high} lanes") };
        match self.open(wgpu::Features::IMMEDIATES | wgpu::Features::SUBGROUP) {
            Ok(lab) => self.figure(&lab, quantity, &case, &[("lanes", high.into())], subgroup),
            Err(error) => {
                self.missing(quantity, &case, error.to_string());
                Ok(())
            }
        }
    }
}

pub(super) fn too_many(most: u32) -> Stop {
    Stop::NotMeasured(format!("the adapter has {most} invocations a workgroup at most"))
}

fn memory(lab: &Lab, pace: &Pace) -> Result<Spreads, Stop> {
    let kernel = lab.kernel("workgroup_memory", memory_text())?;
    let (most, _) = share(lab, u32::MAX);
    let results = lab.storage(4 * u64::from(most * LANES))?;
    let bound = lab.bind(&kernel, true, &[(2, &results)])?;

    let rounds = 37;
    lab.run(&bound, [rounds, 0, 0, 0], [2, 1], 1)?;
    let sums = lab.words(&results, 0, 2 * u64::from(LANES))?;
    let right = |lane: u32| {
        let places = (0..rounds).flat_map(|r| (0..4).map(move |i| (lane + 257 * r + 64 * i) & 511));
        let words =
            places.flat_map(|at| (4 * at..4 * at + 4).map(|w| w.wrapping_mul(2_654_435_761)));
        words.fold(0, u32::wrapping_add)
    };
    check(sums.into_iter().zip((0..2 * LANES).map(|i| right(i % LANES))))?;

    let timing = pace.measure(1 << 24, |scale| {
        let (workgroups, rounds) = share(lab, scale);
        lab.run(&bound, [rounds, 0, 0, 0], [workgroups, 1], 1)
    })?;
    let (workgroups, rounds) = share(lab, timing.scale);
    let invocations = f64::from(workgroups) * f64::from(LANES);
    Ok(timing.rates(invocations * f64::from(rounds) * 4.0 * 16.0))
}

/// One workgroup: what a step waits for, not what many hide.
fn barrier(lab: &Lab, pace: &Pace, lanes: u32) -> Result<Spreads, Stop> {
    let kernel = lab.kernel("barrier", barrier_text(lanes))?;
    let results = lab.storage(4 * u64::from(lanes))?;
    let bound = lab.bind(&kernel, true, &[(2, &results)])?;
    let run = |rounds| lab.run(&bound, [rounds, 0, 0, 0], [1, 1], 1);

    let rounds = 13;
    run(rounds)?;
    let words = lab.words(&results, 0, lanes.into())?;
    check(words.into_iter().zip((0..lanes).map(|i| (i + rounds) % lanes + rounds)))?;

    let timing = pace.measure(1 << 22, run)?;
    Ok(timing.times(timing.scale.into(), 1e9))
}

fn subgroup(lab: &Lab, pace: &Pace) -> Result<Spreads, Stop> {
    let kernel = lab.kernel("subgroup", subgroup_text())?;
    let results = lab.storage(16 * u64::from(SUMMING))?;
    let bound = lab.bind(&kernel, true, &[(2, &results)])?;
    let run = |rounds| lab.run(&bound, [rounds, 0, 0, 0], [1, 1], 1);

    let rounds = 11;
    run(rounds)?;
    let words = lab.words(&results, 0, 4 * u64::from(SUMMING))?;
    let sizes = self::sizes(lab);
    for cell in words.chunks_exact(4) {
        let (size, place) = (cell[1], cell[2]);
        if !sizes.contains(&size) || place >= size {
            return Err(Stop::Wrong(format!(
                "an invocation is in place {place} of a subgroup of {size}, {} to {} lanes are \
                 right",
                sizes.start(),
                sizes.end()
            )));
        }
        // The places add up to this in every round.
        let places = size * (size - 1) / 2;
        let sum =
            (1..rounds).fold(places, |sum: u32, _| sum.wrapping_mul(size).wrapping_add(places));
        check([(cell[0], sum.wrapping_add(place))])?;
    }

    let timing = pace.measure(1 << 22, run)?;
    Ok(timing.times(timing.scale.into(), 1e9))
}

fn sizes(lab: &Lab) -> std::ops::RangeInclusive<u32> {
    let [low, high] = lab.description.subgroup_sizes;
    low..=high
}
