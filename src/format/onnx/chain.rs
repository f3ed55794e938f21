//! The layers of one multi-layer network: GRU nodes tied as PyTorch's exporters tie them.
//!
//! Layer l's Y `[T, D, B, H]` becomes layer l+1's X `[T, B, D*H]` by Squeeze (one direction) or
//! Transpose and Reshape; the initial states are zero or the slices of one value; the final
//! states go nowhere or into one Concat. Anything else that reads a value in between means
//! another network, and the nodes stay apart.

use crate::format::onnx::graph::{Graph, Source};
use crate::format::onnx::node::{GruNode, X, Y, Y_H};
use crate::format::onnx::proto::NodeProto;
use crate::format::onnx::state::InitialState;

/// A dimension of Y that a file may name by computing it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dim {
    Known(i64),
    Steps,
    Batch,
}

/// Nodes that are passed through in a shape's computation.
const MAX_STEPS: usize = 12;

/// Whether the nodes, each reading the one before, are exactly the layers of one network.
///
/// # Errors
/// Why they are not.
pub(super) fn one_network(graph: &Graph<'_>, layers: &[&GruNode<'_>]) -> Result<(), &'static str> {
    let first = layers[0];
    let (a, d) = (&first.attributes, first.attributes.directions.count());
    let every = |same: &dyn Fn(&GruNode<'_>) -> bool| layers.iter().all(|node| same(node));
    let above = |same: &dyn Fn(&GruNode<'_>) -> bool| layers[1..].iter().all(|node| same(node));
    let conditions = [
        (every(&|n| n.attributes.directions == a.directions), "their directions differ"),
        (every(&|n| n.attributes.reset == a.reset), "their reset forms differ"),
        (every(&|n| n.attributes.functions == a.functions), "their activations or clips differ"),
        (every(&|n| !n.attributes.batch_first), "their layout is 1"),
        (every(&|n| n.hidden_size == first.hidden_size), "their hidden sizes differ"),
        (above(&|n| n.input_size == d * first.hidden_size), "their input sizes do not follow"),
        (every(&|n| n.sequence_lens == first.sequence_lens), "their sequence_lens differ"),
        (states_fit(layers, d), "their initial states are not the planes of one value, in order"),
        (
            final_states_fit(graph, layers),
            "their final states are not joined by one Concat, in order",
        ),
    ];
    match conditions.into_iter().find(|(holds, _)| !holds) {
        Some((_, reason)) => Err(reason),
        None => Ok(()),
    }
}

/// All states are zero, or layer l takes the planes l*D to (l+1)*D of one value.
fn states_fit(layers: &[&GruNode<'_>], d: usize) -> bool {
    let InitialState::Planes { name: first, .. } = layers[0].initial_state else {
        return layers.iter().all(|layer| layer.initial_state == InitialState::Zero);
    };
    layers.iter().enumerate().all(|(l, layer)| {
        let wanted = i64::try_from(l * d).ok().zip(i64::try_from((l + 1) * d).ok());
        layer.initial_state == InitialState::Planes { name: first, range: wanted }
    })
}

/// The final states of all layers but the last are unused, or one Concat takes all in order.
fn final_states_fit(graph: &Graph<'_>, layers: &[&GruNode<'_>]) -> bool {
    let names: Vec<&str> = layers.iter().map(|layer| layer.node.output(Y_H)).collect();
    let is_whole = |node: &NodeProto| {
        node.is("Concat")
            && node.attribute("axis").and_then(|a| a.i) == Some(0)
            && node.input.iter().map(String::as_str).eq(names.iter().copied())
    };
    names[..names.len() - 1].iter().all(|name| {
        name.is_empty()
            || !graph.is_output(name)
                && match graph.consumers(name) {
                    [] => true,
                    [one] => is_whole(one),
                    _ => false,
                }
    })
}

/// The nodes in rows, each of which reads the one before, in the order of the file.
pub(super) fn rows<'n, 'a>(
    graph: &Graph<'a>,
    nodes: &'n [GruNode<'a>],
) -> Vec<Vec<&'n GruNode<'a>>> {
    let position = |wanted: &NodeProto| nodes.iter().position(|n| std::ptr::eq(n.node, wanted));
    let next: Vec<Option<usize>> =
        nodes.iter().map(|node| reader(graph, node).and_then(position)).collect();
    let mut has_previous = vec![false; nodes.len()];
    for next in next.iter().flatten() {
        has_previous[*next] = true;
    }
    let starts = (0..nodes.len()).filter(|i| !has_previous[*i]);
    let mut rows: Vec<Vec<&GruNode<'a>>> = Vec::new();
    let mut used = vec![false; nodes.len()];
    for start in starts {
        let mut row = Vec::new();
        let mut at = Some(start);
        while let Some(i) = at.filter(|i| !used[*i]) {
            used[i] = true;
            row.push(&nodes[i]);
            at = next[i];
        }
        rows.push(row);
    }
    // A cycle is no network; its nodes are listed one by one.
    rows.extend((0..nodes.len()).filter(|i| !used[*i]).map(|i| vec![&nodes[i]]));
    rows
}

