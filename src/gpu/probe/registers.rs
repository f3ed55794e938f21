//! How many weights an invocation can hold over a long loop: past the registers the rate falls off
//! a cliff.

use std::fmt::Write;

use super::lab::Lab;
use super::pace::{Pace, Spreads};
use super::workgroup::too_many;
use super::{Probe, Stop, check, share};
use crate::error::Result;
use crate::probe::Quantity;

const INVOCATIONS: [u32; 2] = [256, 512];
const VALUES: [u32; 5] = [32, 64, 96, 128, 192];
/// Sets of weights: an invocation holds the one of its index.
const SETS: u32 = 4;
/// Sums that do not wait for each other.
const CHAINS: [&str; 4] = ["a", "b", "c", "d"];

/// The kernel with `values` weights an invocation.
pub(super) fn text(lanes: u32, values: u32) -> String {
    let quads = values / 4;
    let mut out = format!("const LANES = {lanes}u;\nconst QUADS = {quads}u;\n");
    out.push_str("fn resident_rounds(first: u32, rounds: u32, input: vec4<f32>) -> vec4<f32> {\n");
    for i in 0..quads {
        let _ = writeln!(out, "    let w{i} = weights[first + {i}u];");
    }
    out.push_str("    var state = vec4<f32>();\n");
    out.push_str("    for (var round = 0u; round < rounds; round++) {\n");
    for chain in CHAINS {
        let _ = writeln!(out, "        var {chain} = state;");
    }
    for (i, chain) in (0..quads).zip(CHAINS.iter().cycle()) {
        let _ = writeln!(out, "        {chain} = fma({chain}, w{i}, input);");
    }
    out.push_str("        state += ((a - b) + (c - d)) + input;\n    }\n");
    out.push_str("    return state;\n}\n");
    out + include_str!("../../../shaders/probe/registers.wgsl")
}

impl Probe<'_> {
    pub(super) fn registers(&mut self, lab: &Lab) -> Result<()> {
        let most = lab.limits.max_compute_invocations_per_workgroup;
        let values: &[u32] = if self.options.quick { &[32, 192] } else { &VALUES };
        for lanes in INVOCATIONS {
            for values in values {
                let case = format!("{values} values, {lanes} invocations");
                let parameters =
                    [("invocations", u64::from(lanes)), ("values", u64::from(*values))];
                self.figure(lab, Quantity::ResidentRate, &case, &parameters, |lab, pace| {
                    if lanes > most {
                        return Err(too_many(most));
                    }
                    resident(lab, pace, lanes, *values)
                })?;
            }
        }
        Ok(())
    }
}

/// The weight of a quad, the same in its components: 1 or -1, in an order that brings a chain back
/// to where it began, but for a multiple of the input.
fn weight(set: u32, quad: u32, quads: u32) -> f32 {
    let (chain, place, length) = (quad % 4, quad / 4, quads / 4);
    let order = match (chain + set) % 2 {
        _ if length < 4 => [-1.0; 4],
        0 => [-1.0, 1.0, 1.0, -1.0],
        _ => [1.0, -1.0, 1.0, -1.0],
    };
    order.get(place as usize).copied().unwrap_or(-1.0)
}

/// The state after so many rounds: integers, exact in f32.
fn right(set: u32, quads: u32, rounds: u8) -> f32 {
    let input = 1.0;
    (0..rounds).fold(0.0_f32, |state, _| {
        let mut chains = [state; 4];
        for quad in 0..quads {
            let sum = &mut chains[quad as usize % 4];
            *sum = *sum * weight(set, quad, quads) + input;
        }
        let [a, b, c, d] = chains;
        state + ((a - b) + (c - d)) + input
    })
}

fn resident(lab: &Lab, pace: &Pace, lanes: u32, values: u32) -> Result<Spreads, Stop> {
    let kernel = lab.kernel("registers", text(lanes, values))?;
    let quads = values / 4;
    let all = (0..SETS).flat_map(|set| (0..quads).map(move |quad| [weight(set, quad, quads); 4]));
    let weights = lab.filled(&all.collect::<Vec<_>>())?;
    let (most, _) = share(lab, u32::MAX);
    let results = lab.storage(16 * u64::from(most * lanes))?;
    let bound = lab.bind(&kernel, true, &[(1, &weights), (2, &results)])?;

    let rounds = 50_u8;
    lab.run(&bound, [rounds.into(), 1, 0, 0], [2, 1], 1)?;
    let words = lab.words(&results, 0, 4 * 2 * u64::from(lanes))?;
    let right: Vec<f32> = (0..SETS).map(|set| right(set, quads, rounds)).collect();
    // Four components an invocation.
    let set = |i: usize| i / 4 % right.len();
    check(words.iter().enumerate().map(|(i, bits)| (f32::from_bits(*bits), right[set(i)])))?;

    let timing = pace.measure(1 << 22, |scale| {
        let (workgroups, rounds) = share(lab, scale);
        lab.run(&bound, [rounds, 1, 0, 0], [workgroups, 1], 1)
    })?;
    let (workgroups, rounds) = share(lab, timing.scale);
    let invocations = f64::from(workgroups) * f64::from(lanes);
    Ok(timing.rates(invocations * f64::from(rounds) * f64::from(values) * 2.0))
}
