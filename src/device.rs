//! Where a network runs.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::auto::{Auto, Calibration, Choice, Expectation};
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::gpu::{AdapterDescription, GpuContext, GpuOptions, adapters};
use crate::model::Gru;
use crate::plan::PlanOptions;
use crate::shape::SequenceShape;

/// A place to run networks: an open GPU, the CPU engine, the f64 reference, or the choice between
/// the CPU and the GPUs that each session makes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Device {
    /// Of an undecided device the CPU engine.
    pub(crate) kind: DeviceKind,
    auto: Option<Arc<Auto>>,
}

#[derive(Clone, Debug)]
pub(crate) enum DeviceKind {
    Gpu(GpuContext),
    Cpu { threads: Option<NonZeroUsize> },
    Reference,
}

impl Device {
    /// The CPU engine or a GPU, whichever is expected to be faster: each session decides by its
    /// network and its largest shape, from costs that are measured once a machine and cached
    /// ([`Calibration::WhereNeeded`]). Without a GPU it is the CPU engine; a software adapter is
    /// never chosen.
    ///
    /// # Errors
    /// None at present; those of opening an adapter are the session's.
    pub fn auto() -> Result<Self> {
        Ok(Self::auto_with(Calibration::default()))
    }

    /// [`auto`](Self::auto) that measures the machine when `calibration` says so.
    pub fn auto_with(calibration: Calibration) -> Self {
        Self { auto: Some(Arc::new(Auto::new(calibration))), ..Self::cpu() }
    }

    /// The device for sessions of `gru` of up to `shape` with `options`, open: this one, unless it
    /// is [`auto`](Self::auto).
    ///
    /// # Errors
    /// Those of opening the adapter; [`ErrorKind::InvalidRequest`] where nothing can run the
    /// network so.
    ///
    /// ```
    /// use wgru::{Device, Gru, GruConfig, PlanOptions, SequenceShape};
    /// let gru = Gru::random(GruConfig::new(40, 64), 1)?;
    /// let shape = SequenceShape::new(100, 1);
    /// let choice = Device::auto()?.choose(&gru, shape, &PlanOptions::default())?;
    /// println!("{}: {}", choice.device, choice.reason.unwrap());
    /// # Ok::<(), wgru::Error>(())
    /// ```
    pub fn choose(&self, gru: &Gru, shape: SequenceShape, options: &PlanOptions) -> Result<Choice> {
        match &self.auto {
            Some(auto) => auto.choose(gru.config(), shape, options),
            None => Ok(Choice { device: self.clone(), reason: None, expected: Vec::new() }),
        }
    }

    /// What each engine that is considered is expected to take for runs of `shape` of a network of
    /// `config`: empty, unless this is [`auto`](Self::auto).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`].
    pub fn expect(
        &self,
        config: &GruConfig,
        shape: SequenceShape,
        options: &PlanOptions,
    ) -> Result<Vec<Expectation>> {
        config.validate()?;
        Ok(self.auto.as_ref().map_or(Vec::new(), |auto| auto.decide(config, shape, options).1))
    }

    /// Whether each session decides.
    pub fn is_auto(&self) -> bool {
        self.auto.is_some()
    }

    /// The CPU engine on all cores.
    pub fn cpu() -> Self {
        Self { kind: DeviceKind::Cpu { threads: None }, auto: None }
    }

    /// The CPU engine on `threads` threads.
    pub fn cpu_with_threads(threads: NonZeroUsize) -> Self {
        Self { kind: DeviceKind::Cpu { threads: Some(threads) }, auto: None }
    }

    /// The f64 reference: slow, the oracle that the engines are checked against.
    pub fn reference() -> Self {
        Self { kind: DeviceKind::Reference, auto: None }
    }

    /// The most capable adapter, a software one where there is no other.
    ///
    /// # Errors
    /// [`ErrorKind::NoDevice`] where wgpu finds none.
    pub fn gpu() -> Result<Self> {
        Self::gpu_with(&GpuOptions::default())
    }

    fn gpu_with(options: &GpuOptions) -> Result<Self> {
        match adapters().first() {
            Some(first) => Self::adapter_with(first.index, options),
            None => Err(Error::new(
                ErrorKind::NoDevice,
                "device 'gpu': wgpu found no adapter; a software one comes with the package \
                 mesa-vulkan-drivers, and 'cpu' needs none",
            )),
        }
    }

