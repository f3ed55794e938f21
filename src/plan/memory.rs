//! How much of a run is on the device at once: rows of the batch, steps of a chunk, buffers.

use super::geometry::Geometry;
use super::{Capabilities, PlanOptions, cascade, resident};
use crate::cell::ResetForm;
use crate::config::{Directions, GruConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::quads;
use crate::pack::input_quads;
use crate::shape::SequenceShape;

/// What stays on the device between the chunks of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residency {
    /// Whole sequences: a bidirectional layer reads its input from both ends.
    Whole,
    /// A window of the sequences, all layers advancing chunk by chunk.
    Window,
    /// A window, one layer at a time; the sequences between layers are in host memory. For
    /// bidirectional networks whose sequences do not fit.
    HostBetweenLayers,
}

/// Sizes of the buffers of a session, in vec4s, and the division of the work that they allow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Memory {
    pub(crate) residency: Residency,
    /// Rows of a tile of the batch.
    pub(crate) tile_rows: usize,
    /// Steps of a chunk; of a wavefront, diagonals.
    pub(crate) chunk_steps: usize,
    pub(crate) input: u64,
    pub(crate) gates: u64,
    /// vec4s of one arena; there are [`arenas`](Self::arenas).
    pub(crate) arena: u64,
    pub(crate) arenas: usize,
    /// 32-bit words of lengths and reset bits.
    pub(crate) row_words: u64,
    /// Bytes of each staging buffer; two for upload, two for read-back.
    pub(crate) staging: u64,
}

/// Saturates: what does exceeds every limit.
fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |n, f| n.saturating_mul(*f))
}

/// Chunks longer than this gain nothing, and the per-step uniforms need a slot each.
const MAX_CHUNK_STEPS: usize = 4096;
/// Bytes of a staging buffer, unless a row of a step needs more.
const MAX_STAGING: u64 = 8 << 20;
/// Fewer steps than this a chunk waste the projection; smaller tiles are better.
const GOOD_CHUNK_STEPS: usize = 16;
/// Fewer rows than this a tile waste the step kernel; host memory between layers is better.
const GOOD_TILE_ROWS: usize = 8;

impl Memory {
    /// The division for a run of `shape` within the device's limits and the budget; inside
    /// `capacity`, the buffers of a session made for at least this shape, where it is given.
    pub(crate) fn solve(
        config: &GruConfig,
        shape: SequenceShape,
        geometry: &Geometry,
        capabilities: &Capabilities,
        options: &PlanOptions,
        capacity: Option<&Self>,
    ) -> Result<Self> {
        let budget = options.memory_budget.unwrap_or_else(|| capabilities.default_budget());
        let solver = Solver { config, shape, geometry, capabilities, options, capacity, budget };
        // The last one is taken at any size. A session's own residency holds every shape below the
        // session's: what `fits` compares grows with rows, with steps of a chunk and with T.
        let (preferred, last) = match (config.directions, capacity.map(|c| c.residency)) {
            (Directions::Bidirectional, _) if options.on_device => {
                (&[Residency::Whole][..], Residency::Whole)
            }
            (Directions::Bidirectional, None | Some(Residency::HostBetweenLayers)) => (
                &[Residency::Whole, Residency::HostBetweenLayers][..],
                Residency::HostBetweenLayers,
            ),
            (Directions::Bidirectional, Some(own)) => (&[Residency::Whole][..], own),
            _ => (&[Residency::Window][..], Residency::Window),
        };
        // A session whose own division is no good one divides its runs no worse than by its tile: the
        // last resort would trade all steps of a chunk for rows.
        let own_tile = || {
            let own = capacity.filter(|c| c.residency == last)?;
            let rows = shape.batch.div_ceil(shape.batch.div_ceil(own.tile_rows).max(1)).max(1);
            solver.longest_chunk(last, 1, rows)
        };
        let found = preferred
            .iter()
            .find_map(|r| solver.attempt(*r, GOOD_CHUNK_STEPS, GOOD_TILE_ROWS))
            .or_else(own_tile)
            .or_else(|| solver.attempt(last, 1, 1));
        if let Some(mut memory) = found {
            memory.staging = capacity.map_or(memory.staging, |c| c.staging);
            return Ok(memory);
        }
        let least = solver.sized(last, 1, 1);
        Err(Error::new(
            ErrorKind::ExceedsLimits,
            format!(
                "one row of {} steps, one step at a time, needs {} bytes of device memory in \
                 bindings of up to {} bytes; the budget is {budget} and the device binds {} at \
                 most: raise the memory budget or take a device with larger limits",
                shape.steps,
                least.session_bytes(),
                least.largest_binding(),
                solver.binding_limit()
            ),
        ))
    }

    /// Bytes of all buffers of a session, staging included, weights not.
    pub(crate) fn session_bytes(&self) -> u64 {
        let arenas = self.arena.saturating_mul(self.arenas as u64);
        let vec4s = self.input.saturating_add(self.gates).saturating_add(arenas);
        vec4s
            .saturating_mul(16)
            .saturating_add(self.row_words.saturating_mul(4))
            .saturating_add(self.staging.saturating_mul(4))
    }

