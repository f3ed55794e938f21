//! How a workgroup of a matrix kernel is built: the constants of its text.

use std::fmt::Write;

use super::Kernel;

/// The shape of a matrix kernel's workgroup: a subgroup for each tile of units and gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tiles {
    /// Rows and columns of a cooperative matrix: 8 or 16.
    pub(crate) size: u32,
    /// Lanes of a subgroup.
    pub(crate) subgroup: u32,
    /// Tiles of rows of a workgroup: 1, 2 or 4.
    pub(crate) row_tiles: u32,
    /// Tiles of units of a workgroup: weights are packed by it.
    pub(crate) unit_tiles: u32,
}

impl Tiles {
    /// What a text begins with.
    pub(super) const EXTENSIONS: &str = "enable f16;\nenable wgpu_cooperative_matrix;";
    /// Columns of the operand rows that are in workgroup memory at once.
    const STAGE_COLUMNS: u32 = 64;

    /// Rows of a workgroup.
    pub(crate) fn rows(&self) -> u32 {
        self.size * self.row_tiles
    }

    /// Quads of units of a workgroup.
    pub(crate) fn lanes(&self) -> u32 {
        self.unit_tiles * self.size / 4
    }

    fn columns(&self, planes: u32) -> u32 {
        self.unit_tiles * planes
    }

    /// Invocations of a workgroup of a kernel of `planes` gates.
    pub(crate) fn invocations(&self, planes: u32) -> u32 {
        self.columns(planes) * self.subgroup
    }

    // Rows are multiples of 16 bytes, and no multiple of 64 bytes.
    fn operand_stride(&self) -> u32 {
        Self::STAGE_COLUMNS + 8
    }

    fn sum_stride(&self, planes: u32) -> u32 {
        self.columns(planes) * self.size + 4
    }

    /// Bytes of workgroup memory of a kernel of `planes` gates.
    pub(crate) fn workgroup_bytes(&self, planes: u32) -> u32 {
        self.rows() * (4 + 2 * self.operand_stride() + 4 * self.sum_stride(planes))
    }

    /// Loop iterations of an invocation of a kernel of `planes` gates, whose operand rows have
    /// `k_quads` vec4s.
    pub(crate) fn iterations(&self, planes: u32, k_quads: u64) -> u64 {
        let quads = self.rows() * Self::STAGE_COLUMNS / 4;
        let stage = 1 + u64::from(quads.div_ceil(self.invocations(planes)));
        k_quads.div_ceil(u64::from(Self::STAGE_COLUMNS / 4)) * stage
            + k_quads.div_ceil(u64::from(self.size / 4))
    }

    pub(super) fn constants(&self, kernel: Kernel) -> String {
        let planes = kernel.planes();
        let stage = Self::STAGE_COLUMNS;
        let mut text = format!("alias TileA = coop_mat{0}x{0}<f16, A>;\n", self.size);
        writeln!(text, "alias TileB = coop_mat{0}x{0}<f16, B>;", self.size)
            .expect("a string takes all");
        writeln!(text, "alias TileC = coop_mat{0}x{0}<f32, C>;", self.size)
            .expect("a string takes all");
        for (name, value) in [
            ("SIZE", self.size),
            ("SUBGROUP", self.subgroup),
            ("ROW_TILES", self.row_tiles),
            ("ROWS", self.rows()),
            ("LANES", self.lanes()),
            ("PLANES", planes),
            ("COLUMNS", self.columns(planes)),
            ("INVOCATIONS", self.invocations(planes)),
            ("STAGE_TILES", stage / self.size),
            ("STAGE_QUADS", stage / 4),
            ("OPERAND_STRIDE", self.operand_stride()),
            ("SUM_STRIDE", self.sum_stride(planes)),
        ] {
            writeln!(text, "const {name} = {value}u;").expect("a string takes all");
        }
        text
    }
}
