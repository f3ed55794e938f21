//! A plan as a person reads it.

use std::fmt;

use super::candidates::MEASURED;
use super::{Operation, Plan, Residency};
use crate::kernels::{Sharing, quads};

/// `1.5 MiB` and the like.
pub(crate) fn human_bytes(bytes: u64) -> String {
    let mut unit = 0;
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

impl Plan {
    /// Why the work is cut as it is, one sentence a choice.
    pub fn reasons(&self) -> Vec<String> {
        let (m, g, c) = (&self.memory, &self.geometry, &self.config);
        let mut out = Vec::new();
        let class = if self.software { "software adapter" } else { "GPU" };
        let family = g.family;
        out.push(format!("kernel family: {}, {}", family.family, family.why));
        if let Some(matrix) = &g.matrix {
            let tiles = matrix.step;
            out.push(format!(
                "products by cooperative matrices of {0}x{0}, a subgroup of {1} each: f16 operands, \
                 f32 sums",
                tiles.size, tiles.subgroup
            ));
        }
        out.push(match &g.resident {
            None => format!(
                "kernels: {} units x {} rows a workgroup in a step ({class}, H {}, B {})",
                4 * g.lanes,
                g.step_rows * g.step_groups,
                c.hidden_size,
                self.shape.batch
            ),
            Some(resident) => format!(
                "kernels: {} rows a workgroup of {} invocations, {} ({class}, H {}, B {})",
                resident.tile(),
                resident.invocations(),
                match resident.sharing {
                    Sharing::Units { registers: true, .. } => "weights in registers",
                    _ => "weights read in every step",
                },
                c.hidden_size,
                self.shape.batch
            ),
        });
        if g.cascade {
            out.push(format!(
                "layers run as a wavefront of chunks, each one chunk behind the layer below, up to \
                 {} layers in a dispatch",
                c.num_layers
            ));
        }
        if g.wavefront {
            out.push(format!(
                "layers run as a wavefront, each one step behind the layer below, {} layers in a \
                 dispatch: {}",
                c.num_layers,
                match self.options.wavefront {
                    Some(_) => "as asked for",
                    None if family.why == MEASURED => MEASURED,
                    None => "a step of one layer leaves most of the device idle",
                }
            ));
        }
        out.push(
            match m.residency {
                Residency::Window if g.wavefront => {
                    "only windows of the sequences are on the device"
                }
                Residency::Window => {
                    "layers advance together, chunk by chunk: only windows of \
                                      the sequences are on the device"
                }
                Residency::Whole => {
                    "bidirectional: a tile's whole sequences are on the device, \
                                     layers run one after another"
                }
                Residency::HostBetweenLayers => {
                    "bidirectional, and the sequences do not fit: \
                                                 layers run one after another, with the \
                                                 sequences between them in host memory"
                }
            }
            .into(),
        );
        if m.tile_rows < self.shape.batch {
            out.push(format!(
                "the batch is cut into tiles of {} rows to fit the limits and the budget",
                m.tile_rows
            ));
        }
        if m.chunk_steps < g.diagonals(c, self.shape.steps) {
            out.push(format!(
                "time is cut into chunks of {} {} to fit the limits and the budget, {}",
                m.chunk_steps,
                if g.wavefront { "diagonals" } else { "steps" },
                match g.cascade {
                    true => "or so that layers overlap",
                    false => "or to move one chunk while another is computed",
                }
            ));
        }
        if self.weights.buffers.len() > 1 {
            out.push(format!(
                "weights lie in {} buffers: together they exceed the largest binding",
                self.weights.buffers.len()
            ));
        }
        if g.resident.is_some() {
            return out;
        }
        out.push(if self.immediates {
            "the step's index comes by an immediate".into()
        } else {
            "the step's index comes by a dynamic offset: the device has no immediates".into()
        });
        out
    }

    /// Dispatches by kernel name, in running order.
    pub fn dispatches_by_kernel(&self) -> Vec<(&'static str, u64)> {
        self.kernels()
            .iter()
            .map(|kernel| {
                let count = self
                    .operations
                    .iter()
                    .map(|operation| match operation {
                        Operation::Project { slices, .. } if kernel.is_projection() => {
                            slices.len() as u64
                        }
                        Operation::Sequence { slices, .. } if kernel.is_sequence() => {
                            slices.len() as u64
                        }
                        Operation::Steps { steps, kernels, .. } => kernels
                            .iter()
                            .filter(|k| k.kernel == *kernel)
                            .map(|k| steps.len() as u64 * k.slices.len() as u64)
                            .sum(),
                        _ => 0,
                    })
                    .sum();
                (kernel.name(), count)
            })
            .collect()
    }

    /// Name and bytes of every device buffer or group of buffers.
    pub fn buffers(&self) -> Vec<(&'static str, u64)> {
        let m = &self.memory;
        vec![
            ("weights", self.weights.bytes() - self.weights.bias_bytes),
            ("biases", self.weights.bias_bytes),
            ("input", 16 * m.input),
            ("gate inputs", 16 * m.gates),
            ("states and outputs", 16 * m.arena * m.arenas as u64),
            ("lengths and resets", 4 * m.row_words),
            ("launch records", self.uniform_bytes()),
            ("staging", 4 * m.staging),
        ]
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.config;
        writeln!(
            f,
            "plan: {}, I {} -> H {} ({} padded), {} layer{}, {}, reset-{}, {} weights",
            self.shape,
            c.input_size,
            c.hidden_size,
            4 * quads(c.hidden_size),
            c.num_layers,
            if c.num_layers == 1 { "" } else { "s" },
            c.directions,
            c.reset,
            self.geometry.precision
        )?;
        for reason in self.reasons() {
            writeln!(f, "  {reason}")?;
        }
        writeln!(
            f,
            "  work: {} dispatches, {:.3} GFLOP, tiles of {} rows, chunks of {} steps",
            self.dispatches(),
            self.flops() as f64 / 1e9,
            self.memory.tile_rows,
            self.memory.chunk_steps
        )?;
        if !self.rows.is_full() {
            let cells = self.config.state_planes() as u64;
            let full = self.shape.steps as u64 * self.shape.batch as u64 * cells;
            writeln!(
                f,
                "  ragged: {} of {full} row-steps are dispatched, {} are wanted",
                self.row_steps(),
                self.rows.steps_in_all() * cells
            )?;
        }
        for (name, count) in self.dispatches_by_kernel() {
            writeln!(f, "    {name:<24}{count:>12}")?;
        }
        writeln!(f, "  device memory: {}", human_bytes(self.device_bytes()))?;
        for (name, bytes) in self.buffers() {
            writeln!(f, "    {name:<24}{:>12}", human_bytes(bytes))?;
        }
        Ok(())
    }
}
