//! The layer wavefront: dispatch d of steps runs, of every layer l, step d - l.
//!
//! Layer 0's gate inputs are projected chunk by chunk of diagonals; the step kernels compute those
//! of the other layers from the states of the layer below. The diagonal does not drain between
//! chunks: a run of T steps and L layers has T + L - 1 diagonals.

use std::ops::Range;

use super::family::KernelFamily;
use super::geometry::Geometry;
use super::schedule::{ArenaLayout, Operation, StepKernel, Tile, word};
use super::weights::{Matrix, Slice, WeightPlan};
use super::{Capabilities, Memory, PlanOptions, SoftwareDriver, kernels_of};
use crate::config::{Directions, GruConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{CellRecord, Kernel, LaunchRecord, quads};
use crate::pack::bias_vec4s;
use crate::shape::SequenceShape;

/// Whether the steps of a session of `shape` run as a wavefront: as `options` say, else by the
/// table. `geometry` is that of the session, but for this.
pub(crate) fn choose(
    config: &GruConfig,
    shape: SequenceShape,
    geometry: &Geometry,
    capabilities: &Capabilities,
    options: &PlanOptions,
) -> Result<bool> {
    let wanted = match options.wavefront {
        Some(forced) => forced,
        None => pays(config, shape, capabilities),
    };
    if !wanted {
        return Ok(false);
    }
    match obstacle(config, shape, geometry, capabilities, options) {
        Some(obstacle) if options.wavefront.is_some() => Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("the layers cannot run as a wavefront: {obstacle}"),
        )),
        obstacle => Ok(obstacle.is_none()),
    }
}

/// The table: whether one layer's step leaves so much of the device idle that several layers in
/// one dispatch gain more than input products step by step lose.
fn pays(config: &GruConfig, shape: SequenceShape, capabilities: &Capabilities) -> bool {
    // A step's products and the weights that a diagonal reads, which the projection of a chunk
    // would read once a block of rows.
    let square = (config.hidden_size as u64).saturating_mul(config.hidden_size as u64);
    let products = square.saturating_mul(shape.batch as u64);
    let matrices = (2 * config.num_layers as u64).saturating_sub(1);
    let weights = square.saturating_mul(3).saturating_mul(matrices);
    let (most_products, most_weights) = match (capabilities.software, capabilities.integrated) {
        // Fewer rows than a register block: the projection, whose rows are steps too, is faster.
        (true, _) if capabilities.software_driver == SoftwareDriver::SwiftShader => return false,
        (true, _) if shape.batch < 4 => (1 << 13, u64::MAX),
        (true, _) if config.num_layers <= 4 => (1 << 17, u64::MAX),
        (true, _) => (1 << 18, u64::MAX),
        (false, true) => (1 << 20, 1 << 20),
        (false, false) => (1 << 22, 1 << 23),
    };
    products <= most_products && weights <= most_weights
}

/// What keeps the layers from running as a wavefront; `None` where nothing does.
pub(super) fn obstacle(
    config: &GruConfig,
    shape: SequenceShape,
    geometry: &Geometry,
    capabilities: &Capabilities,
    options: &PlanOptions,
) -> Option<String> {
    if geometry.family.family != KernelFamily::Step {
        return Some(format!("the kernels are those of the family '{}'", geometry.family.family));
    }
    if config.directions == Directions::Bidirectional {
        return Some("in a bidirectional network a layer ends before the next one begins".into());
    }
    if config.num_layers < 2 {
        return Some("the network has one layer".into());
    }
    let most = capabilities.max_uniform_binding;
    if config.num_layers as u64 > most || LaunchRecord::size(config.num_layers) > most {
        return Some(format!(
            "the launch record of {} layers exceeds the largest uniform binding, {most} bytes",
            config.num_layers
        ));
    }
    let geometry = Geometry { wavefront: true, ..*geometry };
    let kernels = kernels_of(config.reset, KernelFamily::Step);
    match WeightPlan::new(config, kernels, &geometry, capabilities) {
        Ok(weights) if weights.buffers.len() == 1 => {}
        Ok(weights) => {
            return Some(format!(
                "the weights take {} buffers, a dispatch binds one",
                weights.buffers.len()
            ));
        }
        Err(e) => return Some(e.to_string()),
    }
    Memory::solve(config, shape, &geometry, capabilities, options, None)
        .err()
        .map(|e| e.to_string())
}

