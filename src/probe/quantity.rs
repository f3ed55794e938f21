//! What is measured of an adapter.

use serde::{Deserialize, Serialize};

/// A measured quantity. `docs/probe.md` of the repository says of each what it means for the choice
/// of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Quantity {
    /// Time of a dispatch that needs the result of the one before it, both of one pass, in µs.
    /// Parameters: `workgroups`, and `dispatches` of the chain.
    DispatchLatency,
    /// The host's time to record one such dispatch, in µs.
    RecordCost,
    /// The host's time to hand a recorded pass to the driver, in µs.
    SubmitCost,
    /// Rate of f32 fused multiply-adds, two operations each, in GFLOP/s.
    F32Rate,
    /// The same in f16, without packing of our own.
    F16Rate,
    /// Rate of reads from a working set of `bytes`, in GB/s.
    ReadBandwidth,
    /// Rate of a copy within the device, reads and writes counted, in GB/s. `bytes` are of both.
    CopyBandwidth,
    /// Rate of reads from the memory of workgroups, all of them together, in GB/s.
    WorkgroupMemoryBandwidth,
    /// Time from the host's call until `bytes` are in device memory, in µs.
    UploadLatency,
    /// Rate of such an upload, the host's own copying counted, in GB/s.
    UploadBandwidth,
    /// Time from the host's call until it can read `bytes` of device memory, in µs.
    ReadBackLatency,
    /// Rate of such a read-back, the host's own copying counted, in GB/s.
    ReadBackBandwidth,
    /// Time of a workgroup barrier with one word exchanged, in ns. Parameter: `invocations`.
    BarrierCost,
    /// Time of a sum over a subgroup that needs the sum before it, in ns.
    SubgroupReductionCost,
    /// Rate of f32 multiply-adds with weights held by the invocations, in GFLOP/s. Parameters:
    /// `invocations` of a workgroup and `values` held by each.
    ResidentRate,
    /// Rate of a matrix product by cooperative matrices, in GFLOP/s. Parameters: `size` of the
    /// matrices, `operand_bits`, `sum_bits`, and `m`, `n`, `k` of the product.
    MatrixRate,
    /// Time of a round in which every workgroup hands words to every other, in µs. Parameters:
    /// `workgroups`, and `words` that each hands over.
    HandOffLatency,
}

impl Quantity {
    /// Every quantity, in the order of a report.
    pub const ALL: [Self; 17] = [
        Self::DispatchLatency,
        Self::RecordCost,
        Self::SubmitCost,
        Self::F32Rate,
        Self::F16Rate,
        Self::ReadBandwidth,
        Self::CopyBandwidth,
        Self::WorkgroupMemoryBandwidth,
        Self::UploadLatency,
        Self::UploadBandwidth,
        Self::ReadBackLatency,
        Self::ReadBackBandwidth,
        Self::BarrierCost,
        Self::SubgroupReductionCost,
        Self::ResidentRate,
        Self::MatrixRate,
        Self::HandOffLatency,
    ];

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::DispatchLatency => "dependent dispatch",
            Self::RecordCost => "recording a dispatch",
            Self::SubmitCost => "submitting a pass",
            Self::F32Rate => "f32 multiply-add",
            Self::F16Rate => "f16 multiply-add",
            Self::ReadBandwidth => "read",
            Self::CopyBandwidth => "copy on the device",
            Self::WorkgroupMemoryBandwidth => "workgroup memory",
            Self::UploadLatency | Self::UploadBandwidth => "upload",
            Self::ReadBackLatency | Self::ReadBackBandwidth => "read-back",
            Self::BarrierCost => "workgroup barrier",
            Self::SubgroupReductionCost => "subgroup sum",
            Self::ResidentRate => "resident weights",
            Self::MatrixRate => "cooperative matrices",
            Self::HandOffLatency => "hand-off of workgroups",
        }
    }

    /// The unit of its figures.
    pub fn unit(self) -> &'static str {
        match self {
            Self::DispatchLatency
            | Self::RecordCost
            | Self::SubmitCost
            | Self::UploadLatency
            | Self::ReadBackLatency
            | Self::HandOffLatency => "us",
            Self::BarrierCost | Self::SubgroupReductionCost => "ns",
            Self::F32Rate | Self::F16Rate | Self::ResidentRate | Self::MatrixRate => "GFLOP/s",
            Self::ReadBandwidth
            | Self::CopyBandwidth
            | Self::WorkgroupMemoryBandwidth
            | Self::UploadBandwidth
            | Self::ReadBackBandwidth => "GB/s",
        }
    }

    /// Whether more is better.
    pub fn is_rate(self) -> bool {
        !matches!(self.unit(), "us" | "ns")
    }

    /// What the performance model of this project expects of an H200, lowest and highest, where it
    /// says anything: to be read beside a measurement, and used for nothing.
    pub(crate) fn expected_of_a_large_gpu(
        self,
        parameters: &super::Parameters,
    ) -> Option<[f64; 2]> {
        let is = |name: &str, value: u64| parameters.get(name) == Some(&value);
        let large = parameters.get("bytes").is_some_and(|bytes| *bytes >= 128 << 20);
        match self {
            Self::DispatchLatency => Some([3.0, 3.0]),
            Self::RecordCost => Some([0.23, 0.8]),
            Self::F32Rate => Some([62_000.0, 62_000.0]),
            Self::ReadBandwidth | Self::CopyBandwidth if large => Some([4_300.0, 4_300.0]),
            Self::ReadBandwidth => Some([5_500.0, 5_500.0]),
            Self::MatrixRate
                if is("operand_bits", 16) && is("m", 4096) && is("n", 4096) && is("k", 4096) =>
            {
                Some([120_000.0, 150_000.0])
            }
            Self::HandOffLatency => Some([1.0, 1.0]),
            _ => None,
        }
    }
}
