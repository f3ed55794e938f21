//! A device of the probe's own: kernels, buffers, timed runs.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::adapters::{AdapterDescription, AdapterKind};
use super::super::resources::{Counters, buffer, scoped};
use super::super::unchecked;
use crate::error::{Error, ErrorKind, Result};

/// No submission of a probe takes a tenth of this on a device that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// What tests change: `(kernel, from, to)` in its text, all of it where `from` is empty; the kernel before whose making the device
/// is lost; whether the probe may take any time, since other tests run beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) texts: Vec<(&'static str, &'static str, &'static str)>,
    pub(crate) lose_before: Option<&'static str>,
    pub(crate) any_time: bool,
}

/// An open device.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) description: AdapterDescription,
    pub(super) limits: wgpu::Limits,
    counters: Counters,
    checked: bool,
    clock: Option<Clock>,
    params: wgpu::Buffer,
    params_now: Cell<[u32; 4]>,
    lost: Arc<Mutex<Option<String>>>,
    /// What errors name.
    pub(super) subject: RefCell<String>,
    faults: Faults,
}

/// Two timestamps around a pass.
#[derive(Debug)]
struct Clock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    /// Seconds of a tick.
    period: f64,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pipeline: wgpu::ComputePipeline,
}

/// A kernel with its buffers.
#[derive(Debug)]
pub(super) struct Bound<'k> {
    kernel: &'k Kernel,
    group: wgpu::BindGroup,
}

/// Times of one submission, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) record: f64,
    pub(super) submit: f64,
    /// From the first call until the host knows that it is done.
    pub(super) host: f64,
    /// From the beginning of the pass to its end.
    pub(super) device: Option<f64>,
}

