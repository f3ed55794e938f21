//! The plan of a run: buffers, launches and operations, as data.
//!
//! A plan is a pure function of the network's configuration, the shape of the run, the device's
//! capabilities and the options. No graphics type appears here.
//!
//! The batch is cut into tiles of rows, the sequence into chunks of steps. A chunk of a layer is
//! one projection of its gate inputs, then one dispatch a step (two for reset-before), both
//! directions together. Direction d's step k is time k, or n-1-k in a row of n steps where it
//! reads backwards. Or, as a wavefront, a dispatch runs a step of every layer.

mod candidates;
mod capabilities;
mod cascade;
mod dispatches;
mod display;
mod family;
mod geometry;
mod matrix;
mod memory;
mod relay;
mod resident;
mod rows;
mod schedule;
mod slots;
mod wavefront;
mod weights;

pub(crate) use candidates::{Candidates, candidates};
pub use capabilities::{Capabilities, CooperativeMatrices, SoftwareDriver};
pub(crate) use dispatches::Dispatch;
pub(crate) use display::human_bytes;
pub use family::KernelFamily;
pub(crate) use geometry::Geometry;
pub(crate) use memory::{Memory, Residency};
pub(crate) use relay::{Move, Outside, Places, RelayPlan};
pub(crate) use rows::RowOrder;
pub(crate) use schedule::{ArenaLayout, LaunchSlice, Operation, SourceBuffer};
pub(crate) use slots::{SlotLayout, SlotList};
pub(crate) use weights::{Matrix, Placement, WeightPlan};

use std::ops::Range;
use std::time::Duration;

use crate::cell::{CellFunctions, ResetForm};
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{Kernel, LaunchRecord, Tiles, Variant};
use crate::precision::Precision;
use crate::shape::SequenceShape;

/// Longest time in which a session looks for its fastest kernels.
const MOST_TUNING: Duration = Duration::from_secs(3600);
/// Bounds of what a plan holds in host memory.
const MAX_LAYERS: usize = 1 << 16;
const MAX_LAUNCHES: u64 = 1 << 22;

/// What a caller may ask of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Precision of stored weights. Default: f32.
    pub precision: Precision,
    /// Device memory of a session, weights and launch records not counted, bytes. Default: a
    /// quarter of the largest buffer that the device allows, 2 GiB at most.
    pub memory_budget: Option<u64>,
    /// Longest chunk of steps. Default: what fits, 4096 at most. Results do not depend on it.
    pub max_chunk_steps: Option<usize>,
    /// Largest tile of rows. Default: what fits. Results do not depend on it.
    pub max_tile_rows: Option<usize>,
    /// The kernels that compute the steps. Default: the planner's table chooses, for the largest
    /// shape of a session; all its runs keep the choice.
    pub family: Option<KernelFamily>,
    /// Run the layers of a forward or reverse network as a wavefront: a dispatch of the step
    /// kernels runs every layer, each one step behind the layer below. Default: where the
    /// planner's table says that it pays; [`KernelFamily::Sequence`] has a wavefront of chunks of
    /// its own. `Some(true)` asks for the step kernels, whose results do not depend on it.
    pub wavefront: Option<bool>,
    /// Keep the sequences between layers on the device whatever it takes, in tiles of few rows:
    /// what runs encoded into a caller's commands need. Default: bidirectional networks whose
    /// sequences are too large for good tiles keep them in host memory.
    pub on_device: bool,
    /// Time, of about that much, in which a session on a GPU tries other kernels and workgroups
    /// on the adapter at hand before it keeps the fastest; what is found is cached by adapter,
    /// driver, network and shape. An hour at most. Default: none, the planner's table chooses.
    /// See [`Session::tuning`](crate::Session::tuning). [`Plan::new`] measures nothing: it plans
    /// as without it.
    pub tune: Option<Duration>,
    /// Read back the states of every layer, not only the last: what verification needs.
    pub all_layers: bool,
}

