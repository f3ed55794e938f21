//! What `slot_exchange` is told. Mirrors `Exchange` of `shaders/slot_exchange.wgsl`, word for word;
//! a test holds both layouts against each other.

/// `NOWHERE`: a row that is read from zeros, or not written.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// `Exchange` before its words. Offsets and strides are in vec4s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExchangeRecord {
    pub(crate) store: bool,
    pub(crate) rows: u32,
    pub(crate) unit_quads: u32,
    pub(crate) state: u32,
    pub(crate) state_stride: u32,
    pub(crate) layer_stride: u32,
    pub(crate) plane: u32,
    pub(crate) plane_stride: u32,
    pub(crate) place_stride: u32,
    /// Index of the tile's first word, counted from the record's end.
    pub(crate) first: u32,
}

impl ExchangeRecord {
    /// Words of a record; the rows' words may follow at once.
    pub(crate) const WORDS: usize = 10;

    pub(crate) fn words(&self) -> [u32; Self::WORDS] {
        [
            u32::from(self.store),
            self.rows,
            self.unit_quads,
            self.state,
            self.state_stride,
            self.layer_stride,
            self.plane,
            self.plane_stride,
            self.place_stride,
            self.first,
        ]
    }
}
