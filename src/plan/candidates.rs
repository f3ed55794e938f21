//! What a session could run beside the planner's choice: plans that are as legal, for measurements
//! to choose from.

use std::fmt;

use super::family::KernelFamily;
use super::geometry::Geometry;
use super::{Capabilities, Plan, PlanOptions, RowOrder, cascade, resident, wavefront};
use crate::config::GruConfig;
use crate::error::Result;
use crate::kernels::{Resident, Sharing, quads};
use crate::shape::SequenceShape;

/// Why a measured geometry is the one.
pub(crate) const MEASURED: &str = "it was measured to be the fastest here";

/// Rows of a step kernel's block, and of a sequence kernel's workgroup, at most.
const MOST_ROWS: u32 = 8;
/// Registers of an invocation that may hold weights: no device has more than 255.
const MOST_WEIGHT_REGISTERS: u64 = 208;

/// Kernels of one family, and other workgroups for them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidates {
    /// As the planner builds the family's workgroups.
    pub(crate) base: Geometry,
    /// Each differs from the base in one thing.
    pub(crate) variations: Vec<Geometry>,
}

/// Every family that can run sessions of `shape` as `options` ask; the first one's base is the
/// planner's choice.
pub(crate) fn candidates(
    config: &GruConfig,
    shape: SequenceShape,
    capabilities: &Capabilities,
    options: &PlanOptions,
) -> Result<Vec<Candidates>> {
    let planned = Geometry::choose(config, shape, capabilities, options)?;
    let families = [
        (KernelFamily::Step, Some(false)),
        (KernelFamily::Step, Some(true)),
        (KernelFamily::Sequence, None),
    ];
    let mut bases = vec![planned];
    for (family, wavefront) in families {
        let asked_for = options.family.is_none_or(|asked| asked == family)
            && options.wavefront.is_none_or(|asked| asked == (wavefront == Some(true)));
        let is_planned =
            planned.family.family == family && planned.wavefront == (wavefront == Some(true));
        if !asked_for || is_planned {
            continue;
        }
        let options = PlanOptions { family: Some(family), wavefront, ..options.clone() };
        let base = Geometry::choose(config, shape, capabilities, &options);
        bases.extend(base.map(measured).ok());
    }
    let trial = Trial { config, shape, capabilities, options };
    let first = bases[0];
    bases.retain(|base| *base == first || trial.is_legal(base));
    Ok(bases
        .into_iter()
        .map(|base| Candidates { base, variations: trial.variations(&base) })
        .collect())
}

fn measured(mut geometry: Geometry) -> Geometry {
    geometry.family.why = MEASURED;
    geometry
}

struct Trial<'a> {
    config: &'a GruConfig,
    shape: SequenceShape,
    capabilities: &'a Capabilities,
    options: &'a PlanOptions,
}

