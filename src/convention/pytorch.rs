//! PyTorch's names: `nn.GRU`, `nn.GRUCell`, and this crate's own form, which shares them.

use std::collections::BTreeSet;

use crate::cell::{GATES, Gate, ResetForm};
use crate::config::{Directions, GruConfig};
use crate::convention::module::Module;
use crate::convention::requirements::{Requirements, Slot};
use crate::convention::{Convention, Network, Reset};
use crate::description::Description;
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;
use crate::tensor::{MatrixView, Tensor};
use crate::tensor_set::TensorSet;
use crate::weights::CellWeights;

/// A tensor's name without its prefix, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part<'a> {
    /// `weight_ih`, `weight_hh`, `weight_hr`, `bias_ih` or `bias_hh`.
    role: &'a str,
    /// `None` for the names of a single cell, which have no `_l0`.
    layer: Option<usize>,
    reverse: bool,
}

const ROLES: [&str; 5] = ["weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh"];

fn parse(name: &str) -> Option<Part<'_>> {
    let role = &name[..ROLES.iter().find(|role| name.starts_with(**role))?.len()];
    let rest = &name[role.len()..];
    if rest.is_empty() {
        return Some(Part { role, layer: None, reverse: false });
    }
    let digits = rest.strip_prefix("_l")?;
    let (digits, reverse) = match digits.strip_suffix("_reverse") {
        Some(digits) => (digits, true),
        None => (digits, false),
    };
    let layer: usize = digits.parse().ok()?;
    (layer.to_string() == digits).then_some(Part { role, layer: Some(layer), reverse })
}

pub(super) fn is_part(name: &str) -> bool {
    parse(name).is_some()
}

pub(super) fn is_module(parts: &[String]) -> bool {
    parts.iter().any(|p| p.starts_with("weight_ih") || p.starts_with("weight_hh"))
}

/// The first recurrent weights and their number of gates, where their shape says so.
pub(super) fn gates<'p>(
    set: &TensorSet,
    prefix: &str,
    parts: &'p [String],
) -> Option<(&'p str, usize)> {
    let name = parts.iter().find(|p| p.starts_with("weight_hh"))?;
    match set.shape(&format!("{prefix}{name}"))? {
        [rows, cols] if *cols > 0 && rows % cols == 0 => Some((name, rows / cols)),
        _ => None,
    }
}

/// Reads `module` in `convention`, which is [`Convention::Pytorch`] or [`Convention::Wgru`].
pub(super) fn read(
    set: &TensorSet,
    module: &Module,
    convention: Convention,
    options: &LoadOptions,
    description: &mut Description,
) -> Result<Network> {
    let parts: Vec<Part<'_>> = module.parts.iter().filter_map(|p| parse(p)).collect();
    if let Some(part) = parts.iter().find(|p| p.role == "weight_hr") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{}{} projects the state, which a GRU does not", module.prefix, part.role),
        ));
    }
    let layers = layers(module, &parts)?;
    let has = |role: &str| parts.iter().any(|p| p.role == role);
    // nn.GRU has both biases or none; this crate's own form may have one of them.
    let (has_ih, has_hh) = (has("bias_ih"), has("bias_hh"));
    let [has_ih, has_hh] = match convention {
        Convention::Wgru => [has_ih, has_hh],
        _ => [has_ih || has_hh; 2],
    };
    description.bias = has_ih || has_hh;
    let directions = if parts.iter().any(|p| p.reverse) {
        Directions::Bidirectional
    } else {
        Directions::Forward
    };

    let name = |role: &str, layer: usize, reverse: bool| {
        let cell = parts.iter().all(|p| p.layer.is_none());
        let suffix = if reverse { "_reverse" } else { "" };
        let layer = if cell { String::new() } else { format!("_l{layer}{suffix}") };
        format!("{}{role}{layer}", module.prefix)
    };
    let (input_size, hidden_size) = sizes(set, &name)?;
    let config =
        GruConfig { num_layers: layers, directions, ..GruConfig::new(input_size, hidden_size) };
    config.validate()?;

    let h = hidden_size;
    let mut needs = Requirements::new(set);
    let mut slots: Vec<([Slot; 2], [Option<Slot>; 2], usize)> = Vec::new();
    for layer in 0..layers {
        let k = config.layer_input_size(layer);
        let k_axis = if layer == 0 { "I" } else { "D*H" };
        for reverse in [false, true].into_iter().take(directions.count()) {
            let of = |role| name(role, layer, reverse);
            let weights = [
                needs.need(&of("weight_ih"), &format!("[3H, {k_axis}]"), &[GATES * h, k]),
                needs.need(&of("weight_hh"), "[3H, H]", &[GATES * h, h]),
            ];
            let biases = [("bias_ih", has_ih), ("bias_hh", has_hh)]
                .map(|(role, has)| has.then(|| needs.need(&of(role), "[3H]", &[GATES * h])));
            slots.push((weights, biases, k));
        }
    }
    let tensors = needs.finish(options, description)?;
    let cells = slots
        .into_iter()
        .map(|(weights, biases, k)| {
            let bias = |slot: Option<Slot>| {
                Gate::ALL.map(|g| {
                    slot.map(|slot| MatrixView::new(&tensors[slot], g as usize * h, [1, h], [h, 1]))
                })
            };
            CellWeights {
                input: Gate::ALL.map(|g| gate_rows(&tensors[weights[0]], g, h, k)),
                recurrent: Gate::ALL.map(|g| gate_rows(&tensors[weights[1]], g, h, h)),
                input_bias: bias(biases[0]),
                recurrent_bias: bias(biases[1]),
            }
        })
        .collect();
    let reset = match convention {
        Convention::Wgru => Reset::FromMetadata,
        _ => Reset::Usual(ResetForm::After),
    };
    Ok(Network { input_size, hidden_size, directions, cells, reset })
}

