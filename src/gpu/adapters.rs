//! Which adapters there are, and what matters of each.

use std::fmt;

use crate::cache::Key;
use crate::plan::{Capabilities, CooperativeMatrices, SoftwareDriver};

/// The class of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU behind a virtual machine.
    Virtual,
    /// The processor, through a software driver.
    Software,
    /// The driver does not say.
    Other,
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete GPU",
            Self::Integrated => "integrated GPU",
            Self::Virtual => "virtual GPU",
            Self::Software => "software",
            Self::Other => "other",
        })
    }
}

/// An adapter as wgpu reports it.
#[derive(Clone, Debug)]
pub struct AdapterDescription {
    /// Position in [`adapters`], the number by which a user chooses it; `usize::MAX` for a device
    /// that the caller opened, which has none.
    pub index: usize,
    /// The driver's name for the device.
    pub name: String,
    /// The graphics interface: Vulkan, Metal, Dx12, Gl.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// The class of device.
    pub kind: AdapterKind,
    /// PCI numbers of the vendor and the device; 0 where the backend does not say.
    pub pci_ids: [u32; 2],
    /// Smallest and largest subgroup; 0 where the adapter has no subgroups.
    pub subgroup_sizes: [u32; 2],
    /// Names of the features that kernels can use.
    pub features: Vec<&'static str>,
    /// Bytes of memory that a workgroup can share.
    pub workgroup_memory: u32,
    /// The cooperative matrices of f16 operands and f32 sums that the matrix kernels can use on a
    /// device opened with
    /// [`GpuOptions::cooperative_matrices`](crate::GpuOptions::cooperative_matrices); or what is
    /// missing. Drivers may get their products wrong: [`probe`](crate::probe()) checks them.
    pub cooperative_matrices: Result<CooperativeMatrices, &'static str>,
    /// Limits and features as far as plans depend on them.
    pub capabilities: Capabilities,
}

impl AdapterDescription {
    /// What measurements of the adapter are filed under: another driver makes them stale.
    pub(crate) fn cache_key(&self) -> Key {
        let [vendor, device] = self.pci_ids;
        let subject =
            format!("{} | {} | {} | {vendor:04x}:{device:04x}", self.name, self.backend, self.kind);
        Key { subject, state: format!("driver {}", self.driver) }
    }
}

impl fmt::Display for AdapterDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}", self.name, self.backend, self.kind)?;
        if !self.driver.is_empty() {
            write!(f, ", {}", self.driver)?;
        }
        f.write_str(")")
    }
}

/// Features worth reporting; those that kernels use are requested where present.
const FEATURES: [(wgpu::Features, &str); 5] = [
    (wgpu::Features::IMMEDIATES, "immediates"),
    (wgpu::Features::SHADER_F16, "shader-f16"),
    (wgpu::Features::SUBGROUP, "subgroups"),
    (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
    (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative-matrices"),
];

pub(super) fn instance() -> wgpu::Instance {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        // Debug layers slow every dispatch; they stay a matter of wgpu's environment variables.
        flags: wgpu::InstanceFlags::empty().with_env(),
        ..descriptor
    })
}

/// Every adapter that wgpu finds and that can run compute kernels, most capable first: discrete,
/// integrated, virtual, others, software; Vulkan and Metal before DX12 before GL. Honours wgpu's
/// environment variables (`WGPU_BACKEND`, ...).
pub fn adapters() -> Vec<AdapterDescription> {
    enumerate().into_iter().enumerate().map(|(i, a)| describe(i, &a)).collect()
}

pub(super) fn enumerate() -> Vec<wgpu::Adapter> {
    let mut found = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    found.retain(|a| {
        let backend = a.get_info().backend;
        let computes =
            a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS);
        computes && backend != wgpu::Backend::Noop
    });
    found.sort_by_key(|a| {
        let info = a.get_info();
        let kind = match kind(&info) {
            AdapterKind::Discrete => 0,
            AdapterKind::Integrated => 1,
            AdapterKind::Virtual => 2,
            AdapterKind::Other => 3,
            AdapterKind::Software => 4,
        };
        let backend = match info.backend {
            wgpu::Backend::Vulkan | wgpu::Backend::Metal => 0,
            wgpu::Backend::Dx12 => 1,
            _ => 2,
        };
        // SwiftShader is slower than Mesa's driver by a factor; both call themselves CPUs.
        (kind, backend, is_swiftshader(&info), info.name)
    });
    found
}

fn is_swiftshader(info: &wgpu::AdapterInfo) -> bool {
    info.name.contains("SwiftShader")
}

/// The nearest of the drivers that were measured.
fn software_driver(info: &wgpu::AdapterInfo) -> SoftwareDriver {
    match mesa_version(&info.driver_info).or_else(|| mesa_version(&info.driver)) {
        _ if is_swiftshader(info) => SoftwareDriver::SwiftShader,
        // Mesa has other software drivers, and drivers above those of other systems.
        Some(24..) if info.name.to_lowercase().contains("llvmpipe") => SoftwareDriver::Llvmpipe26,
        _ => SoftwareDriver::Llvmpipe22,
    }
}

/// The major version in a text like `4.5 (Core Profile) Mesa 22.3.6`.
fn mesa_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("Mesa ")?;
    version.split('.').next()?.parse().ok()
}