impl Geometry {
    /// Dispatches of a tile whose longest row has `steps` steps, one a step kernel.
    pub(crate) fn diagonals(&self, config: &GruConfig, steps: usize) -> usize {
        match steps {
            0 => 0,
            _ if self.wavefront => steps.saturating_add(config.num_layers - 1),
            _ => steps,
        }
    }
}

impl Tile<'_> {
    pub(super) fn schedule_wavefront(&mut self) {
        let (layers, chunk) = (self.plan.config.num_layers, self.plan.memory.chunk_steps);
        let all = self.plan.geometry.diagonals(&self.plan.config, self.steps);
        for first in (0..all).step_by(chunk) {
            let diagonals = first..all.min(first + chunk);
            // The top layer is the furthest behind: the most rows take part in its steps.
            self.begin_chunk(first.saturating_sub(layers - 1));
            let own = self.steps_of(0, &diagonals);
            if !own.is_empty() {
                self.upload_window(0, &own);
                self.project(0, &own);
            }
            self.diagonals(&diagonals);
            for layer in (0..layers).filter(|l| self.wanted(*l)).collect::<Vec<_>>() {
                let steps = self.steps_of(layer, &diagonals);
                if !steps.is_empty() {
                    let offset = self.diagonal_output(layer, &diagonals);
                    self.download(layer, 0, &steps, offset);
                }
            }
        }
    }

    /// The steps of `layer` in some diagonals.
    fn steps_of(&self, layer: usize, diagonals: &Range<usize>) -> Range<usize> {
        let step = |d: usize| d.saturating_sub(layer).min(self.steps);
        step(diagonals.start)..step(diagonals.end)
    }

    /// Where the outputs of a wanted layer begin.
    fn diagonal_output(&self, layer: usize, diagonals: &Range<usize>) -> u64 {
        let place = (0..layer).filter(|l| self.wanted(*l)).count() as u64;
        let units = quads(self.plan.config.hidden_size) as u64;
        ArenaLayout::new(self.plan).output + place * self.window_rows(diagonals) * units
    }

    /// The step kernels of a chunk of diagonals.
    fn diagonals(&mut self, diagonals: &Range<usize>) {
        let layers = 0..self.plan.config.num_layers;
        let kernels = self
            .placements(0, Matrix::Recurrent)
            .iter()
            .map(|placement| {
                let kernel = placement.kernel;
                let cells = |tile: &Self, _: &Slice| {
                    layers.clone().map(|l| tile.diagonal_cell(l, kernel, diagonals)).collect()
                };
                StepKernel { kernel, slices: self.launch(placement, diagonals, cells) }
            })
            .collect();
        let (rows, steps) = (self.rows.clone(), diagonals.clone());
        self.plan.operations.push(Operation::Steps { layers, rows, steps, kernels });
    }

    fn diagonal_cell(&self, layer: usize, kernel: Kernel, diagonals: &Range<usize>) -> CellRecord {
        let (c, arena) = (&self.plan.config, ArenaLayout::new(self.plan));
        let weights = |layer: usize, matrix: Matrix| {
            let placements = self.placements(layer, matrix);
            let own = placements.iter().find(|p| p.kernel == kernel);
            // Layer 0 has no input matrix here: the projection has it.
            own.map_or(0, |own| own.slices[0].offsets[0])
        };
        let output = if self.wanted(layer) { self.diagonal_output(layer, diagonals) } else { 0 };
        CellRecord {
            weights: word(weights(layer, Matrix::Recurrent)),
            input_weights: word(weights(layer, Matrix::Input)),
            bias: word((layer * bias_vec4s(c)) as u64),
            source: word(arena.state(layer.saturating_sub(1), 0)),
            gates: 0,
            state: word(arena.state(layer, 0)),
            scratch: word(arena.scratch + 2 * layer as u64 * arena.state_stride),
            output: word(output),
            reversed: u32::from(c.directions.is_reverse(0)),
            functions: c.functions[0],
        }
    }
}
