//! The resident states of streams: two places a slot in one buffer, and what moves them.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array3, ArrayView3, ArrayViewMut3, s};

use super::executor;
use super::pipelines::Pipeline;
use super::resources::{buffer, command_encoder, scoped};
use super::session::GpuSession;
use super::staging::Waiting;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Plan, SlotLayout, SlotList};
use crate::sequence::{Inputs, OutputViews};

/// Where a slot's state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    /// Nowhere: it is zero.
    Zero,
    /// In the first or the second of the slot's places.
    First,
    Second,
}

/// States of slots, for one session. A call writes the place of a slot that is not current, and
/// makes it current once it has ended well.
#[derive(Debug)]
pub(crate) struct GpuSlots {
    layout: SlotLayout,
    slots: wgpu::Buffer,
    list_layout: SlotList,
    list: wgpu::Buffer,
    pipeline: Arc<Pipeline>,
    /// A load and a store for each arena.
    bind_groups: Vec<wgpu::BindGroup>,
    current: Vec<Current>,
}

/// What a run needs to know of the slots: which one each of its rows is.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotRows<'a> {
    slots: &'a GpuSlots,
    of_row: &'a [usize],
}

impl GpuSlots {
    /// `slots` states of zero for a session that has not run yet.
    pub(crate) fn new(session: &GpuSession, slots: usize) -> Result<Self> {
        let inner = &session.context.inner;
        let plan = session.plan();
        let layout = SlotLayout::new(&plan.config, slots, session.context.capabilities())?;
        let list_layout = SlotList::new(session.arenas.len());
        use wgpu::BufferUsages as Usage;
        let make = |label: &str, size: u64, usage: Usage| {
            buffer(&inner.device, &inner.counters, label, size, usage, false)
        };
        let usage = Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC;
        let states = make("wgru.slots", layout.bytes(), usage)?;
        let list_bytes = list_layout.bytes(session.capacity.tile_rows.max(plan.shape.batch));
        let list = make("wgru.slot_list", list_bytes, Usage::STORAGE | Usage::COPY_DST)?;
        let variant = plan.slot_variant();
        let pipeline =
            inner.pipelines.get(&inner.device, &inner.counters, inner.checked, &variant)?;
        let current = vec![Current::Zero; slots];
        let bind_groups = Vec::new();
        let mut made = Self {
            layout,
            slots: states,
            list_layout,
            list,
            pipeline: Arc::clone(&pipeline),
            bind_groups,
            current,
        };
        made.set_pipeline(session, pipeline)?;
        Ok(made)
    }

