//! The compute kernels as data: which WGSL text, which constants, which bindings, how weights are
//! packed for them. No graphics type appears here.

mod exchange;
mod launch;
mod layout;
mod relay;
mod resident;
mod tiles;

pub(crate) use exchange::{ExchangeRecord, NOWHERE};
#[cfg(test)]
pub(crate) use launch::activation_code;
pub(crate) use launch::{CellRecord, LaunchRecord};
pub(crate) use layout::{MatrixLayout, MatrixOrder, quads};
pub(crate) use relay::{RelayBinding, RelayKernel, RelayPart, RelayRecord};
pub(crate) use resident::{Resident, Sharing};
pub(crate) use tiles::Tiles;

use crate::cell::Gate;
use crate::precision::Precision;

/// One kernel of `shaders/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kernel {
    /// Gate inputs of a chunk of steps.
    InputProjection,
    /// A whole reset-after step.
    StepAfter,
    /// The gates of a reset-before step.
    StepBeforeGates,
    /// The candidate and update of a reset-before step.
    StepBeforeCandidate,
    /// All reset-after steps of a chunk.
    SequenceAfter,
    /// All reset-before steps of a chunk.
    SequenceBefore,
    /// Gate inputs of a chunk of steps, by cooperative matrices.
    MatrixProjection,
    /// A whole reset-after step, by cooperative matrices.
    MatrixStepAfter,
    /// The gates of a reset-before step, by cooperative matrices.
    MatrixStepBeforeGates,
    /// The candidate and update of a reset-before step, by cooperative matrices.
    MatrixStepBeforeCandidate,
    /// States between the slots of streams and an arena.
    SlotExchange,
}

/// What a binding holds; its number is its place in [`Kernel::bindings`] order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Binding {
    /// Uniform, dynamic offset: the launch record.
    Launch,
    /// Uniform, dynamic offset: the step within the chunk, where there are no immediates.
    Step,
    /// Storage, read: packed matrices.
    Weights,
    /// Storage, read: biases.
    Biases,
    /// Storage, read: lengths and reset bits.
    Rows,
    /// Storage, read: the rows that a projection reads.
    Source,
    /// Storage: gate inputs; written by the projection.
    Gates,
    /// Storage, written: states, scratch and outputs.
    Arena,
    /// Storage, read: what an exchange of states is told, and the places of its rows.
    Exchange,
    /// Storage, written: the resident states of streams.
    Slots,
}

