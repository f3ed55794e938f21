//! Transfers between host and device, as sessions make them: through mapped staging buffers.

use std::time::Instant;

use super::lab::Lab;
use super::memory::in_mib;
use super::pace::Spreads;
use super::{Probe, Stop, check};
use crate::error::Result;
use crate::probe::{Quantity, Spread};

const FEW: u64 = 4096;

impl Probe<'_> {
    pub(super) fn transfers(&mut self, lab: &Lab) -> Result<()> {
        let many = lab.binding_size(if self.options.quick { 1 << 22 } else { 1 << 24 });
        let samples = if self.options.quick { 3 } else { 15 };
        let figures = [
            (Quantity::UploadLatency, FEW, true),
            (Quantity::UploadBandwidth, many, true),
            (Quantity::ReadBackLatency, FEW, false),
            (Quantity::ReadBackBandwidth, many, false),
        ];
        for (quantity, bytes, upload) in figures {
            let case = format!("of {}", in_mib(bytes));
            self.figure(lab, quantity, &case, &[("bytes", bytes)], |lab, _| {
                let path = Path::new(lab, bytes)?;
                path.check(lab)?;
                let mut values = Vec::new();
                for _ in 0..samples {
                    let seconds = if upload { path.upload(lab, 1)? } else { path.fetch(lab)?.0 };
                    #[expect(clippy::cast_precision_loss, reason = "sizes of buffers")]
                    let rate = bytes as f64 / seconds / 1e9;
                    values.push(if quantity.is_rate() { rate } else { seconds * 1e6 });
                }
                // Copies are outside of passes, which timestamps are of.
                Ok::<Spreads, Stop>([None, Spread::of(values)])
            })?;
        }
        Ok(())
    }
}

/// A device buffer with a staging buffer each way.
struct Path {
    bytes: u64,
    there: wgpu::Buffer,
    upload: wgpu::Buffer,
    back: wgpu::Buffer,
}

impl Path {
    fn new(lab: &Lab, bytes: u64) -> Result<Self> {
        use wgpu::BufferUsages as Usage;
        let path = Self {
            bytes,
            there: lab.storage(bytes)?,
            upload: lab.buffer(bytes, Usage::MAP_WRITE | Usage::COPY_SRC, true)?,
            back: lab.buffer(bytes, Usage::MAP_READ | Usage::COPY_DST, false)?,
        };
        // The pages are there before anything is timed.
        path.upload(lab, 0)?;
        path.fetch(lab)?;
        Ok(path)
    }

    fn word(seed: u32, i: u32) -> u32 {
        (i ^ seed).wrapping_mul(2_654_435_761)
    }

    /// What was written is what comes back.
    fn check(&self, lab: &Lab) -> Result<(), Stop> {
        for seed in [1, 2] {
            self.upload(lab, seed)?;
            let (_, words) = self.fetch(lab)?;
            check(words.into_iter().zip((0..).map(|i| Self::word(seed, i))))?;
        }
        Ok(())
    }

    /// Copies the words of `seed` into the mapped buffer and waits until they are on the device;
    /// gives the seconds. The buffer is mapped anew afterwards.
    fn upload(&self, lab: &Lab, seed: u32) -> Result<f64> {
        let count = u32::try_from(self.bytes / 4).expect("buffers of probes are small");
        let words: Vec<u32> = (0..count).map(|i| Self::word(seed, i)).collect();
        let bytes = bytemuck::cast_slice(&words);
        let began = Instant::now();
        {
            let range = self.upload.get_mapped_range_mut(..self.bytes);
            let mut view = range.map_err(|e| lab.failed(&e.to_string()))?;
            view.copy_from_slice(bytes);
        }
        self.upload.unmap();
        let mut encoder = lab.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.upload, 0, &self.there, 0, self.bytes);
        let submission = lab.queue.submit([encoder.finish()]);
        lab.wait(Some(submission))?;
        let seconds = began.elapsed().as_secs_f64();
        lab.map(&self.upload, wgpu::MapMode::Write)?;
        Ok(seconds)
    }

    /// Fetches the buffer; gives the seconds until the words are the host's own.
    fn fetch(&self, lab: &Lab) -> Result<(f64, Vec<u32>)> {
        let began = Instant::now();
        let mut encoder = lab.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.there, 0, &self.back, 0, self.bytes);
        lab.queue.submit([encoder.finish()]);
        let words = lab.mapped(&self.back, self.bytes)?;
        Ok((began.elapsed().as_secs_f64(), words))
    }
}
