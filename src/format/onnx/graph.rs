//! An index of a graph: who makes and who reads each value.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::format::onnx::proto::{GraphProto, NodeProto, TensorProto};
use crate::format::onnx::tensor::Storage;

/// A graph by the names of its values.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub(super) nodes: &'a [NodeProto],
    storage: &'a Storage<'a>,
    initializers: HashMap<&'a str, &'a TensorProto>,
    sparse: HashSet<&'a str>,
    producers: HashMap<&'a str, &'a NodeProto>,
    consumers: HashMap<&'a str, Vec<&'a NodeProto>>,
    inputs: HashSet<&'a str>,
    outputs: HashSet<&'a str>,
    shapes: HashMap<&'a str, Vec<Option<i64>>>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// The file holds it: an initializer or a Constant node's tensor.
    Constant(&'a TensorProto),
    /// A sparse tensor of the file.
    Sparse,
    /// Another node computes it.
    Node(&'a NodeProto),
    /// The caller gives it.
    Input,
    /// Nothing makes it.
    Missing,
}

/// Nodes that are passed through before a value counts as computed: longer rows of Identity, and
/// cycles, end here.
const MAX_STEPS: usize = 64;

impl<'a> Graph<'a> {
    /// # Errors
    /// [`ErrorKind::InvalidFile`] where two things have one name.
    pub(super) fn new(graph: &'a GraphProto, storage: &'a Storage<'a>) -> Result<Self> {
        let mut this = Self {
            nodes: &graph.node,
            storage,
            initializers: HashMap::new(),
            sparse: HashSet::new(),
            producers: HashMap::new(),
            consumers: HashMap::new(),
            inputs: graph.input.iter().map(|v| v.name()).collect(),
            outputs: graph.output.iter().map(|v| v.name()).collect(),
            shapes: HashMap::new(),
        };
        let twice = |what: &str, name: &str| {
            Error::new(ErrorKind::InvalidFile, format!("two {what} are called '{name}'"))
        };
        for tensor in &graph.initializer {
            if this.initializers.insert(tensor.name(), tensor).is_some() {
                return Err(twice("initializers", tensor.name()));
            }
        }
        this.sparse = graph
            .sparse_initializer
            .iter()
            .filter_map(|s| Some(s.values.as_ref()?.name()))
            .collect();
        for node in &graph.node {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                if this.producers.insert(output, node).is_some() {
                    return Err(twice("nodes' outputs", output));
                }
            }
            let read: HashSet<&str> = node.input.iter().map(String::as_str).collect();
            for input in read.into_iter().filter(|i| !i.is_empty()) {
                this.consumers.entry(input).or_default().push(node);
            }
        }
        for value in graph.input.iter().chain(&graph.value_info).chain(&graph.output) {
            let tensor = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
            if let Some(shape) = tensor.and_then(|t| t.shape.as_ref()) {
                let dims = shape.dim.iter().map(|d| d.dim_value).collect();
                this.shapes.insert(value.name(), dims);
            }
        }
        Ok(this)
    }

    /// Where the value `name` comes from, through Identity nodes.
    pub(super) fn source(&self, mut name: &'a str) -> Source<'a> {
        for _ in 0..MAX_STEPS {
            if let Some(tensor) = self.initializers.get(name) {
                return Source::Constant(tensor);
            }
            if self.sparse.contains(name) {
                return Source::Sparse;
            }
            match self.producers.get(name) {
                Some(node) if node.is("Identity") => name = node.input(0),
                Some(node) if node.is("Constant") => {
                    return match node.attribute("value").and_then(|a| a.t.as_ref()) {
                        Some(tensor) => Source::Constant(tensor),
                        None => Source::Node(node),
                    };
                }
                Some(node) => return Source::Node(node),
                None if self.inputs.contains(name) => return Source::Input,
                None => return Source::Missing,
            }
        }
        Source::Missing
    }

    /// The nodes that read the value.
    pub(super) fn consumers(&self, name: &str) -> &[&'a NodeProto] {
        self.consumers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the value is one of the graph's outputs.
    pub(super) fn is_output(&self, name: &str) -> bool {
        self.outputs.contains(name)
    }

    /// The value's dimensions as the file declares them.
    pub(super) fn declared_shape(&self, name: &str) -> Option<&[Option<i64>]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    /// The integers of a constant of up to 16 elements.
    pub(super) fn integers(&self, name: &'a str) -> Option<Vec<i64>> {
        match self.source(name) {
            Source::Constant(tensor) => self.storage.integers(tensor),
            Source::Node(node) if node.is("Constant") => {
                let single = node.attribute("value_int").and_then(|a| a.i).map(|i| vec![i]);
                single.or_else(|| Some(node.attribute("value_ints")?.ints.clone()))
            }
            _ => None,
        }
    }
}
