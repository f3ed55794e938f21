//! Walks a plan: records dispatches and copies, submits them in growing pieces, moves data.

mod slots;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::context::GpuContext;
use super::dispatch::Told;
use super::pipelines::Pipeline;
use super::resources::{command_encoder, scoped};
use super::session::{BindKey, GpuSession};
use super::slots::SlotRows;
use super::staging::{Mapping, Waiting};
use super::timing::Activity;
use super::transfer::Host;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{Kernel, quads};
use crate::plan::{ArenaLayout, Dispatch, HostSequence, Operation, Plan, Window};
use crate::sequence::{Inputs, OutputViews};

/// The first submission is small so that the device starts at once; each next one is twice as
/// long, up to a bound that keeps a submission far from watchdogs.
pub(super) const FIRST_SUBMISSION: usize = 16;
pub(super) const LONGEST_SUBMISSION: usize = 512;
/// Steps of a sequence kernel that count as a dispatch.
pub(super) const STEPS_OF_A_DISPATCH: usize = 16;
/// Submissions that may wait in the queue: bounds the memory of recorded commands.
pub(super) const MAX_IN_FLIGHT: usize = 4;

/// Bytes of rows that are put into the device's order at a time.
const GATHERED: u64 = 512 << 10;

/// With `slots`, states come from there and go back there; `out.final_state` is left alone.
pub(super) async fn run(
    session: &mut GpuSession,
    inputs: &Inputs<'_, f32>,
    out: &mut OutputViews<'_, f32>,
    waiting: Waiting,
    slots: Option<SlotRows<'_>>,
) -> Result<()> {
    let plan = Arc::clone(&session.plan);
    let host = Host::new(&plan, *inputs, out)?;
    let context = session.context.clone();
    let mut recorder = Recorder {
        session,
        context,
        plan,
        host,
        slots,
        waiting,
        encoder: None,
        pass: None,
        passing: None,
        told: Told::default(),
        bound: Vec::new(),
        recorded: 0,
        longest: FIRST_SUBMISSION,
        submitted: VecDeque::new(),
        submissions: 0,
        filling: Vec::new(),
        pending: VecDeque::new(),
        scratch: Vec::new(),
    };
    recorder.run().await
}

/// A part of a read-back buffer and what it holds.
struct Piece {
    at: u64,
    bytes: u64,
    what: PieceOf,
}

enum PieceOf {
    Window { window: Window, range: Range<usize>, stride: usize },
    State { plane: usize, positions: Range<usize>, parity: usize },
}

/// A mapped-to-be read-back buffer and its pieces.
struct Filled {
    buffer: wgpu::Buffer,
    mapping: Mapping,
    /// The submission that fills it.
    serial: u64,
    pieces: Vec<Piece>,
}

/// Work that the device was given, numbered from 1 on.
struct Submission {
    serial: u64,
    index: wgpu::SubmissionIndex,
}

/// What a dispatch binds.
struct Bound {
    key: BindKey,
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
}

struct Recorder<'i, 'a, 'o> {
    session: &'a mut GpuSession,
    context: GpuContext,
    plan: Arc<Plan>,
    host: Host<'i, 'a, 'o>,
    slots: Option<SlotRows<'a>>,
    waiting: Waiting,
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    /// What a timed run's pass is spent on.
    passing: Option<Activity>,
    /// What the pass has been told.
    told: Told,
    /// What dispatches of this run bind.
    bound: Vec<Bound>,
    /// Dispatches recorded since the last submission.
    recorded: usize,
    longest: usize,
    /// Submissions that have not been waited for, oldest first.
    submitted: VecDeque<Submission>,
    submissions: u64,
    filling: Vec<Piece>,
    pending: VecDeque<Filled>,
    scratch: Vec<f32>,
}