    fn largest_binding(&self) -> u64 {
        let vec4s = self.input.max(self.gates).max(self.arena);
        vec4s.saturating_mul(16).max(self.row_words.saturating_mul(4))
    }

    /// The arena that layer `layer` writes.
    pub(crate) fn arena_of(&self, layer: usize) -> usize {
        layer % self.arenas
    }
}

struct Solver<'a> {
    config: &'a GruConfig,
    shape: SequenceShape,
    geometry: &'a Geometry,
    capabilities: &'a Capabilities,
    options: &'a PlanOptions,
    capacity: Option<&'a Memory>,
    budget: u64,
}

impl Solver<'_> {
    fn binding_limit(&self) -> u64 {
        self.capabilities.max_storage_binding.min(self.capabilities.max_buffer)
    }

    /// The largest tile, then the longest chunk, of at least the given sizes.
    fn attempt(&self, residency: Residency, min_steps: usize, min_rows: usize) -> Option<Memory> {
        let min_steps = min_steps.min(self.dispatches().max(1));
        let most = self.options.max_tile_rows.unwrap_or(usize::MAX).max(1);
        let mut tiles = self.shape.batch.div_ceil(most).max(1);
        let min_rows = min_rows.min(self.shape.batch.div_ceil(tiles));
        loop {
            let rows = self.shape.batch.div_ceil(tiles).max(1);
            if rows < min_rows {
                return None;
            }
            if let Some(memory) = self.longest_chunk(residency, min_steps, rows) {
                return Some(memory);
            }
            if rows == 1 {
                return None;
            }
            let fewer = tiles.saturating_add(tiles / 8 + 1);
            tiles = self.shape.batch.div_ceil(rows - 1).max(fewer);
        }
    }

    fn longest_chunk(&self, residency: Residency, min: usize, rows: usize) -> Option<Memory> {
        let mut cap = self.options.max_chunk_steps.unwrap_or(usize::MAX).clamp(1, MAX_CHUNK_STEPS);
        if self.geometry.cascade {
            cap = cap.min(cascade::longest_chunk(self.config, self.shape.steps));
        }
        if let Some(session) = self.capacity {
            cap = cap.min(session.chunk_steps.max(1));
        }
        let longest = self.dispatches().clamp(1, cap).min(self.overlapping(residency, rows));
        let min = min.min(longest);
        if !self.fits(&self.sized(residency, rows, min)) {
            return None;
        }
        // Size grows with steps: the longest that fits, by bisection.
        let (mut good, mut bad) = (min, longest + 1);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if self.fits(&self.sized(residency, rows, middle)) {
                good = middle
            } else {
                bad = middle
            }
        }
        // Equal chunks rather than a short last one.
        let all = self.dispatches().max(1);
        let chunks = all.div_ceil(good);
        Some(self.sized(residency, rows, all.div_ceil(chunks)))
    }

    /// Steps whose transfers fit the staging buffers: while the device computes one chunk, the
    /// input of the next goes up and the outputs of the one before come back.
    fn overlapping(&self, residency: Residency, rows: usize) -> usize {
        let c = self.config;
        let layers = match residency {
            Residency::Whole => return usize::MAX,
            Residency::Window => 1,
            Residency::HostBetweenLayers => c.num_layers.min(2),
        };
        let widest = (0..layers).map(|l| input_quads(c, l)).max().unwrap_or(1);
        let widest = widest.max(c.num_directions() * quads(c.hidden_size));
        let step = product(&[16, rows as u64, widest as u64]).max(1);
        let steps = MAX_STAGING.min(self.budget / 16) / step;
        usize::try_from(steps).unwrap_or(usize::MAX).max(2 * GOOD_CHUNK_STEPS)
    }

    /// Steps of the sequences, or diagonals.
    fn dispatches(&self) -> usize {
        self.geometry.diagonals(self.config, self.shape.steps)
    }

    fn fits(&self, memory: &Memory) -> bool {
        let flops = self.capabilities.dispatch_flops();
        let (c, d) = (self.config, self.config.num_directions() as u64);
        let rows = memory.tile_rows as u64;
        let per_row = 6 * d * c.hidden_size as u64;
        let (products, projected) = match self.geometry.wavefront {
            true => (2 * c.num_layers as u64 - 1, 1),
            false => (1, 2),
        };
        let step = product(&[rows, per_row, c.hidden_size as u64, products]);
        let widest = (0..c.num_layers.min(projected)).map(|l| c.layer_input_size(l)).max();
        let widest = widest.unwrap_or(1) as u64;
        let chunk_rows = rows.saturating_mul(memory.chunk_steps as u64);
        let projection = chunk_rows.saturating_mul(per_row.saturating_mul(widest));
        // One row, one step is the least that a dispatch can hold: it is let through.
        let work_fits = (step <= flops || rows == 1)
            && (projection <= flops || memory.chunk_steps == 1 && step <= flops || chunk_rows == 1);
        let g = self.geometry;
        let overlapping = if g.cascade { c.num_layers as u64 } else { 1 };
        let sequence_fits = g.resident.is_none_or(|r| {
            let steps = memory.chunk_steps as u64;
            let row_step = 6 * (c.hidden_size as u64).saturating_pow(2);
            let group = u64::from(r.tile()).saturating_mul(row_step).saturating_mul(steps);
            let iterations = steps.saturating_mul(r.step_iterations(resident::kernel(c.reset)));
            steps == 1
                || iterations <= self.capabilities.loop_iterations()
                    && group <= self.capabilities.workgroup_flops()
                    && product(&[step, steps, overlapping]) <= flops
        });
        let most = u64::from(self.capabilities.max_workgroups);
        let groups_fit = chunk_rows.div_ceil(u64::from(g.projection_rows * g.projection_groups))
            <= most
            && rows.div_ceil(u64::from(g.row_block())) <= most;
        let inside = self.capacity.is_none_or(|c| {
            memory.input <= c.input
                && memory.gates <= c.gates
                && memory.arena <= c.arena
                && memory.arenas <= c.arenas
                && memory.row_words <= c.row_words
                && memory.chunk_steps <= c.chunk_steps
        });
        work_fits
            && sequence_fits
            && groups_fit
            && inside
            && memory.largest_binding() <= self.binding_limit()
            && memory.staging <= self.capabilities.max_buffer
            && memory.session_bytes() <= self.budget
            // Kernels index vec4s and words with 32 bits.
            && memory.arena.max(memory.gates).max(memory.input).max(memory.row_words)
                < u64::from(u32::MAX)
    }

    /// Sizes saturate: those that do exceed every limit.
    fn sized(&self, residency: Residency, rows: usize, steps: usize) -> Memory {
        let c = self.config;
        let (d, units) = (c.num_directions() as u64, quads(c.hidden_size) as u64);
        let rows_padded =
            (rows as u64).checked_next_multiple_of(u64::from(self.geometry.step_rows));
        let window = product(&[rows as u64, steps as u64]);
        let whole = product(&[rows as u64, self.shape.steps.max(1) as u64]);
        let widest = |layers: std::ops::Range<usize>| {
            layers.map(|l| input_quads(c, l)).max().unwrap_or(1) as u64
        };
        let all = widest(0..c.num_layers.min(2));
        let (input, outputs) = match residency {
            Residency::Whole => (product(&[whole, widest(0..1)]), product(&[whole, d, units])),
            Residency::Window => (product(&[window, widest(0..1)]), product(&[window, d, units])),
            Residency::HostBetweenLayers => {
                (product(&[d, window, all]), product(&[window, d, units]))
            }
        };
        let state = product(&[rows_padded.unwrap_or(u64::MAX), units]);
        let planes = c.state_planes() as u64;
        let wavefront = self.geometry.wavefront;
        let layers = c.num_layers as u64;
        let windows = if self.geometry.cascade { layers } else { 1 };
        let scratch = match c.reset {
            ResetForm::Before => 2 * d * if wavefront { layers } else { 1 },
            ResetForm::After => 0,
        };
        // A wavefront has outputs for each layer that the host wants; room for a good chunk of all of
        // them keeps the runs that want them, which are few, out of chunks of single steps.
        // The gate inputs bound it: it must not make good chunks too large.
        let row = product(&[layers, units]);
        let good_chunk =
            product(&[row, rows.min(GOOD_TILE_ROWS) as u64, steps.min(GOOD_CHUNK_STEPS) as u64]);
        let good_chunk = good_chunk.min(product(&[window, 3, units])).max(row);
        let outputs = match (wavefront, self.options.all_layers) {
            (false, _) => product(&[outputs, windows]),
            (true, true) => product(&[outputs, layers]),
            (true, false) => outputs.max(good_chunk),
        };
        let states = product(&[2 * planes + scratch, state]);
        // Only forward networks take a reset mask.
        let mask_steps = match c.directions {
            Directions::Forward => self.shape.steps as u64,
            _ => 0,
        };
        let mask_words = product(&[mask_steps, (rows as u64).div_ceil(32)]);
        // Bindings are multiples of 16 bytes.
        let row_words = (rows as u64).saturating_add(mask_words);
        let row_words = row_words.checked_next_multiple_of(4).unwrap_or(u64::MAX);
        let row_bytes = product(&[16, all.max(d * units)]);
        let moved = product(&[16, input.max(outputs).max(product(&[planes, state]))]);
        let staging =
            moved.clamp(64 << 10, MAX_STAGING).min(self.budget / 16).max(row_bytes).max(4 << 10);
        Memory {
            residency,
            tile_rows: rows,
            chunk_steps: steps,
            input,
            gates: product(&[d, window, 3, units, windows]),
            arena: states.saturating_add(outputs),
            arenas: match residency {
                Residency::HostBetweenLayers => 1,
                _ if wavefront || self.geometry.cascade => 1,
                _ => c.num_layers.min(2),
            },
            row_words,
            staging: staging.checked_next_multiple_of(16).unwrap_or(u64::MAX),
        }
    }
}
