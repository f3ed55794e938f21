//! The textbook's names: one matrix a gate over the concatenation of input and state.
//!
//! ```text
//! U = sigmoid(W_u [x, h] + b_u)      1 takes the new state, 0 keeps the old: U = 1 - z
//! R = sigmoid(W_R [x, h] + b_R)
//! C = tanh   (W_h [x, R * h] + b_h)
//! h' = U * C + (1 - U) * h
//! ```

use std::collections::BTreeMap;

use crate::activation::Activation;
use crate::cell::{CellFunctions, GATES, Gate, ResetForm};
use crate::config::{Directions, GruConfig};
use crate::convention::module::Module;
use crate::convention::requirements::{Requirements, Slot};
use crate::convention::{Network, Reset};
use crate::description::Description;
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;
use crate::tensor::{MatrixView, Tensor};
use crate::tensor_set::TensorSet;
use crate::weights::CellWeights;

/// Letters of the gates' names in canonical order; the reset gate is spelled in two ways.
const LETTERS: [&[&str]; GATES] = [&["R", "r"], &["u"], &["h"]];

/// Splits `W_u_l1` into kind `W`, letter `u` and layer 1.
fn parse(name: &str) -> Option<(&str, &str, Option<usize>)> {
    let (kind, rest) = name.split_once('_')?;
    let (letter, layer) = match rest.split_once("_l") {
        None => (rest, None),
        Some((letter, digits)) => {
            let layer: usize = digits.parse().ok()?;
            (letter, (layer.to_string() == digits).then_some(Some(layer))?)
        }
    };
    let known = LETTERS.iter().any(|letters| letters.contains(&letter));
    (matches!(kind, "W" | "b") && known).then_some((kind, letter, layer))
}

pub(super) fn is_part(name: &str) -> bool {
    parse(name).is_some()
}

/// Two weight matrices of one layer are enough: single letters are common names elsewhere.
pub(super) fn is_module(parts: &[String]) -> bool {
    let mut matrices: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    for (_, _, layer) in parts.iter().filter_map(|p| parse(p)).filter(|(kind, ..)| *kind == "W") {
        *matrices.entry(layer).or_default() += 1;
    }
    matrices.values().any(|n| *n >= 2)
}

pub(super) fn read(
    set: &TensorSet,
    module: &Module,
    options: &LoadOptions,
    description: &mut Description,
) -> Result<Network> {
    // What each layer is called, by its number: the first may go without suffix.
    let mut suffixes: BTreeMap<usize, Option<usize>> = BTreeMap::new();
    for (_, _, layer) in module.parts.iter().filter_map(|p| parse(p)) {
        let number = layer.unwrap_or(0);
        if suffixes.insert(number, layer).is_some_and(|before| before != layer) {
            return Err(Error::new(
                ErrorKind::InvalidWeights,
                format!(
                    "{}W_u and {0}W_u_l0 both name the first layer; one spelling is wanted",
                    module.prefix
                ),
            ));
        }
    }
    if let Some((missing, have)) = suffixes.keys().enumerate().find(|(want, have)| want != *have) {
        return Err(Error::new(
            ErrorKind::InvalidWeights,
            format!(
                "{}W_u_l{missing} is missing: layers count from 0 without a gap, layer {have} was \
                 given",
                module.prefix
            ),
        ));
    }
    let suffixes: Vec<String> =
        suffixes.values().map(|l| l.map_or(String::new(), |l| format!("_l{l}"))).collect();
    let has_bias = module.parts.iter().any(|p| p.starts_with("b_"));
    description.bias = has_bias;

    let (input_size, hidden_size) = sizes(set, &format!("{}W_u{}", module.prefix, suffixes[0]))?;
    let config =
        GruConfig { num_layers: suffixes.len(), ..GruConfig::new(input_size, hidden_size) };
    config.validate()?;

    let h = hidden_size;
    let mut needs = Requirements::new(set);
    let mut slots: Vec<([Slot; GATES], [Option<Slot>; GATES], usize)> = Vec::new();
    for (layer, suffix) in suffixes.iter().enumerate() {
        let k = config.layer_input_size(layer);
        let axes = if layer == 0 { "[H, I+H]" } else { "[H, H+H]" };
        let mut name = |kind: &str, letters: &[&str]| {
            let names = letters.iter().map(|l| format!("{}{kind}_{l}{suffix}", module.prefix));
            let present: Vec<String> = names.filter(|n| set.shape(n).is_some()).collect();
            if present.len() > 1 {
                needs.problem(format!("{} are the same tensor twice", present.join(" and ")));
            }
            let first = || format!("{}{kind}_{}{suffix}", module.prefix, letters[0]);
            present.into_iter().next().unwrap_or_else(first)
        };
        let matrices = LETTERS.map(|letters| name("W", letters));
        let biases = LETTERS.map(|letters| name("b", letters));
        slots.push((
            matrices.map(|name| needs.need(&name, axes, &[h, k + h])),
            biases.map(|name| has_bias.then(|| needs.need(&name, "[H]", &[h]))),
            k,
        ));
    }
    let tensors = needs.finish(options, description)?;
    let cells = slots
        .into_iter()
        .map(|(matrices, biases, k)| {
            let columns = |g: Gate, offset: usize, cols: usize| {
                let tensor = &tensors[matrices[g as usize]];
                polarised(g, MatrixView::new(tensor, offset, [h, cols], [k + h, 1]))
            };
            CellWeights {
                input: Gate::ALL.map(|g| columns(g, 0, k)),
                recurrent: Gate::ALL.map(|g| columns(g, k, h)),
                input_bias: Gate::ALL
                    .map(|g| biases[g as usize].map(|slot| polarised(g, row(&tensors[slot])))),
                recurrent_bias: Gate::ALL.map(|_| None),
            }
        })
        .collect();
    Ok(Network {
        input_size,
        hidden_size,
        directions: Directions::Forward,
        cells,
        reset: Reset::Usual(ResetForm::Before),
    })
}

fn row(bias: &Tensor) -> MatrixView {
    MatrixView::new(bias, 0, [1, bias.len()], [bias.len(), 1])
}

/// `U = 1 - z`: the update gate's operands are negated.
fn polarised(gate: Gate, view: MatrixView) -> MatrixView {
    if gate == Gate::Update { view.negated() } else { view }
}

/// # Errors
/// [`ErrorKind::Unsupported`] for a gate activation `f` without `1 - f(a) = f(-a)`.
pub(super) fn check_gate(functions: &[CellFunctions; 2]) -> Result<()> {
    for f in functions {
        match f.gate {
            Activation::Sigmoid => {}
            Activation::HardSigmoid { beta: 0.5, .. } => {}
            other => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "the textbook's update gate U = 1 - z needs a gate activation with \
                         1 - f(a) = f(-a), such as sigmoid; {other} was given"
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// Input and hidden size by the shape of the first layer's `W_u`.
fn sizes(set: &TensorSet, name: &str) -> Result<(usize, usize)> {
    let wrong = |given: String| {
        Error::new(
            ErrorKind::InvalidWeights,
            format!("{name} must have the shape [H, I+H], {given}"),
        )
    };
    match set.shape(name) {
        None => Err(wrong("it is missing".to_owned())),
        Some([rows, cols]) if cols > rows && *rows > 0 => Ok((cols - rows, *rows)),
        Some(shape) => Err(wrong(format!("it has {shape:?}"))),
    }
}
