//! The choice of engine and adapter by model and shape.
//!
//! | module | subject |
//! |---|---|
//! | `costs` | an engine's costs, and what a run adds up to |
//! | `decide` | the least expected time, and the reason in words |
//! | `calibrate` | measures the costs |

mod calibrate;
mod costs;
mod decide;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use crate::cache::{Cache, Key, Kind};
use crate::config::GruConfig;
use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::gpu::{AdapterDescription, AdapterKind, GpuContext, GpuOptions, adapters};
use crate::plan::{Plan, PlanOptions};
use crate::precision::Precision;
use crate::probe::ProbeReport;
use crate::shape::SequenceShape;
use costs::{Class, Costs, Rates, Work};
use decide::{Candidate, Decision, decide};

/// Set and not empty: nothing is measured.
const VARIABLE: &str = "WGRU_NO_CALIBRATION";
const KIND: Kind = Kind { name: "costs", version: 1 };

/// Whether `auto` may measure the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Calibration {
    /// Where there is a choice to make and no cached measurement: about a second for the CPU
    /// engine and for each GPU, once a machine and driver. The default. The environment variable
    /// `WGRU_NO_CALIBRATION`, where it is not empty, turns this and `Always` into `Never`.
    #[default]
    WhereNeeded,
    /// Also where there is nothing to choose, for the sake of the expected time.
    Always,
    /// Cached measurements are used, those of [`probe`](crate::probe) too; what was never measured
    /// is taken for an ordinary device of its class. The same on every run.
    Never,
}

/// The device for a run, and why it is the one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Choice {
    /// Open, and no longer a choice.
    pub device: Device,
    /// One line: expected times, rows and steps. `None` where the caller had named the device.
    pub reason: Option<String>,
    /// Every engine that was considered.
    pub expected: Vec<Expectation>,
}

/// What an engine was expected to take.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Expectation {
    /// The CPU engine or the adapter.
    pub device: String,
    /// Microseconds of a warm call; `None` where it cannot run the work.
    pub microseconds: Option<f64>,
    /// Whether the expectation is founded on measurements of this machine.
    pub measured: bool,
}

/// The adapters that `auto` chooses from: GPUs, each by its best graphics interface. Software
/// adapters run on the same processor as the CPU engine and are slower.
pub fn auto_candidates() -> Vec<AdapterDescription> {
    candidates(adapters())
}

fn candidates(found: Vec<AdapterDescription>) -> Vec<AdapterDescription> {
    let mut kept: Vec<AdapterDescription> = Vec::new();
    for adapter in found.into_iter().filter(|a| a.kind != AdapterKind::Software) {
        // Better interfaces come first; GL names devices in its own way. Two of one name behind one
        // interface are two.
        let again = kept.iter().any(|k| {
            k.name == adapter.name && k.backend != adapter.backend || adapter.backend == "Gl"
        });
        if !again {
            kept.push(adapter);
        }
    }
    kept
}

/// What an undecided device decides between.
#[derive(Debug, Default)]
pub(crate) struct Auto {
    gpus: Vec<AdapterDescription>,
    calibration: Calibration,
    /// Devices that were opened for it, by adapter: sessions share them.
    contexts: Mutex<HashMap<usize, GpuContext>>,
}

impl Auto {
    pub(crate) fn new(calibration: Calibration) -> Self {
        Self { gpus: auto_candidates(), calibration, contexts: Mutex::default() }
    }

    /// Whether there is anything beside the CPU engine.
    pub(crate) fn has_gpu(&self) -> bool {
        !self.gpus.is_empty()
    }

    /// "CPU engine or NVIDIA H200".
    pub(crate) fn names(&self) -> String {
        let gpus = self.gpus.iter().map(|gpu| format!(" or {}", gpu.name));
        format!("CPU engine{}", gpus.collect::<String>())
    }

    /// The device for runs of `shape`.
    pub(crate) fn choose(
        &self,
        config: &GruConfig,
        shape: SequenceShape,
        options: &PlanOptions,
    ) -> Result<Choice> {
        let (decision, expected) = self.decide(config, shape, options);
        let mut reason = decision.reason;
        if !self.has_gpu() {
            reason.push_str("; there is no GPU, and software adapters are slower than the CPU");
        }
        let device = match decision.chosen {
            None => return Err(Error::new(ErrorKind::InvalidRequest, format!("auto: {reason}"))),
            Some(0) => Device::cpu(),
            Some(n) => Device::from_context(self.context(&self.gpus[n - 1])?),
        };
        log::info!("auto: {reason}");
        Ok(Choice { device, reason: Some(reason), expected })
    }

    /// What each engine is expected to take.
    pub(crate) fn decide(
        &self,
        config: &GruConfig,
        shape: SequenceShape,
        options: &PlanOptions,
    ) -> (Decision, Vec<Expectation>) {
        let measure = !is_set(VARIABLE)
            && match self.calibration {
                Calibration::Always => true,
                Calibration::WhereNeeded => self.has_gpu(),
                Calibration::Never => false,
            };
        let known = known_costs(&Subject::Cpu, measure, || Ok(Device::cpu()));
        // The CPU engine is always there.
        let assumed = || (Costs::assumed(Subject::Cpu.class()), false);
        let (costs, measured) = known.unwrap_or_else(|_| assumed());
        let cpu = match gpu_option(options) {
            Some(option) => Err(format!("{option} is of GPUs")),
            None => Ok(costs),
        };
        let mut candidates = vec![Candidate { name: "CPU".into(), costs: cpu }];
        let mut founded = vec![("CPU engine".to_owned(), measured)];
        for (n, gpu) in self.gpus.iter().enumerate() {
            let name = if self.gpus.len() == 1 { "GPU".into() } else { format!("GPU {n}") };
            let plan = Plan::new(config, shape, &gpu.capabilities, options);
            let (costs, measured) = match plan {
                Err(error) => (Err(error.to_string()), false),
                Ok(_) => {
                    let open = || Ok(Device::from_context(self.context(gpu)?));
                    match known_costs(&Subject::Gpu(gpu), measure, open) {
                        Ok((costs, measured)) => (Ok(costs), measured),
                        Err(reason) => (Err(reason), false),
                    }
                }
            };
            candidates.push(Candidate { name, costs });
            founded.push((gpu.to_string(), measured));
        }
        let decision = decide(&candidates, &Work::new(config, shape), shape);
        let expected = founded
            .into_iter()
            .zip(&decision.expected)
            .map(|((device, measured), time)| Expectation { device, microseconds: *time, measured })
            .collect();
        (decision, expected)
    }

