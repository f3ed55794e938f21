//! ONNX files: the GRU operator of opsets 1 to 22.

mod attributes;
mod chain;
mod graph;
mod model;
mod node;
mod proto;
mod state;
mod tensor;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::convention::{Convention, Loaded};
use crate::description::ListedGru;
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;
use graph::Graph;
use model::Model;
use node::NodeReader;
use proto::{ModelProto, is_default_domain};
use tensor::Storage;

/// Operator sets whose GRU is known.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=22;

/// The GRU of the file's bytes that `options` select. `folder` holds the file, where there is one.
pub(crate) fn load(
    bytes: &Arc<Vec<u8>>,
    folder: Option<&Path>,
    options: &LoadOptions,
) -> Result<Loaded> {
    refuse_options_of_tensors(options)?;
    with_model(bytes, folder, |model| model.load(options))
}

/// Every GRU of the file.
pub(crate) fn list(
    bytes: &Arc<Vec<u8>>,
    folder: Option<&Path>,
    options: &LoadOptions,
) -> Result<Vec<ListedGru>> {
    with_model(bytes, folder, |model| Ok(model.list(options)))
}

fn with_model<T>(
    bytes: &Arc<Vec<u8>>,
    folder: Option<&Path>,
    use_model: impl FnOnce(&Model<'_, '_>) -> Result<T>,
) -> Result<T> {
    // Slices of these bytes are handed out, so that tensors stay where the file was read to.
    let shared = Bytes::from_owner(SharedBytes(bytes.clone()));
    let proto =
        ModelProto::decode(shared).map_err(|e| invalid(format!("not a valid ONNX file: {e}")))?;
    let graph_proto = proto
        .graph
        .as_ref()
        .ok_or_else(|| invalid("not a valid ONNX file: it has no graph".to_owned()))?;
    let opset = opset(&proto)?;
    let storage = Storage::new(bytes, folder);
    let graph = Graph::new(graph_proto, &storage)?;
    let reader = NodeReader::new(&graph, &storage, opset);
    let (mut nodes, mut failed) = (Vec::new(), Vec::new());
    for node in graph.nodes.iter().filter(|node| node.is("GRU")) {
        match reader.read(node) {
            Ok(node) => nodes.push(node),
            Err(error) => failed.push((node, error)),
        }
    }
    use_model(&Model::new(&proto, graph_proto, &graph, opset, &nodes, failed))
}

/// Bytes that [`Bytes`] can borrow from.
struct SharedBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The version of the ONNX operators.
fn opset(proto: &ModelProto) -> Result<i64> {
    let imported = proto.opset_import.iter().find(|o| is_default_domain(o.domain()));
    let version = match imported {
        Some(opset) => opset.version(),
        // The field came with version 3 of the file format.
        None if proto.ir_version() < 3 => 1,
        None => {
            return Err(invalid("the file does not say which operator set it uses".to_owned()));
        }
    };
    if !OPSETS.contains(&version) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "operator sets {} to {} are read, the file uses {version}",
                OPSETS.start(),
                OPSETS.end()
            ),
        ));
    }
    Ok(version)
}

fn refuse_options_of_tensors(options: &LoadOptions) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::InvalidRequest, message));
    if let Some(prefix) = &options.prefix {
        return wrong(format!(
            "prefix '{prefix}' was asked for; an ONNX file's GRUs are chosen by node"
        ));
    }
    match options.convention {
        None | Some(Convention::Onnx) => {}
        Some(other) => {
            return wrong(format!("convention {other} was asked for; this is an ONNX file"));
        }
    }
    if options.go_backwards {
        return wrong("going backwards belongs to Keras layers; this is an ONNX file".to_owned());
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidFile, message)
}
