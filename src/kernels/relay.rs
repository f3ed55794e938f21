//! The kernels that move rows between an array in a caller's buffer and the engine's layout, and
//! the record of their launches. It mirrors `Relay` of `shaders/relay.wgsl`, word for word; a test
//! holds both layouts against each other.

/// A kernel that moves rows; both know no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RelayKernel {
    /// The caller's input or initial states into the engine's buffers.
    GatherRows,
    /// The engine's states into the caller's output or final states.
    ScatterRows,
}

/// What a binding of a relay kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RelayBinding {
    /// Uniform, dynamic offset: the launch's record.
    Relay,
    /// Storage, read: lengths of the tile's rows.
    Rows,
    /// Storage, read: which rows of the caller's they are.
    Map,
    /// Storage: the caller's array; written by the scatter.
    Outside,
    /// Storage: the engine's buffer; written by the gather.
    Inside,
}

impl RelayKernel {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 2] = [Self::GatherRows, Self::ScatterRows];

    /// vec4s of a row that a workgroup moves, its size along x.
    pub(crate) const LANES: u32 = 8;
    /// Rows that a workgroup moves, its size along y.
    pub(crate) const ROW_GROUPS: u32 = 8;

    /// The stem that the kernel's WGSL file and labels share.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GatherRows => "gather_rows",
            Self::ScatterRows => "scatter_rows",
        }
    }

    /// `(role, written)` of every binding, in the order of their numbers.
    pub(crate) fn bindings(self) -> [(RelayBinding, bool); 5] {
        let gather = self == Self::GatherRows;
        [
            (RelayBinding::Relay, false),
            (RelayBinding::Rows, false),
            (RelayBinding::Map, false),
            (RelayBinding::Outside, !gather),
            (RelayBinding::Inside, gather),
        ]
    }

    /// The complete WGSL text.
    pub(crate) fn wgsl(self) -> String {
        let constants =
            format!("const LANES = {}u;\nconst ROW_GROUPS = {}u;\n", Self::LANES, Self::ROW_GROUPS);
        let source = match self {
            Self::GatherRows => include_str!("../../shaders/gather_rows.wgsl"),
            Self::ScatterRows => include_str!("../../shaders/scatter_rows.wgsl"),
        };
        [&constants, source, include_str!("../../shaders/relay.wgsl")].join("\n")
    }
}

/// What rows a launch moves. The codes are those of the shader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RelayPart {
    /// A window of a sequence.
    #[default]
    Sequence,
    /// One state of each row.
    States,
    /// What lies past the rows' ends, outside.
    Padding,
}

/// `Relay`. Offsets and strides inside are in vec4s, those outside in values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RelayRecord {
    pub(crate) part: RelayPart,
    pub(crate) rows: u32,
    pub(crate) first_step: u32,
    pub(crate) first: u32,
    pub(crate) end: u32,
    pub(crate) width: u32,
    pub(crate) quads: u32,
    pub(crate) inside: u32,
    pub(crate) inside_stride: u32,
    pub(crate) state_stride: u32,
    pub(crate) outside: u32,
    pub(crate) step_stride: u32,
    pub(crate) row_stride: u32,
    pub(crate) reversed: u32,
    pub(crate) next_quad: u32,
}

impl RelayRecord {
    /// Bytes of a record.
    pub(crate) const SIZE: u64 = 64;

    /// The record as the words that the uniform buffer holds.
    pub(crate) fn words(&self) -> [u32; 16] {
        [
            match self.part {
                RelayPart::Sequence => 0,
                RelayPart::States => 1,
                RelayPart::Padding => 2,
            },
            self.rows,
            self.first_step,
            self.first,
            self.end,
            self.width,
            self.quads,
            self.inside,
            self.inside_stride,
            self.state_stride,
            self.outside,
            self.step_stride,
            self.row_stride,
            self.reversed,
            self.next_quad,
            0,
        ]
    }
}
