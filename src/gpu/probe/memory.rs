//! Streams of device memory and of working sets that fit caches.

use super::lab::{Kernel, Lab};
use super::pace::{Pace, Spreads};
use super::{Probe, Stop, check};
use crate::error::Result;
use crate::probe::Quantity;

const LANES: u32 = 256;
/// Reads or copies of an invocation's round.
const UNROLLED: u32 = 4;

pub(super) const TEXTS: [(&str, &str); 3] = [
    ("fill", include_str!("../../../shaders/probe/fill.wgsl")),
    ("read", include_str!("../../../shaders/probe/read.wgsl")),
    ("copy", include_str!("../../../shaders/probe/copy.wgsl")),
];

/// What a stream needs.
struct Streams {
    fill: Kernel,
    read: Kernel,
    copy: Kernel,
    source: wgpu::Buffer,
    target: wgpu::Buffer,
    sums: wgpu::Buffer,
    /// Workgroups of a read.
    workgroups: u32,
    /// Elements of 16 bytes that the source has.
    elements: u32,
}

impl Probe<'_> {
    pub(super) fn bandwidths(&mut self, lab: &Lab) -> Result<()> {
        let wanted: &[u64] = match (lab.is_software(), self.options.quick) {
            (true, true) => &[1 << 20, 1 << 24],
            (true, false) => &[1 << 18, 1 << 20, 1 << 22, 1 << 26],
            (false, true) => &[1 << 22, 1 << 27],
            (false, false) => &[1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 29],
        };
        let mut sizes: Vec<u64> = wanted.iter().map(|bytes| lab.binding_size(*bytes)).collect();
        sizes.dedup();
        let largest = sizes[sizes.len() - 1];
        let mut streams = None;
        for bytes in &sizes {
            let case = format!("of {}", in_mib(*bytes));
            let parameters = [("bytes", *bytes)];
            self.figure(lab, Quantity::ReadBandwidth, &case, &parameters, |lab, pace| {
                if streams.is_none() {
                    streams = Some(Streams::new(lab, largest)?);
                }
                let streams = streams.as_ref().expect("made above");
                streams.read(lab, pace, elements(*bytes))
            })?;
        }
        // The copies' bytes are those of both sides.
        let small = (largest / 8).min(1 << 21);
        for bytes in [small, largest] {
            let case = format!("of {}", in_mib(2 * bytes));
            let parameters = [("bytes", 2 * bytes)];
            self.figure(
                lab,
                Quantity::CopyBandwidth,
                &case,
                &parameters,
                |lab, pace| match &streams {
                    Some(streams) => streams.copy(lab, pace, elements(bytes)),
                    None => Err(Stop::NotMeasured("there are no buffers for it".to_owned())),
                },
            )?;
        }
        Ok(())
    }
}

/// Elements that a dispatch moves before anything is known of the device's speed: a slow one must
/// meet no watchdog.
const PIECE: u32 = (32 << 20) / 16;

fn elements(bytes: u64) -> u32 {
    u32::try_from(bytes / 16).expect("buffers of probes are small")
}

pub(super) fn in_mib(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mib => format!("{mib} MiB"),
    }
}

/// The word that `fill` writes at `index`.
fn word(index: u32) -> u32 {
    index.wrapping_mul(2_654_435_761)
}

impl Streams {
    fn new(lab: &Lab, bytes: u64) -> Result<Self, Stop> {
        let [fill, read, copy] = TEXTS.map(|(name, text)| lab.kernel(name, text.to_owned()));
        let workgroups = if lab.is_software() { 64 } else { 2048 };
        let made = Self {
            fill: fill?,
            read: read?,
            copy: copy?,
            source: lab.storage(bytes)?,
            target: lab.storage(bytes)?,
            sums: lab.storage(4 * u64::from(workgroups * LANES))?,
            workgroups,
            elements: elements(bytes),
        };
        let grid = (made.elements / LANES).clamp(1, workgroups);
        let stride = grid * LANES;
        let bound = lab.bind(&made.fill, true, &[(2, &made.source)])?;
        let rounds = (PIECE / stride).max(1);
        for first in (0..made.elements).step_by((rounds * stride) as usize) {
            let rounds = rounds.min((made.elements - first).div_ceil(stride));
            lab.run(&bound, [rounds, made.elements - 1, stride, first], [grid, 1], 1)?;
        }
        made.check_words(lab, &made.source, made.elements)?;
        Ok(made)
    }

    /// Looks at both ends and the middle of a filled buffer.
    fn check_words(&self, lab: &Lab, buffer: &wgpu::Buffer, elements: u32) -> Result<(), Stop> {
        let few = 64.min(elements);
        for first in [0, (elements - few) / 2, elements - few] {
            let words = lab.words(buffer, 16 * u64::from(first), 4 * u64::from(few))?;
            check(words.into_iter().zip((4 * first..).map(word)))?;
        }
        Ok(())
    }

    fn read(&self, lab: &Lab, pace: &Pace, elements: u32) -> Result<Spreads, Stop> {
        let bound = lab.bind(&self.read, true, &[(1, &self.source), (2, &self.sums)])?;
        let grid = self.workgroups * LANES;
        // A large set is streamed from end to end. In a small one an invocation moves on by an odd
        // number of cache lines, so that it does not read what it read before.
        let step = if elements > grid { grid } else { grid + elements / 4 + 8 };
        let mask = elements - 1;
        let run = |rounds| lab.run(&bound, [rounds, mask, step, 0], [self.workgroups, 1], 1);

        let rounds = 3;
        run(rounds)?;
        let sums = lab.words(&self.sums, 0, u64::from(grid))?;
        let right = |i: u32| {
            let places =
                (0..UNROLLED * rounds).map(|r| i.wrapping_add(r.wrapping_mul(step)) & mask);
            let words = places.flat_map(|at| (4 * at..4 * at + 4).map(word));
            words.fold(0, u32::wrapping_add)
        };
        check(sums.into_iter().zip((0..grid).map(right)))?;

        let timing = pace.measure(1 << 20, run)?;
        let reads = f64::from(grid) * f64::from(UNROLLED) * f64::from(timing.scale);
        Ok(timing.rates(16.0 * reads))
    }

    fn copy(&self, lab: &Lab, pace: &Pace, elements: u32) -> Result<Spreads, Stop> {
        let bound = lab.bind(&self.copy, true, &[(1, &self.source), (2, &self.target)])?;
        let workgroups = (elements / LANES / UNROLLED).clamp(1, self.workgroups);
        let step = workgroups * LANES;
        let run = |rounds| lab.run(&bound, [rounds, elements - 1, step, 0], [workgroups, 1], 1);

        // What another size left must not pass for this one's.
        let mut encoder =
            lab.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&self.target, 0, None);
        lab.queue.submit([encoder.finish()]);
        let rounds = elements.min(PIECE).div_ceil(UNROLLED * step);
        run(rounds)?;
        self.check_words(lab, &self.target, elements.min(rounds * UNROLLED * step))?;

        let timing = pace.measure(1 << 20, run)?;
        let copies = f64::from(step) * f64::from(UNROLLED) * f64::from(timing.scale);
        Ok(timing.rates(32.0 * copies))
    }
}
