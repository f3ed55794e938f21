//! An open device: what sessions of all models share.

use std::sync::Arc;
use std::time::Duration;

use super::adapters::{self, AdapterDescription};
use super::pipelines::Pipelines;
use super::poller::{Poller, has_taken};
use super::resources::{Counters, CreatedObjects, scoped};
use super::unchecked;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Capabilities;
use crate::probe::ProbeReport;

/// Options of [`GpuContext::open`].
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Keep wgpu's run-time checks (index clamping, loop bounding) in the kernels: slower, for
    /// debugging drivers. Default: off.
    pub runtime_checks: bool,
    /// Treat the device as if it had only what every WebGPU device has: for tests of
    /// portability. Default: off.
    pub downlevel: bool,
    /// Open the device with cooperative matrices and f16 in kernels, for
    /// [`KernelFamily::Matrix`](crate::KernelFamily::Matrix); a device of the caller's must have been
    /// opened with both. They are experimental in wgpu: a defect of a driver may have any effect.
    /// [`AdapterDescription::cooperative_matrices`] says whether an adapter has what it takes.
    /// Default: off.
    pub cooperative_matrices: bool,
}

/// An open device with its compiled kernels. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct GpuContext {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) description: AdapterDescription,
    pub(super) capabilities: Capabilities,
    pub(super) pipelines: Pipelines,
    pub(super) counters: Counters,
    pub(super) checked: bool,
    /// The device is the caller's: buffers of its program may be told apart by wgpu. Those of
    /// another wgpu instance may not, and could be taken for our own.
    pub(super) foreign: bool,
    pub(super) poller: Poller,
    #[cfg(test)]
    pub(super) events: std::sync::Mutex<Vec<super::testing::Event>>,
}

/// A device that answers nothing for so long is taken for lost. Submissions are cut so that each
/// takes seconds on the slowest adapters.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

