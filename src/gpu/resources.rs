//! Creation of GPU objects: every one is counted, and every failure is an [`Error`].

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Objects created on a device since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreatedObjects {
    /// Buffers.
    pub buffers: u64,
    /// Bytes of these buffers.
    pub buffer_bytes: u64,
    /// Bind groups.
    pub bind_groups: u64,
    /// Compute pipelines.
    pub pipelines: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    buffers: AtomicU64,
    buffer_bytes: AtomicU64,
    bind_groups: AtomicU64,
    pipelines: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> CreatedObjects {
        CreatedObjects {
            buffers: self.buffers.load(Ordering::Relaxed),
            buffer_bytes: self.buffer_bytes.load(Ordering::Relaxed),
            bind_groups: self.bind_groups.load(Ordering::Relaxed),
            pipelines: self.pipelines.load(Ordering::Relaxed),
        }
    }

    pub(super) fn pipeline(&self) {
        self.pipelines.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn bind_group(&self) {
        self.bind_groups.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs `call` inside error scopes, so that neither a validation nor a memory failure reaches the
/// device's handlers.
pub(super) fn watched<T>(
    device: &wgpu::Device,
    call: impl FnOnce() -> T,
) -> (T, Option<wgpu::Error>) {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let value = call();
    // Native scopes resolve at once: nothing is waited for.
    let errors = [validation, internal, memory].map(|scope| pollster::block_on(scope.pop()));
    (value, errors.into_iter().flatten().next())
}

/// As [`watched`]; `what` names in the error what `create` makes.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    what: &str,
    create: impl FnOnce() -> T,
) -> Result<T> {
    match watched(device, create) {
        (value, None) => Ok(value),
        (_, Some(error)) => Err(device_error(what, &error)),
    }
}

/// A command encoder. Where the device could not make one, what is recorded into it is an error
/// at the submission.
pub(super) fn command_encoder(device: &wgpu::Device) -> wgpu::CommandEncoder {
    let label = wgpu::CommandEncoderDescriptor { label: Some("wgru") };
    let (encoder, error) = watched(device, || device.create_command_encoder(&label));
    if let Some(error) = error {
        log::error!("wgru: {error}");
    }
    encoder
}

pub(super) fn device_error(what: &str, error: &wgpu::Error) -> Error {
    let (kind, lead) = match error {
        wgpu::Error::OutOfMemory { .. } => {
            (ErrorKind::OutOfMemory, "the device has no memory for it")
        }
        _ => (ErrorKind::Internal, "the graphics stack refused it; please report this"),
    };
    let detail = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::new(kind, format!("{what}: {lead}: {detail}"))
}

pub(super) fn buffer(
    device: &wgpu::Device,
    counters: &Counters,
    label: &str,
    size: u64,
    usage: wgpu::BufferUsages,
    mapped: bool,
) -> Result<wgpu::Buffer> {
    counters.buffers.fetch_add(1, Ordering::Relaxed);
    // Empty bindings are invalid, and copies want multiples of 4.
    let size = size.max(16).next_multiple_of(16);
    counters.buffer_bytes.fetch_add(size, Ordering::Relaxed);
    scoped(device, &format!("buffer {label} of {size} bytes"), || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: mapped,
        })
    })
}
