//! The order of a run: tiles of rows, layers, chunks of steps, and what moves between them.

use std::ops::Range;

use super::weights::Slice;
use super::{HostSequence, Matrix, Placement, Plan, Residency, Window};
use crate::kernels::{CellRecord, Kernel, LaunchRecord, quads};
use crate::pack::{bias_vec4s, input_quads};

/// One entry of the schedule. Offsets and strides are in vec4s.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    /// Lengths, reset bits and initial states of a tile's rows go up.
    BeginTile { rows: Range<usize> },
    /// A window of a sequence goes up into the input buffer.
    Upload { window: Window, offset: u64, stride: u64 },
    /// One dispatch a slice: gate inputs of a chunk.
    Project { layer: usize, slices: Vec<LaunchSlice>, source: SourceBuffer },
    /// For each of `steps` in order: one dispatch a kernel and slice, over the rows of the tile
    /// that have not ended. With several layers, a diagonal of the wavefront: dispatch d runs
    /// step d - i of the i-th layer, where there is one.
    Steps {
        layers: Range<usize>,
        rows: Range<usize>,
        steps: Range<usize>,
        kernels: Vec<StepKernel>,
    },
    /// One dispatch a slice: of each layer of `cells` all steps of a chunk, over the rows of the
    /// tile that have not ended.
    Sequence { cells: Vec<(usize, Range<usize>)>, rows: Range<usize>, slices: Vec<LaunchSlice> },
    /// A window of a layer's states comes back from an arena.
    Download { window: Window, arena: usize, offset: u64, stride: u64 },
    /// Final states of a tile's rows come back.
    EndTile { rows: Range<usize> },
}

/// What a projection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SourceBuffer {
    Input,
    Arena(usize),
}

/// One dispatch: the launch record, the weight buffer, the size of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LaunchSlice {
    pub(crate) launch: usize,
    pub(crate) weights: usize,
    pub(crate) grid: [u32; 3],
}

/// The dispatches of one kernel of a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StepKernel {
    pub(crate) kernel: Kernel,
    pub(crate) slices: Vec<LaunchSlice>,
}

/// Where things lie in an arena, in vec4s.
pub(crate) struct ArenaLayout {
    /// vec4s of one state of one cell.
    pub(crate) state_stride: u64,
    pub(super) scratch: u64,
    pub(super) output: u64,
    directions: u64,
}

impl ArenaLayout {
    pub(crate) fn new(plan: &Plan) -> Self {
        let c = &plan.config;
        let units = quads(c.hidden_size) as u64;
        let padded =
            (plan.memory.tile_rows as u64).next_multiple_of(u64::from(plan.geometry.step_rows));
        let state_stride = padded * units;
        let scratch = 2 * c.state_planes() as u64 * state_stride;
        let cells = c.num_directions() * if plan.geometry.wavefront { c.num_layers } else { 1 };
        let scratch_size = match c.reset {
            crate::ResetForm::Before => 2 * cells as u64 * state_stride,
            crate::ResetForm::After => 0,
        };
        let directions = c.num_directions() as u64;
        Self { state_stride, scratch, output: scratch + scratch_size, directions }
    }

    /// The even state of a cell; the odd one follows.
    pub(crate) fn state(&self, layer: usize, direction: usize) -> u64 {
        2 * (layer as u64 * self.directions + direction as u64) * self.state_stride
    }
}

/// Fills `plan.launches` and `plan.operations`.
pub(crate) fn schedule(plan: &mut Plan) {
    let shape = plan.shape;
    if shape.steps == 0 || shape.batch == 0 {
        return;
    }
    let tile = plan.memory.tile_rows;
    for first in (0..shape.batch).step_by(tile) {
        let rows = first..shape.batch.min(first + tile);
        plan.operations.push(Operation::BeginTile { rows: rows.clone() });
        let steps = plan.rows.longest(&rows);
        Tile { plan, rows: rows.clone(), active: rows.clone(), steps }.schedule();
        plan.operations.push(Operation::EndTile { rows });
    }
}

pub(super) struct Tile<'a> {
    pub(super) plan: &'a mut Plan,
    pub(super) rows: Range<usize>,
    /// The rows that take part in the chunk at hand: the first of the tile.
    active: Range<usize>,
    /// Steps of the tile's longest row.
    pub(super) steps: usize,
}