impl GpuContext {
    /// Opens adapter `index` of [`adapters`](crate::adapters) with all the limits it has.
    ///
    /// # Errors
    /// [`ErrorKind::NoDevice`] where there is no such adapter;
    /// [`ErrorKind::UnsupportedDevice`] where it cannot run the kernels, or lacks the
    /// cooperative matrices that `options` ask for;
    /// [`ErrorKind::DeviceLost`] where the driver refuses to open it.
    pub fn open(index: usize, options: &GpuOptions) -> Result<Self> {
        let mut found = adapters::enumerate();
        if index >= found.len() {
            return Err(Error::new(
                ErrorKind::NoDevice,
                format!("there is no adapter {index}, {} were found", found.len()),
            ));
        }
        let adapter = found.swap_remove(index);
        let description = adapters::describe(index, &adapter);
        let wanted = wgpu::Features::IMMEDIATES
            | wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS;
        let (mut features, limits) = if options.downlevel {
            (wgpu::Features::empty(), downlevel_limits(&adapter.limits()))
        } else {
            (adapter.features() & wanted, adapter.limits())
        };
        let matrices = match options.cooperative_matrices {
            true => Some(description.cooperative_matrices.map_err(|e| lacking(&description, e))?),
            false => None,
        };
        let experimental_features = match matrices {
            Some(_) => {
                features |= adapters::MATRIX_FEATURES;
                unchecked::experimental_features()
            }
            None => wgpu::ExperimentalFeatures::disabled(),
        };
        let mut capabilities = adapters::capabilities(&adapter.get_info(), &limits, features);
        capabilities.validate().map_err(|e| e.context(&description))?;
        capabilities.cooperative_matrices = matrices;
        if !options.downlevel {
            capabilities.measured_gflops = measured_gflops(&description);
        }
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("wgru"),
            required_features: features,
            required_limits: limits,
            experimental_features,
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request).map_err(|e| {
            Error::new(ErrorKind::DeviceLost, format!("{description}: cannot be opened: {e}"))
        })?;
        // Failures of our own calls are caught in scopes; what remains is logged, never a panic.
        device.on_uncaptured_error(Arc::new(|error: wgpu::Error| log::error!("wgru: {error}")));
        let checked = options.runtime_checks;
        Ok(Self::from_device(device, queue, description, capabilities, checked, false))
    }

    /// A context on the caller's own device and its queue (wgpu has no way to check that it is),
    /// which stay the caller's: no callback is installed, no setting changed, and the errors of
    /// this crate's calls are caught in error scopes, so that none reaches the device's handlers.
    /// Plans use the limits and the features that the device was opened with; no feature is
    /// required, and no limit above those of every WebGPU device.
    ///
    /// Blocking runs poll the device on the calling thread, async runs on a thread that the
    /// context starts at the first of them. As everywhere in wgpu, a poll also calls what is due of
    /// the caller's own callbacks (`map_async`, `on_submitted_work_done`) on the thread that polls.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedDevice`] where the device's limits admit no plan, naming the limit,
    /// or where `options` ask for cooperative matrices and the device was opened without them, or
    /// its adapter, which is looked for among those of this machine, has none that suit.
    pub fn from_wgpu(
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &GpuOptions,
    ) -> Result<Self> {
        let mut description = adapters::describe_device(&device);
        let (features, limits) = if options.downlevel {
            (wgpu::Features::empty(), downlevel_limits(&device.limits()))
        } else {
            (device.features(), device.limits())
        };
        let mut capabilities = adapters::capabilities(&device.adapter_info(), &limits, features);
        capabilities.validate().map_err(|e| e.context(&description))?;
        if !options.downlevel {
            capabilities.measured_gflops = measured_gflops(&description);
        }
        if options.cooperative_matrices {
            let found = match device.features().contains(adapters::MATRIX_FEATURES) {
                true => adapters::of_device(&device),
                false => Err("the device was opened without cooperative matrices or f16"),
            };
            description.cooperative_matrices = found;
            let matrices = found.map_err(|e| lacking(&description, e))?;
            capabilities.cooperative_matrices = Some(matrices);
        }
        description.capabilities = capabilities.clone();
        let checked = options.runtime_checks;
        Ok(Self::from_device(device, queue, description, capabilities, checked, true))
    }

    /// A context on an open device.
    pub(super) fn from_device(
        device: wgpu::Device,
        queue: wgpu::Queue,
        description: AdapterDescription,
        capabilities: Capabilities,
        checked: bool,
        foreign: bool,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                device,
                queue,
                description,
                capabilities,
                pipelines: Pipelines::default(),
                counters: Counters::default(),
                checked,
                foreign,
                poller: Poller::default(),
                #[cfg(test)]
                events: std::sync::Mutex::default(),
            }),
        }
    }

    /// Whether the device still takes work: one that was lost does not.
    pub(crate) fn answers(&self) -> bool {
        let inner = &self.inner;
        let submitted = scoped(&inner.device, "a submission", || inner.queue.submit([]));
        submitted.is_ok_and(|index| has_taken(&inner.device, &index).is_ok())
    }

    /// Whether kernels keep wgpu's run-time checks.
    pub(crate) fn is_checked(&self) -> bool {
        self.inner.checked
    }

    /// The adapter.
    pub fn adapter(&self) -> &AdapterDescription {
        &self.inner.description
    }

    /// What plans for this device may use: what was requested of the adapter.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// GPU objects that this crate has created on the device so far. Repeated runs of a session
    /// create none.
    pub fn created_objects(&self) -> CreatedObjects {
        self.inner.counters.read()
    }
}

fn lacking(adapter: &AdapterDescription, what: &str) -> Error {
    Error::new(
        ErrorKind::UnsupportedDevice,
        format!("{adapter}: the matrix kernels cannot run: {what}"),
    )
}

/// What a probe has left in the cache.
fn measured_gflops(adapter: &AdapterDescription) -> Option<f64> {
    let rate = ProbeReport::cached_of(adapter)?.f32_gflops()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

/// WebGPU's guaranteed limits, where the adapter has more.
fn downlevel_limits(adapter: &wgpu::Limits) -> wgpu::Limits {
    let base = wgpu::Limits::default();
    wgpu::Limits {
        max_buffer_size: adapter.max_buffer_size.min(base.max_buffer_size),
        max_storage_buffer_binding_size: adapter
            .max_storage_buffer_binding_size
            .min(base.max_storage_buffer_binding_size),
        max_storage_buffers_per_shader_stage: adapter
            .max_storage_buffers_per_shader_stage
            .min(base.max_storage_buffers_per_shader_stage),
        max_compute_invocations_per_workgroup: adapter
            .max_compute_invocations_per_workgroup
            .min(base.max_compute_invocations_per_workgroup),
        max_compute_workgroup_storage_size: adapter
            .max_compute_workgroup_storage_size
            .min(base.max_compute_workgroup_storage_size),
        max_immediate_size: 0,
        min_uniform_buffer_offset_alignment: 256,
        min_storage_buffer_offset_alignment: 256,
        ..adapter.clone()
    }
}
