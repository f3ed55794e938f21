//! A run on the caller's buffers, ready to be recorded into the caller's commands.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

use super::buffers::{Bound, BoundArrays, BufferIo, name};
use super::context::GpuContext;
use super::dispatch::Told;
use super::executor::{FIRST_SUBMISSION, LONGEST_SUBMISSION, MAX_IN_FLIGHT, STEPS_OF_A_DISPATCH};
use super::pipelines::Pipeline;
use super::resources::{buffer, command_encoder, device_error, scoped, watched};
use super::session::{BindKey, GpuSession};
use super::staging::Waiting;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{Kernel, RelayBinding, RelayKernel, RelayRecord};
use crate::plan::{
    Dispatch, Move, Outside, Plan, PlanOptions, RelayPlan, Residency, RowOrder, SourceBuffer,
};

/// A run on arrays in the caller's buffers: checked, planned, its launch records on the device,
/// every object of it made. Recording it creates nothing and submits nothing.
///
/// It holds the buffers of the session that made it, and so works in the same memory as the
/// session's other runs: each run reads only what it has written itself and what its arrays hold,
/// so any number of them may follow each other on the queue, in any order. Two runs of one session
/// must not be *under way* together: a host run of the session consists of several submissions, so
/// no other thread may submit a prepared run of the same session until it has returned. A session
/// for each thread is free of that.
#[derive(Debug)]
pub struct PreparedRun {
    context: GpuContext,
    plan: Arc<Plan>,
    moves: Vec<Move>,
    pipelines: HashMap<Kernel, Arc<Pipeline>>,
    groups: HashMap<BindKey, wgpu::BindGroup>,
    relay_pipelines: HashMap<RelayKernel, Arc<Pipeline>>,
    relay_groups: HashMap<(Outside, SourceBuffer), wgpu::BindGroup>,
    relay_stride: u64,
    /// The words of all tiles.
    words: wgpu::Buffer,
    /// Those of the tile at hand: lengths and reset bits, and the caller's rows.
    rows: wgpu::Buffer,
    map: wgpu::Buffer,
    arenas: Vec<wgpu::Buffer>,
}

/// What is recorded at once.
enum Command<'p> {
    Move(&'p Move),
    Dispatch(Dispatch),
}

impl PreparedRun {
    /// Records the run at the end of `encoder`, which must be one of the session's device: it runs
    /// when the caller submits it, in the order of the commands in the encoder. The arrays are
    /// read and written then, not now. May be called any number of times, also for one encoder.
    ///
    /// All of the run is in one command buffer, which the driver keeps until it has run: see
    /// [`dispatches`](Self::dispatches) for how much that is. A device that shows a screen may
    /// take a submission of seconds for a hang: cut long runs, feeding the final state back.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] where the graphics stack refuses a command. Mistakes around the
    /// call (an encoder that was finished or is of another device, a buffer that is mapped or
    /// destroyed) are reported as wgpu reports them: at `finish` or at the submission.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        scoped(&self.context.inner.device, "an encoded run", || {
            self.record(&mut self.commands(), usize::MAX, encoder);
        })
    }

    /// The plan of the run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Compute dispatches that [`encode`](Self::encode) records: the plan's, and those that move
    /// rows between the caller's arrays and the session's buffers.
    pub fn dispatches(&self) -> u64 {
        let relays = self.moves.iter().filter(|m| matches!(m, Move::Relay { .. })).count();
        self.plan.dispatches() + relays as u64
    }

    fn commands(&self) -> impl Iterator<Item = Command<'_>> {
        self.moves.iter().flat_map(|entry| {
            let (dispatches, entry) = match entry {
                Move::Operation(index) => {
                    (Some(self.plan.dispatches_of(&self.plan.operations[*index])), None)
                }
                _ => (None, Some(Command::Move(entry))),
            };
            entry.into_iter().chain(dispatches.into_iter().flatten().map(Command::Dispatch))
        })
    }

    /// Records up to `most` of `commands`; returns whether there may be more.
    fn record<'p>(
        &'p self,
        commands: &mut impl Iterator<Item = Command<'p>>,
        most: usize,
        encoder: &mut wgpu::CommandEncoder,
    ) -> bool {
        let mut pass: Option<wgpu::ComputePass<'static>> = None;
        let mut told = Told::default();
        let mut recorded = 0;
        while recorded < most {
            let Some(command) = commands.next() else { return false };
            recorded += 1;
            if !matches!(command, Command::Dispatch(_)) {
                told = Told::default();
            }
            match command {
                Command::Move(Move::Words { rows, map }) => {
                    pass = None;
                    for (part, target) in [(rows, &self.rows), (map, &self.map)] {
                        let size = part.end - part.start;
                        encoder.copy_buffer_to_buffer(&self.words, part.start, target, 0, size);
                    }
                }
                Command::Move(Move::Clear { arena, offset, size }) => {
                    pass = None;
                    encoder.clear_buffer(&self.arenas[*arena], *offset, Some(*size));
                }
                Command::Move(Move::Relay { outside, inside, record, grid: [x, y, z] }) => {
                    let pass = pass.get_or_insert_with(|| begin(encoder));
                    let offset = u32::try_from(*record as u64 * self.relay_stride);
                    let offset = offset.expect("records were counted when the run was prepared");
                    pass.set_pipeline(&self.relay_pipelines[&outside.kernel()].pipeline);
                    pass.set_bind_group(0, &self.relay_groups[&(*outside, *inside)], &[offset]);
                    pass.dispatch_workgroups(*x, *y, *z);
                }
                Command::Move(Move::Operation(_)) => unreachable!("given as its dispatches"),
                Command::Dispatch(dispatch) => {
                    recorded += dispatch.steps / STEPS_OF_A_DISPATCH;
                    let pass = pass.get_or_insert_with(|| begin(encoder));
                    let key = BindKey::of(&dispatch);
                    let pipeline = &self.pipelines[&dispatch.kernel];
                    told.record(pass, &self.plan, pipeline, &self.groups[&key], &dispatch);
                }
            }
        }
        true
    }

    /// Submits the run by itself, in pieces; waits for earlier pieces where many are in flight.
    fn submit(&self) -> Result<wgpu::SubmissionIndex> {
        let inner = &self.context.inner;
        let mut commands = self.commands();
        let mut submitted = VecDeque::new();
        let mut length = FIRST_SUBMISSION;
        loop {
            let mut encoder = command_encoder(&inner.device);
            let (more, last) = scoped(&inner.device, "a run on the caller's buffers", || {
                let more = self.record(&mut commands, length, &mut encoder);
                (more, inner.queue.submit([encoder.finish()]))
            })?;
            if !more {
                return Ok(last);
            }
            length = (2 * length).min(LONGEST_SUBMISSION);
            submitted.push_back(last);
            if submitted.len() > MAX_IN_FLIGHT
                && let Some(oldest) = submitted.pop_front()
            {
                pollster::block_on(self.context.wait(&oldest, Waiting::Blocking))?;
            }
        }
    }
}