/// The GRU node whose X is this node's Y and nothing else reads it.
fn reader<'a>(graph: &Graph<'a>, node: &GruNode<'a>) -> Option<&'a NodeProto> {
    let y = node.node.output(Y);
    let joined = only_reader(graph, y).and_then(|first| {
        if first.is("Squeeze") && node.attributes.directions.count() == 1 {
            let axes = match first.input(1) {
                "" => first.attribute("axes").map(|a| a.ints.clone())?,
                axes => graph.integers(axes)?,
            };
            return (axes == [1] || axes == [-3]).then(|| first.output(0));
        }
        let perm = first.attribute("perm").map(|a| a.ints.as_slice());
        if !first.is("Transpose") || perm != Some(&[0, 2, 1, 3]) {
            return None;
        }
        let moved = first.output(0);
        let reshape = only_reader(graph, moved).filter(|node| node.is("Reshape"))?;
        reshape_joins(graph, node, moved, reshape).then(|| reshape.output(0))
    })?;
    only_reader(graph, joined).filter(|next| {
        next.is("GRU")
            && next.input(X) == joined
            && next.input.iter().filter(|i| *i == joined).count() == 1
    })
}

/// The only node that reads the value, not counting those that ask for its shape; none where it
/// is an output of the graph.
fn only_reader<'a>(graph: &Graph<'a>, name: &str) -> Option<&'a NodeProto> {
    if name.is_empty() || graph.is_output(name) {
        return None;
    }
    let mut readers = graph.consumers(name).iter().filter(|node| !node.is("Shape"));
    let one = readers.next()?;
    readers.next().is_none().then_some(*one)
}

/// Whether `reshape` turns `moved` `[T, B, D, H]` into `[T, B, D*H]`.
fn reshape_joins<'a>(
    graph: &Graph<'a>,
    node: &GruNode<'a>,
    moved: &'a str,
    reshape: &'a NodeProto,
) -> bool {
    let [steps, batch] = steps_and_batch(graph, node.node.input(X));
    let known = |n: usize| i64::try_from(n).map_or(Dim::Known(-1), Dim::Known);
    let d = node.attributes.directions.count();
    let dims = [steps, batch, known(d), known(node.hidden_size)];
    let wanted = [steps, batch, known(d * node.hidden_size)];
    let zero_copies = reshape.attribute("allowzero").and_then(|a| a.i).unwrap_or(0) == 0;
    let Some(given) = shape_value(graph, reshape.input(1), moved, &dims, MAX_STEPS) else {
        return false;
    };
    let inferred = given.iter().filter(|dim| **dim == Dim::Known(-1)).count();
    given.len() == 3
        && inferred <= 1
        && given.iter().zip(&wanted).enumerate().all(|(axis, (given, wanted))| {
            given == wanted
                || *given == Dim::Known(-1)
                || *given == Dim::Known(0) && zero_copies && axis < 2
        })
}