impl Trial<'_> {
    /// Whether a session can be made with the geometry.
    fn is_legal(&self, g: &Geometry) -> bool {
        let (config, capabilities) = (self.config, self.capabilities);
        let fits =
            |r: &Resident| resident::obstacle(r, config, capabilities, self.options.precision);
        let blocked = g.wavefront
            && wavefront::obstacle(config, self.shape, g, capabilities, self.options).is_some();
        let rows = RowOrder::full(self.shape);
        g.lanes * g.step_groups.max(g.projection_groups) <= capabilities.max_invocations
            && g.resident.as_ref().is_none_or(|r| fits(r).is_none())
            && !blocked
            && Plan::unscheduled(config, rows, capabilities, self.options, *g, None).is_ok()
    }

    /// None of the matrix kernels, whose tiles the device's matrices set. Nor are these a candidate
    /// beside other families: what they multiply is rounded, so results would depend on the choice.
    fn variations(&self, base: &Geometry) -> Vec<Geometry> {
        if base.family.family == KernelFamily::Matrix {
            return Vec::new();
        }
        let mut found = match base.resident {
            Some(resident) => self.residents(&resident).map(|r| with_resident(base, r)).collect(),
            None => self.steps(base),
        };
        let rows = if base.projection_rows == 8 { 4 } else { 8 };
        found.push(Geometry { projection_rows: rows, ..*base });
        found.extend(self.other_lanes(base));
        let mut kept: Vec<Geometry> = Vec::new();
        for geometry in found {
            let cascade = cascade::choose(
                self.config,
                self.shape,
                &geometry,
                self.capabilities,
                self.options,
            );
            let geometry = measured(Geometry { cascade, ..geometry });
            let again = |k: &Geometry| k.label() == geometry.label();
            if !again(base) && !kept.iter().any(again) && self.is_legal(&geometry) {
                kept.push(geometry);
            }
        }
        kept
    }

    /// Other blocks of rows of the step kernels.
    fn steps(&self, base: &Geometry) -> Vec<Geometry> {
        let batch = u32::try_from(self.shape.batch).unwrap_or(u32::MAX);
        let groups = |rows: u32, groups: u32| groups.min(batch.div_ceil(rows)).max(1);
        let rows = [base.step_rows * 2, base.step_rows / 2].into_iter();
        let rows = rows.filter(|r| *r >= 1 && *r <= MOST_ROWS && (*r == 1 || *r <= batch));
        let mut found: Vec<Geometry> = rows
            .map(|step_rows| {
                let step_groups = groups(step_rows, base.step_groups);
                Geometry { step_rows, step_groups, ..*base }
            })
            .collect();
        if !self.capabilities.software {
            for step_groups in [base.step_groups * 2, base.step_groups / 2] {
                let step_groups = groups(base.step_rows, step_groups);
                found.push(Geometry { step_groups, ..*base });
            }
        }
        found
    }

    /// Half and twice the units of a workgroup, of as many invocations.
    fn other_lanes(&self, base: &Geometry) -> Vec<Geometry> {
        let most = u32::try_from(quads(self.config.hidden_size).next_power_of_two()).unwrap_or(1);
        let lanes = [base.lanes * 2, base.lanes / 2].into_iter().filter(|l| *l >= 1 && *l <= most);
        let scaled = |groups: u32, lanes: u32| match self.capabilities.software {
            true => groups,
            false => (groups * base.lanes / lanes).max(1),
        };
        lanes
            .map(|lanes| Geometry {
                lanes,
                step_groups: scaled(base.step_groups, lanes),
                projection_groups: scaled(base.projection_groups, lanes),
                ..*base
            })
            .collect()
    }

    /// Other workgroups of the sequence kernels.
    fn residents(&self, base: &Resident) -> impl Iterator<Item = Resident> {
        let mut found = Vec::new();
        let of_tile = |tile: u32| Resident { rows: tile.min(4), parts: tile.div_ceil(4), ..*base };
        let batch = u32::try_from(self.shape.batch.next_power_of_two()).unwrap_or(u32::MAX);
        let all = base.unit_quads.next_power_of_two();
        let with = |slices: u32, registers: bool| {
            // None without a quad of k.
            let slices = base.unit_quads.div_ceil(base.unit_quads.div_ceil(slices.max(1)));
            Resident { sharing: Sharing::Units { slices, registers }, ..*base }
        };
        match base.sharing {
            Sharing::Quads => {
                let blocks = [base.block_quads * 2, base.block_quads / 2].into_iter();
                let blocks = blocks.filter(|b| *b >= 1 && *b <= all.min(32));
                found.extend(blocks.map(|block_quads| Resident { block_quads, ..*base }));
            }
            Sharing::Units { slices, registers } => {
                found.push(with(slices, !registers));
                found.extend([slices * 2, slices / 2].map(|slices| with(slices, registers)));
            }
        }
        let tiles = [base.tile() * 2, base.tile() / 2].into_iter();
        found.extend(tiles.filter(|t| *t >= 1 && *t <= MOST_ROWS.min(batch)).map(of_tile));
        let precision = self.options.precision;
        found.into_iter().filter(move |r| match r.sharing {
            Sharing::Units { registers: true, .. } => {
                r.block_quads >= r.unit_quads
                    && r.weight_registers(precision) <= MOST_WEIGHT_REGISTERS
            }
            _ => true,
        })
    }
}

fn with_resident(base: &Geometry, resident: Resident) -> Geometry {
    Geometry { resident: Some(resident), ..*base }
}

impl Geometry {
    /// What tells the geometries of one network and device apart, in words.
    pub(crate) fn label(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family.family;
        match &self.resident {
            Some(resident) => {
                write!(f, "{family}, {} x {} rows, ", resident.parts, resident.rows)?;
                match resident.sharing {
                    Sharing::Quads => write!(f, "{} units", 4 * resident.block_quads)?,
                    Sharing::Units { slices, registers } => write!(
                        f,
                        "{} units x {slices} slices of k, weights {}",
                        4 * resident.block_quads,
                        if registers { "in registers" } else { "read in every step" }
                    )?,
                }
            }
            None => {
                let wavefront = if self.wavefront { " wavefront" } else { "" };
                let (groups, rows) = (self.step_groups, self.step_rows);
                write!(f, "{family}{wavefront}, {groups} x {rows} rows")?;
            }
        }
        let (groups, rows) = (self.projection_groups, self.projection_rows);
        write!(f, "; {} units, projection of {groups} x {rows} rows", 4 * self.lanes)
    }
}