    /// Takes `pipeline`, and makes its bind groups.
    pub(super) fn set_pipeline(
        &mut self,
        session: &GpuSession,
        pipeline: Arc<Pipeline>,
    ) -> Result<()> {
        let inner = &session.context.inner;
        self.bind_groups = (0..2 * session.arenas.len())
            .map(|index| {
                inner.counters.bind_group();
                let record = self.list_layout.record(index / 2, index % 2 == 1);
                let entry = |binding, buffer, offset| wgpu::BindGroupEntry {
                    binding,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset,
                        size: None,
                    }),
                };
                scoped(&inner.device, "bind group wgru.slot_exchange", || {
                    inner.device.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some("wgru.slot_exchange"),
                        layout: &pipeline.layout,
                        entries: &[
                            entry(0, &self.list, record),
                            entry(1, &self.slots, 0),
                            entry(2, &session.arenas[index / 2], 0),
                        ],
                    })
                })
            })
            .collect::<Result<_>>()?;
        self.pipeline = pipeline;
        Ok(())
    }

    /// Bytes of device memory.
    pub(crate) fn device_bytes(&self) -> u64 {
        self.slots.size() + self.list.size()
    }

    /// Sets the state of `slot` to zero.
    pub(crate) fn reset(&mut self, slot: usize) {
        self.current[slot] = Current::Zero;
    }

    /// Runs `inputs` (time-major, validated, not empty, within the session's shape), row b from
    /// the state of slot `of_row[b]`, each of which is named once, and fills `hidden_states`.
    pub(crate) async fn advance(
        &mut self,
        session: &mut GpuSession,
        of_row: &[usize],
        inputs: &Inputs<'_, f32>,
        hidden_states: ArrayViewMut3<'_, f32>,
        waiting: Waiting,
    ) -> Result<()> {
        let mut none = Array3::zeros((0, 0, 0));
        let final_state = none.view_mut();
        let mut out = OutputViews { hidden_states, final_state, layers: Vec::new() };
        session.prepare(inputs.shape(), inputs.lengths, false)?;
        session.interrupted = true;
        let rows = SlotRows { slots: self, of_row };
        executor::run(session, inputs, &mut out, waiting, Some(rows)).await?;
        session.interrupted = false;
        for (row, slot) in of_row.iter().enumerate() {
            if inputs.lengths.is_none_or(|lengths| lengths[row] > 0) {
                self.current[*slot] = self.current[*slot].next();
            }
        }
        Ok(())
    }

    /// Copies the states of `slots` to `out`, `[L, n, H]`.
    pub(crate) async fn save(
        &self,
        session: &mut GpuSession,
        slots: &[usize],
        mut out: ArrayViewMut3<'_, f32>,
        waiting: Waiting,
    ) -> Result<()> {
        session.recover()?;
        session.interrupted = true;
        let row_bytes = 16 * self.layout.units;
        let mut pieces = Pieces::default();
        for (index, slot) in slots.iter().enumerate() {
            let Some(place) = self.read(*slot) else {
                out.slice_mut(s![.., index, ..]).fill(0.0);
                continue;
            };
            let mut layer = 0;
            while layer < self.layout.layers {
                if session.downloads.room() < row_bytes {
                    pieces.collect(session, row_bytes, &mut out, waiting).await?;
                }
                let room = host_size(session.downloads.room() / row_bytes);
                let layers = layer..self.layout.layers.min(layer + room);
                let from = u64::from(place) * self.layout.place_bytes() + layer as u64 * row_bytes;
                let bytes = layers.len() as u64 * row_bytes;
                let (target, at) = session.downloads.reserve(bytes);
                let encoder = pieces.encoder.get_or_insert_with(|| session.encoder());
                encoder.copy_buffer_to_buffer(&self.slots, from, &target, at, bytes);
                layer = layers.end;
                pieces.all.push(Piece { at, index, layers });
            }
        }
        pieces.collect(session, row_bytes, &mut out, waiting).await?;
        session.interrupted = false;
        Ok(())
    }

    /// Sets the states of `slots`, each of which is named once, to `states`, `[L, n, H]`.
    pub(crate) async fn restore(
        &mut self,
        session: &mut GpuSession,
        slots: &[usize],
        states: ArrayView3<'_, f32>,
        waiting: Waiting,
    ) -> Result<()> {
        session.recover()?;
        session.interrupted = true;
        let padded = 4 * host_size(self.layout.units);
        let mut values = vec![0.0f32; self.layout.layers * padded];
        let mut encoder = None;
        for (index, slot) in slots.iter().enumerate() {
            let rows = states.slice(s![.., index, ..]);
            for (to, from) in values.chunks_exact_mut(padded).zip(rows.outer_iter()) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
            let bytes: &[u8] = bytemuck::cast_slice(&values);
            let mut done = 0;
            while done < bytes.len() {
                if session.uploads.room() < 64 {
                    session.submit_uploads(encoder.take(), waiting).await?;
                }
                let room = host_size(session.uploads.room()) & !15;
                let piece = &bytes[done..bytes.len().min(done + room)];
                let (staging, from) = session.uploads.put(piece)?;
                let place = u64::from(self.written(*slot)) * self.layout.place_bytes();
                let (to, size) = (place + done as u64, piece.len() as u64);
                encoder.get_or_insert_with(|| session.encoder()).copy_buffer_to_buffer(
                    &staging,
                    from,
                    &self.slots,
                    to,
                    size,
                );
                done += piece.len();
            }
        }
        session.submit_uploads(encoder, waiting).await?;
        session.interrupted = false;
        for slot in slots {
            self.current[*slot] = self.current[*slot].next();
        }
        Ok(())
    }

    /// The place that holds the state of `slot`; `None` where it is zero.
    fn read(&self, slot: usize) -> Option<u32> {
        let first = u32::try_from(2 * slot).expect("the layout bounds the slots");
        match self.current[slot] {
            Current::Zero => None,
            Current::First => Some(first),
            Current::Second => Some(first + 1),
        }
    }

    /// The place that the next state of `slot` is written to.
    fn written(&self, slot: usize) -> u32 {
        let first = u32::try_from(2 * slot).expect("the layout bounds the slots");
        first + u32::from(self.current[slot].next() == Current::Second)
    }
}