    fn context(&self, gpu: &AdapterDescription) -> Result<GpuContext> {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = contexts.get(&gpu.index).filter(|context| context.answers()) {
            return Ok(context.clone());
        }
        let context = GpuContext::open(gpu.index, &GpuOptions::default())?;
        contexts.insert(gpu.index, context.clone());
        Ok(context)
    }
}

/// What in `options` only a GPU can give.
fn gpu_option(options: &PlanOptions) -> Option<&'static str> {
    let given = [
        ("precision f16", options.precision == Precision::F16),
        ("a memory budget", options.memory_budget.is_some()),
        ("a longest chunk", options.max_chunk_steps.is_some()),
        ("a largest tile", options.max_tile_rows.is_some()),
        ("a kernel family", options.family.is_some()),
        ("a layer wavefront", options.wavefront.is_some()),
        ("staying on the device", options.on_device),
        ("tuning", options.tune.is_some()),
    ];
    given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Whose costs.
enum Subject<'a> {
    Cpu,
    Gpu(&'a AdapterDescription),
}

impl Subject<'_> {
    fn class(&self) -> Class {
        match self {
            Self::Cpu => Class::Cpu { threads: threads() },
            Self::Gpu(gpu) if gpu.kind == AdapterKind::Discrete => Class::Discrete,
            Self::Gpu(_) => Class::Shared,
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Cpu => Key {
                subject: "CPU engine".into(),
                state: format!("{}, {} threads", processor(), threads()),
            },
            Self::Gpu(gpu) => gpu.cache_key(),
        }
    }
}

/// The rates of a GPU by an earlier probe of it, those of its class where the probe has none.
/// Products reach a part of the peak.
fn probed(class: Class, report: Option<ProbeReport>) -> Rates {
    const SHARE: f64 = 0.35;
    let (rates, Some(report)) = (class.rates(), report) else { return class.rates() };
    // GFLOP/s and GB/s are thousands of operations and bytes a microsecond.
    let thousands = |value: Option<f64>, factor: f64, otherwise: f64| {
        // From a MFLOP/s and a MB/s up to an EFLOP/s and an EB/s.
        let value = value.filter(|v| (1e-3..=1e9).contains(v));
        value.map_or(otherwise, |v| 1e3 * factor * v)
    };
    let latency = |value: Option<f64>, otherwise: f64| {
        value.filter(|v| (1e-3..=1e7).contains(v)).unwrap_or(otherwise)
    };
    let there_and_back = [report.upload_us(), report.read_back_us()];
    let call = there_and_back.into_iter().sum::<Option<f64>>();
    Rates {
        flops: thousands(report.f32_gflops(), SHARE, rates.flops),
        weights: thousands(report.read_gbps(4 << 20), SHARE, rates.weights),
        bytes: thousands(report.read_back_gbps(), 1.0, rates.bytes),
        step: latency(report.dispatch_latency_us(64), rates.step),
        call: latency(call, rates.call),
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The processor's model, where the system says it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or(std::env::consts::ARCH).to_owned()
}

/// The costs of `subject`: measured in this process or an earlier one, or now where `measure` is
/// set; else assumed, and `false`.
///
/// # Errors
/// Why it could not be measured: it is not to be chosen, nor measured again by this process.
fn known_costs(
    subject: &Subject<'_>,
    measure: bool,
    open: impl FnOnce() -> Result<Device>,
) -> std::result::Result<(Costs, bool), String> {
    type Known = std::result::Result<Costs, String>;
    static KNOWN: Mutex<Vec<(Key, Known)>> = Mutex::new(Vec::new());
    // Held while measuring: two measurements at a time would disturb each other.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = subject.key();
    if let Some((_, known)) = known.iter().find(|(k, _)| *k == key) {
        return known.clone().map(|costs| (costs, true));
    }
    let assumed = match subject {
        Subject::Cpu => Costs::assumed(subject.class()),
        Subject::Gpu(gpu) => {
            Costs::of_rates(&probed(subject.class(), ProbeReport::cached_of(gpu)), false)
        }
    };
    // Tests neither read nor leave measurements in the user's cache.
    let cache = if cfg!(test) { Cache::off() } else { Cache::open() };
    let cached = cache.read_sound(KIND, &key, Costs::is_sound);
    let costs = match cached {
        Some(costs) => Ok(costs),
        None if !measure => return Ok((assumed, false)),
        None => match open().and_then(|device| calibrate::measure(&device, &assumed)) {
            Ok(costs) if costs.is_sound() => {
                cache.keep(KIND, &key, &costs);
                Ok(costs)
            }
            Ok(_) => return Ok((assumed, false)),
            Err(error) => {
                log::warn!("{} cannot be measured: {error}", key.subject);
                Err(format!("it cannot be measured: {error}"))
            }
        },
    };
    known.push((key, costs.clone()));
    costs.map(|costs| (costs, true))
}

#[cfg(test)]
mod tests;