/// The `rows` rows of gate `gate`, `cols` wide.
fn gate_rows(tensor: &Tensor, gate: Gate, rows: usize, cols: usize) -> MatrixView {
    MatrixView::new(tensor, gate as usize * rows * cols, [rows, cols], [cols, 1])
}

/// Number of layers.
fn layers(module: &Module, parts: &[Part<'_>]) -> Result<usize> {
    let numbered: BTreeSet<usize> = parts.iter().filter_map(|p| p.layer).collect();
    let bare = parts.iter().filter(|p| p.layer.is_none()).count();
    if bare > 0 && !numbered.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidWeights,
            format!(
                "{}: tensors of an nn.GRUCell (weight_ih) and of an nn.GRU (weight_ih_l0) stand \
                 under one prefix",
                module.display_name()
            ),
        ));
    }
    let gap = numbered.iter().enumerate().find(|(want, have)| want != *have);
    if let Some((missing, have)) = gap {
        return Err(Error::new(
            ErrorKind::InvalidWeights,
            format!(
                "{}weight_ih_l{missing} is missing: layers count from 0 without a gap, layer \
                 {have} was given",
                module.prefix
            ),
        ));
    }
    Ok(numbered.len().max(1))
}

/// Input and hidden size by the shapes of the first layer's weights, of which one may be missing
/// or misshapen: the requirements say so then.
fn sizes(set: &TensorSet, name: &impl Fn(&str, usize, bool) -> String) -> Result<(usize, usize)> {
    let [input, recurrent] = ["weight_ih", "weight_hh"].map(|role| name(role, 0, false));
    let shape = |name: &str| match set.shape(name) {
        Some([rows, cols]) => Ok(Some([*rows, *cols])),
        Some(other) => Err(Error::new(
            ErrorKind::InvalidWeights,
            format!("{name} must have two dimensions, it has the shape {other:?}"),
        )),
        None => Ok(None),
    };
    let missing = |name: &str, axes: &str| {
        Error::new(ErrorKind::InvalidWeights, format!("{name} {axes} is missing"))
    };
    let [_, input_size] = shape(&input)?.ok_or_else(|| missing(&input, "[3H, I]"))?;
    let [_, hidden_size] = shape(&recurrent)?.ok_or_else(|| missing(&recurrent, "[3H, H]"))?;
    Ok((input_size, hidden_size))
}
