//! What the device spends a run on, by its own clock.

use std::time::Duration;

use super::context::GpuContext;
use super::resources::{buffer, scoped};
use super::staging::{Waiting, map};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::Kernel;

/// How long the device worked on each part of a run, from its own timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceTimes {
    /// From the begin of the first kernel to the end of the last, waiting between them included;
    /// copies between them are not, where the device can time copies.
    pub kernels: Duration,
    /// Copies to the device's own memory. `None` where the device cannot time copies.
    pub upload: Option<Duration>,
    /// Gate inputs.
    pub projection: Duration,
    /// Time steps.
    pub recurrence: Duration,
    /// Copies of the results to memory that the host can read. `None` as for `upload`.
    pub read_back: Option<Duration>,
    /// The device waited for the host, between its first command and its last. `None` as for
    /// `upload`.
    pub idle: Option<Duration>,
}

/// What an interval was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    Upload,
    Projection,
    Recurrence,
    ReadBack,
}

impl Activity {
    pub(super) fn of(kernel: Kernel) -> Self {
        match kernel {
            kernel if kernel.is_projection() => Self::Projection,
            _ => Self::Recurrence,
        }
    }

    fn is_copy(self) -> bool {
        matches!(self, Self::Upload | Self::ReadBack)
    }
}

const SET: u32 = wgpu::QUERY_SET_MAX_QUERIES;

/// Intervals of one run: two timestamps each, numbered in the order of recording.
#[derive(Debug)]
pub(super) struct Timer {
    sets: Vec<wgpu::QuerySet>,
    intervals: Vec<Activity>,
    /// A copy interval whose end has not been recorded.
    open: bool,
    /// Whether timestamps can stand between copies.
    copies: bool,
}

impl Timer {
    /// A timer, where the device has timestamps.
    pub(super) fn new(context: &GpuContext) -> Option<Self> {
        let features = context.inner.device.features();
        features.contains(wgpu::Features::TIMESTAMP_QUERY).then(|| Self {
            sets: Vec::new(),
            intervals: Vec::new(),
            open: false,
            copies: features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS),
        })
    }

    /// Begins an interval and gives the set and the first of the two queries in it.
    fn begin(&mut self, context: &GpuContext, activity: Activity) -> Result<(usize, u32)> {
        let per_set = SET as usize / 2;
        let (set, at) = (self.intervals.len() / per_set, self.intervals.len() % per_set);
        if set == self.sets.len() {
            let device = &context.inner.device;
            self.sets.push(scoped(device, "timestamps", || {
                device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("wgru.timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: SET,
                })
            })?);
        }
        self.intervals.push(activity);
        Ok((set, 2 * u32::try_from(at).expect("an index of a set")))
    }

    /// What a compute pass of `activity` is to write.
    pub(super) fn pass(
        &mut self,
        context: &GpuContext,
        activity: Activity,
    ) -> Result<wgpu::ComputePassTimestampWrites<'_>> {
        let (set, first) = self.begin(context, activity)?;
        Ok(wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[set],
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    /// Copies of `activity` follow in `encoder`.
    pub(super) fn copies(
        &mut self,
        context: &GpuContext,
        encoder: &mut wgpu::CommandEncoder,
        activity: Activity,
    ) -> Result<()> {
        if !self.copies || (self.open && self.intervals.last() == Some(&activity)) {
            return Ok(());
        }
        self.end_copies(encoder);
        let (set, first) = self.begin(context, activity)?;
        encoder.write_timestamp(&self.sets[set], first);
        self.open = true;
        Ok(())
    }

    /// No copy follows in `encoder`: a pass begins, or it is submitted.
    pub(super) fn end_copies(&mut self, encoder: &mut wgpu::CommandEncoder) {
        if std::mem::take(&mut self.open) {
            let (last, per_set) = (self.intervals.len() - 1, SET as usize / 2);
            let query = 2 * u32::try_from(last % per_set).expect("an index of a set") + 1;
            encoder.write_timestamp(&self.sets[last / per_set], query);
        }
    }

    /// Reads every timestamp back. `None` where they make no sense.
    pub(super) async fn read(
        self,
        context: &GpuContext,
        waiting: Waiting,
    ) -> Result<Option<DeviceTimes>> {
        if self.intervals.is_empty() {
            return Ok(None);
        }
        let inner = &context.inner;
        let set_bytes = u64::from(SET) * 8;
        let size = set_bytes * self.sets.len() as u64;
        let make = |label: &str, usage: wgpu::BufferUsages| {
            buffer(&inner.device, &inner.counters, label, size, usage, false)
        };
        use wgpu::BufferUsages as Usage;
        let resolved = make("wgru.timestamps", Usage::QUERY_RESOLVE | Usage::COPY_SRC)?;
        let readable = make("wgru.timestamps.read", Usage::MAP_READ | Usage::COPY_DST)?;
        let submission = scoped(&inner.device, "reading timestamps", || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some("wgru.timestamps") };
            let mut encoder = inner.device.create_command_encoder(&descriptor);
            let mut left = 2 * self.intervals.len() as u64;
            for (set, at) in self.sets.iter().zip((0..).step_by(SET as usize * 8)) {
                // Queries that were never written may not be resolved.
                let queries = u32::try_from(left.min(u64::from(SET))).expect("a set's size");
                encoder.resolve_query_set(set, 0..queries, &resolved, at);
                left -= u64::from(queries);
            }
            encoder.copy_buffer_to_buffer(&resolved, 0, &readable, 0, size);
            inner.queue.submit([encoder.finish()])
        })?;
        let mapping = map(&inner.device, &readable, wgpu::MapMode::Read);
        context.wait(&submission, waiting).await?;
        context.mapped(mapping).await?;
        let view = readable
            .get_mapped_range(..)
            .map_err(|e| Error::new(ErrorKind::DeviceLost, format!("mapping timestamps: {e}")))?;
        let ticks: &[u64] = bytemuck::cast_slice(&view);
        let period = f64::from(inner.queue.get_timestamp_period());
        Ok(summary(&self.intervals, ticks, period, self.copies))
    }
}

