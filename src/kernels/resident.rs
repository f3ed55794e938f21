//! How a workgroup of a sequence kernel is built: the constants of its text, and the text of the
//! products that keep weights in registers.

use std::fmt::Write;

use super::{Kernel, MatrixOrder};
use crate::precision::Precision;

/// The shape of a sequence kernel's workgroup. Texts are made for one hidden size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resident {
    /// ceil(H / 4).
    pub(crate) unit_quads: u32,
    /// Quads of units whose products are taken together: weights are packed by it.
    pub(crate) block_quads: u32,
    /// Rows whose products are taken together.
    pub(crate) rows: u32,
    /// Times `rows`: the rows of a workgroup.
    pub(crate) parts: u32,
    pub(crate) sharing: Sharing,
}

/// How the invocations of a workgroup share the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sharing {
    /// One quad of units each: for processors.
    Quads,
    /// One unit and one of `slices` parts of k each: for GPUs. `registers`: the weights are read
    /// once a dispatch, else once a step.
    Units { slices: u32, registers: bool },
}

impl Resident {
    pub(crate) fn invocations(&self) -> u32 {
        match self.sharing {
            Sharing::Quads => self.block_quads,
            Sharing::Units { slices, .. } => 4 * self.block_quads * slices,
        }
    }

    /// How the recurrent matrix is packed.
    pub(crate) fn order(&self) -> MatrixOrder {
        match self.sharing {
            Sharing::Quads => MatrixOrder::Quads,
            Sharing::Units { .. } => MatrixOrder::Units,
        }
    }

    /// Rows of the batch that a workgroup owns.
    pub(crate) fn tile(&self) -> u32 {
        self.rows * self.parts
    }

    fn blocks(&self) -> u32 {
        self.unit_quads.div_ceil(self.block_quads)
    }

    fn slices(&self) -> u32 {
        match self.sharing {
            Sharing::Quads => 1,
            Sharing::Units { slices, .. } => slices,
        }
    }

    /// Quads of k of a slice.
    pub(crate) fn slice_quads(&self) -> u32 {
        self.unit_quads.div_ceil(self.slices())
    }

    /// Quads of k in the packed matrix.
    pub(crate) fn k_quads(&self) -> u32 {
        self.slices() * self.slice_quads()
    }

    fn stride(&self) -> u32 {
        (self.blocks() * self.block_quads).max(self.k_quads())
    }

    fn shared(&self) -> bool {
        self.sharing != Sharing::Quads
    }

    /// States that are kept of each row: two where one may be written before it was read last.
    fn buffers(&self, kernel: Kernel) -> u32 {
        if kernel == Kernel::SequenceAfter && (!self.shared() || self.blocks() > 1) { 2 } else { 1 }
    }

    fn hidden(&self, kernel: Kernel) -> u64 {
        let row = u64::from(self.stride());
        let gated = if kernel == Kernel::SequenceBefore { u64::from(self.rows) * row } else { 0 };
        u64::from(self.buffers(kernel)) * u64::from(self.tile()) * row + gated
    }

    /// Bytes of workgroup memory that `kernel` takes.
    pub(crate) fn workgroup_bytes(&self, kernel: Kernel) -> u64 {
        let (rows, stride) = (u64::from(self.rows), u64::from(self.stride()));
        let sums = u64::from(self.slices()) * 3 * rows * u64::from(self.block_quads);
        let updates = if kernel == Kernel::SequenceBefore { rows * stride } else { 0 };
        16 * (self.hidden(kernel) + sums + updates)
    }

    /// Loop iterations of an invocation of `kernel` in each step, those that drivers unroll left out.
    pub(crate) fn step_iterations(&self, kernel: Kernel) -> u64 {
        let passes = if kernel == Kernel::SequenceBefore { 2 } else { 1 };
        let pairs = u64::from((self.rows * self.block_quads).div_ceil(self.invocations()));
        let block = 1 + u64::from(self.slice_quads()) + pairs;
        1 + u64::from(self.parts) * (1 + passes * u64::from(self.blocks()) * block)
    }

    /// 32-bit registers of an invocation that hold weights.
    pub(crate) fn weight_registers(&self, precision: Precision) -> u64 {
        u64::from(self.slice_quads()) * 12 * precision.weight_bytes() / 4
    }

