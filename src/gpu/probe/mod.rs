//! The measurements behind `probe`. Each kernel is one file of `shaders/probe/`; each is checked
//! for right results before it is timed.

mod arithmetic;
mod dispatch;
mod hand_off;
mod lab;
mod matrices;
mod memory;
mod pace;
mod registers;
#[cfg(test)]
mod texts;
mod transfer;
mod workgroup;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) use lab::Faults;
#[cfg(test)]
pub(crate) use texts::texts;

use self::lab::Lab;
use self::pace::{Pace, Spreads};
use super::adapters::{self, AdapterDescription};
use super::context::GpuContext;
use crate::error::{Error, ErrorKind, Result};
use crate::probe::{
    Figure, MatrixShape, ProbeOptions, ProbeReport, ProbedAdapter, Problem, Quantity,
};

/// After so long nothing more is begun.
const LIMIT: Duration = Duration::from_secs(16);
const QUICK_LIMIT: Duration = Duration::from_secs(6);

/// Why a case has no figure.
#[derive(Debug)]
enum Stop {
    NotMeasured(String),
    Wrong(String),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A probe under way.
#[derive(Debug)]
struct Probe<'a> {
    adapter: &'a wgpu::Adapter,
    description: AdapterDescription,
    checked: bool,
    options: &'a ProbeOptions,
    faults: &'a Faults,
    pace: Pace,
    began: Instant,
    figures: Vec<Figure>,
    matrix_shapes: Vec<MatrixShape>,
}

impl GpuContext {
    pub(crate) fn probe(&self, options: &ProbeOptions) -> Result<ProbeReport> {
        self.probe_with(options, &Faults::default())
    }

    pub(crate) fn probe_with(
        &self,
        options: &ProbeOptions,
        faults: &Faults,
    ) -> Result<ProbeReport> {
        self.with_probe(options, faults, |probe| {
            let period = probe.measure()?;
            Ok(probe.report(period))
        })
    }

    /// Finds the context's adapter and gives `work` a probe of it.
    fn with_probe<T>(
        &self,
        options: &ProbeOptions,
        faults: &Faults,
        work: impl FnOnce(&mut Probe<'_>) -> Result<T>,
    ) -> Result<T> {
        let own = &self.inner.description;
        let found = adapters::enumerate();
        let same = |a: &&wgpu::Adapter| adapters::describe(0, a).cache_key() == own.cache_key();
        // Of several alike, the one in its place.
        let in_place = found.get(own.index).filter(same);
        let Some(adapter) = in_place.or_else(|| found.iter().find(same)) else {
            let message = format!("{own}: wgpu no longer finds this adapter");
            return Err(Error::new(ErrorKind::NoDevice, message));
        };
        let mut probe = Probe {
            adapter,
            // The context's own may be of a device with fewer features.
            description: adapters::describe(own.index, adapter),
            checked: self.inner.checked,
            options,
            faults,
            pace: if options.quick { Pace::quick() } else { Pace::thorough() },
            began: Instant::now(),
            figures: Vec::new(),
            matrix_shapes: Vec::new(),
        };
        work(&mut probe)
    }
}

impl Probe<'_> {
    fn report(&mut self, period: Option<f64>) -> ProbeReport {
        let order = |f: &Figure| Quantity::ALL.iter().position(|q| *q == f.quantity);
        self.figures.sort_by_key(order);
        ProbeReport {
            wgru: env!("CARGO_PKG_VERSION").to_owned(),
            adapter: ProbedAdapter::from(&self.description),
            quick: self.options.quick,
            experimental: self.options.experimental,
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            seconds: self.began.elapsed().as_secs_f64(),
            timestamp_period_ns: period.map(|seconds| seconds * 1e9),
            matrix_shapes: std::mem::take(&mut self.matrix_shapes),
            figures: std::mem::take(&mut self.figures),
        }
    }