impl Tile<'_> {
    fn schedule(&mut self) {
        let layers = self.plan.config.num_layers;
        let (steps, chunk) = (self.steps, self.plan.memory.chunk_steps);
        let chunks = move || (0..steps).step_by(chunk).map(move |k| k..steps.min(k + chunk));
        if steps == 0 {
            return;
        }
        if self.plan.geometry.wavefront {
            self.schedule_wavefront();
            return;
        }
        if self.plan.geometry.cascade {
            self.schedule_cascade(&chunks().collect::<Vec<_>>());
            return;
        }
        match self.plan.memory.residency {
            Residency::Window => {
                for steps in chunks() {
                    self.begin_chunk(steps.start);
                    self.upload_window(0, &steps);
                    for layer in 0..layers {
                        self.chunk(layer, &steps);
                        self.download_window(layer, &steps);
                    }
                }
            }
            Residency::Whole => {
                let stride = input_quads(&self.plan.config, 0) as u64;
                let window = self.window(HostSequence::Input, None, &(0..self.steps));
                self.plan.operations.push(Operation::Upload { window, offset: 0, stride });
                for layer in 0..layers {
                    for steps in chunks() {
                        self.begin_chunk(steps.start);
                        self.chunk(layer, &steps);
                    }
                    self.download_whole(layer);
                }
            }
            Residency::HostBetweenLayers => {
                for layer in 0..layers {
                    for steps in chunks() {
                        self.begin_chunk(steps.start);
                        self.upload_window(layer, &steps);
                        self.chunk(layer, &steps);
                        self.download_window(layer, &steps);
                    }
                }
            }
        }
    }

    fn window(
        &self,
        sequence: HostSequence,
        direction: Option<usize>,
        steps: &Range<usize>,
    ) -> Window {
        let rows = if self.plan.memory.residency == Residency::Whole {
            self.rows.clone()
        } else {
            self.active.clone()
        };
        Window { sequence, rows, direction, steps: steps.clone() }
    }

    /// Takes the rows that have not ended at step `k`, the earliest of the chunk.
    pub(super) fn begin_chunk(&mut self, k: usize) {
        // Whole blocks: rows of a block carry their states on together.
        let count = self.plan.rows.active(&self.rows, k);
        let whole = self.plan.row_blocks(count) as usize * self.plan.row_block();
        self.active = self.rows.start..self.rows.end.min(self.rows.start + whole);
    }

    pub(super) fn active_rows(&self) -> usize {
        self.active.len()
    }

    /// Bytes aside, the rows of a window of `steps` steps.
    pub(super) fn window_rows(&self, steps: &Range<usize>) -> u64 {
        (steps.len() * self.active.len()) as u64
    }

    pub(super) fn upload_window(&mut self, layer: usize, steps: &Range<usize>) {
        let stride = input_quads(&self.plan.config, layer) as u64;
        for d in 0..self.plan.config.num_directions() {
            let sequence = match layer {
                0 => HostSequence::Input,
                _ => HostSequence::Layer(layer - 1),
            };
            let window = self.window(sequence, Some(d), steps);
            let offset = d as u64 * self.window_rows(steps) * stride;
            self.plan.operations.push(Operation::Upload { window, offset, stride });
        }
    }

    /// Whether the host wants the states of `layer`.
    pub(super) fn wanted(&self, layer: usize) -> bool {
        let plan = &self.plan;
        layer + 1 == plan.config.num_layers
            || plan.options.all_layers
            || plan.memory.residency == Residency::HostBetweenLayers
    }

    fn download_window(&mut self, layer: usize, steps: &Range<usize>) {
        if !self.wanted(layer) {
            return;
        }
        for d in 0..self.plan.config.num_directions() {
            self.download(layer, d, steps, self.output_offset(d, steps));
        }
    }

    pub(super) fn download(
        &mut self,
        layer: usize,
        direction: usize,
        steps: &Range<usize>,
        offset: u64,
    ) {
        let stride = quads(self.plan.config.hidden_size) as u64;
        let window = self.window(HostSequence::Layer(layer), Some(direction), steps);
        let arena = self.plan.memory.arena_of(layer);
        self.plan.operations.push(Operation::Download { window, arena, offset, stride });
    }

    fn download_whole(&mut self, layer: usize) {
        if !self.wanted(layer) {
            return;
        }
        let c = &self.plan.config;
        let stride = (c.num_directions() * quads(c.hidden_size)) as u64;
        let window = self.window(HostSequence::Layer(layer), None, &(0..self.steps));
        let offset = ArenaLayout::new(self.plan).output;
        let arena = self.plan.memory.arena_of(layer);
        self.plan.operations.push(Operation::Download { window, arena, offset, stride });
    }

    fn output_offset(&self, direction: usize, steps: &Range<usize>) -> u64 {
        let units = quads(self.plan.config.hidden_size) as u64;
        let base = ArenaLayout::new(self.plan).output;
        match self.plan.memory.residency {
            Residency::Whole => base + direction as u64 * units,
            _ => base + direction as u64 * self.window_rows(steps) * units,
        }
    }

    /// The projection and the steps of one chunk of one layer.
    fn chunk(&mut self, layer: usize, steps: &Range<usize>) {
        self.project(layer, steps);
        let placements = self.placements(layer, Matrix::Recurrent);
        let mut kernels = Vec::new();
        for placement in &placements {
            let cells = |tile: &Self, slice: &Slice| tile.cells(placement, slice, steps);
            let slices = self.launch(placement, steps, cells);
            if placement.kernel.is_sequence() {
                let (rows, cells) = (self.rows.clone(), vec![(layer, steps.clone())]);
                self.plan.operations.push(Operation::Sequence { cells, rows, slices });
            } else {
                kernels.push(StepKernel { kernel: placement.kernel, slices });
            }
        }
        if !kernels.is_empty() {
            let (layers, rows, steps) = (layer..layer + 1, self.rows.clone(), steps.clone());
            self.plan.operations.push(Operation::Steps { layers, rows, steps, kernels });
        }
    }

    /// The projection of one chunk of one layer.
    pub(super) fn project(&mut self, layer: usize, steps: &Range<usize>) {
        for placement in self.placements(layer, Matrix::Input) {
            let cells = |tile: &Self, slice: &Slice| tile.cells(&placement, slice, steps);
            let slices = self.launch(&placement, steps, cells);
            let source = self.source(layer).0;
            self.plan.operations.push(Operation::Project { layer, slices, source });
        }
    }

    pub(super) fn placements(&self, layer: usize, matrix: Matrix) -> Vec<Placement> {
        let all = self.plan.weights.placements.iter();
        all.filter(|p| p.layer == layer && p.matrix == matrix).cloned().collect()
    }

    /// Which buffer a layer's projection reads, and the first vec4 of its rows there.
    pub(super) fn source(&self, layer: usize) -> (SourceBuffer, u64) {
        let memory = &self.plan.memory;
        if layer == 0 || memory.residency == Residency::HostBetweenLayers {
            (SourceBuffer::Input, 0)
        } else {
            (SourceBuffer::Arena(memory.arena_of(layer - 1)), ArenaLayout::new(self.plan).output)
        }
    }

    /// The cells of one layer in a launch.
    fn cells(&self, placement: &Placement, slice: &Slice, steps: &Range<usize>) -> Vec<CellRecord> {
        let (plan, layer) = (&*self.plan, placement.layer);
        let c = &plan.config;
        let d = c.num_directions();
        let (units, arena) = (quads(c.hidden_size) as u64, ArenaLayout::new(plan));
        let window = self.window_rows(steps);
        let (_, source) = self.source(layer);
        let per_direction_source = plan.memory.residency == Residency::HostBetweenLayers;
        (0..d)
            .map(|direction| {
                let own_source = if per_direction_source { direction as u64 * window } else { 0 };
                CellRecord {
                    weights: word(slice.offsets[direction]),
                    bias: word(((layer * d + direction) * bias_vec4s(c)) as u64),
                    source: word(source + own_source * input_quads(c, layer) as u64),
                    gates: word(direction as u64 * window * 3 * units),
                    state: word(arena.state(layer, direction)),
                    scratch: word(arena.scratch + 2 * direction as u64 * arena.state_stride),
                    output: word(self.output_offset(direction, steps)),
                    reversed: u32::from(c.directions.is_reverse(direction)),
                    functions: c.functions[direction],
                    input_weights: 0,
                }
            })
            .collect()
    }

    /// Adds the launch records of a placement's slices.
    pub(super) fn launch(
        &mut self,
        placement: &Placement,
        steps: &Range<usize>,
        cells: impl Fn(&Self, &Slice) -> Vec<CellRecord>,
    ) -> Vec<LaunchSlice> {
        let plan = &*self.plan;
        let c = &plan.config;
        let d = c.num_directions();
        let units = quads(c.hidden_size);
        let rows = self.active.len();
        let whole = plan.memory.residency == Residency::Whole;
        let kernel = placement.kernel;
        let (grid_rows, groups) = if kernel.is_projection() {
            let groups = plan.geometry.projection_rows * plan.geometry.projection_groups;
            (self.window_rows(steps), u64::from(groups))
        } else {
            (rows as u64, u64::from(plan.geometry.row_block()))
        };
        let mut out = Vec::new();
        let mut records = Vec::new();
        for slice in &placement.slices {
            let record = LaunchRecord {
                batch: word(if whole { self.rows.len() } else { rows } as u64),
                rows: word(rows as u64),
                steps: word(steps.len() as u64),
                first_step: word(steps.start as u64),
                unit_quads: word(units as u64),
                k_quads: word(placement.layout.k_quads as u64),
                first_block: word(slice.blocks.start as u64),
                source_stride: word(input_quads(c, placement.layer) as u64),
                output_stride: word(if whole { d * units } else { units } as u64),
                state_stride: word(ArenaLayout::new(plan).state_stride),
                // Behind the lengths; the host clears it where a run has no mask.
                mask: word(self.rows.len() as u64),
                mask_words: word(self.rows.len().div_ceil(32) as u64),
                natural: u32::from(whole),
                units: word(c.hidden_size as u64),
                lag: 0,
                cells: cells(self, slice),
            };
            out.push(LaunchSlice {
                launch: plan.launches.len() + records.len(),
                weights: slice.buffer,
                grid: [
                    if kernel.is_sequence() { 1 } else { word(slice.blocks.len() as u64) },
                    word(grid_rows.div_ceil(groups)),
                    word(record.cells.len() as u64),
                ],
            });
            records.push(record);
        }
        self.plan.launches.extend(records);
        out
    }
}

/// A word of a launch record or a grid.
pub(super) fn word(v: u64) -> u32 {
    u32::try_from(v).expect("the memory plan keeps offsets below 2^32")
}