impl Kernel {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 11] = [
        Self::InputProjection,
        Self::StepAfter,
        Self::StepBeforeGates,
        Self::StepBeforeCandidate,
        Self::SequenceAfter,
        Self::SequenceBefore,
        Self::MatrixProjection,
        Self::MatrixStepAfter,
        Self::MatrixStepBeforeGates,
        Self::MatrixStepBeforeCandidate,
        Self::SlotExchange,
    ];

    /// The stem that the kernel's WGSL file, labels and printed plans share.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InputProjection => "input_projection",
            Self::StepAfter => "step_after",
            Self::StepBeforeGates => "step_before_gates",
            Self::StepBeforeCandidate => "step_before_candidate",
            Self::SequenceAfter => "sequence_after",
            Self::SequenceBefore => "sequence_before",
            Self::MatrixProjection => "matrix_projection",
            Self::MatrixStepAfter => "matrix_step_after",
            Self::MatrixStepBeforeGates => "matrix_step_before_gates",
            Self::MatrixStepBeforeCandidate => "matrix_step_before_candidate",
            Self::SlotExchange => "slot_exchange",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::InputProjection => include_str!("../../shaders/input_projection.wgsl"),
            Self::StepAfter => include_str!("../../shaders/step_after.wgsl"),
            Self::StepBeforeGates => include_str!("../../shaders/step_before_gates.wgsl"),
            Self::StepBeforeCandidate => include_str!("../../shaders/step_before_candidate.wgsl"),
            Self::SequenceAfter => include_str!("../../shaders/sequence_after.wgsl"),
            Self::SequenceBefore => include_str!("../../shaders/sequence_before.wgsl"),
            Self::MatrixProjection => include_str!("../../shaders/matrix_projection.wgsl"),
            Self::MatrixStepAfter => include_str!("../../shaders/matrix_step_after.wgsl"),
            Self::MatrixStepBeforeGates => {
                include_str!("../../shaders/matrix_step_before_gates.wgsl")
            }
            Self::MatrixStepBeforeCandidate => {
                include_str!("../../shaders/matrix_step_before_candidate.wgsl")
            }
            Self::SlotExchange => include_str!("../../shaders/slot_exchange.wgsl"),
        }
    }

    /// The gates whose products the kernel computes.
    pub(crate) fn gates(self) -> &'static [Gate] {
        match self {
            Self::InputProjection
            | Self::StepAfter
            | Self::SequenceAfter
            | Self::SequenceBefore
            | Self::MatrixProjection
            | Self::MatrixStepAfter => &Gate::ALL,
            Self::StepBeforeGates | Self::MatrixStepBeforeGates => &[Gate::Reset, Gate::Update],
            Self::StepBeforeCandidate | Self::MatrixStepBeforeCandidate => &[Gate::New],
            Self::SlotExchange => &[],
        }
    }

    /// Whether the kernel runs once a step (and so reads the step's index).
    pub(crate) fn is_step(self) -> bool {
        matches!(
            self,
            Self::StepAfter
                | Self::StepBeforeGates
                | Self::StepBeforeCandidate
                | Self::MatrixStepAfter
                | Self::MatrixStepBeforeGates
                | Self::MatrixStepBeforeCandidate
        )
    }

    /// How many gates the kernel multiplies for.
    pub(crate) fn planes(self) -> u32 {
        u32::try_from(self.gates().len()).expect("a kernel has three gates at most")
    }

    /// Whether the kernel computes the gate inputs of a chunk.
    pub(crate) fn is_projection(self) -> bool {
        matches!(self, Self::InputProjection | Self::MatrixProjection)
    }

    /// Whether the kernel multiplies by cooperative matrices.
    pub(crate) fn is_matrix(self) -> bool {
        matches!(
            self,
            Self::MatrixProjection
                | Self::MatrixStepAfter
                | Self::MatrixStepBeforeGates
                | Self::MatrixStepBeforeCandidate
        )
    }

    /// Whether the kernel runs all steps of a chunk.
    pub(crate) fn is_sequence(self) -> bool {
        matches!(self, Self::SequenceAfter | Self::SequenceBefore)
    }

    /// `(binding number, role, written)` of every binding; [`Binding::Step`] is left out where
    /// the step comes by immediates.
    pub(crate) fn bindings(self) -> &'static [(u32, Binding, bool)] {
        match self {
            Self::InputProjection | Self::MatrixProjection => &[
                (0, Binding::Launch, false),
                (2, Binding::Weights, false),
                (3, Binding::Biases, false),
                (4, Binding::Rows, false),
                (5, Binding::Source, false),
                (6, Binding::Gates, true),
            ],
            Self::StepAfter
            | Self::StepBeforeGates
            | Self::StepBeforeCandidate
            | Self::MatrixStepAfter
            | Self::MatrixStepBeforeGates
            | Self::MatrixStepBeforeCandidate => &[
                (0, Binding::Launch, false),
                (1, Binding::Step, false),
                (2, Binding::Weights, false),
                (3, Binding::Biases, false),
                (4, Binding::Rows, false),
                (5, Binding::Gates, false),
                (6, Binding::Arena, true),
            ],
            Self::SequenceAfter | Self::SequenceBefore => &[
                (0, Binding::Launch, false),
                (2, Binding::Weights, false),
                (3, Binding::Biases, false),
                (4, Binding::Rows, false),
                (5, Binding::Gates, false),
                (6, Binding::Arena, true),
            ],
            Self::SlotExchange => &[
                (0, Binding::Exchange, false),
                (1, Binding::Slots, true),
                (2, Binding::Arena, true),
            ],
        }
    }
}

