//! A network on a device, with every buffer that runs of up to one shape need.

use std::collections::HashMap;
use std::sync::Arc;

use super::context::GpuContext;
use super::executor;
use super::pipelines::Pipeline;
use super::resources::{buffer, scoped};
use super::staging::{DownloadRing, UploadRing, Waiting};
use super::timing::{DeviceTimes, Timer};
use super::weights::DeviceWeights;
use crate::error::Result;
use crate::kernels::{Binding, Kernel, LaunchRecord};
use crate::model::Gru;
use crate::plan::{Dispatch, Memory, Plan, PlanOptions, RowOrder, SourceBuffer};
use crate::sequence::{Inputs, OutputViews};
use crate::shape::SequenceShape;

/// Buffers, bind groups and plans. Runs allocate nothing once their shape has been seen.
#[derive(Debug)]
pub(crate) struct GpuSession {
    pub(super) context: GpuContext,
    pub(super) gru: Gru,
    pub(super) options: PlanOptions,
    pub(super) capacity: Memory,
    /// Launch records that the uniform buffer has room for.
    launch_capacity: u64,
    /// The plan of the last run.
    pub(super) plan: Arc<Plan>,
    /// Whether the launch buffer holds the plan's records, and with which mask offset.
    pub(super) launches_for: Option<(Arc<Plan>, bool)>,
    pub(super) weights: DeviceWeights,
    pub(super) input: wgpu::Buffer,
    gates: wgpu::Buffer,
    pub(super) arenas: Vec<wgpu::Buffer>,
    pub(super) rows: wgpu::Buffer,
    pub(super) launches: wgpu::Buffer,
    /// One slot a step of a chunk, where steps do not come by immediates.
    steps: Option<wgpu::Buffer>,
    pub(super) uploads: UploadRing,
    pub(super) downloads: DownloadRing,
    pub(super) pipelines: HashMap<Kernel, Arc<Pipeline>>,
    pub(super) bind_groups: HashMap<BindKey, wgpu::BindGroup>,
    /// A run was dropped or failed half-way: staging is remade before the next.
    pub(super) interrupted: bool,
    /// Set while a run is timed.
    pub(super) timer: Option<Timer>,
}

/// What tells bind groups apart: the kernel, the weight buffer, what a projection reads or the
/// arena that a step writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BindKey {
    pub(super) kernel: Kernel,
    pub(super) weights: usize,
    pub(super) other: SourceBuffer,
}

impl BindKey {
    pub(super) fn of(dispatch: &Dispatch) -> Self {
        Self { kernel: dispatch.kernel, weights: dispatch.slice.weights, other: dispatch.other }
    }
}

impl GpuSession {
    pub(crate) fn new(
        context: &GpuContext,
        gru: &Gru,
        shape: SequenceShape,
        options: &PlanOptions,
    ) -> Result<Self> {
        let plan = Plan::new(gru.config(), shape, context.capabilities(), options)?;
        Self::from_plan(context, gru, options, plan)
    }

