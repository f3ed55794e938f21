//! What an ONNX file holds: its GRUs, one of them chosen, and that one as a network.

use crate::cell::ResetForm;
use crate::config::GruConfig;
use crate::convention::{Convention, Loaded, check_finite, onnx_cells};
use crate::description::{Description, Evidence, Format, ListedGru};
use crate::error::{Error, ErrorKind, Result};
use crate::format::onnx::attributes::Attributes;
use crate::format::onnx::chain;
use crate::format::onnx::graph::Graph;
use crate::format::onnx::node::GruNode;
use crate::format::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};
use crate::format::onnx::state::InitialState;
use crate::load::LoadOptions;
use crate::weights::GruWeights;

/// GRUs that an error lists before it only counts the rest.
const MAX_LISTED: usize = 12;

/// One GRU of the file: the layers of a network, or a node that cannot be read.
#[derive(Debug)]
struct Entry<'n, 'a> {
    label: String,
    layers: std::result::Result<Vec<&'n GruNode<'a>>, Error>,
    node: &'a NodeProto,
    /// Why it is not a layer of a larger network, where it could be taken for one.
    apart: Option<String>,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Model<'n, 'a> {
    proto: &'a ModelProto,
    graph: &'a GraphProto,
    opset: i64,
    nodes: &'n [GruNode<'a>],
    entries: Vec<Entry<'n, 'a>>,
}

impl<'n, 'a> Model<'n, 'a> {
    pub(super) fn new(
        proto: &'a ModelProto,
        graph_proto: &'a GraphProto,
        graph: &Graph<'a>,
        opset: i64,
        nodes: &'n [GruNode<'a>],
        failed: Vec<(&'a NodeProto, Error)>,
    ) -> Self {
        let mut entries = Vec::new();
        let entry = |layers: Vec<&'n GruNode<'a>>, apart: Option<String>| Entry {
            label: layers[0].node.label().to_owned(),
            node: layers[0].node,
            layers: Ok(layers),
            apart,
        };
        for row in chain::rows(graph, nodes) {
            match chain::one_network(graph, &row) {
                Err(reason) if row.len() > 1 => {
                    let apart = format!(
                        "one of {} GRU nodes in a row from '{}' on, not the layers of one network: \
                         {reason}",
                        row.len(),
                        row[0].node.label()
                    );
                    entries.extend(row.into_iter().map(|n| entry(vec![n], Some(apart.clone()))));
                }
                _ => entries.push(entry(row, None)),
            }
        }
        entries.extend(failed.into_iter().map(|(node, error)| {
            let label = node.label().to_owned();
            let layers = Err(error.context(format_args!("GRU '{label}'")));
            Entry { layers, label, node, apart: None }
        }));
        // In the order of the file.
        entries.sort_by_key(|e| graph.nodes.iter().position(|node| std::ptr::eq(node, e.node)));
        Self { proto, graph: graph_proto, opset, nodes, entries }
    }

