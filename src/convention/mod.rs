//! The conventions in which trained GRUs are stored, each turned into the canonical form once.
//!
//! | convention | tensors of a layer | gates | reset form | update gate |
//! |---|---|---|---|---|
//! | pytorch | `weight_ih_l0 [3H, I]`, `weight_hh_l0 [3H, H]`, `bias_ih_l0`, `bias_hh_l0 [3H]`, `_reverse` | r, z, n | after | 1 keeps the old state |
//! | textbook | `W_u`, `W_R` (`W_r`), `W_h` `[H, I+H]`, columns of x first, `b_u`, `b_R` (`b_r`), `b_h` `[H]` | apart | before | 1 takes the new state |
//! | keras | `kernel [I, 3H]`, `recurrent_kernel [H, 3H]`, `bias [3H]` or `[2, 3H]` | z, r, h | before or after, by the bias | 1 keeps the old state |
//! | onnx | W `[D, 3H, I]`, R `[D, 3H, H]`, B `[D, 6H]` of a node | z, r, h | `linear_before_reset` | 1 keeps the old state |
//! | wgru | pytorch's names | r, z, n | stated in the metadata | 1 keeps the old state |
//!
//! Canonical is `h' = (1-z) n + z h`, gates in the order r, z, n. The textbook's update gate is
//! `U = 1 - z = 1 - sigmoid(a) = sigmoid(-a)`: its weights and biases are read negated.

mod keras;
mod module;
mod onnx;
mod pytorch;
mod requirements;
mod statements;
mod textbook;

use std::fmt;

use crate::cell::{CellFunctions, ResetForm};
use crate::config::{Directions, GruConfig};
use crate::description::{Description, Evidence, Format, ListedGru, OutputOrder};
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;
use crate::tensor_set::TensorSet;
use crate::weights::{CellWeights, GruWeights};
pub(crate) use onnx::cells as onnx_cells;
pub(crate) use requirements::check_finite;
pub(crate) use statements::Statements;

use module::Module;

/// How the weights of a GRU are named, ordered and meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Convention {
    /// `torch.nn.GRU` and `torch.nn.GRUCell`: `weight_ih_l0 [3H, I]` and so on, gates r, z, n,
    /// reset-after.
    Pytorch,
    /// The textbook's four equations: `W_u`, `W_R`, `W_h` `[H, I+H]` with the columns of x first,
    /// reset-before, `h' = U*C + (1-U)*h`.
    Textbook,
    /// `keras.layers.GRU`: `kernel [I, 3H]`, `recurrent_kernel [H, 3H]`, `bias`, gates z, r, h.
    Keras,
    /// The ONNX operator's W, R and B: gates z, r, h.
    Onnx,
    /// This crate's own: PyTorch's names, with `wgru.*` metadata that states reset form,
    /// activations, clip and directions. Any GRU that loads can be written so.
    Wgru,
}

impl Convention {
    /// The convention of that name: `pytorch`, `textbook`, `keras`, `onnx` or `wgru`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for any other name.
    pub fn from_name(name: &str) -> Result<Self> {
        [Self::Pytorch, Self::Textbook, Self::Keras, Self::Onnx, Self::Wgru]
            .into_iter()
            .find(|c| c.name() == name)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidRequest,
                    format!(
                        "convention must be pytorch, textbook, keras, onnx or wgru, '{name}' was \
                         given"
                    ),
                )
            })
    }

    /// The name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pytorch => "pytorch",
            Self::Textbook => "textbook",
            Self::Keras => "keras",
            Self::Onnx => "onnx",
            Self::Wgru => "wgru",
        }
    }
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A network in canonical form, with what was understood of its file.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: GruConfig,
    pub(crate) weights: GruWeights,
    pub(crate) description: Description,
}

/// What a convention makes of a module's tensors.
#[derive(Debug)]
struct Network {
    input_size: usize,
    hidden_size: usize,
    directions: Directions,
    cells: Vec<CellWeights>,
    reset: Reset,
}

/// What a convention knows of the reset form.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reset {
    /// Its own form, unless something else is stated or asked for.
    Usual(ResetForm),
    /// The shapes show it.
    Shown(ResetForm),
    /// The metadata has to state it.
    FromMetadata,
    /// Nothing shows it.
    Unknown,
}

/// The one GRU of `set` that `options` select, in canonical form.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] where the options select none or several, or contradict what the
/// file states; [`ErrorKind::InvalidWeights`] where its tensors do not fit each other;
/// [`ErrorKind::Unsupported`] where it is another kind of network.
pub(crate) fn load(set: &TensorSet, format: Format, options: &LoadOptions) -> Result<Loaded> {
    let statements = Statements::from_metadata(set.metadata())?;
    let modules = module::find(set, &statements);
    let module = module::pick(&modules, options)?;
    load_module(set, module, format, &statements, options)
}

