//! The kernels that move rows, as text: valid, bound as declared, laid out as the host writes it,
//! translated for every backend.

use std::collections::BTreeMap;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess};

use super::shaders::members;
use super::translations::{hlsl, msl, spirv};
use crate::kernels::{RelayBinding, RelayKernel, RelayPart, RelayRecord};

fn validated(kernel: RelayKernel) -> (Module, ModuleInfo) {
    let text = kernel.wgsl();
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(&text, kernel.name())));
    // What every WebGPU device allows.
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(&text, kernel.name())));
    (module, info)
}

#[test]
fn relay_kernels_are_valid_and_bound_as_declared() {
    for kernel in RelayKernel::ALL {
        let (module, info) = validated(kernel);
        let [entry] = module.entry_points.as_slice() else { panic!("one entry point") };
        assert_eq!(entry.workgroup_size, [RelayKernel::LANES, RelayKernel::ROW_GROUPS, 1]);
        let found: BTreeMap<u32, (String, AddressSpace)> = module
            .global_variables
            .iter()
            .map(|(_, variable)| {
                let binding = variable.binding.expect("every variable is bound");
                assert_eq!(binding.group, 0);
                (binding.binding, (variable.name.clone().unwrap(), variable.space))
            })
            .collect();
        let wanted: BTreeMap<u32, (String, AddressSpace)> = (0..)
            .zip(kernel.bindings())
            .map(|(number, (role, written))| {
                let load = StorageAccess::LOAD;
                let space = match role {
                    RelayBinding::Relay => AddressSpace::Uniform,
                    _ if written => AddressSpace::Storage { access: load | StorageAccess::STORE },
                    _ => AddressSpace::Storage { access: load },
                };
                (number, (format!("{role:?}").to_lowercase(), space))
            })
            .collect();
        assert_eq!(found, wanted, "{}", kernel.name());
        assert!(!spirv(&module, &info).unwrap().is_empty());
        assert!(msl(&module, &info).unwrap().contains("kernel void"));
        assert!(hlsl(&module, &info).unwrap().contains("numthreads"));
    }
}

#[test]
fn relay_records_have_the_layout_of_the_kernels_struct() {
    let record = RelayRecord {
        part: RelayPart::Padding,
        rows: 100,
        first_step: 101,
        first: 102,
        end: 103,
        width: 104,
        quads: 105,
        inside: 106,
        inside_stride: 107,
        state_stride: 108,
        outside: 109,
        step_stride: 110,
        row_stride: 111,
        reversed: 112,
        next_quad: 113,
    };
    let wanted = BTreeMap::from([
        ("part", 2),
        ("rows", 100),
        ("first_step", 101),
        ("first", 102),
        ("end", 103),
        ("width", 104),
        ("quads", 105),
        ("inside", 106),
        ("inside_stride", 107),
        ("state_stride", 108),
        ("outside", 109),
        ("step_stride", 110),
        ("row_stride", 111),
        ("reversed", 112),
        ("next_quad", 113),
        ("unused_0", 0),
    ]);
    let words = record.words();
    for kernel in RelayKernel::ALL {
        let (module, _) = validated(kernel);
        let (found, span) = members(&module, "Relay");
        assert_eq!(u64::from(span), RelayRecord::SIZE);
        assert_eq!(found.len(), wanted.len());
        for (name, offset) in found {
            assert_eq!(words[offset as usize / 4], wanted[name.as_str()], "Relay.{name}");
        }
        // The codes of the parts.
        let text = kernel.wgsl();
        for (name, part) in [
            ("SEQUENCE", RelayPart::Sequence),
            ("STATES", RelayPart::States),
            ("PADDING", RelayPart::Padding),
        ] {
            let code = RelayRecord { part, ..record }.words()[0];
            assert!(text.contains(&format!("const {name} = {code}u;")), "{name}");
        }
    }
}
