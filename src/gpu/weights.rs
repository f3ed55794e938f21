//! Packed weights on a device.

use super::context::GpuContext;
use super::resources::buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Gru;
use crate::pack::{Part, pack_biases, pack_input, pack_recurrent};
use crate::plan::{Matrix, Plan};

/// The weight and bias buffers of a network, packed for one plan's kernels.
#[derive(Debug)]
pub(super) struct DeviceWeights {
    pub(super) buffers: Vec<wgpu::Buffer>,
    pub(super) biases: wgpu::Buffer,
}

impl DeviceWeights {
    pub(super) fn upload(context: &GpuContext, gru: &Gru, plan: &Plan) -> Result<Self> {
        let (config, precision) = (gru.config(), plan.geometry.precision);
        let usage = wgpu::BufferUsages::STORAGE;
        let inner = &context.inner;
        let make = |label: &str, size: u64| {
            buffer(&inner.device, &inner.counters, label, size, usage, true)
        };
        let mut buffers = Vec::new();
        for (index, size) in plan.weights.buffers.iter().enumerate() {
            let made = make("wgru.weights", *size)?;
            let mut at = 0;
            let mut bytes = Vec::new();
            for placement in &plan.weights.placements {
                for slice in placement.slices.iter().filter(|s| s.buffer == index) {
                    for direction in 0..config.num_directions() {
                        let cell = gru.weights().cell(placement.layer, direction);
                        bytes.clear();
                        let part = Part {
                            gates: placement.kernel.gates(),
                            layout: &placement.layout,
                            blocks: slice.blocks.clone(),
                            precision,
                        };
                        match placement.matrix {
                            Matrix::Input => {
                                pack_input(config, placement.layer, cell, &part, &mut bytes)?;
                            }
                            Matrix::Recurrent => pack_recurrent(cell, &part, &mut bytes)?,
                        }
                        write(&made, at, &bytes)?;
                        at += bytes.len() as u64;
                    }
                }
            }
            made.unmap();
            buffers.push(made);
        }
        let biases = make("wgru.biases", plan.weights.bias_bytes)?;
        let mut values = Vec::new();
        for cell in gru.weights().cells() {
            pack_biases(config, cell, &mut values);
        }
        write(&biases, 0, bytemuck::cast_slice(&values))?;
        biases.unmap();
        Ok(Self { buffers, biases })
    }
}

fn write(buffer: &wgpu::Buffer, at: u64, bytes: &[u8]) -> Result<()> {
    let mut view = buffer
        .get_mapped_range_mut(at..at + bytes.len() as u64)
        .map_err(|e| Error::new(ErrorKind::DeviceLost, format!("mapping weights: {e}")))?;
    view.copy_from_slice(bytes);
    Ok(())
}
