//! Runs on arrays in the caller's own buffers: what is moved, cleared and dispatched, in order.
//!
//! Where a host run uploads a window, an encoded one gathers its rows from the caller's buffer;
//! where a host run reads back, it scatters them.

use std::ops::Range;

use ndarray::ArrayView2;

use super::{ArenaLayout, Capabilities, HostSequence, Operation, Plan, SourceBuffer, Window};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{RelayKernel, RelayPart, RelayRecord, quads};

/// An array of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outside {
    Input,
    Output,
    InitialState,
    FinalState,
}

/// The first value of each array in its binding; `None` where the caller has no such array. The
/// caller has checked that every index of a value fits into 32 bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places {
    pub(crate) input: u32,
    pub(crate) output: Option<u32>,
    pub(crate) initial_state: Option<u32>,
    pub(crate) final_state: Option<u32>,
    /// Input and output are `[B, T, ...]`.
    pub(crate) batch_first: bool,
}

/// One entry of an encoded run. Offsets and sizes of buffers are in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Move {
    /// The words of a tile's rows: lengths and reset bits, then the caller's rows.
    Words { rows: Range<u64>, map: Range<u64> },
    /// States begin as zero.
    Clear { arena: usize, offset: u64, size: u64 },
    /// A dispatch of a relay kernel.
    Relay { outside: Outside, inside: SourceBuffer, record: usize, grid: [u32; 3] },
    /// The dispatches of an operation of the plan.
    Operation(usize),
}

/// What an encoded run needs beside its plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RelayPlan {
    pub(crate) moves: Vec<Move>,
    pub(crate) records: Vec<RelayRecord>,
    /// The words of all tiles, one tile after the other.
    pub(crate) words: Vec<u32>,
}

/// Bounds what is held in host memory.
const MAX_RECORDS: usize = 1 << 22;
/// The highest bit of a row's word in the map.
const ODD: u32 = 1 << 31;

impl Outside {
    pub(crate) fn kernel(self) -> RelayKernel {
        match self {
            Self::Input | Self::InitialState => RelayKernel::GatherRows,
            Self::Output | Self::FinalState => RelayKernel::ScatterRows,
        }
    }
}

impl RelayPlan {
    /// The moves of a run of `plan`, whose sequences are all on the device.
    ///
    /// # Errors
    /// [`ErrorKind::ExceedsLimits`] where their launches or words are too many.
    pub(crate) fn new(
        plan: &Plan,
        capabilities: &Capabilities,
        places: &Places,
        mask: Option<&ArrayView2<'_, bool>>,
    ) -> Result<Self> {
        let (shape, tile) = (plan.shape, plan.memory.tile_rows);
        let mask_words = shape.batch.div_ceil(tile) as u64 * tile.div_ceil(32) as u64;
        let mask_steps = if mask.is_some() { shape.steps as u64 } else { 0 };
        let words = (2 * shape.batch as u64).saturating_add(mask_words.saturating_mul(mask_steps));
        if words.saturating_mul(4) > capabilities.max_buffer || shape.batch >= ODD as usize {
            return Err(Error::new(
                ErrorKind::ExceedsLimits,
                format!(
                    "lengths and resets of {shape} exceed the {} bytes of the device's largest \
                     buffer: cut the run",
                    capabilities.max_buffer
                ),
            ));
        }
        let mut build = Build { plan, capabilities, places, out: Self::default() };
        if shape.steps == 0 {
            // No plan has operations then, but states pass through.
            let stateful = places.initial_state.is_some() || places.final_state.is_some();
            for first in (0..shape.batch).step_by(tile).take_while(|_| stateful) {
                let rows = first..shape.batch.min(first + tile);
                build.begin_tile(&rows, None)?;
                build.end_tile(&rows)?;
            }
        }
        for (index, operation) in plan.operations.iter().enumerate() {
            match operation {
                Operation::BeginTile { rows } => build.begin_tile(rows, mask)?,
                Operation::EndTile { rows } => build.end_tile(rows)?,
                Operation::Upload { window, offset, stride } => {
                    assert_eq!(
                        window.sequence,
                        HostSequence::Input,
                        "sequences stay on the device"
                    );
                    build.gather(window, *offset, *stride)?;
                }
                Operation::Download { window, arena, offset, stride } => {
                    build.scatter(window, *arena, *offset, *stride)?;
                }
                _ => build.out.moves.push(Move::Operation(index)),
            }
        }
        Ok(build.out)
    }
}

