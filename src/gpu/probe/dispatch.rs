//! Dispatches that need each other, and what the host pays to record them.

use super::lab::{Lab, Run};
use super::pace::Timing;
use super::{Probe, Stop, check};
use crate::error::Result;
use crate::probe::{Quantity, Spread};

/// Dispatches of a chain.
const CHAIN: u32 = 2000;
const QUICK_CHAIN: u32 = 250;
const WORKGROUPS: [u32; 3] = [1, 16, 132];
const LANES: u32 = 32;
/// Longest chain in seconds: a pass is one submission, which a watchdog sees as one.
const LONGEST: f64 = 0.25;

pub(super) fn text() -> String {
    include_str!("../../../shaders/probe/chain.wgsl").to_owned()
}

impl Probe<'_> {
    pub(super) fn dispatches(&mut self, lab: &Lab) -> Result<()> {
        let mut first: Option<(Timing, u32)> = None;
        let chain = if self.options.quick { QUICK_CHAIN } else { CHAIN };
        for workgroups in WORKGROUPS {
            let case = match workgroups {
                1 => "1 workgroup".to_owned(),
                n => format!("{n} workgroups"),
            };
            let parameters = [("workgroups", u64::from(workgroups)), ("dispatches", chain.into())];
            let mut taken = None;
            self.figure(lab, Quantity::DispatchLatency, &case, &parameters, |lab, pace| {
                let (timing, dispatches) = time(lab, workgroups, chain, pace.samples)?;
                let spreads = timing.times(dispatches.into(), 1e6);
                taken = Some((timing, dispatches));
                Ok(spreads)
            })?;
            // A slow device is given shorter chains.
            if let (Some((_, dispatches)), Some(figure)) = (&taken, self.figures.last_mut()) {
                figure.parameters.insert("dispatches".to_owned(), u64::from(*dispatches));
            }
            first = first.or(taken);
        }
        let of_host = |seconds: fn(&Run) -> f64, per_dispatch: bool| {
            let (timing, dispatches) = first.as_ref()?;
            let count = if per_dispatch { f64::from(*dispatches) } else { 1.0 };
            Spread::of(timing.runs.iter().map(|r| seconds(r) * 1e6 / count).collect())
        };
        let costs = [
            (Quantity::RecordCost, of_host(|r| r.record, true)),
            (Quantity::SubmitCost, of_host(|r| r.submit, false)),
        ];
        for (quantity, host) in costs {
            self.figure(lab, quantity, "", &[], |_, _| match host {
                Some(host) => Ok([None, Some(host)]),
                None => Err(Stop::NotMeasured("the chain of dispatches has no figure".to_owned())),
            })?;
        }
        Ok(())
    }
}

/// Chains of dispatches, `chain` long or what the device does in time; gives their length too.
fn time(lab: &Lab, workgroups: u32, chain: u32, samples: usize) -> Result<(Timing, u32), Stop> {
    let cells = u64::from(workgroups * LANES);
    let kernel = lab.kernel("chain", text())?;
    let buffer = lab.storage(16 * cells)?;
    let bound = lab.bind(&kernel, false, &[(1, &buffer)])?;
    let start: Vec<[u32; 4]> = (0..workgroups * LANES).map(|i| [i, 0, 0, 0]).collect();
    let restart = || lab.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&start));
    let run = |dispatches| lab.run(&bound, [0; 4], [workgroups, 1], dispatches);

    restart();
    let dispatches = 101;
    run(dispatches)?;
    let words = lab.words(&buffer, 0, 4 * cells)?;
    let right = |i: u32| {
        // Each dispatch looked one workgroup further.
        let origin = (i + dispatches * LANES) % (workgroups * LANES);
        (0..dispatches).fold(origin, |v, _| v.wrapping_mul(5).wrapping_add(1))
    };
    // An odd number of dispatches ends in the second component.
    let got = words.chunks_exact(4).map(|cell| [cell[1], cell[2]]);
    check(got.zip((0..workgroups * LANES).map(|i| [right(i), dispatches])))?;

    let each = run(dispatches)?.host / f64::from(dispatches);
    let mut length = chain;
    while length > 100 && f64::from(length) * each > LONGEST {
        length /= 2;
    }
    let least = if samples > 3 { 5 } else { 3 };
    let mut runs = Vec::with_capacity(least);
    for _ in 0..least {
        restart();
        // The upload is not a part of the chain.
        lab.wait(Some(lab.queue.submit([])))?;
        runs.push(run(length)?);
    }
    Ok((Timing { scale: 1, runs }, length))
}
