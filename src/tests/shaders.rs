//! Every kernel variant as text: valid, bound as declared, laid out as the host writes it.

use std::collections::{BTreeMap, BTreeSet};

use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, MathFunction, Module, StorageAccess, TypeInner};

use crate::kernels::{
    Binding, CellRecord, ExchangeRecord, Kernel, LaunchRecord, RelayKernel, Resident, Sharing,
    Tiles, Variant,
};
use crate::{Activation, CellFunctions, Precision};

/// The whole grid; `lanes` and `rows` only set constants.
pub(super) fn variants(lanes: &[u32], rows: &[u32]) -> Vec<Variant> {
    let mut all = residents(lanes, rows);
    for kernel in Kernel::ALL.into_iter().filter(|k| !k.is_sequence() && !k.is_matrix()) {
        for precision in [Precision::F32, Precision::F16] {
            for flags in 0..16 {
                let [cells, standard_cell, immediates, wavefront] =
                    [0, 1, 2, 3].map(|bit| flags >> bit & 1 == 1);
                if (immediates || wavefront) && !kernel.is_step() {
                    continue;
                }
                for &lanes in lanes {
                    for &rows in rows {
                        all.push(Variant {
                            kernel,
                            precision,
                            lanes,
                            row_groups: 64 / lanes,
                            rows,
                            cells: 1 + u32::from(cells),
                            wavefront,
                            standard_cell,
                            immediates,
                            resident: None,
                            tiles: None,
                        });
                    }
                }
            }
        }
    }
    all
}

/// Sequence kernels that share products in every way, with blocks of `lanes` quads of units: as
/// many as there are units, or fewer.
fn residents(lanes: &[u32], rows: &[u32]) -> Vec<Variant> {
    let mut all = Vec::new();
    let units = |slices, registers| Sharing::Units { slices, registers };
    let shared = [Sharing::Quads, units(1, false), units(2, false), units(1, true), units(2, true)];
    for (index, &lanes) in lanes.iter().enumerate() {
        for (&rows, sharing) in rows.iter().flat_map(|r| shared.map(|s| (r, s))) {
            for flags in 0..8 {
                let [cells, standard_cell, half] = [0, 1, 2].map(|bit| flags >> bit & 1 == 1);
                let in_registers = matches!(sharing, Sharing::Units { registers: true, .. });
                if in_registers && (rows > 4 || lanes > 16) {
                    continue;
                }
                let whole = in_registers || flags % 3 == 0;
                let resident = Resident {
                    unit_quads: if whole { lanes } else { 2 * lanes + 1 },
                    block_quads: lanes,
                    rows,
                    parts: 1 + u32::from(index % 2 == 1),
                    sharing,
                };
                for kernel in [Kernel::SequenceAfter, Kernel::SequenceBefore] {
                    all.push(Variant {
                        kernel,
                        precision: if half { Precision::F16 } else { Precision::F32 },
                        lanes: resident.invocations(),
                        row_groups: 1,
                        rows,
                        cells: 1 + u32::from(cells),
                        wavefront: false,
                        standard_cell,
                        immediates: false,
                        resident: Some(resident),
                        tiles: None,
                    });
                }
            }
        }
    }
    all
}

/// Matrix kernels of every size of tiles, for subgroups of processors and of GPUs.
pub(super) fn matrix_variants() -> Vec<Variant> {
    let mut all = Vec::new();
    let sizes = [[8, 8], [8, 32], [16, 32], [16, 64]];
    for kernel in Kernel::ALL.into_iter().filter(|k| k.is_matrix()) {
        for (index, [size, subgroup]) in (0..).zip(sizes) {
            for (row_tiles, unit_tiles) in [(1, 1), (2, 4), (4, 2)] {
                for flags in 0..8 {
                    let [cells, standard_cell, immediates] =
                        [0, 1, 2].map(|bit| (flags + index) >> bit & 1 == 1);
                    if immediates && !kernel.is_step() {
                        continue;
                    }
                    let tiles = Tiles { size, subgroup, row_tiles, unit_tiles };
                    let planes = kernel.planes();
                    all.push(Variant {
                        kernel,
                        precision: Precision::F16,
                        lanes: tiles.invocations(planes),
                        row_groups: 1,
                        rows: tiles.rows(),
                        cells: 1 + u32::from(cells),
                        wavefront: false,
                        standard_cell,
                        immediates,
                        resident: None,
                        tiles: Some(tiles),
                    });
                }
            }
        }
    }
    all
}

