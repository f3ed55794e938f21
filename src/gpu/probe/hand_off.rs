//! Hand-offs between workgroups that run at the same time. No interface promises that they do.

use super::lab::Lab;
use super::pace::{Pace, Spreads};
use super::{Probe, Stop, check};
use crate::error::{ErrorKind, Result};
use crate::probe::{Problem, Quantity};

const WORKGROUPS: [u32; 5] = [2, 8, 32, 64, 132];
const WORDS: [u32; 3] = [1, 16, 64];
const ROUNDS: u32 = 256;
const LANES: u32 = 64;
/// Polls of one wait: some ten milliseconds on a GPU, far from a watchdog.
const PATIENCE: u32 = 20_000;

pub(super) fn text(patience: u32) -> String {
    format!(
        "const PATIENCE = {patience}u;\n{}",
        include_str!("../../../shaders/probe/hand_off.wgsl")
    )
}

impl Probe<'_> {
    pub(super) fn hand_offs(&mut self) -> Result<()> {
        let quantity = Quantity::HandOffLatency;
        if !self.options.experimental {
            self.missing(quantity, "", "not asked for: it is experimental");
            return Ok(());
        }
        if self.description.kind == super::adapters::AdapterKind::Software {
            let reason = "a software adapter runs a workgroup to its end before the next begins";
            self.missing(quantity, "", reason);
            return Ok(());
        }
        self.hand_offs_among(&WORKGROUPS, PATIENCE)
    }

    /// Ends at the first case in which a workgroup waited in vain; a device that is lost over it is
    /// a result too, since everything else has been measured.
    pub(super) fn hand_offs_among(&mut self, workgroups: &[u32], patience: u32) -> Result<()> {
        let lab = match self.open(wgpu::Features::IMMEDIATES) {
            Ok(lab) => lab,
            Err(error) => {
                self.missing(Quantity::HandOffLatency, "", error.to_string());
                return Ok(());
            }
        };
        for workgroups in workgroups {
            for words in WORDS {
                let case = format!("{workgroups} workgroups, {words} words each");
                let parameters =
                    [("workgroups", u64::from(*workgroups)), ("words", u64::from(words))];
                self.figure(&lab, Quantity::HandOffLatency, &case, &parameters, |lab, pace| {
                    match exchange(lab, pace, *workgroups, words, patience) {
                        Err(Stop::Failed(e)) if e.kind() == ErrorKind::DeviceLost => {
                            Err(Stop::NotMeasured(e.to_string()))
                        }
                        outcome => outcome,
                    }
                })?;
                let last = self.figures.last().expect("one was added");
                if let Some(Problem::NotMeasured(_) | Problem::WrongResult(_)) = last.problem {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn exchange(
    lab: &Lab,
    pace: &Pace,
    workgroups: u32,
    words: u32,
    patience: u32,
) -> Result<Spreads, Stop> {
    let kernel = lab.kernel("hand_off", text(patience))?;
    let slots = lab.storage(4 * u64::from(ROUNDS * workgroups * words))?;
    let control = lab.storage(8)?;
    let results = lab.storage(4 * u64::from(workgroups * LANES))?;
    let bound = lab.bind(&kernel, true, &[(1, &slots), (2, &control), (3, &results)])?;
    let run = || -> Result<_, Stop> {
        let mut encoder = lab.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&slots, 0, None);
        encoder.clear_buffer(&control, 0, None);
        let cleared = lab.queue.submit([encoder.finish()]);
        lab.wait(Some(cleared))?;
        let run = lab.run(&bound, [ROUNDS, words, workgroups, 0], [workgroups, 1], 1)?;
        let control = lab.words(&control, 0, 2)?;
        match control[1] {
            0 => Ok(run),
            _ => Err(Stop::NotMeasured(format!(
                "a workgroup waited in vain for another ({patience} polls): no progress"
            ))),
        }
    };

    run()?;
    let sums = lab.words(&results, 0, u64::from(workgroups * LANES))?;
    let all = workgroups * words;
    for own in [0, workgroups - 1] {
        let right = |lane: u32| {
            let mut sum = 0_u32;
            for round in 0..ROUNDS {
                for i in (lane..all).step_by(LANES as usize) {
                    let at = round * all + (own * words + words + i) % all;
                    sum = sum.wrapping_add(at.wrapping_mul(2_654_435_761) | 1);
                }
            }
            sum
        };
        let got = &sums[(own * LANES) as usize..][..LANES as usize];
        check(got.iter().copied().zip((0..LANES).map(right)))?;
    }

    let mut runs = Vec::new();
    for _ in 0..pace.samples {
        runs.push(run()?);
    }
    Ok(super::pace::Timing { scale: 1, runs }.times(ROUNDS.into(), 1e6))
}

#[cfg(test)]
impl super::GpuContext {
    /// The hand-offs alone, whatever the adapter.
    pub(crate) fn hand_offs(
        &self,
        workgroups: &[u32],
        patience: u32,
    ) -> Result<Vec<crate::probe::Figure>> {
        let options = crate::probe::ProbeOptions { quick: true, experimental: true, cache: false };
        self.with_probe(&options, &super::Faults::default(), |probe| {
            probe.hand_offs_among(workgroups, patience)?;
            Ok(std::mem::take(&mut probe.figures))
        })
    }
}