/// A sequence in host memory that a chunk is read from or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostSequence {
    /// The caller's input.
    Input,
    /// The states of a layer; of the last one: the caller's output.
    Layer(usize),
}

/// A range of a host sequence as it lies on the device: `[step, row of the tile, feature]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) sequence: HostSequence,
    /// Rows of the batch.
    pub(crate) rows: Range<usize>,
    /// `None`: steps are times, features are whole. `Some(d)`: steps are those of direction d,
    /// in its order; of a layer's states only that direction's features.
    pub(crate) direction: Option<usize>,
    pub(crate) steps: Range<usize>,
}

/// What a run dispatches, moves and allocates. Print it to read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(crate) config: GruConfig,
    pub(crate) shape: SequenceShape,
    pub(crate) rows: RowOrder,
    pub(crate) options: PlanOptions,
    pub(crate) geometry: Geometry,
    pub(crate) memory: Memory,
    pub(crate) weights: WeightPlan,
    pub(crate) immediates: bool,
    pub(crate) software: bool,
    pub(crate) uniform_stride: u64,
    pub(crate) uniform_alignment: u64,
    pub(crate) launches: Vec<LaunchRecord>,
    pub(crate) operations: Vec<Operation>,
}

impl Plan {
    /// The plan for a run of `shape`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`]; [`ErrorKind::UnsupportedDevice`] where the device lacks
    /// what every plan needs; [`ErrorKind::ExceedsLimits`] where nothing fits, naming the limit
    /// and the need; [`ErrorKind::InvalidRequest`] for a zero option, for more than an hour of
    /// tuning, and for a kernel family or a wavefront that cannot run the network.
    pub fn new(
        config: &GruConfig,
        shape: SequenceShape,
        capabilities: &Capabilities,
        options: &PlanOptions,
    ) -> Result<Self> {
        Self::of_rows(config, RowOrder::full(shape), capabilities, options)
    }