impl Current {
    /// After a call that has written the other place.
    fn next(self) -> Self {
        match self {
            Self::Zero | Self::Second => Self::First,
            Self::First => Self::Second,
        }
    }
}

impl<'a> SlotRows<'a> {
    pub(super) fn list(self) -> &'a wgpu::Buffer {
        &self.slots.list
    }

    pub(super) fn pipeline(self) -> &'a wgpu::ComputePipeline {
        &self.slots.pipeline.pipeline
    }

    pub(super) fn bind_group(self, arena: usize, store: bool) -> &'a wgpu::BindGroup {
        &self.slots.bind_groups[2 * arena + usize::from(store)]
    }

    /// The list of the tile `rows`. Rows without a step are not written.
    pub(super) fn words(self, plan: &Plan, rows: &Range<usize>) -> Vec<u32> {
        let mut exchanges = plan.slot_exchanges(rows, false);
        exchanges.extend(plan.slot_exchanges(rows, true));
        let places = rows.clone().map(|position| {
            let slot = self.of_row[plan.rows.row(position)];
            let steps = plan.rows.length(position);
            let written =
                (steps > 0).then(|| (self.slots.written(slot), plan.final_parity(position)));
            (self.slots.read(slot), written)
        });
        self.slots.list_layout.words(&exchanges, places)
    }
}

/// A part of a read-back buffer: some layers of the state of the slot at `index` of the call.
struct Piece {
    at: u64,
    index: usize,
    layers: Range<usize>,
}

/// Copies that have been recorded, and what they hold.
#[derive(Default)]
struct Pieces {
    encoder: Option<wgpu::CommandEncoder>,
    all: Vec<Piece>,
}

impl Pieces {
    /// Submits the copies, waits for them, and takes them to `out`.
    async fn collect(
        &mut self,
        session: &mut GpuSession,
        row_bytes: u64,
        out: &mut ArrayViewMut3<'_, f32>,
        waiting: Waiting,
    ) -> Result<()> {
        let Some(encoder) = self.encoder.take() else { return Ok(()) };
        let index = session.submit(encoder)?;
        let (filled, mapping) = session.downloads.turn(&session.context);
        session.context.wait(&index, waiting).await?;
        session.context.mapped(mapping).await?;
        {
            let view = filled
                .get_mapped_range(..)
                .map_err(|e| Error::new(ErrorKind::DeviceLost, format!("mapping a state: {e}")))?;
            let h = out.dim().2;
            for piece in self.all.drain(..) {
                for (i, layer) in piece.layers.enumerate() {
                    let at = host_size(piece.at + i as u64 * row_bytes);
                    let values: &[f32] = bytemuck::cast_slice(&view[at..at + 4 * h]);
                    for (to, from) in
                        out.slice_mut(s![layer, piece.index, ..]).iter_mut().zip(values)
                    {
                        *to = *from;
                    }
                }
            }
        }
        filled.unmap();
        Ok(())
    }
}

impl GpuSession {
    fn encoder(&self) -> wgpu::CommandEncoder {
        command_encoder(&self.context.inner.device)
    }

    fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<wgpu::SubmissionIndex> {
        let inner = &self.context.inner;
        scoped(&inner.device, "a submission", || inner.queue.submit([encoder.finish()]))
    }

    /// Submits copies out of the upload buffer being filled, and takes the other one.
    async fn submit_uploads(
        &mut self,
        encoder: Option<wgpu::CommandEncoder>,
        waiting: Waiting,
    ) -> Result<()> {
        let Some(encoder) = encoder else { return Ok(()) };
        self.uploads.seal();
        let index = self.submit(encoder)?;
        let context = self.context.clone();
        self.uploads.rotate(&context, &index, waiting).await?;
        // A lost device takes a submission without a word: its end tells.
        context.wait(&index, waiting).await
    }
}

fn host_size(n: u64) -> usize {
    usize::try_from(n).expect("buffers are smaller than the address space")
}