/// What wgpu allows a kernel of `variant` on a device without optional features but immediates.
/// `unpack2x16float` is part of WebGPU; f16 as a type is not.
fn capabilities(variant: &Variant) -> Capabilities {
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::IMMEDIATES, variant.immediates);
    let matrices = Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16;
    capabilities.set(matrices, variant.tiles.is_some());
    capabilities
}

pub(super) fn validated(variant: &Variant) -> (Module, ModuleInfo) {
    let text = variant.wgsl();
    let fail = |error: String| -> ! { panic!("{variant:?}: {error}") };
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|e| fail(e.emit_to_string_with_path(&text, variant.kernel.name())));
    let mut validator = Validator::new(ValidationFlags::all(), capabilities(variant));
    let info = validator
        .validate(&module)
        .unwrap_or_else(|e| fail(e.emit_to_string_with_path(&text, variant.kernel.name())));
    (module, info)
}

#[test]
fn every_variant_is_valid_and_bound_as_declared() {
    let all = variants(&[1, 2, 4, 8, 16, 32], &[1, 2, 4, 8]);
    for variant in all.into_iter().chain(matrix_variants()) {
        let (module, info) = validated(&variant);
        check_bindings(&variant, &module, &info);
        check_entry_point(&variant, &module);
        check_functions(&variant, &module);
    }
}

fn check_bindings(variant: &Variant, module: &Module, info: &ModuleInfo) {
    let wanted: BTreeMap<u32, (AddressSpace, Binding)> = variant
        .kernel
        .bindings()
        .iter()
        .filter(|(_, role, _)| *role != Binding::Step || !variant.immediates)
        .map(|&(number, role, written)| {
            let space = match role {
                Binding::Launch | Binding::Step => AddressSpace::Uniform,
                _ if written => {
                    AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE }
                }
                _ => AddressSpace::Storage { access: StorageAccess::LOAD },
            };
            (number, (space, role))
        })
        .collect();
    let mut found = BTreeSet::new();
    let mut immediates = 0;
    let mut workgroup_bytes = 0;
    for (handle, variable) in module.global_variables.iter() {
        if variable.space == AddressSpace::WorkGroup {
            workgroup_bytes += module.types[variable.ty].inner.size(module.to_ctx());
            continue;
        }
        let Some(binding) = &variable.binding else {
            assert_eq!(variable.space, AddressSpace::Immediate, "{variant:?}: {:?}", variable.name);
            immediates += 1;
            continue;
        };
        assert_eq!(binding.group, 0, "{variant:?}");
        let (space, role) = wanted
            .get(&binding.binding)
            .unwrap_or_else(|| panic!("{variant:?}: binding {} is not declared", binding.binding));
        assert_eq!(variable.space, *space, "{variant:?}: {role:?}");
        let name = format!("{role:?}").to_lowercase();
        assert_eq!(variable.name.as_deref(), Some(name.as_str()), "{variant:?}");
        if matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE))
        {
            let used = info.get_entry_point(0)[handle];
            assert!(
                used.contains(GlobalUse::WRITE),
                "{variant:?}: {name} is read_write, not written"
            );
        }
        found.insert(binding.binding);
    }
    assert_eq!(found, wanted.into_keys().collect(), "{variant:?}");
    assert_eq!(immediates, usize::from(variant.immediates), "{variant:?}");
    let planes = variant.kernel.planes();
    let tiles = variant.tiles.map_or(0, |t| u64::from(t.workgroup_bytes(planes)));
    let planned = variant.resident.map_or(tiles, |r| r.workgroup_bytes(variant.kernel));
    assert_eq!(u64::from(workgroup_bytes), planned, "{variant:?}: workgroup memory");
}

fn check_entry_point(variant: &Variant, module: &Module) {
    let [entry] = module.entry_points.as_slice() else { panic!("{variant:?}: one entry point") };
    assert_eq!(entry.name, "main");
    assert_eq!(entry.workgroup_size, [variant.lanes, variant.row_groups, 1], "{variant:?}");
}