struct Build<'a> {
    plan: &'a Plan,
    capabilities: &'a Capabilities,
    places: &'a Places,
    out: RelayPlan,
}

impl Build<'_> {
    fn begin_tile(
        &mut self,
        rows: &Range<usize>,
        mask: Option<&ArrayView2<'_, bool>>,
    ) -> Result<()> {
        let plan = self.plan;
        let words = plan.rows.words(rows, mask);
        let map = rows.clone().map(|position| {
            let odd = if plan.final_parity(position) == 1 { ODD } else { 0 };
            word(plan.rows.row(position) as u64) | odd
        });
        let at = 4 * self.out.words.len() as u64;
        let middle = at + 4 * words.len() as u64;
        self.out.words.extend(words);
        self.out.words.extend(map);
        let end = 4 * self.out.words.len() as u64;
        self.out.moves.push(Move::Words { rows: at..middle, map: middle..end });
        if !plan.rows.is_full() {
            self.padding(rows)?;
        }
        let layout = ArenaLayout::new(plan);
        for plane in 0..plan.config.state_planes() {
            let arena = self.arena_of_plane(plane);
            if let Some(first) = self.places.initial_state {
                let record = self.state(&layout, rows, plane, first);
                self.relay(Outside::InitialState, SourceBuffer::Arena(arena), record, 1)?;
            } else {
                let offset = 16 * self.state_at(&layout, plane);
                let size = 16 * layout.state_stride;
                self.out.moves.push(Move::Clear { arena, offset, size });
            }
        }
        Ok(())
    }

    fn end_tile(&mut self, rows: &Range<usize>) -> Result<()> {
        let Some(first) = self.places.final_state else { return Ok(()) };
        let layout = ArenaLayout::new(self.plan);
        for plane in 0..self.plan.config.state_planes() {
            let arena = SourceBuffer::Arena(self.arena_of_plane(plane));
            let record = self.state(&layout, rows, plane, first);
            self.relay(Outside::FinalState, arena, record, 1)?;
        }
        Ok(())
    }

    /// The first vec4 of a plane's even state.
    fn state_at(&self, layout: &ArenaLayout, plane: usize) -> u64 {
        let directions = self.plan.config.num_directions();
        layout.state(plane / directions, plane % directions)
    }

    /// A record of one state of each of a tile's rows, in a plane of the caller's states that begin
    /// at value `first`.
    fn state(
        &self,
        layout: &ArenaLayout,
        rows: &Range<usize>,
        plane: usize,
        first: u32,
    ) -> RelayRecord {
        let c = &self.plan.config;
        let units = quads(c.hidden_size) as u64;
        let before = plane as u64 * self.plan.shape.batch as u64 * c.hidden_size as u64;
        RelayRecord {
            part: RelayPart::States,
            rows: word(rows.len() as u64),
            end: word(rows.len() as u64),
            width: word(c.hidden_size as u64),
            quads: word(units),
            inside: word(self.state_at(layout, plane)),
            inside_stride: word(units),
            state_stride: word(layout.state_stride),
            outside: word(u64::from(first) + before),
            row_stride: word(c.hidden_size as u64),
            ..RelayRecord::default()
        }
    }

    fn arena_of_plane(&self, plane: usize) -> usize {
        self.plan.memory.arena_of(plane / self.plan.config.num_directions())
    }

    fn gather(&mut self, window: &Window, offset: u64, stride: u64) -> Result<()> {
        let features = self.plan.config.input_size;
        let record = RelayRecord {
            outside: self.places.input,
            width: word(features as u64),
            quads: word(stride),
            ..self.sequence(window, features, offset, stride)
        };
        self.relay(Outside::Input, SourceBuffer::Input, record, 1)
    }

    fn scatter(&mut self, window: &Window, arena: usize, offset: u64, stride: u64) -> Result<()> {
        let Some(first) = self.places.output else { return Ok(()) };
        let h = self.plan.config.hidden_size;
        let (before, directions) = match window.direction {
            Some(d) => (d * h, 1),
            None => (0, self.plan.config.num_directions()),
        };
        let record = RelayRecord {
            outside: first + word(before as u64),
            width: word(h as u64),
            quads: word(quads(h) as u64),
            ..self.sequence(window, self.plan.config.output_size(), offset, stride)
        };
        self.relay(Outside::Output, SourceBuffer::Arena(arena), record, word(directions as u64))
    }

    /// Zeros past the ends of a tile's rows, which no window covers.
    fn padding(&mut self, rows: &Range<usize>) -> Result<()> {
        let Some(first) = self.places.output else { return Ok(()) };
        let c = &self.plan.config;
        // No row is shorter than the last.
        let steps = self.plan.rows.length(rows.end - 1)..self.plan.shape.steps;
        let window = Window {
            sequence: HostSequence::Layer(c.num_layers - 1),
            rows: rows.clone(),
            direction: None,
            steps,
        };
        let record = RelayRecord {
            part: RelayPart::Padding,
            outside: first,
            width: word(c.hidden_size as u64),
            quads: word(quads(c.hidden_size) as u64),
            ..self.sequence(&window, c.output_size(), 0, 0)
        };
        let arena = SourceBuffer::Arena(self.plan.memory.arena_of(c.num_layers - 1));
        self.relay(Outside::Output, arena, record, word(c.num_directions() as u64))
    }

    /// A record of a window of a sequence whose steps are `features` wide outside.
    fn sequence(&self, window: &Window, features: usize, offset: u64, stride: u64) -> RelayRecord {
        let (shape, features) = (self.plan.shape, features as u64);
        let (steps, batch) = (shape.steps as u64, shape.batch as u64);
        let [step_stride, row_stride] = match self.places.batch_first {
            false => [batch * features, features],
            true => [features, steps * features],
        };
        let directions = self.plan.config.directions;
        RelayRecord {
            part: RelayPart::Sequence,
            rows: word(window.rows.len() as u64),
            first_step: word(window.steps.start as u64),
            end: word((window.rows.len() * window.steps.len()) as u64),
            inside: word(offset),
            inside_stride: word(stride),
            step_stride: word(step_stride),
            row_stride: word(row_stride),
            reversed: u32::from(window.direction.is_some_and(|d| directions.is_reverse(d))),
            ..RelayRecord::default()
        }
    }

    /// Dispatches for all rows of `record`, cut to what a device may be given at once.
    fn relay(
        &mut self,
        outside: Outside,
        inside: SourceBuffer,
        record: RelayRecord,
        z: u32,
    ) -> Result<()> {
        let values = 4 * u64::from(record.quads) * u64::from(z);
        // A value moved takes about as long as some operations.
        let by_time = self.capabilities.dispatch_flops() / 16 / values.max(1);
        let by_grid =
            u64::from(self.capabilities.max_workgroups) * u64::from(RelayKernel::ROW_GROUPS);
        let most = u32::try_from(by_time.min(by_grid).max(1)).unwrap_or(u32::MAX);
        let (mut first, end) = (record.first, record.end);
        while first < end {
            let piece_end = end.min(first.saturating_add(most));
            if self.out.records.len() == MAX_RECORDS {
                return Err(Error::new(
                    ErrorKind::ExceedsLimits,
                    format!(
                        "{} in tiles of {} rows makes more than {MAX_RECORDS} moves of rows: \
                         raise the memory budget, or cut the run",
                        self.plan.shape, self.plan.memory.tile_rows
                    ),
                ));
            }
            let columns =
                record.quads.div_ceil(RelayKernel::LANES).min(self.capabilities.max_workgroups);
            let grid = [columns, (piece_end - first).div_ceil(RelayKernel::ROW_GROUPS), z];
            let index = self.out.records.len();
            let next_quad = columns * RelayKernel::LANES;
            self.out.records.push(RelayRecord { first, end: piece_end, next_quad, ..record });
            self.out.moves.push(Move::Relay { outside, inside, record: index, grid });
            first = piece_end;
        }
        Ok(())
    }
}

fn word(v: u64) -> u32 {
    u32::try_from(v).expect("sizes inside and outside are below 2^32")
}