fn begin(encoder: &mut wgpu::CommandEncoder) -> wgpu::ComputePass<'static> {
    let label = wgpu::ComputePassDescriptor { label: Some("wgru"), timestamp_writes: None };
    encoder.begin_compute_pass(&label).forget_lifetime()
}

impl GpuSession {
    /// Prepares a run within the session's shape; lengths are checked here.
    pub(crate) fn prepare_buffers(&self, io: &BufferIo<'_>) -> Result<PreparedRun> {
        let config = self.gru.config();
        let order = RowOrder::new(io.shape, io.lengths)?;
        let bound = BoundArrays::check(&self.context, config, io)?;
        let plan = Arc::new(self.encodable_plan(order)?);
        let mask = io.time_major_mask();
        let capabilities = self.context.capabilities();
        let relay = RelayPlan::new(&plan, capabilities, &bound.places, mask.as_ref())?;

        let inner = &self.context.inner;
        let filled = |label: &str, bytes: &[u8], usage: wgpu::BufferUsages| {
            let size = bytes.len() as u64;
            let made = buffer(&inner.device, &inner.counters, label, size, usage, true)?;
            if !bytes.is_empty() {
                made.get_mapped_range_mut(..size)
                    .map_err(|e| {
                        Error::new(ErrorKind::DeviceLost, format!("mapping {label}: {e}"))
                    })?
                    .copy_from_slice(bytes);
            }
            made.unmap();
            Ok::<_, Error>(made)
        };
        use wgpu::BufferUsages as Usage;
        let launches = plan.launch_bytes(mask.is_some());
        let launches = filled("wgru.prepared.launches", &launches, Usage::UNIFORM)?;
        let relay_stride = RelayRecord::SIZE.next_multiple_of(plan.uniform_alignment);
        let relays = relay_bytes(&relay, relay_stride, capabilities.max_buffer)?;
        let relays = filled("wgru.prepared.relays", &relays, Usage::UNIFORM)?;
        let words = bytemuck::cast_slice(&relay.words);
        let words = filled("wgru.prepared.words", words, Usage::COPY_SRC)?;
        let map = buffer(
            &inner.device,
            &inner.counters,
            "wgru.prepared.map",
            4 * plan.memory.tile_rows as u64,
            Usage::STORAGE | Usage::COPY_DST,
            false,
        )?;
        let mut made = PreparedRun {
            context: self.context.clone(),
            plan: Arc::clone(&plan),
            moves: relay.moves,
            pipelines: self.pipelines.clone(),
            groups: HashMap::new(),
            relay_pipelines: HashMap::new(),
            relay_groups: HashMap::new(),
            relay_stride,
            words,
            rows: self.rows.clone(),
            map,
            arenas: self.arenas.clone(),
        };
        for operation in &plan.operations {
            for dispatch in plan.dispatches_of(operation) {
                let key = BindKey::of(&dispatch);
                if let Entry::Vacant(missing) = made.groups.entry(key) {
                    missing.insert(self.bind_group_on(key, &launches)?);
                }
            }
        }
        self.bind_arrays(&mut made, &bound.arrays, &relays)?;
        Ok(made)
    }