/// Drivers differ in what built-in tanh, log and exp give for large arguments and NaN: only
/// softplus uses one of them, exp at bounded arguments. No type needs an optional feature but in
/// matrix kernels.
fn check_functions(variant: &Variant, module: &Module) {
    let functions = module.functions.iter().map(|(_, f)| f);
    for function in functions.chain(module.entry_points.iter().map(|e| &e.function)) {
        let name = function.name.as_deref().unwrap_or("main");
        for (_, expression) in function.expressions.iter() {
            let naga::Expression::Math { fun, .. } = expression else { continue };
            let allowed = match fun {
                MathFunction::Exp => name == "softplus",
                MathFunction::Unpack2x16float => variant.precision == Precision::F16,
                other => {
                    matches!(
                        other,
                        MathFunction::Abs
                            | MathFunction::Clamp
                            | MathFunction::Fma
                            | MathFunction::Max
                            | MathFunction::Min
                            | MathFunction::Sign
                    ) || *other == MathFunction::Round && variant.tiles.is_some()
                }
            };
            assert!(allowed, "{variant:?}: {name} calls {fun:?}");
        }
    }
    for (_, ty) in module.types.iter() {
        let scalar = match ty.inner {
            TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } => scalar,
            _ => continue,
        };
        let half = scalar == naga::Scalar::F16 && variant.tiles.is_some();
        assert!(
            half || scalar.width == 4 || scalar == naga::Scalar::BOOL,
            "{variant:?}: {scalar:?}"
        );
    }
}

type ByName = BTreeMap<&'static str, u32>;

/// A record whose words all differ, and the same values by name of the WGSL members.
fn distinct_record(cells: u32) -> (LaunchRecord, ByName, Vec<ByName>) {
    let functions = |direction: u32| {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let offset = direction as f32;
        CellFunctions {
            gate: Activation::HardSigmoid { alpha: 0.25 + offset, beta: 0.75 + offset },
            candidate: Activation::ScaledTanh { alpha: 1.5 + offset, beta: 0.5 + offset },
            clip: Some(8.0 + offset),
        }
    };
    let record = LaunchRecord {
        batch: 1000,
        rows: 1012,
        steps: 1001,
        first_step: 1002,
        unit_quads: 1003,
        k_quads: 1004,
        first_block: 1005,
        source_stride: 1006,
        output_stride: 1007,
        state_stride: 1008,
        mask: 1009,
        mask_words: 1010,
        natural: 1011,
        units: 1013,
        lag: 1014,
        cells: (0..cells)
            .map(|d| CellRecord {
                weights: 2000 + 100 * d,
                bias: 2001 + 100 * d,
                source: 2002 + 100 * d,
                gates: 2003 + 100 * d,
                state: 2004 + 100 * d,
                scratch: 2005 + 100 * d,
                output: 2006 + 100 * d,
                reversed: 2007 + 100 * d,
                functions: functions(d),
                input_weights: 2008 + 100 * d,
            })
            .collect(),
    };
    let header = BTreeMap::from([
        ("batch", record.batch),
        ("rows", record.rows),
        ("steps", record.steps),
        ("first_step", record.first_step),
        ("unit_quads", record.unit_quads),
        ("k_quads", record.k_quads),
        ("first_block", record.first_block),
        ("source_stride", record.source_stride),
        ("output_stride", record.output_stride),
        ("state_stride", record.state_stride),
        ("mask", record.mask),
        ("mask_words", record.mask_words),
        ("natural", record.natural),
        ("units", record.units),
        ("lag", record.lag),
        ("unused_0", 0),
    ]);
    let cells = record
        .cells
        .iter()
        .map(|cell| {
            let (gate, candidate) = (cell.functions.gate, cell.functions.candidate);
            BTreeMap::from([
                ("weights", cell.weights),
                ("bias", cell.bias),
                ("source", cell.source),
                ("gates", cell.gates),
                ("state", cell.state),
                ("scratch", cell.scratch),
                ("output", cell.output),
                ("reversed", cell.reversed),
                // The codes of `activate` in activations.wgsl.
                ("gate_code", 6),
                ("candidate_code", 10),
                ("gate_alpha", gate.parameters().0.to_bits()),
                ("gate_beta", gate.parameters().1.to_bits()),
                ("candidate_alpha", candidate.parameters().0.to_bits()),
                ("candidate_beta", candidate.parameters().1.to_bits()),
                ("clip", cell.functions.clip.unwrap().to_bits()),
                ("input_weights", cell.input_weights),
            ])
        })
        .collect();
    (record, header, cells)
}

