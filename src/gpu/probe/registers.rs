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

/// The kernel with `values` weights an invocation.
pub(super) fn text(lanes: u32, values: u32) -> String {
    let quads = values / 4;
    let mut out = format!("const LANES = {lanes}u;\nconst QUADS = {quads}u;\n");
    out.push_str("fn resident_rounds(first: u32, rounds: u32) -> vec4<f32> {\n");
    for i in 0..quads {
        let _ = writeln!(out, "    let w{i} = weights[first + {i}u];");
    }
    out.push_str("    var state = vec4<f32>(1.0);\n");
    out.push_str("    for (var round = 0u; round < rounds; round++) {\n");
    for sum in ["a", "b", "c", "d"] {
        let _ = writeln!(out, "        var {sum} = vec4<f32>();");
    }
    for (i, sum) in (0..quads).zip(["a", "b", "c", "d"].iter().cycle()) {
        let _ = writeln!(out, "        {sum} = fma(w{i}, state, {sum});");
    }
    out.push_str("        state = ((a + b) + (c + d)) + vec4<f32>(1.0);\n    }\n");
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

/// Weights whose sum over an invocation's quads is one in every component.
fn weights(quads: u32) -> Vec<[f32; 4]> {
    let value = |set: u32, quad: u32, c: u32| {
        let few = (5 * set + 3 * quad + 7 * c + quad * quad) % 5;
        f32::from(u8::try_from(few).expect("below 5")) - 2.0
    };
    let mut out = Vec::new();
    for set in 0..SETS {
        let mut left = [1.0; 4];
        for quad in 0..quads - 1 {
            let cell: [f32; 4] = [0, 1, 2, 3].map(|c| value(set, quad, c));
            left.iter_mut().zip(cell).for_each(|(l, w)| *l -= w);
            out.push(cell);
        }
        out.push(left);
    }
    out
}

fn resident(lab: &Lab, pace: &Pace, lanes: u32, values: u32) -> Result<Spreads, Stop> {
    let kernel = lab.kernel("registers", text(lanes, values))?;
    let weights = lab.filled(&weights(values / 4))?;
    let (most, _) = share(lab, u32::MAX);
    let results = lab.storage(16 * u64::from(most * lanes))?;
    let bound = lab.bind(&kernel, true, &[(1, &weights), (2, &results)])?;

    let rounds = 50_u8;
    lab.run(&bound, [rounds.into(), 0, 0, 0], [2, 1], 1)?;
    let words = lab.words(&results, 0, 4 * 2 * u64::from(lanes))?;
    let right = f32::from(rounds) + 1.0;
    check(words.iter().map(|bits| (f32::from_bits(*bits), right)))?;

    let timing = pace.measure(1 << 22, |scale| {
        let (workgroups, rounds) = share(lab, scale);
        lab.run(&bound, [rounds, 0, 0, 0], [workgroups, 1], 1)
    })?;
    let (workgroups, rounds) = share(lab, timing.scale);
    let invocations = f64::from(workgroups) * f64::from(lanes);
    Ok(timing.rates(invocations * f64::from(rounds) * f64::from(values) * 2.0))
}
