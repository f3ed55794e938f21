//! How a matrix is laid out for the kernels, in vec4s, zero-padded.

/// Number of vec4s that hold `n` values.
pub(crate) fn quads(n: usize) -> usize {
    n.div_ceil(4)
}

/// What a vec4 of a packed matrix holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixOrder {
    /// A quad of units at one k: `[unit block][k][plane][lane]`.
    Quads,
    /// A unit at a quad of k: `[unit block][quad of k][plane][component][lane]`, the component being
    /// the unit's place in its quad.
    Units,
    /// Tiles of `size` x `size` values, `[unit block][tile of k][tile of units][plane]`, a tile
    /// `[k][unit]`; k is padded to whole tiles.
    Tiles { size: usize },
}

/// The layout of one packed matrix: `planes` gates of H units, each a row of K values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MatrixLayout {
    pub(crate) order: MatrixOrder,
    /// Gates that one kernel multiplies by the same operand.
    pub(crate) planes: usize,
    /// Quads of units of a block (LANES).
    pub(crate) lanes: usize,
    /// ceil(H / 4).
    pub(crate) unit_quads: usize,
    /// vec4s of an operand row.
    pub(crate) k_quads: usize,
}

impl MatrixLayout {
    /// Blocks of units.
    pub(crate) fn blocks(&self) -> usize {
        self.unit_quads.div_ceil(self.lanes)
    }

    /// vec4s of one block.
    pub(crate) fn block_vec4s(&self) -> usize {
        let k_quads = match self.order {
            MatrixOrder::Quads | MatrixOrder::Units => self.k_quads,
            MatrixOrder::Tiles { size } => self.k_quads.next_multiple_of(size / 4),
        };
        4 * k_quads * self.planes * self.lanes
    }

    /// Index, within its block, of the value for `unit` (of the network), `k` and `plane`; and
    /// the block.
    pub(crate) fn place(&self, unit: usize, k: usize, plane: usize) -> (usize, usize) {
        let (quad, component) = (unit / 4, unit % 4);
        let (block, lane) = (quad / self.lanes, quad % self.lanes);
        let at = match self.order {
            MatrixOrder::Quads => ((k * self.planes + plane) * self.lanes + lane) * 4 + component,
            MatrixOrder::Units => {
                let row = (k / 4 * self.planes + plane) * 4 + component;
                (row * self.lanes + lane) * 4 + k % 4
            }
            MatrixOrder::Tiles { size } => {
                let of_block = unit - block * 4 * self.lanes;
                let unit_tile = k / size * (4 * self.lanes / size) + of_block / size;
                let tile = unit_tile * self.planes + plane;
                (tile * size + k % size) * size + of_block % size
            }
        };
        (block, at)
    }
}