    /// Runs on the caller's buffers; returns what to wait for.
    pub(crate) fn run_buffers(&mut self, io: &BufferIo<'_>) -> Result<wgpu::SubmissionIndex> {
        self.prepare_buffers(io)?.submit()
    }

    /// A plan inside the session's buffers that needs no host on its way.
    fn encodable_plan(&self, order: RowOrder) -> Result<Plan> {
        let options = PlanOptions { all_layers: false, on_device: true, ..self.options.clone() };
        let shape = order.shape();
        let plan = Plan::within(
            self.gru.config(),
            order,
            self.context.capabilities(),
            &options,
            self.plan.geometry,
            Some(&self.capacity),
        );
        match plan {
            Err(error)
                if error.kind() == ErrorKind::ExceedsLimits
                    && self.capacity.residency == Residency::HostBetweenLayers =>
            {
                Err(Error::new(
                    ErrorKind::ExceedsLimits,
                    format!(
                        "{shape} cannot be encoded: the session keeps the sequences between \
                         layers in host memory; make it with the option on_device, or with a \
                         larger memory budget"
                    ),
                ))
            }
            other => other,
        }
    }

    /// The bind groups of the moves between the caller's arrays and the session's buffers.
    fn bind_arrays(
        &self,
        made: &mut PreparedRun,
        arrays: &[Bound],
        relays: &wgpu::Buffer,
    ) -> Result<()> {
        let inner = &self.context.inner;
        for entry in &made.moves {
            let Move::Relay { outside, inside, .. } = *entry else { continue };
            if made.relay_groups.contains_key(&(outside, inside)) {
                continue;
            }
            let kernel = outside.kernel();
            let pipeline =
                inner.pipelines.relay(&inner.device, &inner.counters, inner.checked, kernel)?;
            let array = arrays.iter().find(|a| a.outside == outside);
            let array = array.expect("rows move between arrays that were given");
            let part = |buffer, offset, size| {
                let size = NonZeroU64::new(size);
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
            };
            let entries: Vec<_> = (0..)
                .zip(kernel.bindings())
                .map(|(binding, (role, _))| {
                    let resource = match role {
                        RelayBinding::Relay => part(relays, 0, RelayRecord::SIZE),
                        RelayBinding::Rows => made.rows.as_entire_binding(),
                        RelayBinding::Map => made.map.as_entire_binding(),
                        RelayBinding::Outside => part(&array.buffer, array.offset, array.size),
                        RelayBinding::Inside => match inside {
                            SourceBuffer::Input => self.input.as_entire_binding(),
                            SourceBuffer::Arena(index) => self.arenas[index].as_entire_binding(),
                        },
                    };
                    wgpu::BindGroupEntry { binding, resource }
                })
                .collect();
            inner.counters.bind_group();
            let label = format!("wgru.{}", kernel.name());
            let (group, error) = watched(&inner.device, || {
                inner.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&label),
                    layout: &pipeline.layout,
                    entries: &entries,
                })
            });
            if let Some(error) = error {
                return Err(refused_array(outside, &error));
            }
            made.relay_pipelines.insert(kernel, pipeline);
            made.relay_groups.insert((outside, inside), group);
        }
        Ok(())
    }
}

/// The caller's buffer is the only part of its bind group that this crate has not made.
fn refused_array(outside: Outside, error: &wgpu::Error) -> Error {
    let what = name(outside);
    if matches!(error, wgpu::Error::Validation { .. }) {
        let detail = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let message = format!(
            "{what} cannot be bound; it must be a live buffer of the session's own device: {detail}"
        );
        return Error::new(ErrorKind::InvalidRequest, message);
    }
    device_error(what, error)
}

/// The records as the uniform buffer holds them.
fn relay_bytes(relay: &RelayPlan, stride: u64, max_buffer: u64) -> Result<Vec<u8>> {
    let size = stride * relay.records.len() as u64;
    // Dynamic offsets have 32 bits.
    let most = max_buffer.min(u64::from(u32::MAX));
    if size > most {
        return Err(Error::new(
            ErrorKind::ExceedsLimits,
            format!(
                "the run moves rows {} times, whose records exceed {most} bytes: raise the memory \
                 budget, or cut the run",
                relay.records.len()
            ),
        ));
    }
    let stride = usize::try_from(stride).expect("an alignment of some bytes");
    let mut bytes = vec![0u8; stride * relay.records.len()];
    for (record, slot) in relay.records.iter().zip(bytes.chunks_exact_mut(stride)) {
        slot[..64].copy_from_slice(bytemuck::cast_slice(&record.words()));
    }
    Ok(bytes)
}
