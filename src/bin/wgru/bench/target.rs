//! The devices of a benchmark.

use std::num::NonZeroUsize;

use wgru::{
    AdapterDescription, AdapterKind, Device, ErrorKind, GpuContext, GpuOptions, Precision, adapters,
};

use super::record::DeviceHeader;
use crate::devices::Cpu;
use crate::engine::requested;
use crate::failure::Failure;

/// A device that rows are timed on; opened anew for each row, so that first calls are such.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Cpu {
        threads: usize,
    },
    Gpu {
        adapter: Box<AdapterDescription>,
        precision: Precision,
        /// Another adapter has the same name: the index tells them apart.
        namesake: bool,
        /// Matrix kernels are timed: the device is opened with cooperative matrices where it has them.
        matrices: bool,
    },
}

/// Those that `requests`, else `WGRU_DEVICE`, name; by default the CPU engine and the GPUs that `auto` chooses from,
/// the most capable software adapter where there is none. A GPU is one target a precision, of
/// `precisions` where they are given.
pub(crate) fn choose(
    requests: &[String],
    threads: Option<NonZeroUsize>,
    precisions: &[Precision],
    all: bool,
) -> Result<Vec<Target>, Failure> {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let cpu = Target::Cpu { threads: threads.map_or_else(cores, NonZeroUsize::get) };
    let known = adapters();
    let gpu = |adapter: AdapterDescription| Target::Gpu {
        namesake: known
            .iter()
            .any(|a| a.index != adapter.index && a.to_string() == adapter.to_string()),
        adapter: Box::new(adapter),
        precision: Precision::F32,
        matrices: false,
    };
    let (source, requests) = match requests.is_empty() {
        false => ("--device", requests.to_vec()),
        true => ("WGRU_DEVICE", listed(&requested(None)?)),
    };
    let mut targets: Vec<Target> = Vec::new();
    if requests.is_empty() {
        targets.push(cpu.clone());
        let mut gpus = wgru::auto_candidates();
        if gpus.is_empty() {
            gpus.extend(adapters().into_iter().next());
        }
        targets.extend(gpus.into_iter().map(gpu));
    }
    for request in &requests {
        let target = match request.trim().to_lowercase().as_str() {
            "cpu" => cpu.clone(),
            "auto" | "reference" => {
                return Err(Failure::Request(format!(
                    "{source} {request}: bench times cpu and adapters of wgru devices, auto \
                     chooses one by model and shape, and the reference is what they are checked \
                     against"
                )));
            }
            _ => match found(source, request)?.gpu_context() {
                Some(context) => gpu(context.adapter().clone()),
                None => cpu.clone(),
            },
        };
        if !targets.iter().any(|t| t.index() == target.index()) {
            targets.push(target);
        }
    }
    let both = [Precision::F32, Precision::F16];
    let precisions = once_each(precisions);
    let targets: Vec<Target> = targets
        .into_iter()
        .flat_map(|target| {
            let precisions: &[Precision] = match &target {
                Target::Cpu { .. } => &both[..1],
                Target::Gpu { .. } if !precisions.is_empty() => &precisions,
                // Software adapters are there to prove kernels, not to be fast.
                Target::Gpu { adapter, .. } if all && adapter.kind != AdapterKind::Software => {
                    &both
                }
                Target::Gpu { .. } => &both[..1],
            };
            let with = |precision: &Precision| target.with(*precision);
            precisions.iter().map(with).collect::<Vec<_>>()
        })
        .collect();
    let has = |gpu: bool| targets.iter().any(|t| matches!(t, Target::Gpu { .. }) == gpu);
    if precisions.contains(&Precision::F16) && !has(true) {
        return Err(Failure::Request("--precision f16 wants a GPU, there is none".into()));
    }
    if threads.is_some() && !has(false) {
        return Err(Failure::Request("--threads is of the CPU engine, which is not timed".into()));
    }
    Ok(targets)
}

