//! Finding the recurrent modules of a file by their tensors' names, and choosing one.

use std::collections::BTreeMap;

use crate::convention::{Convention, Statements, keras, pytorch, textbook};
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;
use crate::tensor_set::TensorSet;

/// Modules that an error lists before it only counts the rest.
const MAX_LISTED: usize = 12;

/// The tensors of one module: those that share a prefix and a convention.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Module {
    pub(super) convention: Convention,
    /// What stands before the convention's own names, with its separator; empty for none.
    pub(super) prefix: String,
    /// The rest of each tensor's name.
    pub(super) parts: Vec<String>,
    /// The prefix of the same network's other direction, where that stands apart.
    pub(super) backward: Option<String>,
    /// The part whose shape tells the kind; empty where nothing does.
    recurrent: String,
    kind: Kind,
}

/// What the ratio of gate rows to hidden units says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Gru,
    Lstm,
    PlainRnn,
}

impl Module {
    /// The prefix without its separator.
    pub(super) fn display_name(&self) -> &str {
        self.prefix.strip_suffix(['.', '/']).unwrap_or(&self.prefix)
    }

    fn is_called(&self, asked: &str) -> bool {
        self.prefix == asked || self.display_name() == asked
    }

    fn is_below(&self, asked: &str) -> bool {
        let asked = asked.strip_suffix(['.', '/']).unwrap_or(asked);
        !asked.is_empty()
            && self.prefix.strip_prefix(asked).is_some_and(|rest| rest.starts_with(['.', '/']))
    }

    /// Whether the names are those of `convention`; two share theirs.
    fn is_named_in(&self, convention: Convention) -> bool {
        let of_pytorch = |c| matches!(c, Convention::Pytorch | Convention::Wgru);
        self.convention == convention || of_pytorch(convention) && of_pytorch(self.convention)
    }

    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where the names are those of another convention than the one
    /// asked for.
    pub(super) fn refuse_other_names(&self, asked: Option<Convention>) -> Result<()> {
        match asked {
            Some(asked) if !self.is_named_in(asked) => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "its tensors are named in the {} convention, {asked} was asked for",
                    self.convention
                ),
            )),
            _ => Ok(()),
        }
    }

    fn label(&self) -> String {
        match self.display_name() {
            "" => format!("tensors without prefix ({})", self.convention),
            name => format!("{name} ({})", self.convention),
        }
    }

    /// # Errors
    /// [`ErrorKind::Unsupported`] where the shapes are those of an LSTM or of a plain RNN.
    pub(super) fn refuse_other_kinds(&self, set: &TensorSet) -> Result<()> {
        let (what, gates) = match self.kind {
            Kind::Gru => return Ok(()),
            Kind::Lstm => ("an LSTM", 4),
            Kind::PlainRnn => ("a plain RNN", 1),
        };
        let name = format!("{}{}", self.prefix, self.recurrent);
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "{} looks like {what}, not a GRU: {name} has the shape {:?}, {gates} gates of the \
                 hidden size where a GRU has 3",
                self.label(),
                set.shape(&name).unwrap_or_default()
            ),
        ))
    }
}

/// Splits a tensor's name into prefix, with its separator, and the convention's own part.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.split_at(name.rfind(['.', '/']).map_or(0, |at| at + 1))
}

/// The convention whose own name `part` is. This crate's is PyTorch's.
pub(super) fn convention_of(part: &str) -> Option<Convention> {
    if pytorch::is_part(part) {
        Some(Convention::Pytorch)
    } else if textbook::is_part(part) {
        Some(Convention::Textbook)
    } else {
        keras::is_part(part).then_some(Convention::Keras)
    }
}

