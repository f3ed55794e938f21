//! What every plan must satisfy, checked by walking it.

use std::ops::Range;

use crate::kernels::{CellRecord, Kernel, LaunchRecord, quads};
use crate::plan::{
    Capabilities, HostSequence, LaunchSlice, Matrix, Operation, Placement, Plan, Residency,
    SourceBuffer, Window,
};
use crate::{GruConfig, KernelFamily, ResetForm};

/// Panics, naming the invariant, where `plan` breaks one.
pub(super) fn check(plan: &Plan, capabilities: &Capabilities) {
    check_buffers(plan, capabilities);
    check_weights(plan, capabilities);
    let mut walk = Walk::new(plan, capabilities);
    for operation in &plan.operations {
        walk.operation(operation);
    }
    walk.finish();
}

fn binding_limit(capabilities: &Capabilities) -> u64 {
    capabilities.max_storage_binding.min(capabilities.max_buffer)
}

fn check_buffers(plan: &Plan, capabilities: &Capabilities) {
    let (m, g) = (&plan.memory, &plan.geometry);
    let limit = binding_limit(capabilities);
    for (name, bytes) in [
        ("input", 16 * m.input),
        ("gates", 16 * m.gates),
        ("arena", 16 * m.arena),
        ("rows", 4 * m.row_words),
        ("biases", plan.weights.bias_bytes),
    ] {
        assert!(bytes.next_multiple_of(16) <= limit, "{name}: {bytes} bytes, {limit} can be bound");
    }
    let budget = plan.options.memory_budget.unwrap_or_else(|| capabilities.default_budget());
    assert!(m.session_bytes() <= budget, "{} bytes in a budget of {budget}", m.session_bytes());
    assert!(m.staging <= capabilities.max_buffer, "staging of {} bytes", m.staging);
    let launches = plan.launches.len() as u64 * plan.uniform_stride;
    assert!(launches <= capabilities.max_buffer.min(u64::from(u32::MAX)), "launch records");
    assert_eq!(plan.uniform_stride % u64::from(capabilities.uniform_alignment), 0);
    for (rows, groups) in [(g.step_rows, g.step_groups), (g.projection_rows, g.projection_groups)] {
        let invocations = u64::from(g.lanes) * u64::from(groups);
        assert!(invocations <= u64::from(capabilities.max_invocations), "{invocations} a group");
        assert!(rows > 0 && groups > 0);
    }
    if let Some(resident) = &g.resident {
        let (used, kernel) = (resident.invocations(), plan.kernels()[1]);
        assert!(used <= capabilities.max_invocations, "{used} invocations in {resident:?}");
        let bytes = resident.workgroup_bytes(kernel);
        let most = u64::from(capabilities.max_workgroup_memory);
        assert!(bytes <= most, "{bytes} of {most} bytes of workgroup memory in {resident:?}");
        assert_eq!(resident.unit_quads as usize, quads(plan.config.hidden_size));
        let tile = plan.config.hidden_size as u64;
        let work = 6 * tile * tile * u64::from(resident.tile()) * m.chunk_steps as u64;
        assert!(m.chunk_steps == 1 || work <= capabilities.workgroup_flops(), "{work} a group");
    }
    if let Some(matrix) = &g.matrix {
        for (kernel, tiles) in plan.kernels().iter().map(|k| (k, plan.variant(*k).tiles.unwrap())) {
            let planes = kernel.planes();
            let (used, bytes) = (tiles.invocations(planes), tiles.workgroup_bytes(planes));
            assert!(used <= capabilities.max_invocations, "{used} invocations in {matrix:?}");
            let most = capabilities.max_workgroup_memory;
            assert!(bytes <= most, "{bytes} of {most} bytes of workgroup memory in {matrix:?}");
            let rows = match kernel.is_projection() {
                true => g.projection_rows * g.projection_groups,
                false => g.row_block(),
            };
            assert_eq!((tiles.rows(), tiles.lanes()), (rows, g.lanes), "blocks of {kernel:?}");
        }
    }
    let options = &plan.options;
    assert!(options.max_chunk_steps.is_none_or(|most| m.chunk_steps <= most), "chunk option");
    assert!(options.max_tile_rows.is_none_or(|most| m.tile_rows <= most), "tile option");
}