    /// The plan for a run of `shape` whose row b has `lengths[b]` steps: rows that have ended
    /// cost nothing beyond the block of rows that they share.
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`ErrorKind::InvalidShape`] where `lengths` are not one
    /// number of 0 to T a row.
    pub fn with_lengths(
        config: &GruConfig,
        shape: SequenceShape,
        lengths: &[usize],
        capabilities: &Capabilities,
        options: &PlanOptions,
    ) -> Result<Self> {
        let rows = RowOrder::new(shape, Some(lengths))?;
        Self::of_rows(config, rows, capabilities, options)
    }

    fn of_rows(
        config: &GruConfig,
        rows: RowOrder,
        capabilities: &Capabilities,
        options: &PlanOptions,
    ) -> Result<Self> {
        let geometry = Geometry::choose(config, rows.shape(), capabilities, options)?;
        Self::within(config, rows, capabilities, options, geometry, None)
    }

    /// The plan for a run of `rows` with a session's kernels, inside its buffers.
    pub(crate) fn within(
        config: &GruConfig,
        rows: RowOrder,
        capabilities: &Capabilities,
        options: &PlanOptions,
        geometry: Geometry,
        capacity: Option<&Memory>,
    ) -> Result<Self> {
        let mut plan = Self::unscheduled(config, rows, capabilities, options, geometry, capacity)?;
        schedule::schedule(&mut plan);
        Ok(plan)
    }

    /// [`within`](Self::within) before there are launches and operations: fails where that does.
    fn unscheduled(
        config: &GruConfig,
        rows: RowOrder,
        capabilities: &Capabilities,
        options: &PlanOptions,
        geometry: Geometry,
        capacity: Option<&Memory>,
    ) -> Result<Self> {
        let shape = rows.shape();
        check_request(config, capabilities, options)?;
        let kernels = kernels_of(config.reset, geometry.family.family);
        let weights = WeightPlan::new(config, kernels, &geometry, capabilities)?;
        let memory = Memory::solve(config, shape, &geometry, capabilities, options, capacity)?;
        let cells = match geometry.wavefront || geometry.cascade {
            true => config.num_layers,
            false => config.num_directions(),
        };
        let record = LaunchRecord::size(cells);
        if record > capabilities.max_uniform_binding {
            return Err(Error::new(
                ErrorKind::UnsupportedDevice,
                format!(
                    "a launch record takes {record} bytes, the device binds uniforms of {} at most",
                    capabilities.max_uniform_binding
                ),
            ));
        }
        let plan = Self {
            config: config.clone(),
            shape,
            rows,
            options: options.clone(),
            geometry,
            memory,
            weights,
            immediates: capabilities.immediates,
            software: capabilities.software,
            uniform_stride: record.next_multiple_of(u64::from(capabilities.uniform_alignment)),
            uniform_alignment: u64::from(capabilities.uniform_alignment),
            launches: Vec::new(),
            operations: Vec::new(),
        };
        plan.check_pieces(capabilities)?;
        Ok(plan)
    }

    /// Checks, before anything is allocated for them, that the pieces of the run can be held.
    fn check_pieces(&self, capabilities: &Capabilities) -> Result<()> {
        // A loop over k for each of the matrices of a kernel: of a wavefront's steps also the inputs'.
        let loops =
            |kernel: Kernel| if self.geometry.wavefront && kernel.is_step() { 2 } else { 1 };
        let placements = self.weights.placements.iter().filter(|p| !p.kernel.is_sequence());
        let iterations = placements.map(|p| {
            let (k_quads, tiles) = (p.layout.k_quads as u64, self.tiles(p.kernel));
            let product = tiles.map_or(k_quads, |t| t.iterations(p.kernel.planes(), k_quads));
            loops(p.kernel) * product
        });
        let longest = iterations.max().unwrap_or(0);
        if longest > capabilities.loop_iterations() {
            return Err(Error::new(
                ErrorKind::ExceedsLimits,
                format!(
                    "products over up to {} inputs or units take {longest} loop iterations, a \
                     dispatch of the device holds {}",
                    self.config.input_size.max(self.config.output_size()),
                    capabilities.loop_iterations()
                ),
            ));
        }
        // Dynamic offsets have 32 bits.
        let room = capabilities.max_buffer.min(u64::from(u32::MAX)) / self.uniform_stride;
        let (launches, most) = (self.most_launches(), room.min(MAX_LAUNCHES));
        if launches > most {
            return Err(Error::new(
                ErrorKind::ExceedsLimits,
                format!(
                    "{} in tiles of {} rows and chunks of {} steps makes {launches} launches, \
                     {most} are possible: raise the memory budget, or cut the run",
                    self.shape, self.memory.tile_rows, self.memory.chunk_steps
                ),
            ));
        }
        Ok(())
    }

    /// Launch records of the plan where no row ends early: those of any other lengths are fewer.
    pub(crate) fn most_launches(&self) -> u64 {
        let tiles = self.shape.batch.div_ceil(self.memory.tile_rows) as u64;
        let steps = self.geometry.diagonals(&self.config, self.shape.steps);
        let chunks = steps.div_ceil(self.memory.chunk_steps) as u64;
        if self.geometry.cascade && chunks > 0 {
            let layers = self.config.num_layers as u64;
            return tiles.saturating_mul(chunks.saturating_mul(layers + 1) + layers - 1);
        }
        if self.geometry.wavefront {
            // One record holds all layers; the last diagonals have no projection.
            let projections = self.shape.steps.div_ceil(self.memory.chunk_steps) as u64;
            let slices: u64 =
                self.weights.placements.iter().map(|p| p.slices.len() as u64).max().unwrap_or(1);
            let kernels = self.kernels().len() as u64 - 1;
            let launches = chunks.saturating_mul(kernels).saturating_add(projections);
            return tiles.saturating_mul(launches).saturating_mul(slices);
        }
        let slices: u64 = self.weights.placements.iter().map(|p| p.slices.len() as u64).sum();
        tiles.saturating_mul(chunks).saturating_mul(slices)
    }

    /// Number of compute dispatches of a run.
    pub fn dispatches(&self) -> u64 {
        self.operations
            .iter()
            .map(|operation| match operation {
                Operation::Project { slices, .. } | Operation::Sequence { slices, .. } => {
                    slices.len() as u64
                }
                Operation::Steps { steps, kernels, .. } => {
                    steps.len() as u64 * kernels.iter().map(|k| k.slices.len() as u64).sum::<u64>()
                }
                _ => 0,
            })
            .sum()
    }

    /// Rows that step kernels take part in, added up over the steps of every layer and
    /// direction: the sum of the lengths, and what the blocks of rows add to it.
    pub fn row_steps(&self) -> u64 {
        let block = u64::from(self.geometry.row_block());
        let blocks: u64 = self
            .operations
            .iter()
            .map(|operation| match operation {
                Operation::Steps { layers, rows, steps, .. } => steps
                    .clone()
                    .flat_map(|d| (0..layers.len().min(d + 1)).map(move |i| d - i))
                    .map(|k| u64::from(self.row_blocks(self.rows.active(rows, k))))
                    .sum(),
                Operation::Sequence { cells, rows, .. } => cells
                    .iter()
                    .flat_map(|(_, steps)| steps.clone())
                    .map(|k| u64::from(self.row_blocks(self.rows.active(rows, k))))
                    .sum(),
                _ => 0,
            })
            .sum();
        blocks * block * self.config.num_directions() as u64
    }

    /// Bytes of device memory: weights, biases and a session's buffers, staging included.
    pub fn device_bytes(&self) -> u64 {
        self.weights.bytes() + self.memory.session_bytes() + self.uniform_bytes()
    }

    /// Bytes of a session's buffers, staging included: what the memory budget bounds.
    pub fn session_bytes(&self) -> u64 {
        self.memory.session_bytes()
    }

    /// Bytes of packed weights and biases on the device.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.bytes()
    }

    /// Steps and rows of the run.
    pub fn shape(&self) -> SequenceShape {
        self.shape
    }

    /// The kernels that compute the steps.
    pub fn family(&self) -> KernelFamily {
        self.geometry.family.family
    }

    /// Whether a dispatch of the step kernels runs a step of every layer.
    pub fn is_wavefront(&self) -> bool {
        self.geometry.wavefront
    }

    /// Rows of the batch that are on the device together.
    pub fn tile_rows(&self) -> usize {
        self.memory.tile_rows
    }

    /// Steps whose gate inputs one projection computes; of a wavefront, its diagonals.
    pub fn chunk_steps(&self) -> usize {
        self.memory.chunk_steps
    }

    /// Floating-point operations of the matrix products, two a multiply-add, each row counted
    /// at its own length.
    pub fn flops(&self) -> u64 {
        let c = &self.config;
        let rows = self.rows.steps_in_all();
        let per_row: u64 = (0..c.num_layers)
            .map(|l| {
                let k = (c.layer_input_size(l) + c.hidden_size) as u64;
                6 * c.output_size() as u64 * k
            })
            .sum();
        rows.saturating_mul(per_row)
    }

    /// Bytes of the uniform buffers: launch records, and step indices where they are needed.
    pub(crate) fn uniform_bytes(&self) -> u64 {
        let steps = if self.immediates { 0 } else { self.memory.chunk_steps as u64 };
        self.launches.len().max(1) as u64 * self.uniform_stride + steps * self.step_stride()
    }

    /// Bytes from one step's uniform slot to the next.
    pub(crate) fn step_stride(&self) -> u64 {
        self.uniform_alignment.max(16)
    }

    /// The workgroup of `kernel`, where it is a matrix kernel.
    fn tiles(&self, kernel: Kernel) -> Option<Tiles> {
        self.geometry.matrix.filter(|_| kernel.is_matrix()).map(|m| match kernel.is_projection() {
            true => m.projection,
            false => m.step,
        })
    }

    /// The variant of `kernel` that this plan runs.
    pub(crate) fn variant(&self, kernel: Kernel) -> Variant {
        let g = &self.geometry;
        let resident = g.resident.filter(|_| kernel.is_sequence());
        let tiles = self.tiles(kernel);
        let (lanes, rows, row_groups) = match (resident, tiles) {
            (Some(resident), _) => (resident.invocations(), resident.rows, 1),
            (_, Some(tiles)) => (tiles.invocations(kernel.planes()), tiles.rows(), 1),
            _ if kernel.is_step() => (g.lanes, g.step_rows, g.step_groups),
            _ => (g.lanes, g.projection_rows, g.projection_groups),
        };
        let used = &self.config.functions[..self.config.num_directions()];
        let wavefront = g.wavefront && kernel.is_step();
        let cells = match wavefront || g.cascade && kernel.is_sequence() {
            true => self.config.num_layers,
            false => self.config.num_directions(),
        };
        Variant {
            kernel,
            precision: g.precision,
            lanes,
            row_groups,
            rows,
            cells: u32::try_from(cells).expect("a plan bounds layers"),
            wavefront,
            standard_cell: used.iter().all(|f| *f == CellFunctions::default()),
            immediates: self.immediates && kernel.is_step(),
            resident,
            tiles,
        }
    }

    /// The kernels that the plan runs.
    pub(crate) fn kernels(&self) -> &'static [Kernel] {
        kernels_of(self.config.reset, self.family())
    }
}