impl Recorder<'_, '_, '_> {
    async fn run(&mut self) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        self.upload_launches().await?;
        for operation in &plan.operations {
            match operation {
                Operation::BeginTile { rows } => self.begin_tile(rows).await?,
                Operation::Upload { window, offset, stride } => {
                    self.upload(window, *offset, *stride).await?;
                }
                Operation::Project { .. }
                | Operation::Steps { .. }
                | Operation::Sequence { .. } => {
                    for dispatch in plan.dispatches_of(operation) {
                        self.dispatch(&dispatch)?;
                        self.submit_if_long().await?;
                    }
                }
                Operation::Download { window, arena, offset, stride } => {
                    self.download(window, *arena, *offset, *stride).await?;
                }
                Operation::EndTile { rows } => self.end_tile(rows).await?,
            }
        }
        self.submit().await?;
        while !self.pending.is_empty() {
            self.collect().await?;
        }
        while let Some(submission) = self.submitted.pop_front() {
            self.context.wait(&submission.index, self.waiting).await?;
        }
        Ok(())
    }

    fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        self.encoder.get_or_insert_with(|| command_encoder(&self.context.inner.device))
    }

    /// The encoder for copies of `activity`.
    fn copies(&mut self, activity: Activity) -> Result<&mut wgpu::CommandEncoder> {
        self.encoder();
        let encoder = self.encoder.as_mut().expect("the encoder was made above");
        if let Some(timer) = &mut self.session.timer {
            timer.copies(&self.context, encoder, activity)?;
        }
        Ok(encoder)
    }

    /// Begins a pass for `kernel`, unless one is open that may hold it.
    fn begin_pass(&mut self, kernel: Kernel) -> Result<()> {
        let timed = self.session.timer.is_some().then(|| Activity::of(kernel));
        if self.pass.is_some() && self.passing == timed {
            return Ok(());
        }
        self.encoder();
        let encoder = self.encoder.as_mut().expect("the encoder was made above");
        let timestamp_writes = match (&mut self.session.timer, timed) {
            (Some(timer), Some(activity)) => {
                timer.end_copies(encoder);
                Some(timer.pass(&self.context, activity)?)
            }
            _ => None,
        };
        let label = wgpu::ComputePassDescriptor { label: Some("wgru"), timestamp_writes };
        self.pass = Some(encoder.begin_compute_pass(&label).forget_lifetime());
        self.passing = timed;
        self.told = Told::default();
        Ok(())
    }

    fn dispatch(&mut self, dispatch: &Dispatch) -> Result<()> {
        let (key, kernel) = (BindKey::of(dispatch), dispatch.kernel);
        // A run has a handful of these: looking through them is cheaper than hashing.
        let place = match self.bound.iter().position(|bound| bound.key == key) {
            Some(place) => place,
            None => {
                let group = self.session.bind_group(key)?;
                let pipeline = Arc::clone(&self.session.pipelines[&kernel]);
                self.bound.push(Bound { key, pipeline, group });
                self.bound.len() - 1
            }
        };
        self.begin_pass(kernel)?;
        let pass = self.pass.as_mut().expect("the pass was begun above");
        let Bound { pipeline, group, .. } = &self.bound[place];
        self.told.record(pass, &self.plan, pipeline, group, dispatch);
        self.recorded += 1 + dispatch.steps / STEPS_OF_A_DISPATCH;
        Ok(())
    }

    async fn submit_if_long(&mut self) -> Result<()> {
        if self.recorded < self.longest {
            return Ok(());
        }
        self.longest = (2 * self.longest).min(LONGEST_SUBMISSION);
        self.submit().await
    }

    /// Submits what is recorded, and bounds what is in flight.
    async fn submit(&mut self) -> Result<()> {
        self.pass = None;
        self.recorded = 0;
        let Some(mut encoder) = self.encoder.take() else { return Ok(()) };
        if let Some(timer) = &mut self.session.timer {
            timer.end_copies(&mut encoder);
        }
        let uploads_used = self.session.uploads.is_used();
        if uploads_used {
            self.session.uploads.seal();
        }
        let inner = &self.context.inner;
        let index =
            scoped(&inner.device, "a submission", || inner.queue.submit([encoder.finish()]))?;
        #[cfg(test)]
        self.context.note(super::testing::Event::Submitted(format!("{index:?}")));
        self.submissions += 1;
        let serial = self.submissions;
        self.submitted.push_back(Submission { serial, index: index.clone() });
        if !self.filling.is_empty() {
            let (buffer, mapping) = self.session.downloads.turn(&self.context);
            let pieces = std::mem::take(&mut self.filling);
            self.pending.push_back(Filled { buffer, mapping, serial, pieces });
        }
        if uploads_used {
            self.session.uploads.rotate(&self.context, &index, self.waiting).await?;
        }
        if self.submitted.len() > MAX_IN_FLIGHT
            && let Some(oldest) = self.submitted.pop_front()
        {
            self.context.wait(&oldest.index, self.waiting).await?;
        }
        // Two read-back buffers: the other one must be free before it is filled again.
        if self.pending.len() > 1 {
            self.collect().await?;
        }
        Ok(())
    }

    /// Takes the oldest filled read-back buffer to the host's arrays.
    async fn collect(&mut self) -> Result<()> {
        let Some(filled) = self.pending.pop_front() else { return Ok(()) };
        // In order: each submission has the whole patience to itself.
        while self.submitted.front().is_some_and(|s| s.serial <= filled.serial)
            && let Some(earlier) = self.submitted.pop_front()
        {
            self.context.wait(&earlier.index, self.waiting).await?;
        }
        self.context.mapped(filled.mapping).await?;
        {
            let view = filled
                .buffer
                .get_mapped_range(..)
                .map_err(|e| Error::new(ErrorKind::DeviceLost, format!("mapping a result: {e}")))?;
            for piece in &filled.pieces {
                let range = index(piece.at)..index(piece.at + piece.bytes);
                let data: &[f32] = bytemuck::cast_slice(&view[range]);
                match &piece.what {
                    PieceOf::Window { window, range, stride } => {
                        self.host.scatter(window, range.clone(), *stride, data);
                    }
                    PieceOf::State { plane, positions, parity } => {
                        self.host.scatter_state(*plane, positions.clone(), *parity, data);
                    }
                }
            }
        }
        filled.buffer.unmap();
        Ok(())
    }

    /// Copies `bytes` to `target` at byte `at`.
    async fn upload_bytes(&mut self, target: &wgpu::Buffer, at: u64, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            if self.session.uploads.room() < 64 {
                // A submission hands the full buffer over.
                self.encoder();
                self.submit().await?;
            }
            let room = index(self.session.uploads.room()) & !15;
            let piece = &bytes[done..bytes.len().min(done + room)];
            let (staging, from) = self.session.uploads.put(piece)?;
            let to = at + done as u64;
            let bytes = piece.len() as u64;
            self.copies(Activity::Upload)?.copy_buffer_to_buffer(&staging, from, target, to, bytes);
            done += piece.len();
        }
        Ok(())
    }

    async fn upload_launches(&mut self) -> Result<()> {
        let masked = self.host.has_mask();
        if let Some((plan, mask)) = &self.session.launches_for
            && Arc::ptr_eq(plan, &self.plan)
            && *mask == masked
        {
            return Ok(());
        }
        let bytes = self.plan.launch_bytes(masked);
        let target = self.session.launches.clone();
        self.session.launches_for = None;
        self.upload_bytes(&target, 0, &bytes).await?;
        self.session.launches_for = Some((Arc::clone(&self.plan), masked));
        Ok(())
    }

    async fn begin_tile(&mut self, rows: &Range<usize>) -> Result<()> {
        let words = self.host.row_words(rows);
        let target = self.session.rows.clone();
        self.upload_bytes(&target, 0, bytemuck::cast_slice(&words)).await?;
        if let Some(slots) = self.slots {
            return self.load_slots(slots, rows).await;
        }
        let plan = Arc::clone(&self.plan);
        let (layout, directions) = (ArenaLayout::new(&plan), plan.config.num_directions());
        let mut scratch = std::mem::take(&mut self.scratch);
        for layer in 0..plan.config.num_layers {
            let arena = self.session.arenas[plan.memory.arena_of(layer)].clone();
            for direction in 0..directions {
                let at = 16 * layout.state(layer, direction);
                if self.host.has_initial_state() {
                    let plane = layer * directions + direction;
                    self.host.gather_state(plane, rows, &mut scratch);
                    self.upload_bytes(&arena, at, bytemuck::cast_slice(&scratch)).await?;
                } else {
                    let bytes = 16 * layout.state_stride;
                    self.copies(Activity::Upload)?.clear_buffer(&arena, at, Some(bytes));
                }
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    async fn upload(&mut self, window: &Window, offset: u64, stride: u64) -> Result<()> {
        if let below @ HostSequence::Layer(_) = window.sequence {
            // The layer below must have come back whole. What this layer's earlier chunks left is
            // not waited for.
            let of_below = |piece: &Piece| matches!(&piece.what, PieceOf::Window { window, .. } if window.sequence == below);
            if self.filling.iter().any(of_below) {
                self.submit().await?;
            }
            while self.pending.iter().any(|filled| filled.pieces.iter().any(of_below)) {
                self.collect().await?;
            }
        }
        let target = self.session.input.clone();
        let row_bytes = 16 * stride;
        let rows = window.steps.len() * window.rows.len();
        if let Some(values) = self.host.straight(window, &(0..rows), 4 * index(stride)) {
            return self.upload_bytes(&target, 16 * offset, bytemuck::cast_slice(values)).await;
        }
        // Pieces that the processor's caches hold: each is written, then read once.
        let per_piece = index((GATHERED / row_bytes).max(1));
        let mut scratch = std::mem::take(&mut self.scratch);
        for first in (0..rows).step_by(per_piece) {
            let range = first..rows.min(first + per_piece);
            self.host.gather(window, range, 4 * index(stride), &mut scratch);
            let at = 16 * offset + first as u64 * row_bytes;
            self.upload_bytes(&target, at, bytemuck::cast_slice(&scratch)).await?;
        }
        self.scratch = scratch;
        Ok(())
    }

    async fn download(
        &mut self,
        window: &Window,
        arena: usize,
        offset: u64,
        stride: u64,
    ) -> Result<()> {
        let source = self.session.arenas[arena].clone();
        let row_bytes = 16 * stride;
        let rows = window.steps.len() * window.rows.len();
        let mut first = 0;
        while first < rows {
            let room = self.read_back_room(row_bytes).await?;
            let range = first..rows.min(first + room);
            let at = 16 * offset + first as u64 * row_bytes;
            first = range.end;
            let bytes = range.len() as u64 * row_bytes;
            let stride = 4 * index(stride);
            let what = PieceOf::Window { window: window.clone(), range, stride };
            self.read_back(&source, at, bytes, what)?;
        }
        Ok(())
    }

    /// Rows of `row_bytes` that fit into the current read-back buffer, at least one.
    async fn read_back_room(&mut self, row_bytes: u64) -> Result<usize> {
        if self.session.downloads.room() < row_bytes {
            self.submit().await?;
        }
        Ok(index(self.session.downloads.room() / row_bytes))
    }

    fn read_back(
        &mut self,
        source: &wgpu::Buffer,
        from: u64,
        bytes: u64,
        what: PieceOf,
    ) -> Result<()> {
        let (target, at) = self.session.downloads.reserve(bytes);
        self.copies(Activity::ReadBack)?.copy_buffer_to_buffer(source, from, &target, at, bytes);
        self.filling.push(Piece { at, bytes, what });
        Ok(())
    }

    async fn end_tile(&mut self, rows: &Range<usize>) -> Result<()> {
        if let Some(slots) = self.slots {
            return self.exchange(slots, rows, true);
        }
        let plan = Arc::clone(&self.plan);
        let (layout, directions) = (ArenaLayout::new(&plan), plan.config.num_directions());
        let row_bytes = 16 * quads(plan.config.hidden_size) as u64;
        // Rows that ended at different steps stand in either state.
        let parities = if plan.rows.is_full() {
            let last = plan.final_parity(rows.start);
            last..last + 1
        } else {
            0..2
        };
        for layer in 0..plan.config.num_layers {
            let arena = self.session.arenas[plan.memory.arena_of(layer)].clone();
            for plane in layer * directions..(layer + 1) * directions {
                for parity in parities.clone() {
                    let state = layout.state(layer, plane % directions);
                    let base = 16 * (state + parity as u64 * layout.state_stride);
                    let mut first = 0;
                    while first < rows.len() {
                        let room = self.read_back_room(row_bytes).await?;
                        let count = room.min(rows.len() - first);
                        let from = base + first as u64 * row_bytes;
                        let positions = rows.start + first..rows.start + first + count;
                        let what = PieceOf::State { plane, positions, parity };
                        self.read_back(&arena, from, count as u64 * row_bytes, what)?;
                        first += count;
                    }
                }
            }
        }
        Ok(())
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("buffers are smaller than the address space")
}