/// Every recurrent network of `set`; those that do not load say why.
pub(crate) fn list(
    set: &TensorSet,
    format: Format,
    options: &LoadOptions,
) -> Result<Vec<ListedGru>> {
    let statements = Statements::from_metadata(set.metadata())?;
    let listed = module::find(set, &statements).into_iter().map(|module| {
        let loaded = load_module(set, &module, format, &statements, options);
        let loaded = loaded.map(|loaded| (loaded.config, loaded.description));
        ListedGru::new(module.display_name(), module.convention, loaded)
    });
    Ok(listed.collect())
}

/// Whether a tensor of this name could belong to a GRU.
pub(crate) fn is_part(name: &str) -> bool {
    module::convention_of(module::split(name).1).is_some()
}

fn load_module(
    set: &TensorSet,
    module: &Module,
    format: Format,
    statements: &Statements,
    options: &LoadOptions,
) -> Result<Loaded> {
    module.refuse_other_names(options.convention)?;
    module.refuse_other_kinds(set)?;
    let mut description = Description::new(format, module.convention);
    description.name = (!module.prefix.is_empty()).then(|| module.display_name().to_owned());
    description.producer = producer(set);
    description.convention_evidence = match () {
        () if options.convention.is_some() => Evidence::Asked,
        () if statements.convention == Some(module.convention) => Evidence::Stated,
        () => Evidence::Implied,
    };
    let convention = options.convention.unwrap_or(module.convention);
    let network = match convention {
        Convention::Pytorch | Convention::Wgru => {
            pytorch::read(set, module, convention, options, &mut description)?
        }
        Convention::Textbook => textbook::read(set, module, options, &mut description)?,
        Convention::Keras => keras::read(set, module, options, &mut description)?,
        Convention::Onnx => {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "the onnx convention is that of ONNX files, these are named tensors",
            ));
        }
    };
    description.convention = convention;
    finish(network, statements, options, description)
}

/// Combines what the tensors, the metadata and the caller say.
fn finish(
    network: Network,
    statements: &Statements,
    options: &LoadOptions,
    mut description: Description,
) -> Result<Loaded> {
    let directions = statements.directions(network.directions)?;
    let (reset, evidence) = statements.reset(network.reset, options)?;
    description.reset_evidence = evidence;
    if description.convention == Convention::Pytorch
        && (reset, evidence) == (ResetForm::Before, Evidence::Asked)
    {
        description.warnings.push(
            "read as reset-before, as asked; torch.nn.GRU itself is always reset-after".to_owned(),
        );
    }
    let (functions, evidence) = statements.functions(directions, options)?;
    // Keras lets each layer choose, and its weights do not tell.
    let unsaid = match description.convention {
        Convention::Keras => Evidence::Assumed,
        _ => Evidence::Implied,
    };
    description.activations_evidence = evidence.unwrap_or(unsaid);
    if description.convention == Convention::Textbook {
        textbook::check_gate(&functions)?;
    }
    let (directions, output_order) = order(directions, statements, options, &description)?;
    description.output_order = output_order;
    if let Some(source) = &statements.source {
        description.notes.push(format!("converted from {source}"));
    }
    let config = GruConfig {
        input_size: network.input_size,
        hidden_size: network.hidden_size,
        num_layers: network.cells.len() / directions.count(),
        directions,
        reset,
        functions,
    };
    let weights = GruWeights::new(&config, network.cells)?;
    Ok(Loaded { config, weights, description })
}

/// Directions and order of outputs, where `named` is what names and metadata say.
fn order(
    named: Directions,
    statements: &Statements,
    options: &LoadOptions,
    description: &Description,
) -> Result<(Directions, OutputOrder)> {
    let order = statements.output_order.unwrap_or_default();
    if order == OutputOrder::Processing && named != Directions::Reverse {
        return Err(Error::new(
            ErrorKind::InvalidFile,
            format!(
                "outputs in processing order belong to a network that reads backwards, this one \
                 is {named}"
            ),
        ));
    }
    if !options.go_backwards || order == OutputOrder::Processing {
        return Ok((named, order));
    }
    if description.convention == Convention::Keras && named == Directions::Forward {
        return Ok((Directions::Reverse, OutputOrder::Processing));
    }
    Err(Error::new(
        ErrorKind::InvalidRequest,
        format!(
            "going backwards belongs to a Keras layer of one direction, this GRU is {named} in the \
             {} convention",
            description.convention
        ),
    ))
}

/// Default functions of both directions.
fn default_functions() -> [CellFunctions; 2] {
    [CellFunctions::default(); 2]
}

fn producer(set: &TensorSet) -> Option<String> {
    let metadata = set.metadata();
    if let Some(version) = metadata.get("wgru.version") {
        return Some(format!("wgru (form {version})"));
    }
    match metadata.get("format").map(String::as_str) {
        Some("pt") => Some("PyTorch".to_owned()),
        Some("tf") => Some("TensorFlow".to_owned()),
        Some("flax") => Some("Flax".to_owned()),
        Some("mlx") => Some("MLX".to_owned()),
        Some(other) => Some(other.to_owned()),
        None => None,
    }
}