#[test]
fn launch_records_have_the_layout_of_the_kernels_structs() {
    let with_record = |v: &Variant| v.kernel != Kernel::SlotExchange;
    for variant in variants(&[8], &[4]).into_iter().chain(matrix_variants()).filter(with_record) {
        let (module, _) = validated(&variant);
        let (record, header, cells) = distinct_record(variant.cells);
        let words = record.words();
        let (members, span) = members(&module, "Launch");
        assert_eq!(u64::from(span), LaunchRecord::size(variant.cells as usize), "{variant:?}");
        assert_eq!(span as usize, 4 * words.len());
        let mut seen = BTreeSet::new();
        for (name, offset) in &members {
            if name == "cells" {
                continue;
            }
            seen.insert(name.as_str());
            assert_eq!(words[*offset as usize / 4], header[name.as_str()], "Launch.{name}");
        }
        assert_eq!(seen, header.keys().copied().collect());
        let (cell_members, cell_span) = self::members(&module, "Cell");
        let first = members.iter().find(|(name, _)| name == "cells").unwrap().1;
        for (index, wanted) in cells.iter().enumerate() {
            let at = |offset: u32| (first + offset) as usize / 4 + index * cell_span as usize / 4;
            let seen = cell_members.iter().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>();
            assert_eq!(seen, wanted.keys().copied().collect());
            for (name, offset) in &cell_members {
                assert_eq!(words[at(*offset)], wanted[name.as_str()], "Cell {index}.{name}");
            }
        }
    }
}

#[test]
fn exchange_records_have_the_layout_of_the_kernels_struct() {
    let record = ExchangeRecord {
        store: true,
        rows: 1001,
        unit_quads: 1002,
        state: 1003,
        state_stride: 1004,
        layer_stride: 1005,
        plane: 1006,
        plane_stride: 1007,
        place_stride: 1008,
        first: 1009,
    };
    let wanted: ByName = BTreeMap::from([
        ("store", 1),
        ("rows", record.rows),
        ("unit_quads", record.unit_quads),
        ("state", record.state),
        ("state_stride", record.state_stride),
        ("layer_stride", record.layer_stride),
        ("plane", record.plane),
        ("plane_stride", record.plane_stride),
        ("place_stride", record.place_stride),
        ("first", record.first),
    ]);
    let all = variants(&[8], &[4]);
    let variant = all.iter().find(|v| v.kernel == Kernel::SlotExchange).unwrap();
    let (module, _) = validated(variant);
    let (members, _) = members(&module, "Exchange");
    let words = record.words();
    let (tail, members) = members.split_last().unwrap();
    assert_eq!(*tail, ("words".into(), 4 * u32::try_from(words.len()).unwrap()));
    let seen: ByName = members
        .iter()
        .map(|(name, offset)| {
            let name = wanted.keys().find(|known| *known == name).unwrap();
            (*name, words[*offset as usize / 4])
        })
        .collect();
    assert_eq!(seen, wanted);
}

/// Names and offsets of a struct's members, and its size.
pub(super) fn members(module: &Module, name: &str) -> (Vec<(String, u32)>, u32) {
    let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name));
    let Some((_, naga::Type { inner: TypeInner::Struct { members, span }, .. })) = found else {
        panic!("{name} is a struct")
    };
    (members.iter().map(|m| (m.name.clone().unwrap(), m.offset)).collect(), *span)
}

#[test]
fn every_shader_file_belongs_to_a_kernel() {
    let relays = RelayKernel::ALL.map(RelayKernel::wgsl);
    let all = variants(&[8], &[4]).into_iter().chain(matrix_variants());
    let texts: Vec<String> = all.map(|v| v.wgsl()).chain(relays).collect();
    let folder = super::support::root().join("shaders");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // The probe's kernels, which have tests of their own.
            assert_eq!(path.file_name().unwrap(), "probe");
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(texts.iter().any(|t| t.contains(&text)), "{} is used", path.display());
        files += 1;
    }
    let names =
        Kernel::ALL.map(Kernel::name).into_iter().chain(RelayKernel::ALL.map(RelayKernel::name));
    assert!(files >= names.clone().count());
    for name in names {
        let file = format!("shaders/{name}.wgsl");
        let path = super::support::root().join(&file);
        assert!(path.is_file(), "{file} has the kernel's name");
    }
}