    pub(super) fn constants(&self, kernel: Kernel) -> String {
        let ahead = self.shared() && self.blocks() == 1;
        let mut text = String::new();
        for (name, value) in [
            ("INVOCATIONS", u64::from(self.invocations())),
            ("UNIT_QUADS", u64::from(self.unit_quads)),
            ("BLOCK_QUADS", u64::from(self.block_quads)),
            ("BLOCKS", u64::from(self.blocks())),
            ("STRIDE", u64::from(self.stride())),
            ("ROWS", u64::from(self.rows)),
            ("PARTS", u64::from(self.parts)),
            ("TILE", u64::from(self.tile())),
            ("SLICES", u64::from(self.slices())),
            ("SLICE_QUADS", u64::from(self.slice_quads())),
            ("BUFFERS", u64::from(self.buffers(kernel))),
            ("HIDDEN", self.hidden(kernel)),
        ] {
            writeln!(text, "const {name} = {value}u;").expect("a string takes all");
        }
        writeln!(text, "const SHARED = {};\nconst AHEAD = {ahead};", self.shared())
            .expect("a string takes all");
        text
    }

    /// The text of `hold`, `accumulate` and `total`.
    pub(super) fn products(&self, precision: Precision) -> String {
        let units = include_str!("../../shaders/sequence_by_units.wgsl");
        match self.sharing {
            Sharing::Quads => include_str!("../../shaders/sequence_by_quads.wgsl").into(),
            Sharing::Units { registers: false, .. } => {
                format!("{units}\n{}", include_str!("../../shaders/sequence_streamed.wgsl"))
            }
            Sharing::Units { registers: true, .. } => {
                format!("{units}\n{}", self.in_registers(precision).expect("a string takes all"))
            }
        }
    }

    /// `hold` and `accumulate` with a name for every weight, all loops written out: drivers keep
    /// arrays in registers only where every index is a constant.
    fn in_registers(&self, precision: Precision) -> Result<String, std::fmt::Error> {
        let mut text =
            String::from("// Weights are read once, one member a quad of k and gate.\n\n");
        let (kind, value) = match precision {
            Precision::F32 => ("vec4<f32>", "v"),
            Precision::F16 => {
                ("vec2<u32>", "vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y))")
            }
        };
        let each = || (0..self.slice_quads()).flat_map(|q| (0..3).map(move |g| (q, g)));
        writeln!(text, "struct Held {{")?;
        for (q, g) in each() {
            writeln!(text, "    w{q}_{g}: {kind},")?;
        }
        writeln!(text, "}}\n\nfn hold(first_weight: u32, i: u32) -> Held {{")?;
        writeln!(text, "    let w = first_weight_of(i, first_weight);\n    return Held(")?;
        for (q, g) in each() {
            writeln!(text, "        weights[w + {}u * BLOCK_UNITS],", 3 * q + g)?;
        }
        writeln!(
            text,
            "    );\n}}\n\nfn unpacked(v: {kind}) -> vec4<f32> {{ return {value}; }}\n"
        )?;
        writeln!(
            text,
            "fn accumulate(held: Held, block: u32, i: u32, operands: u32, gate: u32, end: u32) {{\n    \
             let first = first_operand_of(i, operands);"
        )?;
        for (g, r) in (0..3).flat_map(|g| (0..self.rows).map(move |r| (g, r))) {
            writeln!(text, "    var s{g}_{r} = 0.0;")?;
        }
        for q in 0..self.slice_quads() {
            for r in 0..self.rows {
                writeln!(text, "    let x{q}_{r} = hidden[first + {r}u * STRIDE + {q}u];")?;
            }
            for g in 0..3 {
                writeln!(text, "    if gate <= {g}u && {g}u < end {{")?;
                writeln!(text, "        let w = unpacked(held.w{q}_{g});")?;
                for r in 0..self.rows {
                    writeln!(text, "        s{g}_{r} = chain(w, x{q}_{r}, s{g}_{r});")?;
                }
                writeln!(text, "    }}")?;
            }
        }
        for g in 0..3 {
            writeln!(text, "    if gate <= {g}u && {g}u < end {{")?;
            for r in 0..self.rows {
                writeln!(text, "        keep(i, {g}u, {r}u, s{g}_{r});")?;
            }
            writeln!(text, "    }}")?;
        }
        writeln!(text, "}}")?;
        Ok(text)
    }
}