/// The devices of a text with commas between them; none where it is `auto`.
fn listed(text: &str) -> Vec<String> {
    match text.trim().eq_ignore_ascii_case("auto") {
        true => Vec::new(),
        false => text.split(',').map(str::to_owned).collect(),
    }
}

/// The device that `source` calls `request`.
fn found(source: &str, request: &str) -> Result<Device, Failure> {
    Device::find(request).map_err(|error| match error.kind() {
        ErrorKind::NoDevice => Failure::Request(format!("{source}: {error}")),
        _ => error.into(),
    })
}

/// `precisions` in their order, without those that come again.
fn once_each(precisions: &[Precision]) -> Vec<Precision> {
    let mut once = Vec::new();
    for precision in precisions {
        if !once.contains(precision) {
            once.push(*precision);
        }
    }
    once
}

impl Target {
    fn with(&self, precision: Precision) -> Self {
        let mut target = self.clone();
        if let Self::Gpu { precision: own, .. } = &mut target {
            *own = precision;
        }
        target
    }

    /// The same, with matrix kernels where the precision is theirs.
    pub(crate) fn with_matrices(mut self) -> Self {
        if let Self::Gpu { precision, matrices, .. } = &mut self {
            *matrices = *precision == Precision::F16;
        }
        self
    }

    /// Whether matrix kernels are to be timed; or why they are, and cannot be.
    pub(crate) fn matrices(&self) -> Result<bool, &'static str> {
        match self {
            Self::Gpu { adapter, matrices: true, .. } => adapter.cooperative_matrices.map(|_| true),
            _ => Ok(false),
        }
    }

    /// Of the adapter; `None` of the processor.
    fn index(&self) -> Option<usize> {
        match self {
            Self::Cpu { .. } => None,
            Self::Gpu { adapter, .. } => Some(adapter.index),
        }
    }

    pub(crate) fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu { .. })
    }

    /// What records call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Cpu { .. } => "cpu".into(),
            Self::Gpu { adapter, namesake: true, .. } => {
                adapter.to_string().replacen(" (", &format!(" #{} (", adapter.index), 1)
            }
            Self::Gpu { adapter, .. } => adapter.to_string(),
        }
    }

    /// What `auto` calls it.
    pub(crate) fn expected_as(&self) -> String {
        match self {
            Self::Cpu { .. } => "CPU engine".into(),
            Self::Gpu { adapter, .. } => adapter.to_string(),
        }
    }

    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Cpu { .. } => "cpu".into(),
            Self::Gpu { adapter, .. } => adapter.kind.to_string(),
        }
    }

    pub(crate) fn is_software(&self) -> bool {
        matches!(self, Self::Gpu { adapter, .. } if adapter.kind == AdapterKind::Software)
    }

    pub(crate) fn precision(&self) -> Precision {
        match self {
            Self::Cpu { .. } => Precision::F32,
            Self::Gpu { precision, .. } => *precision,
        }
    }

    pub(crate) fn open(&self) -> wgru::Result<Device> {
        match self {
            Self::Cpu { threads } => {
                Ok(NonZeroUsize::new(*threads).map_or_else(Device::cpu, Device::cpu_with_threads))
            }
            Self::Gpu { adapter, matrices, .. } => {
                let cooperative_matrices = *matrices && adapter.cooperative_matrices.is_ok();
                let options = GpuOptions { cooperative_matrices, ..GpuOptions::default() };
                GpuContext::open(adapter.index, &options).map(Device::from_context)
            }
        }
    }

    pub(crate) fn header(&self) -> DeviceHeader {
        let mut header =
            DeviceHeader { device: self.name(), kind: self.kind(), ..DeviceHeader::default() };
        match self {
            Self::Cpu { threads } => {
                let cpu = Cpu::detect();
                header.name = cpu.name.unwrap_or_else(|| "processor".into());
                header.instructions = Some(cpu.features.join(" "));
                header.threads = Some(*threads);
            }
            Self::Gpu { adapter, .. } => {
                header.name = adapter.name.clone();
                header.backend = Some(adapter.backend.clone());
                header.driver = Some(adapter.driver.clone());
            }
        }
        header
    }
}
