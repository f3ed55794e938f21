//! Peak rates of multiply-adds.

use super::lab::Lab;
use super::pace::{Pace, Spreads};
use super::{Probe, Stop, check, share};
use crate::error::Result;
use crate::probe::Quantity;

/// Operations of an invocation's round: 16 multiply-adds of two vec4s.
const OPERATIONS: f64 = 16.0 * 2.0 * 4.0 * 2.0;
const LANES: u32 = 256;

pub(super) fn text(half: bool) -> String {
    let header = if half { "enable f16;\nalias Real = f16;\n" } else { "alias Real = f32;\n" };
    format!("{header}{}", include_str!("../../../shaders/probe/fma.wgsl"))
}

impl Probe<'_> {
    pub(super) fn f32_rate(&mut self, lab: &Lab) -> Result<()> {
        self.figure(lab, Quantity::F32Rate, "", &[], |lab, pace| rate(lab, pace, false))
    }

    pub(super) fn f16_rate(&mut self) -> Result<()> {
        if !self.has(wgpu::Features::SHADER_F16) {
            self.missing(Quantity::F16Rate, "", "the adapter has no f16 in kernels");
            return Ok(());
        }
        match self.open(wgpu::Features::IMMEDIATES | wgpu::Features::SHADER_F16) {
            Ok(lab) => {
                self.figure(&lab, Quantity::F16Rate, "", &[], |lab, pace| rate(lab, pace, true))
            }
            Err(error) => {
                self.missing(Quantity::F16Rate, "", error.to_string());
                Ok(())
            }
        }
    }
}

fn rate(lab: &Lab, pace: &Pace, half: bool) -> Result<Spreads, Stop> {
    let kernel = lab.kernel(if half { "fma_f16" } else { "fma_f32" }, text(half))?;
    let factors = |up: f32, down: f32| lab.filled(&[1.0_f32, up, down].map(|value| [value; 4]));
    let (most, _) = share(lab, u32::MAX);
    let results = lab.storage(16 * u64::from(most * LANES))?;

    // Every sum is exact, in f16 too.
    let (rounds, up, down) = (21_u8, 1.0, -0.5);
    let changing = factors(up, down)?;
    let bound = lab.bind(&kernel, true, &[(1, &changing), (2, &results)])?;
    lab.run(&bound, [rounds.into(), 0, 0, 0], [2, 1], 1)?;
    let words = lab.words(&results, 0, 4 * 2 * u64::from(LANES))?;
    let right = (0..2 * LANES).flat_map(|i| {
        let grown = 2.0 * 8.0 * f32::from(rounds) * (up + down);
        [2.0 * f32::from(u8::try_from(i % 32).expect("below 32")) + 1.0 + grown; 4]
    });
    check(words.iter().map(|bits| f32::from_bits(*bits)).zip(right))?;

    // What goes up comes down: no number of rounds leaves the range.
    let steady = factors(1.0, -1.0)?;
    let bound = lab.bind(&kernel, true, &[(1, &steady), (2, &results)])?;
    let timing = pace.measure(1 << 24, |scale| {
        let (workgroups, rounds) = share(lab, scale);
        lab.run(&bound, [rounds, 0, 0, 0], [workgroups, 1], 1)
    })?;
    let (workgroups, rounds) = share(lab, timing.scale);
    let invocations = f64::from(workgroups) * f64::from(LANES);
    Ok(timing.rates(invocations * f64::from(rounds) * OPERATIONS))
}
