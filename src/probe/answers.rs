//! What planners ask of a report.

use super::quantity::Quantity;
use super::report::{Figure, ProbeReport, Problem};

/// A rate below this part of the best one of fewer values has fallen off the cliff.
const CLIFF: f64 = 0.6;

impl ProbeReport {
    /// The figures of a quantity, in the order of measurement.
    pub fn of(&self, quantity: Quantity) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(move |f| f.quantity == quantity)
    }

    /// Whether every kernel that ran gave right results.
    pub fn is_right(&self) -> bool {
        !self.figures.iter().any(|f| matches!(f.problem, Some(Problem::WrongResult(_))))
    }

    /// The figure whose parameter `name` is nearest to `wanted`: the smallest that is no smaller,
    /// else the largest.
    fn at(&self, quantity: Quantity, name: &str, wanted: u64) -> Option<f64> {
        let parameter = |f: &Figure| f.parameters.get(name).copied().unwrap_or(0);
        let measured = || self.of(quantity).filter(|f| f.value().is_some());
        let above = measured().filter(|f| parameter(f) >= wanted).min_by_key(|f| parameter(f));
        above.or_else(|| measured().max_by_key(|f| parameter(f)))?.value()
    }

    fn only(&self, quantity: Quantity) -> Option<f64> {
        self.of(quantity).find_map(Figure::value)
    }

    /// µs of a dispatch of `workgroups` that needs the one before it. Of the counts measured, the
    /// next larger one answers, else the largest.
    pub fn dispatch_latency_us(&self, workgroups: u64) -> Option<f64> {
        self.at(Quantity::DispatchLatency, "workgroups", workgroups)
    }

    /// µs that the host takes to record a dispatch.
    pub fn record_us(&self) -> Option<f64> {
        self.only(Quantity::RecordCost)
    }

    /// GFLOP/s of f32 multiply-adds.
    pub fn f32_gflops(&self) -> Option<f64> {
        self.only(Quantity::F32Rate)
    }

    /// GFLOP/s of f16 multiply-adds.
    pub fn f16_gflops(&self) -> Option<f64> {
        self.only(Quantity::F16Rate)
    }

    /// GB/s at which a working set of `bytes` is read again and again. Of the sizes measured, the
    /// next larger one answers, else the largest.
    pub fn read_gbps(&self, bytes: u64) -> Option<f64> {
        self.at(Quantity::ReadBandwidth, "bytes", bytes)
    }

    /// GB/s of a copy in device memory, reads and writes counted.
    pub fn copy_gbps(&self) -> Option<f64> {
        self.at(Quantity::CopyBandwidth, "bytes", u64::MAX)
    }

    /// GB/s that all workgroups together read from their memory.
    pub fn workgroup_memory_gbps(&self) -> Option<f64> {
        self.only(Quantity::WorkgroupMemoryBandwidth)
    }

    /// µs to bring a few values to the device and wait until they are there.
    pub fn upload_us(&self) -> Option<f64> {
        self.only(Quantity::UploadLatency)
    }

    /// GB/s of large uploads.
    pub fn upload_gbps(&self) -> Option<f64> {
        self.only(Quantity::UploadBandwidth)
    }

    /// µs to fetch a few values from the device.
    pub fn read_back_us(&self) -> Option<f64> {
        self.only(Quantity::ReadBackLatency)
    }

    /// GB/s of large read-backs.
    pub fn read_back_gbps(&self) -> Option<f64> {
        self.only(Quantity::ReadBackBandwidth)
    }

    /// ns of a workgroup barrier with a word exchanged, at the next larger number of invocations
    /// that was measured.
    pub fn barrier_ns(&self, invocations: u64) -> Option<f64> {
        self.at(Quantity::BarrierCost, "invocations", invocations)
    }

    /// How many f32 each of `invocations` (256 or 512) of a workgroup can hold over a long loop
    /// before the rate falls below 60 % of the best with fewer. `None` where it was not measured.
    pub fn resident_values(&self, invocations: u64) -> Option<u64> {
        let mut best = 0.0_f64;
        let mut held = None;
        for figure in self.of(Quantity::ResidentRate) {
            if figure.parameters.get("invocations") != Some(&invocations) {
                continue;
            }
            let (Some(rate), Some(values)) = (figure.value(), figure.parameters.get("values"))
            else {
                continue;
            };
            if rate < CLIFF * best {
                break;
            }
            best = best.max(rate);
            held = Some(*values);
        }
        held
    }

    /// Units of the largest hidden layer whose recurrent weights, all three gates in f32, stay in
    /// the registers of one workgroup.
    pub fn resident_units(&self) -> Option<u64> {
        let held =
            |invocations: u64| Some(invocations.saturating_mul(self.resident_values(invocations)?));
        let values = held(256).max(held(512))?;
        Some((values / 3).isqrt())
    }

    /// The best rate of cooperative matrices with operands of `operand_bits`, in GFLOP/s.
    pub fn matrix_gflops(&self, operand_bits: u64) -> Option<f64> {
        self.of(Quantity::MatrixRate)
            .filter(|f| f.parameters.get("operand_bits") == Some(&operand_bits))
            .filter_map(Figure::value)
            .max_by(f64::total_cmp)
    }

    /// µs of a round of hand-offs among `workgroups`, one word each; `None` where it was not
    /// measured, or where a workgroup waited in vain.
    pub fn hand_off_us(&self, workgroups: u64) -> Option<f64> {
        let failed = self.of(Quantity::HandOffLatency).any(|f| f.problem.is_some());
        if failed {
            return None;
        }
        self.at(Quantity::HandOffLatency, "workgroups", workgroups)
    }
}
