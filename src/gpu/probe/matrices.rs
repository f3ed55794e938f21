//! Cooperative matrices: what the driver lists, whether it is right, how fast it is.

use half::f16;

use super::lab::{Kernel, Lab};
use super::pace::{Pace, Spreads};
use super::{Probe, Stop, check};
use crate::error::Result;
use crate::probe::{MatrixShape, Problem, Quantity};

/// Tiles of the product that a subgroup owns, down and across.
const TILES: [u32; 2] = [2, 4];
/// Subgroups of a workgroup.
const SUBGROUPS: u32 = 4;
/// A product that is checked, then timed: its rows differ, N = K = 1024.
const ROWS: [u32; 5] = [64, 128, 256, 512, 1024];
const SIDE: u32 = 1024;
const LARGE: u32 = 4096;
/// No dispatch may take longer, in seconds.
const LONGEST: f64 = 0.05;

/// A shape that a kernel can be written for: square tiles of f16 or f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiles {
    pub(super) size: u32,
    pub(super) half_operands: bool,
    pub(super) half_sums: bool,
}

pub(super) fn text(tiles: Tiles, subgroup: u32) -> String {
    let name = |half| if half { "f16" } else { "f32" };
    let (operand, sum) = (name(tiles.half_operands), name(tiles.half_sums));
    let f16 = if tiles.half_operands || tiles.half_sums { "enable f16;\n" } else { "" };
    let size = tiles.size;
    let tile =
        |name, scalar| format!("alias Tile{name} = coop_mat{size}x{size}<{scalar}, {name}>;\n");
    format!(
        "enable wgpu_cooperative_matrix;\n{f16}alias Operand = {operand};\nalias Sum = \
         {sum};\n{}{}{}const SIZE = {size}u;\nconst SUBGROUP = {subgroup}u;\nconst SUBGROUPS = \
         {SUBGROUPS}u;\n{}",
        tile("A", operand),
        tile("B", operand),
        tile("C", sum),
        include_str!("../../../shaders/probe/matrix.wgsl")
    )
}

