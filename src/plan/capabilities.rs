//! What a plan needs to know of a device, as plain data.

use crate::error::{Error, ErrorKind, Result};

/// An adapter's limits and features as far as plans depend on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Capabilities {
    /// Largest storage binding, bytes.
    pub max_storage_binding: u64,
    /// Largest buffer, bytes.
    pub max_buffer: u64,
    /// Storage buffers that one kernel may bind.
    pub max_storage_buffers: u32,
    /// Workgroups along one dimension of a dispatch.
    pub max_workgroups: u32,
    /// Invocations of a workgroup.
    pub max_invocations: u32,
    /// Memory of a workgroup, bytes.
    pub max_workgroup_memory: u32,
    /// Alignment of dynamic offsets into uniform buffers, bytes.
    pub uniform_alignment: u32,
    /// Largest uniform binding, bytes.
    pub max_uniform_binding: u64,
    /// Whether a dispatch can be given a few bytes directly.
    pub immediates: bool,
    /// A software adapter: the processor, not a GPU, runs the kernels.
    pub software: bool,
    /// Of a software adapter: which measurements the planner's tables take.
    pub software_driver: SoftwareDriver,
    /// A GPU that shares the processor's memory.
    pub integrated: bool,
    /// f32 multiply-adds of the device in GFLOP/s, where a probe has measured them. It bounds the
    /// work of a dispatch, and so may cut a plan into smaller chunks; results are the same bits.
    pub measured_gflops: Option<f64>,
    /// The cooperative matrices that the device was opened with; they are experimental, and asked
    /// for by [`GpuOptions::cooperative_matrices`](crate::GpuOptions::cooperative_matrices).
    pub cooperative_matrices: Option<CooperativeMatrices>,
}

/// A software driver that the planner's tables were measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SoftwareDriver {
    /// llvmpipe of Mesa 22: stands for versions before 24 and for unknown drivers.
    Llvmpipe22,
    /// llvmpipe of Mesa 26, whose sequence kernels are faster: stands for versions from 24 on.
    Llvmpipe26,
    /// SwiftShader: it begins a dispatch so fast, beside its arithmetic, that kernels which save
    /// dispatches gain nothing.
    SwiftShader,
}

/// Cooperative matrices with f16 operands and f32 sums, as kernels use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CooperativeMatrices {
    /// Rows and columns of every matrix: 8 or 16.
    pub size: u32,
    /// Lanes of a subgroup, which holds a matrix together.
    pub subgroup: u32,
}

impl std::fmt::Display for CooperativeMatrices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{0}x{0}x{0} in subgroups of {1}", self.size, self.subgroup)
    }
}

impl Capabilities {
    /// What every WebGPU device has: 256 invocations, 8 storage buffers, 128 MiB bindings, no
    /// immediates.
    pub fn downlevel() -> Self {
        Self {
            max_storage_binding: 128 << 20,
            max_buffer: 256 << 20,
            max_storage_buffers: 8,
            max_workgroups: 65535,
            max_invocations: 256,
            max_workgroup_memory: 16 << 10,
            uniform_alignment: 256,
            max_uniform_binding: 64 << 10,
            immediates: false,
            software: false,
            software_driver: SoftwareDriver::Llvmpipe22,
            integrated: true,
            measured_gflops: None,
            cooperative_matrices: None,
        }
    }

    /// Memory that a session takes by default: a quarter of the largest buffer, 2 GiB at most.
    pub fn default_budget(&self) -> u64 {
        (self.max_buffer / 4).min(2 << 30)
    }

    /// Floating-point operations that one dispatch may hold: about 50 ms of a slow device of
    /// this class, or of this device where it was measured to be slower, so that no watchdog resets
    /// it.
    pub(crate) fn dispatch_flops(&self) -> u64 {
        let of_class = match (self.software, self.integrated) {
            (true, _) => 200_000_000,
            (false, true) => 5_000_000_000,
            (false, false) => 50_000_000_000,
        };
        // Kernels reach a fifth of the peak, or more. No device is a hundred times slower than its
        // class: a rate that says so is wrong, and must not cut a run into pieces without number.
        // Casts saturate.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let measured = self.measured_gflops.map(|rate| (rate * 1e9 * 0.05 / 5.0) as u64);
        measured.map_or(of_class, |flops| flops.clamp(of_class / 100, of_class))
    }

    /// Floating-point operations of one workgroup in a dispatch: as [`dispatch_flops`]
    /// (Self::dispatch_flops), of one of the device's cores.
    pub(crate) fn workgroup_flops(&self) -> u64 {
        let cores = match (self.software, self.integrated) {
            (true, _) => 2,
            (false, true) => 8,
            (false, false) => 16,
        };
        self.dispatch_flops() / cores
    }

    /// Loop iterations that one invocation of a dispatch may make, all its loops together but for
    /// those of a few rows or gates, which drivers unroll. Mesa's software rasterisers leave every
    /// loop after 65535 of them, without a word; half of that is room for what the count leaves out.
    pub(crate) fn loop_iterations(&self) -> u64 {
        if self.software { 32_767 } else { u64::MAX }
    }

    /// Checks what no plan can do without.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedDevice`], naming the limit, the need and the device's value.
    pub fn validate(&self) -> Result<()> {
        let needs = [
            ("storage buffers of a kernel", u64::from(self.max_storage_buffers), 5),
            ("invocations of a workgroup", u64::from(self.max_invocations), 64),
            ("bytes of a storage binding", self.max_storage_binding, 1 << 20),
            ("bytes of a buffer", self.max_buffer, 1 << 20),
            ("workgroups along a dimension", u64::from(self.max_workgroups), 1 << 10),
            ("bytes of a uniform binding", self.max_uniform_binding, 4 << 10),
        ];
        if !self.uniform_alignment.is_power_of_two() {
            return Err(Error::new(
                ErrorKind::UnsupportedDevice,
                format!(
                    "the device aligns uniform offsets to {} bytes, a power of two is needed",
                    self.uniform_alignment
                ),
            ));
        }
        for (name, given, wanted) in needs {
            if given < wanted {
                return Err(Error::new(
                    ErrorKind::UnsupportedDevice,
                    format!("the device allows {given} {name}, {wanted} are needed"),
                ));
            }
        }
        Ok(())
    }
}