/// Every block of every matrix lies in a buffer once, and no two overlap.
fn check_weights(plan: &Plan, capabilities: &Capabilities) {
    let directions = plan.config.num_directions();
    let vec4 = 4 * plan.geometry.precision.weight_bytes();
    let mut regions = vec![Regions::default(); plan.weights.buffers.len()];
    for placement in &plan.weights.placements {
        let mut blocks = Partition::default();
        for slice in &placement.slices {
            blocks.add(slice.blocks.clone());
            assert_eq!(slice.offsets.len(), directions);
            let vec4s = (slice.blocks.len() * placement.layout.block_vec4s()) as u64;
            for offset in &slice.offsets {
                regions[slice.buffer].add("weights", *offset..offset + vec4s);
            }
        }
        blocks.is_whole(placement.layout.blocks(), "blocks of units");
    }
    for (bytes, regions) in plan.weights.buffers.iter().zip(regions) {
        assert!(*bytes <= binding_limit(capabilities), "weight buffer of {bytes} bytes");
        regions.fit(bytes / vec4);
    }
}

/// Ranges that follow one another from 0.
#[derive(Clone, Debug, Default, PartialEq)]
struct Partition {
    end: usize,
}

impl Partition {
    fn add(&mut self, range: Range<usize>) {
        assert_eq!(range.start, self.end, "a range begins where the one before it ends");
        assert!(range.end > range.start, "empty range");
        self.end = range.end;
    }

    fn is_whole(&self, end: usize, what: &str) {
        assert_eq!(self.end, end, "{what} are covered once");
    }
}

/// Disjoint ranges of a buffer, in vec4s.
#[derive(Clone, Debug, Default)]
struct Regions {
    all: Vec<(&'static str, Range<u64>)>,
}

impl Regions {
    fn add(&mut self, what: &'static str, range: Range<u64>) {
        self.all.push((what, range));
    }

    fn fit(mut self, size: u64) {
        self.all.sort_by_key(|(_, range)| range.start);
        for pair in self.all.windows(2) {
            assert!(pair[0].1.end <= pair[1].1.start, "{pair:?} overlap");
        }
        if let Some((what, last)) = self.all.last() {
            assert!(last.end <= size, "{what} {last:?} in a buffer of {size}");
        }
    }
}

struct Walk<'a> {
    plan: &'a Plan,
    capabilities: &'a Capabilities,
    config: &'a GruConfig,
    tiles: Partition,
    tile: Option<Tile>,
    dispatches: u64,
}