    /// A session for runs within `plan`, which was made for the network with `options`.
    pub(crate) fn from_plan(
        context: &GpuContext,
        gru: &Gru,
        options: &PlanOptions,
        plan: Plan,
    ) -> Result<Self> {
        let inner = &context.inner;
        let make = |label: &str, size: u64, usage: wgpu::BufferUsages| {
            buffer(&inner.device, &inner.counters, label, size, usage, false)
        };
        let memory = &plan.memory;
        use wgpu::BufferUsages as Usage;
        let storage = Usage::STORAGE | Usage::COPY_DST;
        let weights = DeviceWeights::upload(context, gru, &plan)?;
        let input = make("wgru.input", 16 * memory.input, storage)?;
        let gates = make("wgru.gates", 16 * memory.gates, Usage::STORAGE)?;
        let arenas = (0..memory.arenas)
            .map(|_| make("wgru.arena", 16 * memory.arena, storage | Usage::COPY_SRC))
            .collect::<Result<Vec<_>>>()?;
        let rows = make("wgru.rows", 4 * memory.row_words, storage)?;
        let launch_capacity = plan.most_launches().max(1);
        let launches = make(
            "wgru.launches",
            launch_capacity * plan.uniform_stride,
            Usage::UNIFORM | Usage::COPY_DST,
        )?;
        let steps = if plan.immediates { None } else { Some(step_slots(context, &plan)?) };
        let uploads = UploadRing::new(context, memory.staging)?;
        let downloads = DownloadRing::new(context, memory.staging)?;
        let pipelines = plan
            .kernels()
            .iter()
            .map(|kernel| {
                let variant = plan.variant(*kernel);
                let pipeline =
                    inner.pipelines.get(&inner.device, &inner.counters, inner.checked, &variant)?;
                Ok((*kernel, pipeline))
            })
            .collect::<Result<HashMap<_, _>>>()?;
        Ok(Self {
            context: context.clone(),
            gru: gru.clone(),
            options: options.clone(),
            capacity: plan.memory.clone(),
            launch_capacity,
            plan: Arc::new(plan),
            launches_for: None,
            weights,
            input,
            gates,
            arenas,
            rows,
            launches,
            steps,
            uploads,
            downloads,
            pipelines,
            bind_groups: HashMap::new(),
            interrupted: false,
            timer: None,
        })
    }

    /// The plan of the last run, or of the session's largest shape before the first.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of device memory that the session holds, its copy of the weights included.
    pub(crate) fn device_bytes(&self) -> u64 {
        self.plan.weight_bytes()
            + self.capacity.session_bytes()
            + self.launches.size()
            + self.steps.as_ref().map_or(0, wgpu::Buffer::size)
    }

    /// Runs `inputs` (time-major, validated, not empty, within the session's shape) and fills
    /// `out`.
    pub(crate) fn run(
        &mut self,
        inputs: &Inputs<'_, f32>,
        out: &mut OutputViews<'_, f32>,
    ) -> Result<()> {
        pollster::block_on(self.run_waiting(inputs, out, Waiting::Blocking))
    }

    /// [`run`](Self::run), timed by the device where it has timestamps. Creates GPU objects.
    pub(crate) fn run_timed(
        &mut self,
        inputs: &Inputs<'_, f32>,
        out: &mut OutputViews<'_, f32>,
    ) -> Result<Option<DeviceTimes>> {
        self.timer = Timer::new(&self.context);
        let ran = self.run(inputs, out);
        let timer = self.timer.take();
        ran?;
        match timer {
            Some(timer) => pollster::block_on(timer.read(&self.context, Waiting::Blocking)),
            None => Ok(None),
        }
    }

    /// [`run`](Self::run) without blocking the caller's thread.
    pub(crate) async fn run_async(
        &mut self,
        inputs: &Inputs<'_, f32>,
        out: &mut OutputViews<'_, f32>,
    ) -> Result<()> {
        self.run_waiting(inputs, out, Waiting::Async).await
    }

    async fn run_waiting(
        &mut self,
        inputs: &Inputs<'_, f32>,
        out: &mut OutputViews<'_, f32>,
        waiting: Waiting,
    ) -> Result<()> {
        self.prepare(inputs.shape(), inputs.lengths, !out.layers.is_empty())?;
        self.interrupted = true;
        executor::run(self, inputs, out, waiting, None).await?;
        self.interrupted = false;
        Ok(())
    }

    /// Remakes what a run that did not end has left in an unknown state.
    pub(super) fn recover(&mut self) -> Result<()> {
        if self.interrupted {
            self.uploads = UploadRing::new(&self.context, self.capacity.staging)?;
            self.downloads = DownloadRing::new(&self.context, self.capacity.staging)?;
            self.launches_for = None;
            self.interrupted = false;
        }
        Ok(())
    }