    /// Adapter `index` of [`adapters`](crate::adapters).
    ///
    /// # Errors
    /// Those of [`GpuContext::open`].
    pub fn adapter(index: usize) -> Result<Self> {
        Self::adapter_with(index, &GpuOptions::default())
    }

    fn adapter_with(index: usize, options: &GpuOptions) -> Result<Self> {
        Ok(Self::from_context(GpuContext::open(index, options)?))
    }

    /// The caller's own wgpu device and its queue, as it is: see [`GpuContext::from_wgpu`].
    ///
    /// # Errors
    /// Those of [`GpuContext::from_wgpu`].
    pub fn from_wgpu(
        device: wgpu::Device, // interop
        queue: wgpu::Queue,   // interop
    ) -> Result<Self> {
        let context = GpuContext::from_wgpu(device, queue, &GpuOptions::default())?;
        Ok(Self::from_context(context))
    }

    /// A context that the caller has opened.
    pub fn from_context(context: GpuContext) -> Self {
        Self { kind: DeviceKind::Gpu(context), auto: None }
    }

    /// The device that `request` names: `auto`, `cpu`, `gpu`, `reference`, an index of
    /// [`adapters`](crate::adapters), or a part of an adapter's name, driver or backend, in any
    /// case (the first adapter of several that match).
    ///
    /// # Errors
    /// [`ErrorKind::NoDevice`] where nothing matches, listing what there is; those of opening
    /// the adapter.
    pub fn find(request: &str) -> Result<Self> {
        Self::find_with(request, &GpuOptions::default())
    }

    /// [`find`](Self::find), a GPU opened with `options`; engines that are none do without them, and
    /// `auto` opens its own.
    ///
    /// # Errors
    /// Those of [`find`](Self::find).
    pub fn find_with(request: &str, options: &GpuOptions) -> Result<Self> {
        let wanted = request.trim().to_lowercase();
        match wanted.as_str() {
            "auto" => return Self::auto(),
            "cpu" => return Ok(Self::cpu()),
            "gpu" => return Self::gpu_with(options),
            "reference" => return Ok(Self::reference()),
            _ => {}
        }
        let found = adapters();
        let chosen = match wanted.parse::<usize>() {
            Ok(index) => found.get(index),
            Err(_) if wanted.is_empty() => None,
            Err(_) => found.iter().find(|a| matches(a, &wanted)),
        };
        match chosen {
            Some(adapter) => Self::adapter_with(adapter.index, options),
            None => {
                let list: Vec<_> = found
                    .iter()
                    .map(|a| format!("{}: {} ({})", a.index, a.name, a.backend))
                    .collect();
                Err(Error::new(
                    ErrorKind::NoDevice,
                    format!(
                        "device '{request}' is unknown; there are auto, cpu, gpu, reference{}{}",
                        if list.is_empty() { "; no adapter was found" } else { ", and " },
                        list.join(", ")
                    ),
                ))
            }
        }
    }

    /// The open GPU, where this is one.
    pub fn gpu_context(&self) -> Option<&GpuContext> {
        match &self.kind {
            DeviceKind::Gpu(context) => Some(context),
            _ => None,
        }
    }

    /// Whether this is the f64 reference.
    pub fn is_reference(&self) -> bool {
        matches!(self.kind, DeviceKind::Reference)
    }
}

/// Whether `wanted` (lower case) is a part of what names the adapter. The words are also tried
/// with Mesa's Vulkan driver under its usual name, which it does not report.
fn matches(adapter: &AdapterDescription, wanted: &str) -> bool {
    let mut names =
        format!("{} {} {}", adapter.name, adapter.driver, adapter.backend).to_lowercase();
    if adapter.backend == "Vulkan" && names.contains("llvmpipe") {
        names.push_str(" lavapipe");
    }
    names.contains(wanted)
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(auto) = self.auto.as_ref().filter(|auto| auto.has_gpu()) {
            return write!(f, "{}, by model and shape", auto.names());
        }
        match &self.kind {
            DeviceKind::Gpu(context) => context.adapter().fmt(f),
            DeviceKind::Cpu { threads: None } => f.write_str("CPU engine (all cores)"),
            DeviceKind::Cpu { threads: Some(n) } => write!(f, "CPU engine ({n} threads)"),
            DeviceKind::Reference => f.write_str("f64 reference"),
        }
    }
}
