//! Attributes of the GRU operator, opsets 1 to 22.

use crate::activation::Activation;
use crate::cell::{CellFunctions, ResetForm};
use crate::config::Directions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::onnx::proto::{AttributeProto, NodeProto, attribute_type};

/// What a node's attributes say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attributes {
    pub(super) directions: Directions,
    pub(super) reset: ResetForm,
    /// Whether `linear_before_reset` is written in the node, rather than left at its default.
    pub(super) reset_stated: bool,
    pub(super) functions: [CellFunctions; 2],
    pub(super) hidden_size: Option<i64>,
    /// X, Y and the states have the batch first.
    pub(super) batch_first: bool,
}

impl Attributes {
    /// # Errors
    /// [`ErrorKind::Unsupported`] for an attribute or an activation that is not known;
    /// [`ErrorKind::InvalidFile`] for one of a wrong type or value.
    pub(super) fn read(node: &NodeProto, opset: i64) -> Result<Self> {
        let mut this = Self {
            directions: Directions::Forward,
            reset: ResetForm::Before,
            reset_stated: false,
            functions: [CellFunctions::default(); 2],
            hidden_size: None,
            batch_first: false,
        };
        let (mut names, mut alphas, mut betas) = (Vec::new(), Vec::new(), Vec::new());
        let mut clip = None;
        let mut seen: Vec<&str> = Vec::new();
        for attribute in &node.attribute {
            let name = attribute.name();
            if seen.contains(&name) {
                return Err(invalid(format!("the attribute {name} is given twice")));
            }
            seen.push(name);
            if !attribute.ref_attr_name().is_empty() {
                return Err(unsupported(format!(
                    "the attribute {name} is left to the caller of a function"
                )));
            }
            match name {
                "direction" => this.directions = direction(&text(attribute)?, opset)?,
                "linear_before_reset" if opset >= 3 => {
                    this.reset =
                        if flag(attribute)? { ResetForm::After } else { ResetForm::Before };
                    this.reset_stated = true;
                }
                "layout" if opset >= 14 => this.batch_first = flag(attribute)?,
                // Whether Y is an output; it can always be computed.
                "output_sequence" if opset < 7 => drop(flag(attribute)?),
                "hidden_size" => this.hidden_size = Some(integer(attribute)?),
                "clip" => clip = Some(number(attribute)?),
                "activations" => names = strings(attribute)?,
                "activation_alpha" => alphas = numbers(attribute)?,
                "activation_beta" => betas = numbers(attribute)?,
                _ => {
                    return Err(unsupported(format!(
                        "the attribute {name} is not one of GRU in opset {opset}"
                    )));
                }
            }
        }
        let directions = this.directions.count();
        if !names.is_empty() {
            let functions = activations(&names, &alphas, &betas, directions)?;
            this.functions[..directions].copy_from_slice(&functions);
            if directions == 1 {
                this.functions[1] = this.functions[0];
            }
        } else if !alphas.is_empty() || !betas.is_empty() {
            return Err(invalid(
                "activation_alpha or activation_beta is given without activations".to_owned(),
            ));
        }
        for functions in &mut this.functions {
            functions.clip = clip;
        }
        Ok(this)
    }
}

/// Gate and candidate activation of each direction. Parameters are consumed in the order of the
/// functions that take them.
fn activations(
    names: &[String],
    alphas: &[f32],
    betas: &[f32],
    directions: usize,
) -> Result<Vec<CellFunctions>> {
    if names.len() != 2 * directions {
        return Err(invalid(format!(
            "activations must name {} functions, two a direction, it names {}: {}",
            2 * directions,
            names.len(),
            names.join(", ")
        )));
    }
    let (mut alpha, mut beta) = (alphas.iter().copied(), betas.iter().copied());
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        // The crate's own names are not the operator's.
        if name.contains('_') || name.eq_ignore_ascii_case("linear") {
            return Err(unsupported(format!(
                "activation '{name}' is not one of the GRU operator's"
            )));
        }
        let (takes_alpha, takes_beta) = takes(Activation::from_name(name, None, None)?);
        let alpha = if takes_alpha { alpha.next() } else { None };
        let beta = if takes_beta { beta.next() } else { None };
        all.push(Activation::from_name(name, alpha, beta)?);
    }
    if alpha.next().is_some() || beta.next().is_some() {
        return Err(unsupported(format!(
            "activation_alpha has {} values and activation_beta {}, more than {} take",
            alphas.len(),
            betas.len(),
            names.join(", ")
        )));
    }
    let pairs = all.as_chunks::<2>().0.iter();
    Ok(pairs
        .map(|[gate, candidate]| CellFunctions { gate: *gate, candidate: *candidate, clip: None })
        .collect())
}

fn takes(activation: Activation) -> (bool, bool) {
    match activation {
        Activation::LeakyRelu { .. }
        | Activation::ThresholdedRelu { .. }
        | Activation::Elu { .. } => (true, false),
        Activation::HardSigmoid { .. }
        | Activation::Affine { .. }
        | Activation::ScaledTanh { .. } => (true, true),
        _ => (false, false),
    }
}

fn direction(name: &str, opset: i64) -> Result<Directions> {
    match name {
        "forward" => Ok(Directions::Forward),
        "reverse" => Ok(Directions::Reverse),
        "bidirectional" => Ok(Directions::Bidirectional),
        // The default of the first versions of the operator, as they spell it.
        "foward" if opset < 7 => Ok(Directions::Forward),
        _ => Err(invalid(format!(
            "direction must be forward, reverse or bidirectional, it is '{name}'"
        ))),
    }
}

/// Checks the declared type; files without one are older than that field.
fn of_type(attribute: &AttributeProto, wanted: i32, is: &str) -> Result<()> {
    match attribute.r#type {
        None | Some(0) => Ok(()),
        Some(given) if given == wanted => Ok(()),
        Some(_) => Err(wrong_type(attribute, is)),
    }
}

fn wrong_type(attribute: &AttributeProto, wanted: &str) -> Error {
    invalid(format!("the attribute {} must be {wanted}", attribute.name()))
}

fn integer(attribute: &AttributeProto) -> Result<i64> {
    of_type(attribute, attribute_type::INT, "an integer")?;
    attribute.i.ok_or_else(|| wrong_type(attribute, "an integer"))
}

fn flag(attribute: &AttributeProto) -> Result<bool> {
    match integer(attribute)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(invalid(format!(
            "the attribute {} must be 0 or 1, it is {other}",
            attribute.name()
        ))),
    }
}

fn number(attribute: &AttributeProto) -> Result<f32> {
    of_type(attribute, attribute_type::FLOAT, "a number")?;
    attribute.f.ok_or_else(|| wrong_type(attribute, "a number"))
}

fn numbers(attribute: &AttributeProto) -> Result<Vec<f32>> {
    of_type(attribute, attribute_type::FLOATS, "numbers")?;
    Ok(attribute.floats.clone())
}

fn text(attribute: &AttributeProto) -> Result<String> {
    of_type(attribute, attribute_type::STRING, "a string")?;
    let bytes = attribute.s.as_ref().ok_or_else(|| wrong_type(attribute, "a string"))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn strings(attribute: &AttributeProto) -> Result<Vec<String>> {
    of_type(attribute, attribute_type::STRINGS, "strings")?;
    Ok(attribute.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidFile, message)
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}
