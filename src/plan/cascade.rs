//! The wavefront of the sequence kernels: dispatch d runs, of every layer l, chunk d - l.
//!
//! On each diagonal the gate inputs of all its cells are projected first, then one dispatch runs
//! them. A layer has windows of its own for its gate inputs and outputs; the layer above projects
//! an output window before the next diagonal writes it again. A run of n chunks and L layers has
//! n + L - 1 diagonals.

use std::ops::Range;

use super::family::KernelFamily;
use super::geometry::Geometry;
use super::schedule::{ArenaLayout, Operation, Tile, word};
use super::weights::{Matrix, Slice, WeightPlan};
use super::{Capabilities, Memory, PlanOptions, kernels_of};
use crate::config::{Directions, GruConfig};
use crate::kernels::{CellRecord, LaunchRecord, quads};
use crate::pack::bias_vec4s;
use crate::shape::SequenceShape;

/// Fewest steps of a chunk that is cut shorter so that layers overlap.
const LEAST_CHUNK: usize = 16;

/// Whether the layers of a session of `shape` run as a wavefront of chunks: wherever they can.
/// `geometry` is that of the session, but for this.
pub(super) fn choose(
    config: &GruConfig,
    shape: SequenceShape,
    geometry: &Geometry,
    capabilities: &Capabilities,
    options: &PlanOptions,
) -> bool {
    let most = capabilities.max_uniform_binding;
    if geometry.resident.is_none()
        || config.directions == Directions::Bidirectional
        || config.num_layers < 2
        || config.num_layers as u64 > most
        || LaunchRecord::size(config.num_layers) > most
    {
        return false;
    }
    let geometry = Geometry { cascade: true, ..*geometry };
    let kernels = kernels_of(config.reset, KernelFamily::Sequence);
    let one_buffer = WeightPlan::new(config, kernels, &geometry, capabilities)
        .is_ok_and(|weights| weights.buffers.len() == 1);
    one_buffer && Memory::solve(config, shape, &geometry, capabilities, options, None).is_ok()
}

/// The longest chunk of a run of `steps` steps with which the layers overlap for most of it: four
/// chunks for every diagonal in which the wavefront fills.
pub(super) fn longest_chunk(config: &GruConfig, steps: usize) -> usize {
    steps.div_ceil(4 * (config.num_layers - 1)).max(LEAST_CHUNK)
}

impl Tile<'_> {
    pub(super) fn schedule_cascade(&mut self, chunks: &[Range<usize>]) {
        let layers = self.plan.config.num_layers;
        let mut rows_below = 0;
        for diagonal in 0..chunks.len() + layers - 1 {
            let first = diagonal.saturating_sub(chunks.len() - 1);
            // By layer; the top one is the furthest behind: the most rows take part in its chunk.
            let cells: Vec<(usize, Range<usize>)> = (first..=diagonal.min(layers - 1))
                .map(|layer| (layer, chunks[diagonal - layer].clone()))
                .collect();
            self.begin_chunk(cells[cells.len() - 1].1.start);
            for (layer, steps) in &cells {
                if *layer == 0 {
                    self.upload_window(0, steps);
                }
                self.project_cascaded(*layer, steps, rows_below);
            }
            self.sequence_cascaded(&cells);
            for (layer, steps) in cells {
                if self.wanted(layer) {
                    self.download(layer, 0, &steps, self.output_of(layer));
                }
            }
            rows_below = self.active_rows();
        }
    }

    /// vec4s of a window of one value a unit.
    fn cascade_window(&self) -> u64 {
        let memory = &self.plan.memory;
        (memory.tile_rows * memory.chunk_steps * quads(self.plan.config.hidden_size)) as u64
    }

    /// Where the output window of `layer` begins.
    fn output_of(&self, layer: usize) -> u64 {
        ArenaLayout::new(self.plan).output + layer as u64 * self.cascade_window()
    }

    /// `rows_below`: rows of the layer below on the diagonal before, which wrote its outputs.
    fn project_cascaded(&mut self, layer: usize, steps: &Range<usize>, rows_below: usize) {
        for placement in self.placements(layer, Matrix::Input) {
            let cells = |tile: &Self, slice: &Slice| vec![tile.cascade_cell(layer, slice)];
            let slices = self.launch(&placement, steps, cells);
            if layer > 0 {
                for slice in &slices {
                    self.plan.launches[slice.launch].batch = word(rows_below as u64);
                }
            }
            let source = self.source(layer).0;
            self.plan.operations.push(Operation::Project { layer, slices, source });
        }
    }

    fn sequence_cascaded(&mut self, cells: &[(usize, Range<usize>)]) {
        let own = self.placements(cells[0].0, Matrix::Recurrent);
        let records = |tile: &Self, _: &Slice| {
            cells
                .iter()
                .map(|(layer, _)| {
                    let placed = tile.placements(*layer, Matrix::Recurrent);
                    tile.cascade_cell(*layer, &placed[0].slices[0])
                })
                .collect()
        };
        // Cells but the first have whole chunks, each the one before that of the layer below.
        let slices = self.launch(&own[0], &cells[0].1, records);
        for slice in &slices {
            self.plan.launches[slice.launch].lag = word(self.plan.memory.chunk_steps as u64);
        }
        let (rows, cells) = (self.rows.clone(), cells.to_vec());
        self.plan.operations.push(Operation::Sequence { cells, rows, slices });
    }

    fn cascade_cell(&self, layer: usize, slice: &Slice) -> CellRecord {
        let (c, arena) = (&self.plan.config, ArenaLayout::new(self.plan));
        let source = if layer == 0 { 0 } else { self.output_of(layer - 1) };
        CellRecord {
            weights: word(slice.offsets[0]),
            bias: word((layer * bias_vec4s(c)) as u64),
            source: word(source),
            gates: word(layer as u64 * 3 * self.cascade_window()),
            state: word(arena.state(layer, 0)),
            scratch: word(arena.scratch),
            output: word(self.output_of(layer)),
            reversed: u32::from(c.directions.is_reverse(0)),
            functions: c.functions[0],
            input_weights: 0,
        }
    }
}