/// T and B of X `[T, B, I]`, as far as the file declares them.
fn steps_and_batch<'a>(graph: &Graph<'a>, x: &'a str) -> [Dim; 2] {
    let declared = |name: &str| match graph.declared_shape(name) {
        Some([a, b, _]) => Some([*a, *b]),
        _ => None,
    };
    let dims = declared(x).or_else(|| match graph.source(x) {
        // A batch-first input, turned.
        Source::Node(node) if node.is("Transpose") => {
            let perm = node.attribute("perm").map(|a| a.ints.as_slice());
            let [a, b] = declared(node.input(0)).filter(|_| perm == Some(&[1, 0, 2]))?;
            Some([b, a])
        }
        _ => None,
    });
    let [steps, batch] = dims.unwrap_or_default();
    [steps.map_or(Dim::Steps, Dim::Known), batch.map_or(Dim::Batch, Dim::Known)]
}

/// The elements of a shape that the file gives or computes, where `data` has the shape `dims`.
fn shape_value<'a>(
    graph: &Graph<'a>,
    name: &'a str,
    data: &str,
    dims: &[Dim; 4],
    steps: usize,
) -> Option<Vec<Dim>> {
    let steps = steps.checked_sub(1)?;
    if let Some(integers) = graph.integers(name) {
        return Some(integers.into_iter().map(Dim::Known).collect());
    }
    let Source::Node(node) = graph.source(name) else { return None };
    let input = |i: usize| shape_value(graph, node.input(i), data, dims, steps);
    let attribute = |name: &str| node.attribute(name).and_then(|a| a.i);
    match node.op_type() {
        "Shape" if node.input(0) == data => {
            let (start, end) = (attribute("start").unwrap_or(0), attribute("end").unwrap_or(4));
            section(dims, start, end)
        }
        "Slice" => {
            let value = input(0)?;
            let one = |i: usize, default: i64| match node.input(i) {
                "" => Some(default),
                name => <[i64; 1]>::try_from(graph.integers(name)?).ok().map(|[v]| v),
            };
            let (axis, step) = (one(3, 0)?, one(4, 1)?);
            let given = !node.input(1).is_empty() && !node.input(2).is_empty();
            if axis != 0 || step != 1 || !given {
                return None;
            }
            section(&value, one(1, 0)?, one(2, 0)?)
        }
        "Gather" if attribute("axis").unwrap_or(0) == 0 => {
            let value = input(0)?;
            let [index] = <[i64; 1]>::try_from(graph.integers(node.input(1))?).ok()?;
            section(&value, index, index.checked_add(1).filter(|end| *end != 0).unwrap_or(i64::MAX))
        }
        // Of a single element or a list, these keep the elements.
        "Unsqueeze" | "Squeeze" | "Reshape" | "Cast" => input(0),
        "Concat" => {
            let parts: Option<Vec<Vec<Dim>>> = (0..node.input.len().min(8)).map(input).collect();
            (node.input.len() <= 8).then(|| parts.map(|parts| parts.concat()))?
        }
        "Mul" => match (&input(0)?[..], &input(1)?[..]) {
            ([Dim::Known(a)], [Dim::Known(b)]) => Some(vec![Dim::Known(a.checked_mul(*b)?)]),
            _ => None,
        },
        _ => None,
    }
}

/// Elements `start..end`; negative positions count from the end.
fn section(values: &[Dim], start: i64, end: i64) -> Option<Vec<Dim>> {
    let len = i64::try_from(values.len()).ok()?;
    let place = |at: i64| {
        let at = if at < 0 { at.checked_add(len)? } else { at.min(len) };
        usize::try_from(at).ok()
    };
    values.get(place(start)?..place(end)?).map(<[Dim]>::to_vec)
}