/// What has to hold before anything is computed from the request.
pub(crate) fn check_request(
    config: &GruConfig,
    capabilities: &Capabilities,
    options: &PlanOptions,
) -> Result<()> {
    config.validate()?;
    capabilities.validate()?;
    options.validate()?;
    if config.num_layers > MAX_LAYERS {
        return Err(Error::new(
            ErrorKind::ExceedsLimits,
            format!("a plan has {MAX_LAYERS} layers at most, the network {}", config.num_layers),
        ));
    }
    Ok(())
}

fn kernels_of(reset: ResetForm, family: KernelFamily) -> &'static [Kernel] {
    use Kernel::*;
    match (family, reset) {
        (KernelFamily::Step, ResetForm::After) => &[InputProjection, StepAfter],
        (KernelFamily::Step, ResetForm::Before) => {
            &[InputProjection, StepBeforeGates, StepBeforeCandidate]
        }
        (KernelFamily::Sequence, ResetForm::After) => &[InputProjection, SequenceAfter],
        (KernelFamily::Sequence, ResetForm::Before) => &[InputProjection, SequenceBefore],
        (KernelFamily::Matrix, ResetForm::After) => &[MatrixProjection, MatrixStepAfter],
        (KernelFamily::Matrix, ResetForm::Before) => {
            &[MatrixProjection, MatrixStepBeforeGates, MatrixStepBeforeCandidate]
        }
    }
}

impl PlanOptions {
    /// The option, if any, that a device which is no GPU could not honour.
    pub(crate) fn of_gpus(&self) -> Option<&'static str> {
        let given = [
            ("precision f16", self.precision == Precision::F16),
            ("tuning", self.tune.is_some()),
            ("the option memory_budget", self.memory_budget.is_some()),
            ("the option family", self.family.is_some()),
            ("the option wavefront", self.wavefront.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let zero = [
            ("memory_budget", self.memory_budget == Some(0)),
            ("max_chunk_steps", self.max_chunk_steps == Some(0)),
            ("max_tile_rows", self.max_tile_rows == Some(0)),
        ];
        let wrong = match (zero.iter().find(|(_, is)| *is), self.tune) {
            (Some((name, _)), _) => format!("{name} must be at least 1, 0 was given"),
            (None, Some(Duration::ZERO)) => "tune must be more than 0, 0 was given".to_owned(),
            (None, Some(time)) if time > MOST_TUNING => {
                format!("tune must be an hour at most, {} s were given", time.as_secs_f64())
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidRequest, wrong))
    }
}