fn kind(info: &wgpu::AdapterInfo) -> AdapterKind {
    // GL drivers cannot say what they are; software rasterisers say it in their name.
    let name = info.name.to_lowercase();
    let software = ["llvmpipe", "softpipe", "swiftshader", "basic render", "software"];
    let software_name = software.iter().any(|part| name.contains(part));
    match info.device_type {
        _ if software_name => AdapterKind::Software,
        // It calls itself a processor, and computes nothing.
        _ if info.backend == wgpu::Backend::Noop => AdapterKind::Other,
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Other,
    }
}

pub(super) fn describe(index: usize, adapter: &wgpu::Adapter) -> AdapterDescription {
    AdapterDescription {
        cooperative_matrices: cooperative_matrices(adapter),
        ..describe_as(index, &adapter.get_info(), &adapter.limits(), adapter.features())
    }
}

/// [`cooperative_matrices`] of the adapter of a device that the caller opened: wgpu tells them of
/// adapters alone.
pub(super) fn of_device(device: &wgpu::Device) -> Result<CooperativeMatrices, &'static str> {
    let own = describe_device(device).cache_key();
    let same = |a: &&wgpu::Adapter| describe(0, a).cache_key() == own;
    match enumerate().iter().find(same) {
        Some(adapter) => cooperative_matrices(adapter),
        None => Err("wgpu does not find the device's adapter again"),
    }
}

/// The features that the matrix kernels need.
pub(super) const MATRIX_FEATURES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16);

/// What the matrix kernels can use of an adapter, or what it lacks for them.
pub(super) fn cooperative_matrices(
    adapter: &wgpu::Adapter,
) -> Result<CooperativeMatrices, &'static str> {
    use wgpu::CooperativeScalarType as Scalar;
    let features = adapter.features();
    if !features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        return Err("the adapter has no cooperative matrices");
    }
    if !features.contains(wgpu::Features::SHADER_F16) {
        return Err("the adapter has no f16 in kernels");
    }
    // WGSL has square ones of 8 and of 16; the larger ones need fewer loads a product.
    let listed = adapter.cooperative_matrix_properties();
    let usable = listed.iter().filter(|p| {
        p.m_size == p.n_size
            && p.m_size == p.k_size
            && [8, 16].contains(&p.m_size)
            && (p.ab_type, p.cr_type) == (Scalar::F16, Scalar::F32)
    });
    let Some(size) = usable.map(|p| p.m_size).max() else {
        return Err(
            "the driver lists no square cooperative matrices of 8 or 16 with f16 operands \
                    and f32 sums",
        );
    };
    let info = adapter.get_info();
    let subgroup = info.subgroup_min_size;
    if subgroup == 0 || subgroup != info.subgroup_max_size {
        return Err("subgroups have no one size that kernels could be written for");
    }
    Ok(CooperativeMatrices { size, subgroup })
}

/// What a device that the caller opened reports of itself and of its adapter.
pub(super) fn describe_device(device: &wgpu::Device) -> AdapterDescription {
    describe_as(usize::MAX, &device.adapter_info(), &device.limits(), device.features())
}

fn describe_as(
    index: usize,
    info: &wgpu::AdapterInfo,
    limits: &wgpu::Limits,
    features: wgpu::Features,
) -> AdapterDescription {
    let subgroups = features.contains(wgpu::Features::SUBGROUP);
    let driver = [info.driver.as_str(), info.driver_info.as_str()]
        .into_iter()
        .filter(|s| !s.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    AdapterDescription {
        index,
        name: info.name.clone(),
        backend: format!("{:?}", info.backend),
        driver,
        kind: kind(info),
        pci_ids: [info.vendor, info.device],
        subgroup_sizes: if subgroups {
            [info.subgroup_min_size, info.subgroup_max_size]
        } else {
            [0, 0]
        },
        features: FEATURES
            .iter()
            .filter(|(f, _)| features.contains(*f))
            .map(|(_, name)| *name)
            .collect(),
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        cooperative_matrices: Err("the device does not say which cooperative matrices it has"),
        capabilities: capabilities(info, limits, features),
    }
}

pub(super) fn capabilities(
    info: &wgpu::AdapterInfo,
    limits: &wgpu::Limits,
    features: wgpu::Features,
) -> Capabilities {
    let kind = kind(info);
    Capabilities {
        max_storage_binding: limits.max_storage_buffer_binding_size,
        max_buffer: limits.max_buffer_size,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_workgroups: limits.max_compute_workgroups_per_dimension,
        // Workgroups are long in x or in y.
        max_invocations: limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x)
            .min(limits.max_compute_workgroup_size_y),
        max_workgroup_memory: limits.max_compute_workgroup_storage_size,
        uniform_alignment: limits.min_uniform_buffer_offset_alignment,
        max_uniform_binding: limits.max_uniform_buffer_binding_size,
        immediates: features.contains(wgpu::Features::IMMEDIATES) && limits.max_immediate_size >= 4,
        software: kind == AdapterKind::Software,
        software_driver: software_driver(info),
        integrated: matches!(
            kind,
            AdapterKind::Integrated | AdapterKind::Virtual | AdapterKind::Other
        ),
        measured_gflops: None,
        // A device that was opened with them has them.
        cooperative_matrices: None,
    }
}

#[cfg(test)]
mod tests {
    use super::mesa_version;

    #[test]
    fn versions_of_mesa() {
        for (text, version) in [
            ("Mesa 26.1.6-1~bpo13+1 (LLVM 19.1.7)", Some(26)),
            ("4.5 (Core Profile) Mesa 22.3.6", Some(22)),
            ("Mesa git", None),
            ("SwiftShader driver", None),
        ] {
            assert_eq!(mesa_version(text), version, "{text}");
        }
    }
}