/// What has been seen of the tile under way, per layer.
struct Tile {
    rows: Range<usize>,
    /// Steps whose gate inputs were projected, and that were run.
    projected: Vec<Partition>,
    run: Vec<Partition>,
    /// Steps that went up and came back, per layer and direction.
    uploaded: Vec<Partition>,
    downloaded: Vec<Partition>,
    /// Of a wavefront: the diagonals that were run, and the launch of the last ones.
    diagonals: Partition,
    diagonal_launch: Option<usize>,
    /// Of a wavefront of chunks, by layer: the launches of its last projection and sequence, and
    /// its place among the cells of the latter.
    projection: Vec<usize>,
    sequence: Vec<(usize, usize)>,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan, capabilities: &'a Capabilities) -> Self {
        let config = &plan.config;
        let tiles = Partition::default();
        Self { plan, capabilities, config, tiles, tile: None, dispatches: 0 }
    }

    fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::BeginTile { rows } => {
                assert!(self.tile.is_none(), "a tile begins after the one before it ends");
                assert!(rows.len() <= self.plan.memory.tile_rows);
                self.tiles.add(rows.clone());
                let planes = self.config.state_planes();
                self.tile = Some(Tile {
                    rows: rows.clone(),
                    projected: vec![Partition::default(); self.config.num_layers],
                    run: vec![Partition::default(); self.config.num_layers],
                    uploaded: vec![Partition::default(); planes],
                    downloaded: vec![Partition::default(); planes],
                    diagonals: Partition::default(),
                    diagonal_launch: None,
                    projection: vec![usize::MAX; self.config.num_layers],
                    sequence: vec![(usize::MAX, 0); self.config.num_layers],
                });
            }
            Operation::Upload { window, offset, stride } => self.upload(window, *offset, *stride),
            Operation::Project { layer, slices, source } => self.project(*layer, slices, *source),
            Operation::Steps { layers, rows, steps, kernels } => {
                assert_eq!(*rows, self.tile.as_ref().unwrap().rows, "rows of the steps");
                let names: Vec<Kernel> = kernels.iter().map(|k| k.kernel).collect();
                assert_eq!(names, self.plan.kernels()[1..], "kernels of a step, in order");
                for kernel in kernels {
                    let run = self.launches(layers, kernel.kernel, &kernel.slices);
                    assert_eq!(run, *steps, "one chunk");
                    self.dispatches += (steps.len() * kernel.slices.len()) as u64;
                }
                if self.plan.geometry.wavefront {
                    assert_eq!(*layers, 0..self.config.num_layers, "layers of a diagonal");
                    self.diagonals(steps, kernels[0].slices[0].launch);
                } else {
                    assert_eq!(layers.len(), 1, "layers of a step");
                    let (layer, tile) = (layers.start, self.tile.as_mut().unwrap());
                    tile.run[layer].add(steps.clone());
                    assert_eq!(tile.run[layer], tile.projected[layer], "gate inputs come first");
                }
            }
            Operation::Sequence { cells, rows, slices } => {
                assert_eq!(*rows, self.tile.as_ref().unwrap().rows, "rows of the steps");
                self.sequence(cells, slices);
            }
            Operation::Download { window, arena, offset, stride } => {
                self.download(window, *arena, *offset, *stride);
            }
            Operation::EndTile { rows } => {
                let tile = self.tile.take().unwrap();
                assert_eq!(tile.rows, *rows);
                self.finish_tile(&tile);
            }
        }
    }

    /// Each layer one step behind the layer below, whose state of that step the diagonal before
    /// left; layer 0 with the gate inputs of these very steps.
    fn diagonals(&mut self, diagonals: &Range<usize>, launch: usize) {
        let tile = self.tile.as_mut().unwrap();
        let longest = self.plan.rows.longest(&tile.rows);
        tile.diagonals.add(diagonals.clone());
        for (layer, run) in tile.run.iter_mut().enumerate() {
            let step = |d: usize| d.saturating_sub(layer).min(longest);
            let steps = step(diagonals.start)..step(diagonals.end);
            if !steps.is_empty() {
                run.add(steps);
            }
        }
        assert_eq!(tile.run[0], tile.projected[0], "gate inputs come first");
        tile.diagonal_launch = Some(launch);
    }

    /// One dispatch: of each layer of `cells` a chunk.
    fn sequence(&mut self, cells: &[(usize, Range<usize>)], slices: &[LaunchSlice]) {
        let first = cells[0].0;
        let range = self.launches(&(first..first + cells.len()), self.plan.kernels()[1], slices);
        assert_eq!(slices.len(), 1, "a workgroup reads a whole matrix");
        self.dispatches += 1;
        let (launch, record) = (slices[0].launch, &self.plan.launches[slices[0].launch]);
        let tile = self.tile.as_mut().unwrap();
        for (index, (layer, steps)) in cells.iter().enumerate() {
            assert_eq!(*layer, first + index, "layers of a diagonal");
            let lag = index * record.lag as usize;
            let end = if index == 0 { range.end } else { range.start + record.lag as usize - lag };
            assert_eq!(*steps, range.start - lag..end, "steps that the kernel runs");
            tile.run[*layer].add(steps.clone());
            assert_eq!(tile.run[*layer], tile.projected[*layer], "gate inputs come first");
            if self.plan.geometry.cascade {
                let above = tile.projected.get(layer + 1).map_or(steps.start, |p| p.end);
                assert!(above >= steps.start, "outputs are read before they are written again");
                let projection = &self.plan.launches[tile.projection[*layer]];
                assert_eq!(projection.cells[0].gates, record.cells[index].gates, "gate inputs");
                assert_eq!(projection.rows, record.rows, "rows of the gate inputs");
                tile.sequence[*layer] = (launch, index);
            }
        }
    }

    fn finish_tile(&self, tile: &Tile) {
        let (c, steps) = (self.config, self.plan.rows.longest(&tile.rows));
        let on_host = self.plan.memory.residency == Residency::HostBetweenLayers;
        if self.plan.geometry.wavefront && steps > 0 {
            tile.diagonals.is_whole(steps + c.num_layers - 1, "diagonals");
        }
        for layer in 0..c.num_layers {
            let fused = self.plan.geometry.wavefront && layer > 0;
            tile.projected[layer].is_whole(if fused { 0 } else { steps }, "projected steps");
            tile.run[layer].is_whole(steps, "run steps");
            let wanted = layer + 1 == c.num_layers || self.plan.options.all_layers || on_host;
            for direction in 0..c.num_directions() {
                let plane = layer * c.num_directions() + direction;
                let uploaded = if layer == 0 || on_host { steps } else { 0 };
                tile.uploaded[plane].is_whole(uploaded, "uploaded steps");
                let downloaded = if wanted { steps } else { 0 };
                tile.downloaded[plane].is_whole(downloaded, "downloaded steps");
            }
        }
    }

    fn finish(self) {
        let (plan, shape) = (self.plan, self.plan.shape);
        assert!(self.tile.is_none(), "the last tile ends");
        let empty = shape.steps == 0 || shape.batch == 0;
        self.tiles.is_whole(if empty { 0 } else { shape.batch }, "rows of the batch");
        let wavefront = plan.geometry.wavefront;
        // Dispatches of a step; of a diagonal, a kernel each.
        let slices = |step: bool| -> u64 {
            let placements = plan.weights.placements.iter();
            placements
                .filter(|p| p.kernel.is_projection() != step)
                .filter(|p| !step || p.matrix == Matrix::Recurrent)
                .filter(|p| !wavefront || p.layer == 0)
                .map(|p| p.slices.len() as u64)
                .sum()
        };
        let tile_rows = plan.memory.tile_rows;
        let expected: u64 = (0..if empty { 0 } else { shape.batch })
            .step_by(tile_rows)
            .map(|first| plan.rows.longest(&(first..shape.batch.min(first + tile_rows))))
            .map(|steps| {
                let chunks = steps.div_ceil(plan.memory.chunk_steps) as u64;
                let drain = if wavefront && steps > 0 { self.config.num_layers - 1 } else { 0 };
                let recurrent = match plan.family() {
                    KernelFamily::Step | KernelFamily::Matrix => {
                        (steps + drain) as u64 * slices(true)
                    }
                    _ if plan.geometry.cascade && steps > 0 => {
                        chunks + self.config.num_layers as u64 - 1
                    }
                    _ => chunks * slices(true),
                };
                chunks * slices(false) + recurrent
            })
            .sum();
        assert_eq!(self.dispatches, expected, "dispatches");
        assert_eq!(plan.dispatches(), expected, "dispatches that the plan counts");
        assert_eq!(
            plan.dispatches_by_kernel().iter().map(|(_, n)| n).sum::<u64>(),
            expected,
            "dispatches by kernel"
        );
    }

    /// Checks that `rows` rows of the tile under way, the first ones, hold all that have not ended
    /// at processing step `k`.
    fn check_rows(&self, rows: usize, k: usize) {
        let tile = &self.tile.as_ref().unwrap().rows;
        assert!(rows <= tile.len(), "{rows} rows of a tile of {}", tile.len());
        let active = self.plan.rows.active(tile, k);
        assert!(rows >= active, "{rows} rows, {active} have not ended at step {k}");
    }

    /// The directions of a window, and its rows over all its steps.
    fn window(&self, window: &Window) -> (Range<usize>, u64) {
        assert_eq!(window.rows.start, self.tile.as_ref().unwrap().rows.start, "first row");
        self.check_rows(window.rows.len(), window.steps.start);
        let directions = match window.direction {
            Some(d) => d..d + 1,
            None => 0..self.config.num_directions(),
        };
        (directions, (window.steps.len() * window.rows.len()) as u64)
    }

    fn upload(&mut self, window: &Window, offset: u64, stride: u64) {
        let (directions, rows) = self.window(window);
        let (layer, features) = match window.sequence {
            HostSequence::Input => (0, quads(self.config.input_size)),
            HostSequence::Layer(below) => {
                (below + 1, self.config.num_directions() * quads(self.config.hidden_size))
            }
        };
        assert_eq!(stride, features as u64, "stride of an upload");
        assert!(offset + rows * stride <= self.plan.memory.input, "upload beyond the input buffer");
        for d in directions {
            let plane = layer * self.config.num_directions() + d;
            self.tile.as_mut().unwrap().uploaded[plane].add(window.steps.clone());
        }
    }

    fn download(&mut self, window: &Window, arena: usize, offset: u64, stride: u64) {
        let (directions, rows) = self.window(window);
        let HostSequence::Layer(layer) = window.sequence else {
            panic!("the input is not read back")
        };
        assert_eq!(arena, self.plan.memory.arena_of(layer), "arena of a download");
        let features = directions.len() * quads(self.config.hidden_size);
        assert_eq!(stride, features as u64, "stride of a download");
        assert!(offset + rows * stride <= self.plan.memory.arena, "download beyond the arena");
        let tile = self.tile.as_mut().unwrap();
        assert!(tile.run[layer].end >= window.steps.end, "states are read after they are computed");
        if self.plan.geometry.cascade {
            let (launch, index) = tile.sequence[layer];
            let record = &self.plan.launches[launch];
            assert_eq!(offset, u64::from(record.cells[index].output), "outputs of the layer");
            assert_eq!(window.rows.len(), record.rows as usize, "rows of the outputs");
            assert_eq!(window.steps.end, tile.run[layer].end, "outputs of the last chunk");
        }
        if let Some(launch) = tile.diagonal_launch {
            let record = &self.plan.launches[launch];
            let first = (record.first_step as usize).saturating_sub(layer);
            assert_eq!(window.steps, first..tile.run[layer].end, "outputs of the diagonals");
            assert_eq!(offset, u64::from(record.cells[layer].output), "outputs of the layer");
            assert_eq!(window.rows.len(), record.rows as usize, "rows of the outputs");
        }
        for d in directions {
            let plane = layer * self.config.num_directions() + d;
            tile.downloaded[plane].add(window.steps.clone());
        }
    }

    fn project(&mut self, layer: usize, slices: &[LaunchSlice], source: SourceBuffer) {
        let range = self.launches(&(layer..layer + 1), self.plan.kernels()[0], slices);
        self.dispatches += slices.len() as u64;
        let memory = &self.plan.memory;
        let from_host = layer == 0 || memory.residency == Residency::HostBetweenLayers;
        let record = &self.plan.launches[slices[0].launch];
        let size = match source {
            SourceBuffer::Input => {
                assert!(from_host, "layer {layer} reads the input buffer");
                memory.input
            }
            SourceBuffer::Arena(arena) => {
                assert!(!from_host, "layer {layer} reads an arena");
                assert_eq!(arena, memory.arena_of(layer - 1), "arena of a source");
                if self.plan.geometry.cascade {
                    let (launch, index) = self.tile.as_ref().unwrap().sequence[layer - 1];
                    let below = &self.plan.launches[launch];
                    assert_eq!(record.cells[0].source, below.cells[index].output, "layer below");
                } else {
                    assert_ne!(arena, memory.arena_of(layer), "a layer reads what it writes");
                }
                memory.arena
            }
        };
        let steps = self.addressed_steps(record);
        let tile = self.tile.as_mut().unwrap();
        for (d, cell) in record.cells.iter().enumerate() {
            let last = (steps * u64::from(record.batch) - 1) * u64::from(record.source_stride);
            let end = u64::from(cell.source) + last + u64::from(record.k_quads);
            assert!(end <= size, "source of layer {layer} ends at {end} of {size}");
            let plane = layer * self.config.num_directions() + d;
            let there = match from_host {
                true => &tile.uploaded[plane],
                false => &tile.run[layer - 1],
            };
            assert!(there.end >= range.end, "a projection reads what is there");
        }
        tile.projected[layer].add(range);
        tile.projection[layer] = slices[0].launch;
    }

    /// Steps along the first axis of what a kernel addresses.
    fn addressed_steps(&self, record: &LaunchRecord) -> u64 {
        match record.natural {
            0 => u64::from(record.steps),
            _ => self.plan.shape.steps as u64,
        }
    }

    /// The steps of a kernel's launches; checks records and grids.
    fn launches(
        &self,
        layers: &Range<usize>,
        kernel: Kernel,
        slices: &[LaunchSlice],
    ) -> Range<usize> {
        let (plan, c) = (self.plan, self.config);
        let g = &plan.geometry;
        let diagonal = g.wavefront && kernel.is_step();
        let cascaded = g.cascade && kernel.is_sequence();
        let projects = kernel.is_projection();
        let matrix = if projects { Matrix::Input } else { Matrix::Recurrent };
        let placement = self.placement(layers.start, kernel, matrix).unwrap();
        let cells = if diagonal || cascaded { layers.len() } else { c.num_directions() };
        assert_eq!(slices.len(), placement.slices.len());
        let mut steps = None;
        for (slice, placed) in slices.iter().zip(&placement.slices) {
            let record = &plan.launches[slice.launch];
            let tile_rows = self.tile.as_ref().unwrap().rows.len();
            let first = record.first_step as usize;
            self.check_rows(record.rows as usize, first);
            let between_steps = match record.natural {
                1 => tile_rows,
                _ if g.cascade && projects && layers.start > 0 => {
                    let (below, _) = self.tile.as_ref().unwrap().sequence[layers.start - 1];
                    plan.launches[below].rows as usize
                }
                _ => record.rows as usize,
            };
            assert_eq!(record.batch as usize, between_steps, "rows from one step to the next");
            let range = first..first + record.steps as usize;
            assert_eq!(*steps.get_or_insert(range.clone()), range);
            assert!(range.len() <= plan.memory.chunk_steps);
            assert_eq!(slice.weights, placed.buffer);
            assert_eq!(record.first_block as usize, placed.blocks.start);
            assert_eq!(record.unit_quads as usize, quads(c.hidden_size));
            assert_eq!(record.k_quads as usize, placement.layout.k_quads);
            assert_eq!(record.units as usize, c.hidden_size);
            assert_eq!(record.cells.len(), cells);
            let (rows, covered) = if !kernel.is_projection() {
                (u64::from(record.rows), g.row_block())
            } else {
                let rows = u64::from(record.rows) * u64::from(record.steps);
                (rows, g.projection_rows * g.projection_groups)
            };
            let blocks = if kernel.is_sequence() { 1 } else { placed.blocks.len() as u64 };
            let wanted = [blocks, rows.div_ceil(u64::from(covered))];
            let [x, y, z] = slice.grid;
            assert_eq!([u64::from(x), u64::from(y)], wanted, "grid of {kernel:?}");
            assert_eq!(z as usize, cells);
            assert!(x.max(y).max(z) <= self.capabilities.max_workgroups, "grid beyond the limit");
            // Networks that read backwards take no mask.
            let masked =
                if c.directions == crate::Directions::Forward { plan.shape.steps } else { 0 };
            let bits = masked as u64 * u64::from(record.mask_words);
            assert!(u64::from(record.mask) >= tile_rows as u64, "reset bits in the lengths");
            assert!(u64::from(record.mask) + bits <= plan.memory.row_words, "reset bits");
            assert!(record.mask_words as usize * 32 >= tile_rows, "a reset bit a row");
            for (index, cell) in record.cells.iter().enumerate() {
                let (layer, d) = match diagonal || cascaded {
                    true => (layers.start + index, 0),
                    false => (layers.start, index),
                };
                let own = self.placement(layer, kernel, matrix).unwrap();
                let own = if diagonal || cascaded { &own.slices[0] } else { placed };
                assert_eq!(own.buffer, slice.weights, "one buffer of weights");
                assert_eq!(u64::from(cell.weights), own.offsets[d]);
                assert_eq!(cell.reversed == 1, c.directions.is_reverse(d));
                let plane = (layer * c.num_directions() + d) as u64;
                let biases = 4 * u64::from(record.unit_quads);
                assert_eq!(u64::from(cell.bias), plane * biases);
                assert!(16 * (plane + 1) * biases <= plan.weights.bias_bytes, "biases");
                if diagonal && layer > 0 {
                    let input = self.placement(layer, kernel, Matrix::Input).unwrap();
                    assert_eq!(input.layout, placement.layout, "two products alike");
                    assert_eq!(input.slices[0].buffer, slice.weights, "one buffer of weights");
                    assert_eq!(u64::from(cell.input_weights), input.slices[0].offsets[0]);
                    assert_eq!(cell.source, record.cells[layer - 1].state, "the layer below");
                }
            }
            if diagonal {
                self.check_gates(record, &record.cells[..1]);
            } else {
                self.check_gates(record, &record.cells);
            }
            if !kernel.is_projection() {
                self.check_arena(layers.start, record);
            }
        }
        steps.expect("a kernel has launches")
    }

    fn placement(&self, layer: usize, kernel: Kernel, matrix: Matrix) -> Option<&'a Placement> {
        let mut placements = self.plan.weights.placements.iter();
        placements.find(|p| (p.layer, p.kernel, p.matrix) == (layer, kernel, matrix))
    }

    fn check_gates(&self, record: &LaunchRecord, cells: &[CellRecord]) {
        let mut regions = Regions::default();
        for (index, cell) in cells.iter().enumerate() {
            let window = u64::from(record.rows) * steps_of(record, index);
            let start = u64::from(cell.gates);
            regions.add("gates", start..start + 3 * window * u64::from(record.unit_quads));
        }
        regions.fit(self.plan.memory.gates);
    }

    /// States of all layers of the arena, scratch and outputs do not overlap.
    fn check_arena(&self, layer: usize, record: &LaunchRecord) {
        let (plan, c) = (self.plan, self.config);
        let units = u64::from(record.unit_quads);
        let stride = u64::from(record.state_stride);
        let padded = u64::from(record.rows.next_multiple_of(plan.geometry.step_rows));
        assert!(stride >= padded * units, "row blocks read whole");
        let mut regions = Regions::default();
        let layout = crate::plan::ArenaLayout::new(plan);
        let arena = plan.memory.arena_of(layer);
        for other in (0..c.num_layers).filter(|l| plan.memory.arena_of(*l) == arena) {
            for d in 0..c.num_directions() {
                let start = layout.state(other, d);
                regions.add("states", start..start + 2 * stride);
            }
        }
        let step = plan.family() != KernelFamily::Sequence;
        let rows = self.addressed_steps(record) * u64::from(record.batch);
        let output_stride = u64::from(record.output_stride);
        for (d, cell) in record.cells.iter().enumerate() {
            let (layer, direction) = match (plan.geometry.wavefront, plan.geometry.cascade) {
                (true, _) => (d, 0),
                (_, true) => (layer + d, 0),
                _ => (layer, d),
            };
            let state = layout.state(layer, direction);
            assert_eq!(u64::from(cell.state), state, "state of the cell");
            if c.reset == ResetForm::Before && step {
                let start = u64::from(cell.scratch);
                regions.add("scratch", start..start + 2 * stride);
            }
            let start = u64::from(cell.output);
            if plan.geometry.wavefront {
                let wanted = d + 1 == c.num_layers || plan.options.all_layers;
                assert_eq!(start > 0, wanted, "outputs of a layer that is wanted");
                if !wanted {
                    continue;
                }
            }
            if record.lag > 0 {
                let rows = steps_of(record, d) * u64::from(record.batch);
                regions.add("outputs", start..start + rows * units);
            } else if output_stride == units {
                regions.add("outputs", start..start + rows * units);
            } else {
                // Directions side by side in a row.
                assert_eq!(output_stride, record.cells.len() as u64 * units);
                assert_eq!(start, u64::from(record.cells[0].output) + d as u64 * units);
            }
        }
        if output_stride != units {
            let start = u64::from(record.cells[0].output);
            regions.add("outputs", start..start + rows * output_stride);
        }
        regions.fit(plan.memory.arena);
    }
}

/// Steps that a cell of a launch runs.
fn steps_of(record: &LaunchRecord, cell: usize) -> u64 {
    u64::from(if cell > 0 && record.lag > 0 { record.lag } else { record.steps })
}