    /// All of it; gives the period of the device's clock. What decides most comes first, what
    /// could upset the driver last.
    fn measure(&mut self) -> Result<Option<f64>> {
        // As sessions open it: other features may change how a driver compiles.
        let lab = self.open(wgpu::Features::IMMEDIATES)?;
        let period = lab.period();
        self.dispatches(&lab)?;
        self.transfers(&lab)?;
        self.f32_rate(&lab)?;
        self.workgroup_memory(&lab)?;
        self.barriers(&lab)?;
        self.registers(&lab)?;
        self.bandwidths(&lab)?;
        drop(lab);
        self.f16_rate()?;
        self.subgroups()?;
        self.matrices()?;
        self.hand_offs()?;
        Ok(period)
    }

    /// A device with those of `features` that the adapter has, and with its clock.
    fn open(&self, features: wgpu::Features) -> Result<Lab> {
        let features = (features | wgpu::Features::TIMESTAMP_QUERY) & self.adapter.features();
        Lab::open(self.adapter, &self.description, features, self.checked, self.faults)
    }

    fn has(&self, features: wgpu::Features) -> bool {
        self.adapter.features().contains(features)
    }

    /// Adds the figure that `measure` gives, or why there is none.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceLost`]: nothing more can be measured.
    fn figure(
        &mut self,
        lab: &Lab,
        quantity: Quantity,
        case: &str,
        parameters: &[(&str, u64)],
        measure: impl FnOnce(&Lab, &Pace) -> Result<Spreads, Stop>,
    ) -> Result<()> {
        let mut figure = Figure::new(quantity, case, parameters);
        let subject = format!("{} {case}", quantity.title());
        *lab.subject.borrow_mut() = subject.trim_end().to_owned();
        let outcome = match self.is_late() {
            Some(reason) => Err(Stop::NotMeasured(reason)),
            None => measure(lab, &self.pace),
        };
        match outcome {
            Ok([device, host]) => (figure.device, figure.host) = (device, host),
            Err(stop) => {
                // A lost device refuses everything, or computes nothing, each in its own way.
                if !matches!(stop, Stop::NotMeasured(_)) {
                    super::poller::poll(&lab.device, wgpu::PollType::Poll)
                        .map_err(|e| lab.failed(&e))?;
                    lab.still_there()?;
                }
                figure.problem = Some(problem(stop)?);
            }
        }
        self.figures.push(figure);
        Ok(())
    }

    /// Adds a figure that cannot be measured.
    fn missing(&mut self, quantity: Quantity, case: &str, reason: impl Into<String>) {
        let mut figure = Figure::new(quantity, case, &[]);
        figure.problem = Some(Problem::NotMeasured(reason.into()));
        self.figures.push(figure);
    }

    fn is_late(&self) -> Option<String> {
        let limit = if self.options.quick { QUICK_LIMIT } else { LIMIT };
        let late = self.began.elapsed() > limit && !self.faults.any_time;
        late.then(|| format!("the probe had taken its {} s already", limit.as_secs()))
    }
}

/// A lost device ends the probe; any other failure is one of the case alone.
fn problem(stop: Stop) -> Result<Problem> {
    match stop {
        Stop::NotMeasured(reason) => Ok(Problem::NotMeasured(reason)),
        Stop::Wrong(what) => Ok(Problem::WrongResult(what)),
        Stop::Failed(error) if error.kind() == ErrorKind::DeviceLost => Err(error),
        Stop::Failed(error) => Ok(Problem::NotMeasured(error.to_string())),
    }
}

/// Compares results: the first that differs is named.
fn check<T: PartialEq + std::fmt::Debug>(
    pairs: impl IntoIterator<Item = (T, T)>,
) -> Result<(), Stop> {
    for (i, (got, want)) in pairs.into_iter().enumerate() {
        if got != want {
            return Err(Stop::Wrong(format!("result {i} is {got:?}, {want:?} is right")));
        }
    }
    Ok(())
}

/// Workgroups and rounds of `scale` pieces of work: first more workgroups, then more rounds.
fn share(lab: &Lab, scale: u32) -> (u32, u32) {
    let most = if lab.is_software() { 64 } else { 2048 };
    let wanted = scale.saturating_mul(8);
    (wanted.min(most), 4 * wanted.div_ceil(most).max(1))
}