impl Lab {
    /// Opens `adapter` with `features`, all of which it has, and all its limits.
    pub(super) fn open(
        adapter: &wgpu::Adapter,
        description: &AdapterDescription,
        features: wgpu::Features,
        checked: bool,
        faults: &Faults,
    ) -> Result<Self> {
        let limits = adapter.limits();
        let experimental = features.intersects(wgpu::Features::all_experimental_mask());
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("wgru.probe"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features: if experimental {
                unchecked::experimental_features()
            } else {
                wgpu::ExperimentalFeatures::disabled()
            },
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request).map_err(|e| {
            Error::new(ErrorKind::DeviceLost, format!("{description}: cannot be opened: {e}"))
        })?;
        // Failures of our own calls are caught in scopes; what remains is logged, never a panic.
        device.on_uncaptured_error(Arc::new(|error: wgpu::Error| log::error!("wgru: {error}")));
        let lost = Arc::new(Mutex::new(None));
        let flag = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            let text = format!("{reason:?} {message}");
            *flag.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.trim().to_owned());
        });
        let counters = Counters::default();
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = buffer(&device, &counters, "wgru.probe.params", 16, uniform, false)?;
        let clock = match features.contains(wgpu::Features::TIMESTAMP_QUERY) {
            true => Some(Clock::new(&device, &queue, &counters)?),
            false => None,
        };
        Ok(Self {
            device,
            queue,
            description: description.clone(),
            limits,
            counters,
            checked,
            clock,
            params,
            params_now: Cell::new([0; 4]),
            lost,
            subject: RefCell::default(),
            faults: faults.clone(),
        })
    }

    /// Seconds of a tick of the device's clock.
    pub(super) fn period(&self) -> Option<f64> {
        self.clock.as_ref().map(|clock| clock.period)
    }

    pub(super) fn is_software(&self) -> bool {
        self.description.kind == AdapterKind::Software
    }

    /// The largest power of two that is no more than `wanted` and that one binding can have.
    pub(super) fn binding_size(&self, wanted: u64) -> u64 {
        let most = self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size);
        1 << wanted.min(most).max(1).ilog2()
    }

    /// A storage buffer of `size` bytes, zeroed.
    pub(super) fn storage(&self, size: u64) -> Result<wgpu::Buffer> {
        use wgpu::BufferUsages as Usage;
        self.buffer(size, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST, false)
    }

    pub(super) fn buffer(
        &self,
        size: u64,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> Result<wgpu::Buffer> {
        buffer(&self.device, &self.counters, "wgru.probe", size, usage, mapped)
    }

    /// A storage buffer that holds `words`.
    pub(super) fn filled<T: bytemuck::Pod>(&self, words: &[T]) -> Result<wgpu::Buffer> {
        let bytes = bytemuck::cast_slice(words);
        let made = self.storage(bytes.len() as u64)?;
        self.queue.write_buffer(&made, 0, bytes);
        Ok(made)
    }

    /// Compiles `wgsl`, the text of `shaders/probe/NAME.wgsl` behind its header.
    pub(super) fn kernel(&self, name: &'static str, wgsl: String) -> Result<Kernel> {
        if self.faults.lose_before == Some(name) {
            self.device.destroy();
        }
        let mut wgsl = wgsl;
        for (_, from, to) in self.faults.texts.iter().filter(|(kernel, ..)| *kernel == name) {
            assert!(wgsl.contains(from), "{name} has no {from}");
            wgsl = if from.is_empty() { (*to).to_owned() } else { wgsl.replace(from, to) };
        }
        let made = scoped(&self.device, &format!("kernel {name}"), || {
            let module = unchecked::shader_module(&self.device, name, &wgsl, self.checked);
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // Kernels write what they read; some drivers zero a word at a time.
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            })
        });
        Ok(Kernel { pipeline: made? })
    }

    /// Binds `buffers`, `(binding, buffer)`; binding 0 is that of the parameters, where the kernel
    /// has any.
    pub(super) fn bind<'k>(
        &self,
        kernel: &'k Kernel,
        with_params: bool,
        buffers: &[(u32, &wgpu::Buffer)],
    ) -> Result<Bound<'k>> {
        let params = with_params.then_some((0, &self.params));
        let entries: Vec<_> = params
            .into_iter()
            .chain(buffers.iter().copied())
            .map(|(binding, b)| wgpu::BindGroupEntry { binding, resource: b.as_entire_binding() })
            .collect();
        let group = scoped(&self.device, "a bind group", || {
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("wgru.probe"),
                layout: &kernel.pipeline.get_bind_group_layout(0),
                entries: &entries,
            })
        })?;
        Ok(Bound { kernel, group })
    }

    /// One pass of `dispatches` dispatches of `workgroups`.
    pub(super) fn run(
        &self,
        bound: &Bound<'_>,
        params: [u32; 4],
        workgroups: [u32; 2],
        dispatches: u32,
    ) -> Result<Run> {
        if self.params_now.replace(params) != params {
            self.queue.write_buffer(&self.params, 0, bytemuck::cast_slice(&params));
            self.queue.submit([]);
        }
        let began = Instant::now();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let timestamps = self.clock.as_ref().map(|c| wgpu::ComputePassTimestampWrites {
                query_set: &c.queries,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            });
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: timestamps,
            });
            pass.set_pipeline(&bound.kernel.pipeline);
            pass.set_bind_group(0, &bound.group, &[]);
            for _ in 0..dispatches {
                pass.dispatch_workgroups(workgroups[0], workgroups[1], 1);
            }
        }
        if let Some(clock) = &self.clock {
            encoder.resolve_query_set(&clock.queries, 0..2, &clock.resolved, 0);
            encoder.copy_buffer_to_buffer(&clock.resolved, 0, &clock.readable, 0, 16);
        }
        let commands = encoder.finish();
        let record = began.elapsed().as_secs_f64();
        let submission = self.queue.submit([commands]);
        let submit = began.elapsed().as_secs_f64() - record;
        self.wait(Some(submission))?;
        let host = began.elapsed().as_secs_f64();
        Ok(Run { record, submit, host, device: self.ticks(host)? })
    }

    /// The last pass in seconds, where the device's clock can tell: `host` bounds it.
    fn ticks(&self, host: f64) -> Result<Option<f64>> {
        let Some(clock) = &self.clock else { return Ok(None) };
        let words = self.mapped(&clock.readable, 16)?;
        let at = |i: usize| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32;
        #[expect(clippy::cast_precision_loss, reason = "a duration")]
        let seconds = at(1).checked_sub(at(0)).map(|ticks| ticks as f64 * clock.period);
        Ok(seconds.filter(|s| *s > 0.0 && *s < 1.05 * host))
    }

    /// `count` words of `buffer` from byte `at` on.
    pub(super) fn words(&self, from: &wgpu::Buffer, at: u64, count: u64) -> Result<Vec<u32>> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readable = self.buffer(4 * count, usage, false)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(from, at, &readable, 0, 4 * count);
        self.queue.submit([encoder.finish()]);
        self.mapped(&readable, 4 * count)
    }

    /// The first `bytes` of a mappable buffer.
    pub(super) fn mapped(&self, readable: &wgpu::Buffer, bytes: u64) -> Result<Vec<u32>> {
        self.map(readable, wgpu::MapMode::Read)?;
        let view = readable.get_mapped_range(..bytes).map_err(|e| self.failed(&e.to_string()))?;
        let words = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        readable.unmap();
        Ok(words)
    }

    /// Maps all of `buffer` and waits until it is.
    pub(super) fn map(&self, buffer: &wgpu::Buffer, mode: wgpu::MapMode) -> Result<()> {
        let mapping = super::super::staging::map(&self.device, buffer, mode);
        self.wait(None)?;
        match pollster::block_on(mapping.receive()) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failed("a buffer could not be mapped")),
        }
    }

    /// Waits for `submission`, else for all of them.
    pub(super) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index: submission, timeout: Some(PATIENCE) };
        let polled = super::super::poller::poll(&self.device, poll);
        self.still_there()?;
        match polled {
            Ok(()) => Ok(()),
            Err(e) => Err(self.failed(&format!("no answer within {} s: {e}", PATIENCE.as_secs()))),
        }
    }

    /// # Errors
    /// [`ErrorKind::DeviceLost`], where the device is; the driver says so when it is polled.
    pub(super) fn still_there(&self) -> Result<()> {
        match &*self.lost.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(self.failed(reason)),
            None => Ok(()),
        }
    }

    pub(super) fn failed(&self, reason: &str) -> Error {
        let (adapter, subject) = (&self.description, self.subject.borrow());
        let message = format!("{adapter}: lost while measuring {subject}: {reason}");
        Error::new(ErrorKind::DeviceLost, message)
    }
}

impl Clock {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue, counters: &Counters) -> Result<Self> {
        use wgpu::BufferUsages as Usage;
        let make = |usage| buffer(device, counters, "wgru.probe.clock", 16, usage, false);
        Ok(Self {
            queries: scoped(device, "timestamps", || {
                device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("wgru.probe"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2,
                })
            })?,
            resolved: make(Usage::QUERY_RESOLVE | Usage::COPY_SRC)?,
            readable: make(Usage::MAP_READ | Usage::COPY_DST)?,
            period: f64::from(queue.get_timestamp_period()) * 1e-9,
        })
    }
}
