//! Burn's wgpu backend on Vulkan, on the first software adapter (lavapipe).

#[path = "../../burn/src/lib.rs"]
mod gru;

use burn::tensor::{Device, DeviceKind};

fn main() {
    let device = Device::vulkan(DeviceKind::Cpu);
    peer::serve("burn-wgpu", gru::VERSION, |case| gru::load(case, &device));
}
