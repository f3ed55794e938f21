//! Keras's names and layout: `kernel` `[I, 3H]`, `recurrent_kernel` `[H, 3H]`, `bias`; gates z, r,
//! h side by side. The bias tells the reset form: `[3H]` is reset-before, `[2, 3H]` (input, then
//! recurrent) reset-after.
//!
//! A `Bidirectional` wrapper's two layers stand under names that differ in one part alone:
//! `forward_gru` and `backward_gru`, or `forward` and `backward`.

use crate::cell::{GATES, Gate, ResetForm};
use crate::config::{Directions, GruConfig};
use crate::convention::module::Module;
use crate::convention::onnx::zrh;
use crate::convention::requirements::{Requirements, Slot};
use crate::convention::{Network, Reset};
use crate::description::Description;
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;
use crate::tensor::{MatrixView, Tensor};
use crate::tensor_set::TensorSet;
use crate::weights::CellWeights;

const KERNEL: &str = "kernel";
const RECURRENT: &str = "recurrent_kernel";
const BIAS: &str = "bias";

/// The name without the output number that TensorFlow appends.
fn stem(name: &str) -> &str {
    name.strip_suffix(":0").unwrap_or(name)
}

pub(super) fn is_part(name: &str) -> bool {
    [KERNEL, RECURRENT, BIAS].contains(&stem(name))
}

/// Other layers have a kernel and a bias too.
pub(super) fn is_module(parts: &[String]) -> bool {
    parts.iter().any(|p| stem(p) == RECURRENT)
}

/// The recurrent weights and their number of gates, where their shape says so.
pub(super) fn gates<'p>(
    set: &TensorSet,
    prefix: &str,
    parts: &'p [String],
) -> Option<(&'p str, usize)> {
    let name = parts.iter().find(|p| stem(p) == RECURRENT)?;
    match set.shape(&format!("{prefix}{name}"))? {
        [rows, cols] if *rows > 0 && cols % rows == 0 => Some((name, cols / rows)),
        _ => None,
    }
}

/// The prefix of the layer that reads backwards beside the one of `prefix`, which reads forward.
pub(super) fn backward_of(prefix: &str) -> Option<String> {
    let mut start = 0;
    for part in prefix.split_inclusive(['/', '.']) {
        let name = part.trim_end_matches(['/', '.']);
        if name == "forward" || name.starts_with("forward_") {
            let rest = &prefix[start + "forward".len()..];
            return Some(format!("{}backward{rest}", &prefix[..start]));
        }
        start += part.len();
    }
    None
}

pub(super) fn read(
    set: &TensorSet,
    module: &Module,
    options: &LoadOptions,
    description: &mut Description,
) -> Result<Network> {
    let prefixes: Vec<&str> = [Some(&module.prefix), module.backward.as_ref()]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let spelled = |prefix: &str, part: &str| {
        let bare = format!("{prefix}{part}");
        let numbered = format!("{bare}:0");
        if set.shape(&bare).is_none() && set.shape(&numbered).is_some() { numbered } else { bare }
    };
    let name = |part: &str| spelled(prefixes[0], part);
    let dims = |part: &str, axes: &str| match set.shape(&name(part)) {
        Some([a, b]) => Ok([*a, *b]),
        Some(shape) => {
            Err(wrong(format!("{} must have the shape {axes}, it has {shape:?}", name(part))))
        }
        None => Err(wrong(format!("{} {axes} is missing", name(part)))),
    };
    let [input_size, _] = dims(KERNEL, "[I, 3H]")?;
    let [hidden_size, _] = dims(RECURRENT, "[H, 3H]")?;
    let h = hidden_size;
    GruConfig::new(input_size, h).validate()?;
    let rows = GATES * h;

    let has_bias = prefixes.iter().any(|p| set.shape(&spelled(p, BIAS)).is_some());
    description.bias = has_bias;
    // Of a bias that is neither, the requirements below say so.
    let after = set.shape(&name(BIAS)).is_some_and(|shape| shape.len() == 2);
    let reset = match (has_bias, after) {
        (false, _) => Reset::Unknown,
        (true, false) => Reset::Shown(ResetForm::Before),
        (true, true) => Reset::Shown(ResetForm::After),
    };

    let mut needs = Requirements::new(set);
    let mut slots: Vec<(Slot, Slot, Option<Slot>)> = Vec::new();
    for prefix in &prefixes {
        let kernel = needs.need(&spelled(prefix, KERNEL), "[I, 3H]", &[input_size, rows]);
        let recurrent = needs.need(&spelled(prefix, RECURRENT), "[H, 3H]", &[h, rows]);
        let bias = has_bias.then(|| match after {
            true => needs.need(&spelled(prefix, BIAS), "[2, 3H]", &[2, rows]),
            false => needs.need(&spelled(prefix, BIAS), "[3H]", &[rows]),
        });
        slots.push((kernel, recurrent, bias));
    }
    let tensors = needs.finish(options, description)?;
    let cells = slots
        .into_iter()
        .map(|(kernel, recurrent, bias)| {
            let columns = |tensor: &Tensor, gate: Gate, cols: usize| {
                MatrixView::new(tensor, zrh(gate) * h, [h, cols], [1, rows])
            };
            let row = |gate: Gate, part: usize| {
                let tensor = &tensors[bias?];
                (part == 0 || after)
                    .then(|| MatrixView::new(tensor, part * rows + zrh(gate) * h, [1, h], [h, 1]))
            };
            CellWeights {
                input: Gate::ALL.map(|g| columns(&tensors[kernel], g, input_size)),
                recurrent: Gate::ALL.map(|g| columns(&tensors[recurrent], g, h)),
                input_bias: Gate::ALL.map(|g| row(g, 0)),
                recurrent_bias: Gate::ALL.map(|g| row(g, 1)),
            }
        })
        .collect();
    let directions = match &module.backward {
        None => Directions::Forward,
        Some(backward) => {
            description.notes.push(format!(
                "'{}' is the backward direction; outputs are concatenated, as of \
                 Bidirectional(merge_mode='concat')",
                backward.trim_end_matches(['/', '.'])
            ));
            Directions::Bidirectional
        }
    };
    Ok(Network { input_size, hidden_size, directions, cells, reset })
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidWeights, message)
}