    /// Makes the plan for a run, unless it is the last run's.
    pub(super) fn prepare(
        &mut self,
        shape: SequenceShape,
        lengths: Option<&[usize]>,
        all_layers: bool,
    ) -> Result<()> {
        self.recover()?;
        if self.plan.rows.is_for(shape, lengths) && self.plan.options.all_layers == all_layers {
            return Ok(());
        }
        let options = PlanOptions { all_layers, ..self.options.clone() };
        let plan = Plan::within(
            self.gru.config(),
            RowOrder::new(shape, lengths)?,
            self.context.capabilities(),
            &options,
            self.plan.geometry,
            Some(&self.capacity),
        )?;
        let launches = plan.most_launches();
        if launches > self.launch_capacity {
            let inner = &self.context.inner;
            self.launches = buffer(
                &inner.device,
                &inner.counters,
                "wgru.launches",
                launches * plan.uniform_stride,
                wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                false,
            )?;
            self.launch_capacity = launches;
            self.bind_groups.clear();
        }
        self.plan = Arc::new(plan);
        Ok(())
    }

    /// The bind group for `key`, made at its first use.
    pub(super) fn bind_group(&mut self, key: BindKey) -> Result<wgpu::BindGroup> {
        if let Some(group) = self.bind_groups.get(&key) {
            return Ok(group.clone());
        }
        let group = self.bind_group_on(key, &self.launches)?;
        self.bind_groups.insert(key, group.clone());
        Ok(group)
    }

    /// A new bind group for `key` with the launch records in `launches`.
    pub(super) fn bind_group_on(
        &self,
        key: BindKey,
        launches: &wgpu::Buffer,
    ) -> Result<wgpu::BindGroup> {
        let pipeline = &self.pipelines[&key.kernel];
        let cells = self.plan.variant(key.kernel).cells;
        let record = LaunchRecord::size(cells as usize);
        let other = match key.other {
            SourceBuffer::Input => &self.input,
            SourceBuffer::Arena(index) => &self.arenas[index],
        };
        let slot = |buffer, size| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset: 0,
                size: std::num::NonZeroU64::new(size),
            })
        };
        let entries: Vec<_> = key
            .kernel
            .bindings()
            .iter()
            .filter_map(|&(binding, role, _)| {
                let resource = match role {
                    Binding::Launch => slot(launches, record),
                    Binding::Step => slot(self.steps.as_ref()?, 16),
                    Binding::Weights => self.weights.buffers[key.weights].as_entire_binding(),
                    Binding::Biases => self.weights.biases.as_entire_binding(),
                    Binding::Rows => self.rows.as_entire_binding(),
                    Binding::Gates => self.gates.as_entire_binding(),
                    Binding::Source | Binding::Arena => other.as_entire_binding(),
                    // Of exchanges, whose bind groups the slots hold.
                    Binding::Exchange | Binding::Slots => return None,
                };
                Some(wgpu::BindGroupEntry { binding, resource })
            })
            .collect();
        let device = &self.context.inner.device;
        self.context.inner.counters.bind_group();
        let label = format!("wgru.{}", key.kernel.name());
        scoped(device, &format!("bind group {label}"), || {
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&label),
                layout: &pipeline.layout,
                entries: &entries,
            })
        })
    }
}

/// The uniform slots that tell a step kernel its step of the chunk.
fn step_slots(context: &GpuContext, plan: &Plan) -> Result<wgpu::Buffer> {
    let inner = &context.inner;
    let stride = plan.step_stride();
    let steps = plan.memory.chunk_steps;
    let size = steps as u64 * stride;
    let usage = wgpu::BufferUsages::UNIFORM;
    let slots = buffer(&inner.device, &inner.counters, "wgru.steps", size, usage, true)?;
    let mut bytes = vec![0u8; usize::try_from(slots.size()).expect("a few MiB at most")];
    for (step, slot) in (0u32..).zip(bytes.chunks_mut(usize::try_from(stride).expect("small"))) {
        if slot.len() >= 4 {
            slot[..4].copy_from_slice(&step.to_le_bytes());
        }
    }
    if let Ok(mut view) = slots.get_mapped_range_mut(..) {
        view.copy_from_slice(&bytes);
    }
    slots.unmap();
    Ok(slots)
}
