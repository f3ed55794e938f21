//! The report of a probe, as it is printed, cached and written as JSON (`docs/probe-json.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::quantity::Quantity;
use crate::gpu::AdapterDescription;

/// What distinguishes a figure from others of its quantity: `workgroups`, `bytes`, ...
pub type Parameters = BTreeMap<String, u64>;

/// What was measured of an adapter. Its methods answer what planners ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The version of this crate.
    pub wgru: String,
    /// The adapter.
    pub adapter: ProbedAdapter,
    /// Whether [`ProbeOptions::quick`](super::ProbeOptions::quick) was asked for.
    pub quick: bool,
    /// Whether [`ProbeOptions::experimental`](super::ProbeOptions::experimental) was asked for.
    pub experimental: bool,
    /// When it was measured: seconds since 1970.
    pub unix_time: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Nanoseconds of a tick of the device's clock; none where the adapter has no timestamps, and
    /// figures are of the host's clock alone.
    pub timestamp_period_ns: Option<f64>,
    /// What the driver lists of cooperative matrices.
    pub matrix_shapes: Vec<MatrixShape>,
    /// Everything measured, or why it was not, quantity by quantity.
    pub figures: Vec<Figure>,
}

/// The adapter of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProbedAdapter {
    /// The driver's name for the device.
    pub name: String,
    /// The graphics interface: Vulkan, Metal, Dx12, Gl.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// The class of device, as `wgru devices` says it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Smallest and largest subgroup; 0 where there are none.
    pub subgroup_sizes: [u32; 2],
}

impl From<&AdapterDescription> for ProbedAdapter {
    fn from(a: &AdapterDescription) -> Self {
        Self {
            name: a.name.clone(),
            backend: a.backend.clone(),
            driver: a.driver.clone(),
            kind: a.kind.to_string(),
            subgroup_sizes: a.subgroup_sizes,
        }
    }
}

/// One measurement, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Figure {
    /// What was measured.
    pub quantity: Quantity,
    /// Which case of it, for people; may be empty.
    pub case: String,
    /// The same for programs.
    pub parameters: Parameters,
    /// The unit of every number below.
    pub unit: String,
    /// By the device's timestamps, where it has them and they can tell.
    pub device: Option<Spread>,
    /// By the host's clock, waiting for the device included.
    pub host: Option<Spread>,
    /// What a performance model expects of an H200, lowest and highest: beside a measurement of a
    /// large GPU it says how good the model is; of this adapter it says nothing.
    pub expected_of_h200: Option<[f64; 2]>,
    /// Why there is no number.
    pub problem: Option<Problem>,
}

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// It cannot be measured here, or was not.
    NotMeasured(String),
    /// The kernel's results were not what they have to be: the driver, or this crate, is wrong.
    WrongResult(String),
}

/// Repeated measurements of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// How many.
    pub samples: usize,
}

/// A shape of cooperative matrices that the driver lists: `C += A B` with A of M x K.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MatrixShape {
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A.
    pub k: u32,
    /// Type of A and B: `f16`, `f32`, `i32`, `u32`.
    pub operand: String,
    /// Type of C.
    pub sum: String,
    /// Whether products of it gave right results; none where kernels cannot be written for it.
    pub right: Option<bool>,
    /// Why not.
    pub note: Option<String>,
}

impl Spread {
    /// Of at least one value, all of them numbers.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|v| v.is_finite());
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[half - 1] + values[half]) / 2.0,
            _ => values[half],
        };
        Some(Self { median, low, high, samples: values.len() })
    }
}

impl Figure {
    pub(crate) fn new(quantity: Quantity, case: &str, parameters: &[(&str, u64)]) -> Self {
        let parameters: Parameters =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Self {
            quantity,
            case: case.to_owned(),
            unit: quantity.unit().to_owned(),
            device: None,
            host: None,
            expected_of_h200: quantity.expected_of_a_large_gpu(&parameters),
            parameters,
            problem: None,
        }
    }

    /// The median: by the device's clock where it was read, else by the host's.
    pub fn value(&self) -> Option<f64> {
        self.device.or(self.host).map(|spread| spread.median)
    }
}
