//! The record of a launch that moves rows between a caller's array and the engine's. Mirrors
//! `Relay` of `shaders/relay.wgsl`, word for word; a test holds both layouts against each other.

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
            0,
            0,
        ]
    }
}
