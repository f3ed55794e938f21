//! The GPU engine: the only module that names wgpu.

mod adapters;
mod buffers;
mod context;
mod dispatch;
mod executor;
mod pipelines;
mod poller;
mod prepared;
mod probe;
mod resources;
mod session;
mod slots;
mod staging;
#[cfg(test)]
mod testing;
mod timing;
mod transfer;
mod unchecked;
mod weights;

pub use adapters::{AdapterDescription, AdapterKind, adapters};
pub use buffers::BufferIo;
pub use context::{GpuContext, GpuOptions};
pub use prepared::PreparedRun;
#[cfg(test)]
pub(crate) use probe::{Faults, texts};
pub use resources::CreatedObjects;
pub(crate) use session::GpuSession;
pub(crate) use slots::GpuSlots;
pub(crate) use staging::Waiting;
#[cfg(test)]
pub(crate) use testing::Event;
pub use timing::DeviceTimes;

/// The major version of wgpu that the GPU engine is built on; cargo chooses the release.
pub const WGPU_VERSION: &str = "30";