/// Every module of `set`, sorted by prefix.
pub(super) fn find(set: &TensorSet, statements: &Statements) -> Vec<Module> {
    let mut groups: BTreeMap<(&str, Convention), Vec<String>> = BTreeMap::new();
    for name in set.names() {
        let (prefix, part) = split(name);
        let convention = match convention_of(part) {
            None => continue,
            // The metadata tells the two apart.
            Some(Convention::Pytorch) if statements.convention == Some(Convention::Wgru) => {
                Convention::Wgru
            }
            Some(convention) => convention,
        };
        groups.entry((prefix, convention)).or_default().push(part.to_owned());
    }
    let mut modules: Vec<Module> = groups
        .into_iter()
        .filter(|((_, convention), parts)| match convention {
            Convention::Textbook => textbook::is_module(parts),
            Convention::Keras => keras::is_module(parts),
            _ => pytorch::is_module(parts),
        })
        .map(|((prefix, convention), parts)| {
            let (recurrent, gates) = match convention {
                Convention::Textbook => None,
                Convention::Keras => keras::gates(set, prefix, &parts),
                _ => pytorch::gates(set, prefix, &parts),
            }
            .unwrap_or_default();
            let kind = match gates {
                4 => Kind::Lstm,
                1 => Kind::PlainRnn,
                _ => Kind::Gru,
            };
            let recurrent = recurrent.to_owned();
            Module { convention, prefix: prefix.to_owned(), parts, backward: None, recurrent, kind }
        })
        .collect();
    pair_directions(&mut modules);
    modules
}

/// Makes one module of a Keras layer that reads forward and the one beside it that reads
/// backwards.
fn pair_directions(modules: &mut Vec<Module>) {
    let keras = |m: &Module| m.convention == Convention::Keras && m.kind == Kind::Gru;
    for forward in 0..modules.len() {
        if let Some(prefix) = keras::backward_of(&modules[forward].prefix)
            && keras(&modules[forward])
            && modules.iter().any(|m| keras(m) && m.prefix == prefix)
        {
            modules[forward].backward = Some(prefix);
        }
    }
    let paired: Vec<String> = modules.iter().filter_map(|m| m.backward.clone()).collect();
    modules.retain(|m| !(keras(m) && paired.contains(&m.prefix)));
}

/// The module that `options` select.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] where they fit none or several, listing what there is;
/// [`ErrorKind::InvalidWeights`] where the file holds no recurrent module at all.
pub(super) fn pick<'m>(modules: &'m [Module], options: &LoadOptions) -> Result<&'m Module> {
    if let Some(node) = &options.node {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "node '{node}' was asked for; nodes belong to ONNX files, this one has tensors"
            ),
        ));
    }
    if modules.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidWeights,
            "no GRU was found; its tensors would be called weight_ih_l0, weight_hh_l0 (pytorch), \
             or W_u, W_R, W_h (textbook), or kernel, recurrent_kernel (keras), with any prefix",
        ));
    }
    let mut fits: Vec<&Module> = modules.iter().collect();
    if let Some(prefix) = &options.prefix {
        // A part of the path is enough where it leads to one GRU.
        let called = fits.iter().any(|m| m.is_called(prefix));
        fits.retain(|m| m.is_called(prefix) || !called && m.is_below(prefix));
        if fits.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("no GRU has the prefix '{prefix}'; the file holds {}", listed(modules)),
            ));
        }
    }
    if let Some(convention) = options.convention {
        fits.retain(|m| m.is_named_in(convention));
        if fits.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "no tensors are named in the {convention} convention; the file holds {}",
                    listed(modules)
                ),
            ));
        }
    }
    let grus: Vec<&Module> = fits.iter().copied().filter(|m| m.kind == Kind::Gru).collect();
    match (&grus[..], &fits[..]) {
        ([one], _) | ([], [one, ..]) => Ok(one),
        ([first, .., last], _) if first.prefix == last.prefix => Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "the names of {} fit several conventions; choose one (--convention)",
                listed(&grus)
            ),
        )),
        _ => Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "the file holds {} GRUs; choose one by its prefix (--prefix): {}",
                grus.len(),
                listed(&grus)
            ),
        )),
    }
}

fn listed<'m>(
    modules: impl IntoIterator<Item = &'m (impl std::borrow::Borrow<Module> + 'm)>,
) -> String {
    let mut labels: Vec<String> = modules.into_iter().map(|m| m.borrow().label()).collect();
    if labels.len() > MAX_LISTED {
        let more = labels.len() - MAX_LISTED;
        labels.truncate(MAX_LISTED);
        labels.push(format!("and {more} more"));
    }
    labels.join(", ")
}