impl Probe<'_> {
    pub(super) fn matrices(&mut self) -> Result<()> {
        let quantity = Quantity::MatrixRate;
        let feature = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        if !self.has(feature) {
            self.missing(quantity, "", "the adapter has no cooperative matrices");
            return Ok(());
        }
        let listed = self.adapter.cooperative_matrix_properties();
        if listed.is_empty() {
            self.missing(quantity, "", "the driver lists no shape of them");
            return Ok(());
        }
        // With the feature for subgroups wgpu lets their size vary, which these kernels cannot.
        let features = feature | wgpu::Features::SHADER_F16 | wgpu::Features::IMMEDIATES;
        let lab = match self.open(features) {
            Ok(lab) => lab,
            Err(error) => {
                self.missing(quantity, "", error.to_string());
                return Ok(());
            }
        };
        for properties in &listed {
            let mut shape = shape(properties);
            match self.tiles(properties) {
                Ok(tiles) => self.products(&lab, tiles, &mut shape)?,
                Err(reason) => shape.note = Some(reason),
            }
            if !self.matrix_shapes.contains(&shape) {
                self.matrix_shapes.push(shape);
            }
        }
        if !self.figures.iter().any(|f| f.quantity == quantity) {
            self.missing(quantity, "", "no kernel can be written for the shapes listed");
        }
        Ok(())
    }

    /// The kernel's tiles for a listed shape, or why there is none.
    fn tiles(&self, p: &wgpu::CooperativeMatrixProperties) -> Result<Tiles, String> {
        use wgpu::CooperativeScalarType as Scalar;
        if p.m_size != p.n_size || p.m_size != p.k_size || ![8, 16].contains(&p.m_size) {
            return Err("WGSL has square matrices of 8 or 16 only".to_owned());
        }
        let half = |scalar| match scalar {
            Scalar::F16 => Ok(true),
            Scalar::F32 => Ok(false),
            _ => Err("WGSL has matrices of f16 and f32 only".to_owned()),
        };
        let tiles =
            Tiles { size: p.m_size, half_operands: half(p.ab_type)?, half_sums: half(p.cr_type)? };
        let has_f16 = self.has(wgpu::Features::SHADER_F16);
        if !has_f16 && (tiles.half_operands || tiles.half_sums) {
            return Err("the adapter has no f16 in kernels".to_owned());
        }
        match self.description.subgroup_sizes {
            [0, _] => Err("the adapter does not say how large subgroups are".to_owned()),
            [low, high] if low != high => Err(format!("subgroups have {low} to {high} lanes")),
            _ => Ok(tiles),
        }
    }

    fn products(&mut self, lab: &Lab, tiles: Tiles, shape: &mut MatrixShape) -> Result<()> {
        let mut sizes: Vec<[u32; 3]> = ROWS.iter().map(|m| [*m, SIDE, SIDE]).collect();
        sizes.push([LARGE; 3]);
        if self.options.quick {
            sizes.truncate(1);
        }
        let bits = |half| if half { 16 } else { 32 };
        let subgroup = self.description.subgroup_sizes[0];
        let mut product = None;
        let mut rate = None;
        for [m, n, k] in sizes {
            // Rows of a product that would take too long are left out.
            let mut rows = m;
            if let Some(rate) = rate {
                let seconds = |rows| 2.0 * f64::from(rows) * f64::from(n) * f64::from(k) / rate;
                while rows > 64 && seconds(rows) > LONGEST {
                    rows /= 2;
                }
            }
            let case = format!(
                "{1} to {2}, {0}x{0}, {rows}x{n}x{k}",
                tiles.size, shape.operand, shape.sum
            );
            let parameters = [
                ("size", u64::from(tiles.size)),
                ("operand_bits", bits(tiles.half_operands)),
                ("sum_bits", bits(tiles.half_sums)),
                ("m", rows.into()),
                ("n", n.into()),
                ("k", k.into()),
            ];
            self.figure(lab, Quantity::MatrixRate, &case, &parameters, |lab, pace| {
                if product.is_none() {
                    let made = Product::new(lab, tiles, subgroup)?;
                    made.check(lab)?;
                    product = Some(made);
                }
                product.as_ref().expect("made above").time(lab, pace, [rows, n, k])
            })?;
            let figure = self.figures.last().expect("one was added");
            rate = figure.value().map(|gflops| gflops * 1e9).or(rate);
            match &figure.problem {
                None => shape.right = Some(true),
                Some(Problem::WrongResult(what)) => {
                    shape.right = Some(false);
                    shape.note = Some(what.clone());
                    return Ok(());
                }
                Some(Problem::NotMeasured(reason)) => {
                    shape.note = Some(reason.clone());
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn shape(p: &wgpu::CooperativeMatrixProperties) -> MatrixShape {
    let name = |scalar| format!("{scalar:?}").to_lowercase();
    MatrixShape {
        m: p.m_size,
        n: p.n_size,
        k: p.k_size,
        operand: name(p.ab_type),
        sum: name(p.cr_type),
        right: None,
        note: None,
    }
}

/// A kernel with the buffers of its largest product.
struct Product {
    tiles: Tiles,
    kernel: Kernel,
    left: wgpu::Buffer,
    right: wgpu::Buffer,
    product: wgpu::Buffer,
}

/// Small integers that differ along both sides: products of them are exact in f16 sums too.
fn left_value(i: u32) -> f32 {
    small((i.wrapping_mul(7) >> 2) % 5)
}

fn right_value(i: u32) -> f32 {
    small((i.wrapping_mul(11) >> 3) % 5)
}

fn small(n: u32) -> f32 {
    f32::from(u8::try_from(n).expect("below 5")) - 2.0
}

impl Product {
    fn new(lab: &Lab, tiles: Tiles, subgroup: u32) -> Result<Self, Stop> {
        let side = u64::from(LARGE) * u64::from(LARGE);
        let bytes = |half| if half { 2 * side } else { 4 * side };
        let largest = bytes(tiles.half_operands).max(bytes(tiles.half_sums));
        if lab.binding_size(largest) < largest {
            return Err(Stop::NotMeasured("the adapter has no bindings so large".to_owned()));
        }
        let kernel = lab.kernel("matrix", text(tiles, subgroup))?;
        let made = Self {
            tiles,
            kernel,
            left: lab.storage(bytes(tiles.half_operands))?,
            right: lab.storage(bytes(tiles.half_operands))?,
            product: lab.storage(bytes(tiles.half_sums))?,
        };
        let values = |of: fn(u32) -> f32| (0..LARGE * LARGE).map(of);
        for (buffer, of) in [(&made.left, left_value as fn(u32) -> f32), (&made.right, right_value)]
        {
            if tiles.half_operands {
                let halves: Vec<u16> = values(of).map(|v| f16::from_f32(v).to_bits()).collect();
                lab.queue.write_buffer(buffer, 0, bytemuck::cast_slice(&halves));
            } else {
                let floats: Vec<f32> = values(of).collect();
                lab.queue.write_buffer(buffer, 0, bytemuck::cast_slice(&floats));
            }
        }
        Ok(made)
    }

    fn workgroups(&self, m: u32, n: u32) -> [u32; 2] {
        let size = self.tiles.size;
        [n / (size * TILES[1] * SUBGROUPS), m / (size * TILES[0])]
    }

    /// A product of 64 x 1024 x 1024 against the sums of the host, in rows and columns of every
    /// tile.
    fn check(&self, lab: &Lab) -> Result<(), Stop> {
        let buffers = [(1, &self.left), (2, &self.right), (3, &self.product)];
        let bound = lab.bind(&self.kernel, true, &buffers)?;
        let m = ROWS[0];
        lab.run(&bound, [m, SIDE, SIDE, 0], self.workgroups(m, SIDE), 1)?;
        let count = u64::from(m * SIDE);
        let words = match self.tiles.half_sums {
            true => lab.words(&self.product, 0, count / 2)?,
            false => lab.words(&self.product, 0, count)?,
        };
        let value = |i: u32| {
            if self.tiles.half_sums {
                let word = words[i as usize / 2].to_le_bytes();
                let at = 2 * (i as usize % 2);
                f16::from_le_bytes([word[at], word[at + 1]]).to_f32()
            } else {
                f32::from_bits(words[i as usize])
            }
        };
        // Every column of two rows of each tile.
        for row in (0..m).filter(|row| [0, 5].contains(&(row % self.tiles.size))) {
            let right = |column: u32| {
                let terms =
                    (0..SIDE).map(|k| left_value(row * SIDE + k) * right_value(k * SIDE + column));
                terms.sum::<f32>()
            };
            check((0..SIDE).map(|column| (value(row * SIDE + column), right(column))))?;
        }
        Ok(())
    }

    fn time(&self, lab: &Lab, pace: &Pace, [m, n, k]: [u32; 3]) -> Result<Spreads, Stop> {
        let buffers = [(1, &self.left), (2, &self.right), (3, &self.product)];
        let bound = lab.bind(&self.kernel, true, &buffers)?;
        let workgroups = self.workgroups(m, n);
        // Dispatches of a pass follow each other: the product is written by all of them.
        let timing =
            pace.measure(1 << 12, |scale| lab.run(&bound, [m, n, k, 0], workgroups, scale))?;
        let amount = 2.0 * f64::from(m) * f64::from(n) * f64::from(k);
        Ok(timing.rates(amount * f64::from(timing.scale)))
    }
}

/// The host's side of products, where no adapter has cooperative matrices: the faults give another
/// kernel.
#[cfg(test)]
impl super::GpuContext {
    pub(crate) fn products(
        &self,
        half: bool,
        faults: &super::Faults,
    ) -> Result<(Vec<crate::probe::Figure>, MatrixShape)> {
        let options = crate::probe::ProbeOptions { quick: true, experimental: false, cache: false };
        self.with_probe(&options, faults, |probe| {
            probe.description.subgroup_sizes = [32, 32];
            let lab = probe.open(wgpu::Features::IMMEDIATES | wgpu::Features::SHADER_F16)?;
            let name = if half { "f16" } else { "f32" };
            let (operand, sum) = (name.to_owned(), name.to_owned());
            let mut shape =
                MatrixShape { m: 16, n: 16, k: 16, operand, sum, right: None, note: None };
            let tiles = Tiles { size: 16, half_operands: half, half_sums: half };
            probe.products(&lab, tiles, &mut shape)?;
            Ok((std::mem::take(&mut probe.figures), shape))
        })
    }
}
