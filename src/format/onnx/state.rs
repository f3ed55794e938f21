//! Where a node's initial state comes from.

use crate::format::onnx::graph::{Graph, Source};
use crate::format::onnx::proto::{NodeProto, TensorProto};
use crate::format::onnx::tensor::Storage;

/// The initial state of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum InitialState<'a> {
    /// Left out, or zero.
    Zero,
    /// Planes `from..to` of the value `name`; all of them where there is no range.
    Planes { name: &'a str, range: Option<(i64, i64)> },
    /// A constant that is not zero.
    Fixed { name: &'a str },
}

/// Nodes that are passed through before a value counts as computed.
const MAX_STEPS: usize = 16;

impl<'a> InitialState<'a> {
    /// The state that is called `name`; empty for none.
    pub(super) fn of(graph: &Graph<'a>, storage: &Storage<'_>, name: &'a str) -> Self {
        if name.is_empty() {
            return Self::Zero;
        }
        match constant(graph, storage, name, MAX_STEPS) {
            Some(true) => return Self::Zero,
            Some(false) => return Self::Fixed { name },
            None => {}
        }
        match graph.source(name) {
            Source::Node(node) if node.is("Slice") => match planes(graph, node) {
                Some(range) => Self::Planes { name: node.input(0), range: Some(range) },
                None => Self::Planes { name, range: None },
            },
            _ => Self::Planes { name, range: None },
        }
    }
}

/// Whether a value is zero, where the file fixes it.
fn constant<'a>(
    graph: &Graph<'a>,
    storage: &Storage<'_>,
    name: &'a str,
    steps: usize,
) -> Option<bool> {
    let steps = steps.checked_sub(1)?;
    match graph.source(name) {
        Source::Constant(tensor) => Some(is_zero(storage, tensor)),
        Source::Node(node) if node.is("ConstantOfShape") => {
            let value = node.attribute("value").and_then(|a| a.t.as_ref());
            Some(value.is_none_or(|tensor| is_zero(storage, tensor)))
        }
        // Rearranging and repeating zeros gives zeros.
        Source::Node(node)
            if [
                "Expand",
                "Slice",
                "Squeeze",
                "Unsqueeze",
                "Reshape",
                "Transpose",
                "Tile",
                "Cast",
            ]
            .iter()
            .any(|op| node.is(op)) =>
        {
            constant(graph, storage, node.input(0), steps)
        }
        Source::Node(node) if node.is("Constant") => Some(false),
        _ => None,
    }
}

fn is_zero(storage: &Storage<'_>, tensor: &TensorProto) -> bool {
    storage
        .tensor("the initial state", tensor)
        .is_ok_and(|tensor| (0..tensor.len()).all(|i| tensor.get(i) == 0.0))
}

/// The range that a Slice takes along the first axis.
fn planes<'a>(graph: &Graph<'a>, node: &'a NodeProto) -> Option<(i64, i64)> {
    let one = |index: usize, attribute: &str, default: Option<i64>| {
        let values = match node.input(index) {
            "" => match node.attribute(attribute) {
                Some(a) => a.ints.clone(),
                None => return default,
            },
            name => graph.integers(name)?,
        };
        <[i64; 1]>::try_from(values).ok().map(|[v]| v)
    };
    let from = one(1, "starts", None)?;
    let to = one(2, "ends", None)?;
    let axis = one(3, "axes", Some(0))?;
    let step = one(4, "steps", Some(1))?;
    (axis == 0 && step == 1 && from >= 0 && to > from).then_some((from, to))
}
