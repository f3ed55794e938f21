//! Mappable buffers between host and device, used in turn so that a transfer does not wait for
//! the submission before it.

use std::collections::VecDeque;

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::context::{GpuContext, PATIENCE};
use super::resources::{buffer, scoped, watched};
use crate::error::{Error, ErrorKind, Result};

pub(super) type Mapping = OneshotReceiver<Result<(), wgpu::BufferAsyncError>>;

/// A mapping of all of `buffer`; the receiver resolves once it is there.
pub(super) fn map(device: &wgpu::Device, buffer: &wgpu::Buffer, mode: wgpu::MapMode) -> Mapping {
    let (sender, receiver) = oneshot_channel();
    // Where the call itself fails, so does the mapping.
    watched(device, || {
        buffer.map_async(mode, .., move |result| {
            // The receiver may be gone: its run was dropped.
            let _ = sender.send(result);
        });
    });
    receiver
}

/// How a run waits for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// On the calling thread.
    Blocking,
    /// On the context's polling thread: the caller's executor is free meanwhile.
    Async,
}

impl GpuContext {
    /// Waits until `submission` has run and its mappings are there.
    pub(super) async fn wait(
        &self,
        submission: &wgpu::SubmissionIndex,
        waiting: Waiting,
    ) -> Result<()> {
        #[cfg(test)]
        self.note(super::testing::Event::Awaited(format!("{submission:?}")));
        let poll = wgpu::PollType::Wait {
            submission_index: Some(submission.clone()),
            timeout: Some(PATIENCE),
        };
        let result = match waiting {
            Waiting::Blocking => super::poller::poll(&self.inner.device, poll),
            Waiting::Async => self.poll_elsewhere(poll).await,
        };
        match result {
            Ok(()) => Ok(()),
            Err(e) => Err(Error::new(
                ErrorKind::DeviceLost,
                format!("{}: no answer within {} s: {e}", self.adapter(), PATIENCE.as_secs()),
            )),
        }
    }

    /// Waits for a mapping whose submission has been waited for.
    pub(super) async fn mapped(&self, mapping: Mapping) -> Result<()> {
        match mapping.receive().await {
            Some(Ok(())) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::DeviceLost,
                format!("{}: a buffer could not be mapped: the device was lost", self.adapter()),
            )),
        }
    }
}

/// Upload buffers: each is mapped and being filled, or in flight.
#[derive(Debug)]
pub(super) struct UploadRing {
    size: u64,
    current: wgpu::Buffer,
    used: u64,
    in_flight: VecDeque<(wgpu::Buffer, Mapping, wgpu::SubmissionIndex)>,
}

impl UploadRing {
    pub(super) fn new(context: &GpuContext, size: u64) -> Result<Self> {
        let make = || {
            let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
            let inner = &context.inner;
            buffer(&inner.device, &inner.counters, "wgru.upload", size, usage, true)
        };
        let (current, spare) = (make()?, make()?);
        // The spare one joins the queue as if a submission had used it.
        spare.unmap();
        let mapping = map(&context.inner.device, &spare, wgpu::MapMode::Write);
        let inner = &context.inner;
        let submission = scoped(&inner.device, "a submission", || inner.queue.submit([]))?;
        Ok(Self { size, current, used: 0, in_flight: [(spare, mapping, submission)].into() })
    }

    /// Bytes left in the buffer being filled.
    pub(super) fn room(&self) -> u64 {
        self.size - self.used
    }

    pub(super) fn is_used(&self) -> bool {
        self.used > 0
    }

    /// Puts `bytes` (a multiple of 4) into the buffer being filled; returns where.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(wgpu::Buffer, u64)> {
        let at = self.used;
        let end = at + bytes.len() as u64;
        let mut view = self
            .current
            .get_mapped_range_mut(at..end)
            .map_err(|e| Error::new(ErrorKind::DeviceLost, format!("mapping an upload: {e}")))?;
        view.copy_from_slice(bytes);
        // Mapped ranges begin at multiples of 8.
        self.used = end.next_multiple_of(8);
        Ok((self.current.clone(), at))
    }

    /// Hands the filled buffer over to the device; call right before the submission.
    pub(super) fn seal(&self) {
        self.current.unmap();
    }

    /// Takes the other buffer after the submission that reads the filled one.
    pub(super) async fn rotate(
        &mut self,
        context: &GpuContext,
        submission: &wgpu::SubmissionIndex,
        waiting: Waiting,
    ) -> Result<()> {
        let mapping = map(&context.inner.device, &self.current, wgpu::MapMode::Write);
        self.in_flight.push_back((self.current.clone(), mapping, submission.clone()));
        let (next, mapping, submission) =
            self.in_flight.pop_front().expect("one buffer is always in flight");
        context.wait(&submission, waiting).await?;
        context.mapped(mapping).await?;
        self.current = next;
        self.used = 0;
        Ok(())
    }
}

/// Read-back buffers: two, used in turn.
#[derive(Debug)]
pub(super) struct DownloadRing {
    pub(super) size: u64,
    buffers: [wgpu::Buffer; 2],
    current: usize,
    pub(super) used: u64,
}

impl DownloadRing {
    pub(super) fn new(context: &GpuContext, size: u64) -> Result<Self> {
        let make = || {
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            let inner = &context.inner;
            buffer(&inner.device, &inner.counters, "wgru.download", size, usage, false)
        };
        Ok(Self { size, buffers: [make()?, make()?], current: 0, used: 0 })
    }

    pub(super) fn room(&self) -> u64 {
        self.size - self.used
    }

    /// Reserves `bytes` of the current buffer; returns where.
    pub(super) fn reserve(&mut self, bytes: u64) -> (wgpu::Buffer, u64) {
        let at = self.used;
        self.used += bytes;
        (self.buffers[self.current].clone(), at)
    }

    /// Maps the current buffer after the submission that fills it, and takes the other one.
    pub(super) fn turn(&mut self, context: &GpuContext) -> (wgpu::Buffer, Mapping) {
        let filled = self.buffers[self.current].clone();
        let mapping = map(&context.inner.device, &filled, wgpu::MapMode::Read);
        self.current = 1 - self.current;
        self.used = 0;
        (filled, mapping)
    }
}
