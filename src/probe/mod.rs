//! What an adapter can really do, measured: the report and its cache. The measuring is in
//! `gpu/probe`.

mod answers;
mod quantity;
mod report;

pub use quantity::Quantity;
pub use report::{Figure, MatrixShape, Parameters, ProbeReport, ProbedAdapter, Problem, Spread};

use crate::cache::{Cache, Kind};
use crate::error::Result;
use crate::gpu::{AdapterDescription, GpuContext};

/// Raised when a figure changes its meaning.
const KIND: Kind = Kind { name: "probe", version: 1 };

/// Options of [`probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeOptions {
    /// Fewer cases, smaller buffers and fewer repetitions: seconds rather than up to twenty.
    /// Default: off.
    pub quick: bool,
    /// Also measure the hand-off between workgroups, which no interface promises to make progress.
    /// It is bounded, never runs on software adapters, and may still upset a driver. Default: off.
    pub experimental: bool,
    /// Keep the report for later runs of any program of this user, as
    /// [`ProbeReport::cached`] reads it. Default: on.
    pub cache: bool,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self { quick: false, experimental: false, cache: true }
    }
}

/// Measures the adapter that `context` was opened on, on devices of its own, so that a driver that
/// fails takes no session with it. Nothing else should run on the adapter meanwhile.
///
/// Every kernel's results are checked before it is timed; one that computes something wrong has no
/// figure, and [`ProbeReport::is_right`] is false. What cannot be measured says why.
///
/// The report is cached unless the options say otherwise; what goes wrong with that is a warning
/// (`log`). A quick report does not replace a thorough one.
///
/// ```no_run
/// use wgru::{Device, ProbeOptions, probe};
///
/// let device = Device::gpu()?;
/// let report = probe(device.gpu_context().unwrap(), &ProbeOptions::default())?;
/// println!("{:?} us a dispatch", report.dispatch_latency_us(1));
/// # Ok::<(), wgru::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::NoDevice`](crate::ErrorKind::NoDevice) where the adapter is no longer there;
/// [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost) where it is lost half-way.
pub fn probe(context: &GpuContext, options: &ProbeOptions) -> Result<ProbeReport> {
    let report = context.probe(options)?;
    if options.cache {
        report.keep(&Cache::open(), context.adapter());
    }
    Ok(report)
}

impl ProbeReport {
    /// The report on the adapter of `context` that an earlier [`probe`] left in the cache. `None`
    /// where there is none of this driver and this version of the crate.
    pub fn cached(context: &GpuContext) -> Option<Self> {
        Self::cached_of(context.adapter())
    }

    /// As [`cached`](Self::cached), of an adapter that need not be open.
    pub fn cached_of(adapter: &AdapterDescription) -> Option<Self> {
        Self::cached_in(&Cache::open(), adapter)
    }

    pub(crate) fn cached_in(cache: &Cache, adapter: &AdapterDescription) -> Option<Self> {
        cache.read(KIND, &adapter.cache_key())
    }

    pub(crate) fn keep(&self, cache: &Cache, adapter: &AdapterDescription) {
        if self.quick && Self::cached_in(cache, adapter).is_some_and(|before| !before.quick) {
            return;
        }
        cache.keep(KIND, &adapter.cache_key(), self);
    }
}