/// Adds up intervals, given as pairs of `ticks` of `period` nanoseconds.
fn summary(
    intervals: &[Activity],
    ticks: &[u64],
    period: f64,
    copies: bool,
) -> Option<DeviceTimes> {
    #[expect(clippy::cast_precision_loss, reason = "a run is shorter than 2^53 ticks")]
    let time = |ticks: u64| {
        Duration::try_from_secs_f64(ticks as f64 * period * 1e-9).ok().filter(|_| period > 0.0)
    };
    let (mut sums, mut all, mut kernels) = ([0u64; 4], None, None);
    for (activity, pair) in intervals.iter().zip(ticks.chunks_exact(2)) {
        let (begin, end) = (pair[0], pair[1]);
        sums[*activity as usize] += end.checked_sub(begin)?;
        let widen = |range: &mut Option<(u64, u64)>| {
            let (first, last) = range.unwrap_or((begin, end));
            *range = Some((first.min(begin), last.max(end)));
        };
        widen(&mut all);
        if !activity.is_copy() {
            widen(&mut kernels);
        }
    }
    let span = |range: Option<(u64, u64)>| range.map_or(0, |(first, last)| last - first);
    let copying = |activity: Activity| match copies {
        true => Some(time(sums[activity as usize])),
        false => None,
    };
    let busy = sums.iter().sum::<u64>();
    let (first, last) = kernels.unwrap_or_default();
    let between: u64 = (intervals.iter().zip(ticks.chunks_exact(2)))
        .filter(|(activity, pair)| activity.is_copy() && pair[0] >= first && pair[1] <= last)
        .map(|(_, pair)| pair[1] - pair[0])
        .sum();
    Some(DeviceTimes {
        kernels: time(span(kernels).saturating_sub(between))?,
        upload: copying(Activity::Upload).map_or(Some(None), |t| t.map(Some))?,
        projection: time(sums[Activity::Projection as usize])?,
        recurrence: time(sums[Activity::Recurrence as usize])?,
        read_back: copying(Activity::ReadBack).map_or(Some(None), |t| t.map(Some))?,
        // Neighbouring intervals may overlap by what the device pipelines.
        idle: if copies { Some(time(span(all).saturating_sub(busy))?) } else { None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn intervals_add_up() {
        use Activity::{Projection, ReadBack, Recurrence, Upload};
        let intervals = [Upload, Projection, Recurrence, ReadBack, Recurrence];
        // The device waits from 60 to 100.
        let ticks = [10, 15, 15, 20, 20, 50, 50, 60, 100, 130, 0, 0];
        let times = summary(&intervals, &ticks, 1e6, true).unwrap();
        assert_eq!(times.kernels, MS(105));
        assert_eq!((times.upload, times.read_back), (Some(MS(5)), Some(MS(10))));
        assert_eq!((times.projection, times.recurrence), (MS(5), MS(60)));
        assert_eq!(times.idle, Some(MS(40)));
        let without = summary(&[Projection], &[7, 9], 1e6, false).unwrap();
        assert_eq!((without.upload, without.read_back, without.idle), (None, None, None));
        assert_eq!(without.kernels, MS(2));
    }

    #[test]
    fn clocks_that_run_backwards_tell_nothing() {
        assert_eq!(summary(&[Activity::Upload], &[9, 7], 1.0, true), None);
        assert_eq!(summary(&[Activity::Upload], &[7, 9], 0.0, true), None);
    }
}
