//! Every kernel text of the probe, for tests.

use super::{arithmetic, dispatch, hand_off, matrices, memory, registers, workgroup};

/// `(name, text)` of each kernel in each of its forms.
pub(crate) fn texts() -> Vec<(String, String)> {
    let mut out = vec![
        ("chain".to_owned(), dispatch::text()),
        ("fma f32".to_owned(), arithmetic::text(false)),
        ("fma f16".to_owned(), arithmetic::text(true)),
        ("workgroup_memory".to_owned(), workgroup::memory_text()),
        ("subgroup".to_owned(), workgroup::subgroup_text()),
        ("hand_off".to_owned(), hand_off::text(20_000)),
    ];
    out.extend(memory::TEXTS.map(|(name, text)| (name.to_owned(), text.to_owned())));
    for lanes in [64, 256, 1024] {
        out.push((format!("barrier {lanes}"), workgroup::barrier_text(lanes)));
    }
    for (lanes, values) in [(256, 32), (512, 192)] {
        out.push((format!("registers {lanes} {values}"), registers::text(lanes, values)));
    }
    for (size, half_operands, half_sums) in
        [(8, false, false), (8, true, true), (16, true, true), (16, true, false)]
    {
        let tiles = matrices::Tiles { size, half_operands, half_sums };
        out.push((format!("matrix {tiles:?}"), matrices::text(tiles, 32)));
    }
    out
}