    /// The GRU that `options` select.
    pub(super) fn load(&self, options: &LoadOptions) -> Result<Loaded> {
        if self.entries.is_empty() {
            return Err(self.no_gru());
        }
        let Some(asked) = &options.node else {
            return match &self.entries[..] {
                [one, ..] if self.nodes.is_empty() => self.build(one, options),
                [one] => self.build(one, options),
                several => Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!(
                        "the file holds {} GRUs; choose one (--node): {}",
                        several.len(),
                        self.listed()
                    ),
                )),
            };
        };
        let mut named = self.entries.iter().filter(|e| e.label == *asked);
        if let (Some(entry), None) = (named.next(), named.next()) {
            return self.build(entry, options);
        }
        let index = asked.parse::<usize>().ok();
        if let Some(entry) = index.and_then(|i| self.entries.get(i)) {
            return self.build(entry, options);
        }
        let is_asked =
            |node: &NodeProto| node.name() == asked || node.output.iter().any(|o| o == asked);
        if let Some(node) = self.nodes.iter().find(|n| is_asked(n.node)) {
            let label = node.node.label().to_owned();
            let entry = Entry { label, layers: Ok(vec![node]), node: node.node, apart: None };
            return self.build(&entry, options);
        }
        match self.entries.iter().find(|e| is_asked(e.node)) {
            Some(entry) => self.build(entry, options),
            None => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("no GRU is called '{asked}'; the file holds {}", self.listed()),
            )),
        }
    }

    /// Every GRU, loaded as `options` ask.
    pub(super) fn list(&self, options: &LoadOptions) -> Vec<ListedGru> {
        self.entries
            .iter()
            .map(|entry| {
                let loaded = self.build(entry, options);
                let loaded = loaded.map(|loaded| (loaded.config, loaded.description));
                ListedGru::new(&entry.label, Convention::Onnx, loaded)
            })
            .collect()
    }

    /// The file's GRUs for a message.
    fn listed(&self) -> String {
        let mut labels: Vec<String> = self
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| match &entry.layers {
                Ok(layers) if layers.len() > 1 => {
                    format!("{index}: {} ({} layers)", entry.label, layers.len())
                }
                Ok(_) => format!("{index}: {}", entry.label),
                Err(error) => format!("{index}: {} (does not load: {error})", entry.label),
            })
            .collect();
        if labels.len() > MAX_LISTED {
            let more = labels.len() - MAX_LISTED;
            labels.truncate(MAX_LISTED);
            labels.push(format!("and {more} more"));
        }
        labels.join(", ")
    }

    fn no_gru(&self) -> Error {
        let inside = |nodes: &[NodeProto]| nodes.iter().find_map(holds_gru).is_some();
        let hidden = self
            .graph
            .node
            .iter()
            .find(|node| node.attribute.iter().any(|a| graphs(a).any(|g| inside(&g.node))))
            .map(|node| format!("in a graph inside of the node '{}'", node.label()))
            .or_else(|| {
                let function = self.proto.functions.iter().find(|f| inside(&f.node))?;
                Some(format!("in the function '{}'", function.name()))
            });
        match hidden {
            Some(place) => Error::new(
                ErrorKind::Unsupported,
                format!("the file's GRU is {place}; GRUs of the main graph are read"),
            ),
            None => Error::new(
                ErrorKind::InvalidWeights,
                format!(
                    "the file has {} nodes, none of them a GRU of the ONNX operators",
                    self.graph.node.len()
                ),
            ),
        }
    }

    fn build(&self, entry: &Entry<'n, 'a>, options: &LoadOptions) -> Result<Loaded> {
        match &entry.layers {
            Ok(layers) => self
                .build_layers(layers, &entry.label, options)
                .map(|mut loaded| {
                    loaded.description.notes.extend(entry.apart.clone());
                    loaded
                })
                .map_err(|e| e.context(format_args!("GRU '{}'", entry.label))),
            Err(error) => Err(Error::new(error.kind(), error.to_string())),
        }
    }

    fn build_layers(
        &self,
        layers: &[&GruNode<'_>],
        label: &str,
        options: &LoadOptions,
    ) -> Result<Loaded> {
        let first = layers[0];
        let attributes = &first.attributes;
        let mut description = Description::new(Format::Onnx, Convention::Onnx);
        description.convention_evidence = Evidence::Stated;
        description.name = Some(label.to_owned());
        description.producer = self.producer();
        description.bias = layers.iter().any(|layer| layer.b.is_some());
        let mut cells = Vec::new();
        for layer in layers {
            for tensor in [Some(&layer.w), Some(&layer.r), layer.b.as_ref()].into_iter().flatten() {
                check_finite(tensor, options, &mut description.warnings)?;
                description.count(tensor);
            }
            cells.extend(onnx_cells(&layer.w, &layer.r, layer.b.as_ref()));
        }
        let reset = self.reset(attributes, options, &mut description)?;
        if let Some(asked) = options.activations {
            let functions = &attributes.functions[0];
            if attributes.functions.iter().any(|f| (f.gate, f.candidate) != asked) {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!(
                        "the file states activations {},{}; {},{} were asked for",
                        functions.gate, functions.candidate, asked.0, asked.1
                    ),
                ));
            }
        }
        let stated = first.node.attribute("activations").is_some();
        description.activations_evidence =
            if stated { Evidence::Stated } else { Evidence::Implied };
        self.add_notes(layers, &mut description);
        let config = GruConfig {
            input_size: first.input_size,
            hidden_size: first.hidden_size,
            num_layers: layers.len(),
            directions: attributes.directions,
            reset,
            functions: attributes.functions,
        };
        let weights = GruWeights::new(&config, cells)?;
        Ok(Loaded { config, weights, description })
    }

    /// The reset form. A file that says reset-before may be read as reset-after, for exporters
    /// have written it wrongly.
    fn reset(
        &self,
        attributes: &Attributes,
        options: &LoadOptions,
        description: &mut Description,
    ) -> Result<ResetForm> {
        let stated = attributes.reset;
        let by_torch = self.proto.producer_name().eq_ignore_ascii_case("pytorch");
        description.reset_evidence =
            if attributes.reset_stated { Evidence::Stated } else { Evidence::Implied };
        match (stated, options.reset) {
            (ResetForm::After, Some(ResetForm::Before)) => Err(Error::new(
                ErrorKind::InvalidRequest,
                "the file states linear_before_reset = 1 (reset after), reset before was asked for",
            )),
            (ResetForm::Before, Some(ResetForm::After)) => {
                description.reset_evidence = Evidence::Asked;
                description.notes.push(
                    "linear_before_reset = 0 (reset before) in the file, read as reset after as \
                     asked"
                        .to_owned(),
                );
                Ok(ResetForm::After)
            }
            (ResetForm::Before, asked) if by_torch => {
                if asked.is_none() {
                    description.warnings.push(format!(
                        "{} wrote linear_before_reset = 0, but torch.nn.GRU is always \
                         reset-after: almost surely the fault of its exporter \
                         (pytorch/pytorch#189225), and the results differ from the model's; \
                         --reset after reads it as it was meant",
                        description.producer.as_deref().unwrap_or("PyTorch")
                    ));
                }
                Ok(stated)
            }
            _ => Ok(stated),
        }
    }

    fn add_notes(&self, layers: &[&GruNode<'_>], description: &mut Description) {
        let first = layers[0];
        let notes = &mut description.notes;
        notes.push(format!("operator set {}", self.opset));
        if layers.len() > 1 {
            let labels: Vec<&str> = layers.iter().map(|layer| layer.node.label()).collect();
            notes.push(format!(
                "{} chained nodes are the layers of one network: {}",
                layers.len(),
                labels.join(", ")
            ));
        }
        if first.attributes.batch_first {
            notes.push("the node's X and Y are batch-first (layout = 1)".to_owned());
        }
        if let InitialState::Planes { name, .. } = first.initial_state {
            notes.push(format!(
                "the initial state is for the caller to give (in the file '{name}')"
            ));
        }
        if !first.sequence_lens.is_empty() {
            notes.push(format!(
                "the rows' lengths are for the caller to give (in the file '{}')",
                first.sequence_lens
            ));
        }
    }

    fn producer(&self) -> Option<String> {
        let (name, version) = (self.proto.producer_name(), self.proto.producer_version());
        match (name, version) {
            ("", _) => None,
            (name, "") => Some(name.to_owned()),
            (name, version) => Some(format!("{name} {version}")),
        }
    }
}

/// Graphs inside of an attribute.
fn graphs(attribute: &AttributeProto) -> impl Iterator<Item = &GraphProto> {
    attribute.g.iter().chain(&attribute.graphs)
}

/// The node, if it is a GRU or holds one in a graph of its own.
fn holds_gru(node: &NodeProto) -> Option<&NodeProto> {
    let nested =
        || node.attribute.iter().flat_map(graphs).flat_map(|g| &g.node).find_map(holds_gru);
    if node.is("GRU") { Some(node) } else { nested() }
}