/// A kernel with every constant that its text needs: the key of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub(crate) kernel: Kernel,
    pub(crate) precision: Precision,
    /// Quads of units a workgroup owns, its size along x.
    pub(crate) lanes: u32,
    /// Row blocks a workgroup owns, its size along y.
    pub(crate) row_groups: u32,
    /// Rows of a row block.
    pub(crate) rows: u32,
    /// Cells that a launch record holds.
    pub(crate) cells: u32,
    /// A step kernel that runs a diagonal of layers, and computes their inputs.
    pub(crate) wavefront: bool,
    /// Sigmoid, tanh, no clip in every direction: no activation switch is compiled in.
    pub(crate) standard_cell: bool,
    /// The step comes by an immediate rather than a uniform.
    pub(crate) immediates: bool,
    /// The workgroup of a sequence kernel, whose invocations are `lanes`.
    pub(crate) resident: Option<Resident>,
    /// The workgroup of a matrix kernel, which `lanes`, `row_groups` and `rows` do not describe.
    pub(crate) tiles: Option<Tiles>,
}

impl Variant {
    /// The complete WGSL text: constants, then the kernel's file, then the shared files.
    pub(crate) fn wgsl(&self) -> String {
        let gates = self.kernel.gates();
        let holds = match (self.kernel.is_step(), self.wavefront) {
            (false, _) => "",
            (true, false) => include_str!("../../shaders/step_layer.wgsl"),
            (true, true) => include_str!("../../shaders/step_diagonal.wgsl"),
        };
        let step = match (self.kernel.is_step(), self.immediates) {
            (false, _) => "",
            (true, true) => {
                // HLSL has no immediates that are not a struct.
                "struct Step { index: u32 }\nvar<immediate> step: Step;\n\
                 fn step_of_chunk() -> u32 { return step.index; }\n"
            }
            (true, false) => {
                "@group(0) @binding(1) var<uniform> step: vec4<u32>;\n\
                 fn step_of_chunk() -> u32 { return step.x; }\n"
            }
        };
        let extensions = if self.tiles.is_some() { Tiles::EXTENSIONS } else { "" };
        let weights = match self.precision {
            // Cooperative matrices are loaded from a binding of their own type.
            _ if self.tiles.is_some() => "",
            Precision::F32 => include_str!("../../shaders/weights_f32.wgsl"),
            Precision::F16 => include_str!("../../shaders/weights_f16.wgsl"),
        };
        let mut constants = format!(
            "const CELLS = {}u;\nconst STANDARD_CELL = {};\n",
            self.cells, self.standard_cell
        );
        let products = if let Some(resident) = &self.resident {
            constants.push_str(&resident.constants(self.kernel));
            let shared = include_str!("../../shaders/sequence.wgsl");
            format!("{shared}\n{}", resident.products(self.precision))
        } else if let Some(tiles) = &self.tiles {
            constants.push_str(&tiles.constants(self.kernel));
            include_str!("../../shaders/matrix.wgsl").into()
        } else {
            constants.push_str(&format!(
                "const LANES = {}u;\nconst ROW_GROUPS = {}u;\nconst ROWS = {}u;\nconst PLANES = \
                 {}u;\nconst FIRST_GATE = {}u;\nconst BLOCK = {}u;\n",
                self.lanes,
                self.row_groups,
                self.rows,
                gates.len(),
                gates.first().map_or(0, |g| *g as usize),
                gates.len() * self.rows as usize,
            ));
            include_str!("../../shaders/products.wgsl").into()
        };
        if self.kernel == Kernel::SlotExchange {
            return [constants.as_str(), self.kernel.source()].join("\n");
        }
        [
            extensions,
            constants.as_str(),
            step,
            self.kernel.source(),
            holds,
            &products,
            include_str!("../../shaders/cell.wgsl"),
            include_str!("../../shaders/rows.wgsl"),
            include_str!("../../shaders/activations.wgsl"),
            weights,
        ]
        .join("\n")
    }
}
