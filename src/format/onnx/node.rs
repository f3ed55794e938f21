//! One GRU node: its attributes and weights, checked against each other.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::cell::GATES;
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::format::onnx::attributes::Attributes;
use crate::format::onnx::graph::{Graph, Source};
use crate::format::onnx::proto::NodeProto;
use crate::format::onnx::state::InitialState;
use crate::format::onnx::tensor::Storage;
use crate::tensor::Tensor;

/// Places of the operator's inputs and outputs.
pub(super) const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const B: usize = 3;
const SEQUENCE_LENS: usize = 4;
const INITIAL_H: usize = 5;
pub(super) const Y: usize = 0;
pub(super) const Y_H: usize = 1;

/// A node whose weights are in the file and fit each other.
#[derive(Clone, Debug)]
pub(super) struct GruNode<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) attributes: Attributes,
    /// `[D, 3H, I]`
    pub(super) w: Tensor,
    /// `[D, 3H, H]`
    pub(super) r: Tensor,
    /// `[D, 6H]`
    pub(super) b: Option<Tensor>,
    pub(super) input_size: usize,
    pub(super) hidden_size: usize,
    pub(super) initial_state: InitialState<'a>,
    /// Name of the value that gives the rows' lengths; empty for none.
    pub(super) sequence_lens: &'a str,
}

/// Reads nodes of one graph; a tensor that several share is read once.
#[derive(Debug)]
pub(super) struct NodeReader<'a, 's> {
    pub(super) graph: &'s Graph<'a>,
    pub(super) storage: &'s Storage<'a>,
    pub(super) opset: i64,
    tensors: RefCell<HashMap<&'a str, Tensor>>,
}

impl<'a, 's> NodeReader<'a, 's> {
    pub(super) fn new(graph: &'s Graph<'a>, storage: &'s Storage<'a>, opset: i64) -> Self {
        Self { graph, storage, opset, tensors: RefCell::default() }
    }

    /// # Errors
    /// Those of [`Attributes::read`] and [`Storage::tensor`];
    /// [`ErrorKind::Unsupported`] for weights, lengths or states that this crate cannot take from
    /// where they are; [`ErrorKind::InvalidWeights`] for shapes that do not fit.
    pub(super) fn read(&self, node: &'a NodeProto) -> Result<GruNode<'a>> {
        let attributes = Attributes::read(node, self.opset)?;
        let directions = attributes.directions.count();
        let w = self.weight(node, W, "W")?;
        let r = self.weight(node, R, "R")?;
        let b = (!node.input(B).is_empty()).then(|| self.weight(node, B, "B")).transpose()?;
        let (input_size, hidden_size) = match (w.shape(), r.shape()) {
            ([_, _, i], [_, _, h]) => (*i, *h),
            _ => {
                return Err(wrong(format!(
                    "W must have the shape [D, 3H, I] and R [D, 3H, H], {} has {:?} and {} has {:?}",
                    w.name(),
                    w.shape(),
                    r.name(),
                    r.shape()
                )));
            }
        };
        if let Some(stated) = attributes.hidden_size
            && usize::try_from(stated) != Ok(hidden_size)
        {
            return Err(wrong(format!(
                "hidden_size is {stated}, R ({}) has the shape [D, 3H, H] = {:?}",
                r.name(),
                r.shape()
            )));
        }
        // Makes the products below safe.
        GruConfig::new(input_size, hidden_size).validate()?;
        let rows = GATES * hidden_size;
        let mut problems = Vec::new();
        let mut check = |role: &str, axes: &str, tensor: &Tensor, wanted: &[usize]| {
            if tensor.shape() != wanted {
                problems.push(format!(
                    "{role} ({}) must have the shape {axes} = {wanted:?}, it has {:?}",
                    tensor.name(),
                    tensor.shape()
                ));
            }
        };
        check("W", "[D, 3H, I]", &w, &[directions, rows, input_size]);
        check("R", "[D, 3H, H]", &r, &[directions, rows, hidden_size]);
        if let Some(b) = &b {
            check("B", "[D, 6H]", b, &[directions, 2 * rows]);
        }
        if !problems.is_empty() {
            return Err(wrong(problems.join("; ")));
        }
        let sequence_lens = node.input(SEQUENCE_LENS);
        if let Source::Constant(_) | Source::Sparse = self.graph.source(sequence_lens)
            && !sequence_lens.is_empty()
        {
            return Err(unsupported(format!(
                "sequence_lens ({sequence_lens}) is fixed by the file, for one batch alone"
            )));
        }
        let initial_state = InitialState::of(self.graph, self.storage, node.input(INITIAL_H));
        if let InitialState::Fixed { name } = initial_state {
            return Err(unsupported(format!(
                "initial_h ({name}) is a constant of the file that is not zero, which is not applied"
            )));
        }
        Ok(GruNode {
            node,
            attributes,
            w,
            r,
            b,
            input_size,
            hidden_size,
            initial_state,
            sequence_lens,
        })
    }

    fn weight(&self, node: &'a NodeProto, index: usize, role: &str) -> Result<Tensor> {
        let name = node.input(index);
        if name.is_empty() {
            return Err(wrong(format!("{role} is missing")));
        }
        if let Some(tensor) = self.tensors.borrow().get(name) {
            return Ok(tensor.clone());
        }
        let tensor = match self.graph.source(name) {
            Source::Constant(proto) => self.storage.tensor(name, proto)?,
            Source::Sparse => {
                return Err(unsupported(format!("{role} ({name}) is sparse, which is not read")));
            }
            Source::Node(maker) => {
                return Err(unsupported(format!(
                    "{role} ({name}) is computed by the file (node '{}', {}); weights that it \
                     holds are read",
                    maker.label(),
                    maker.op_type()
                )));
            }
            Source::Input => {
                return Err(unsupported(format!(
                    "{role} ({name}) is left to the caller; weights that the file holds are read"
                )));
            }
            Source::Missing => {
                return Err(wrong(format!("{role} ({name}) is nowhere in the file")));
            }
        };
        self.tensors.borrow_mut().insert(name, tensor.clone());
        Ok(tensor)
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidWeights, message)
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}
