//! What a file's `wgru.*` metadata states, and how it combines with what a caller asks for.
//!
//! | key | value |
//! |---|---|
//! | `wgru.version` | `1` |
//! | `wgru.convention` | `pytorch`, `textbook`, `keras` or `wgru` |
//! | `wgru.reset` | `before` or `after` |
//! | `wgru.directions` | `forward`, `reverse` or `bidirectional` |
//! | `wgru.gate_activation`, `wgru.candidate_activation` | `Sigmoid`, `HardSigmoid(0.2, 0.5)`, ... |
//! | `wgru.clip` | a number above 0 |
//! | the last three with `.reverse` appended | the same for the second direction, where it differs |
//! | `wgru.output_order` | `time` or `processing` |
//! | `wgru.source` | what the weights were converted from; any text |

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::activation::Activation;
use crate::cell::{CellFunctions, ResetForm};
use crate::config::{Directions, GruConfig};
use crate::convention::{Convention, Reset, default_functions};
use crate::description::{Description, Evidence, OutputOrder};
use crate::error::{Error, ErrorKind, Result};
use crate::load::LoadOptions;

const VERSION: &str = "1";

/// The statements of a file; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Statements {
    pub(crate) convention: Option<Convention>,
    reset: Option<ResetForm>,
    directions: Option<Directions>,
    gate: [Option<Activation>; 2],
    candidate: [Option<Activation>; 2],
    clip: [Option<f32>; 2],
    pub(crate) output_order: Option<OutputOrder>,
    /// What the weights were converted from.
    pub(crate) source: Option<String>,
}

impl Statements {
    /// # Errors
    /// [`ErrorKind::InvalidFile`] for a `wgru.*` key or value that is not known.
    pub(crate) fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self> {
        let mut this = Self::default();
        for (key, value) in metadata {
            let Some(key) = key.strip_prefix("wgru.") else { continue };
            let (stem, direction) = match key.strip_suffix(".reverse") {
                Some(stem) => (stem, 1),
                None => (key, 0),
            };
            let known = match (stem, direction) {
                ("version", 0) => value == VERSION,
                ("convention", 0) => set(&mut this.convention, Convention::from_name(value).ok()),
                ("reset", 0) => {
                    set(&mut this.reset, by_name(value, [ResetForm::Before, ResetForm::After]))
                }
                ("directions", 0) => set(
                    &mut this.directions,
                    by_name(
                        value,
                        [Directions::Forward, Directions::Reverse, Directions::Bidirectional],
                    ),
                ),
                ("output_order", 0) => set(
                    &mut this.output_order,
                    by_name(value, [OutputOrder::Time, OutputOrder::Processing]),
                ),
                ("gate_activation", d) => set(&mut this.gate[d], value.parse().ok()),
                ("candidate_activation", d) => set(&mut this.candidate[d], value.parse().ok()),
                ("clip", d) => set(
                    &mut this.clip[d],
                    value.parse().ok().filter(|c: &f32| c.is_finite() && *c > 0.0),
                ),
                ("source", 0) => set(&mut this.source, Some(value.clone())),
                _ => {
                    return Err(Error::new(
                        ErrorKind::InvalidFile,
                        format!(
                            "the metadata key wgru.{key} (with the value '{value}') is unknown"
                        ),
                    ));
                }
            };
            if !known {
                return Err(Error::new(
                    ErrorKind::InvalidFile,
                    format!("the metadata key wgru.{key} has no value '{value}'"),
                ));
            }
        }
        Ok(this)
    }

    /// The metadata that states a network completely.
    pub(crate) fn describe(
        config: &GruConfig,
        description: &Description,
    ) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        let mut put = |key: &str, value: &dyn Display| {
            out.insert(format!("wgru.{key}"), value.to_string());
        };
        put("version", &VERSION);
        put("convention", &Convention::Wgru);
        put("reset", &config.reset);
        put("directions", &config.directions);
        for (functions, suffix) in config.functions.iter().zip(["", ".reverse"]) {
            if suffix.is_empty() || config.directions == Directions::Bidirectional {
                put(&format!("gate_activation{suffix}"), &functions.gate);
                put(&format!("candidate_activation{suffix}"), &functions.candidate);
                if let Some(clip) = functions.clip {
                    put(&format!("clip{suffix}"), &clip);
                }
            }
        }
        put("output_order", &description.output_order);
        out
    }

    /// The directions, where `names` is what the tensors' names say.
    pub(super) fn directions(&self, names: Directions) -> Result<Directions> {
        match (self.directions, names) {
            (None, names) => Ok(names),
            (Some(stated), names) if stated.count() == names.count() => Ok(stated),
            (Some(stated), names) => Err(Error::new(
                ErrorKind::InvalidFile,
                format!("the metadata states directions {stated}, the tensors' names say {names}"),
            )),
        }
    }

    /// The reset form and how it is known, where `own` is what the convention knows.
    pub(super) fn reset(&self, own: Reset, options: &LoadOptions) -> Result<(ResetForm, Evidence)> {
        match (self.reset, options.reset, own) {
            (Some(stated), Some(asked), _) if stated != asked => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("the file states reset {stated}, {asked} was asked for"),
            )),
            (Some(stated), _, Reset::Shown(shown)) if stated != shown => Err(Error::new(
                ErrorKind::InvalidFile,
                format!("the metadata states reset {stated}, the bias has the shape of {shown}"),
            )),
            (Some(stated), _, _) => Ok((stated, Evidence::Stated)),
            (None, Some(asked), Reset::Shown(shown)) if asked != shown => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("the bias has the shape of reset {shown}, {asked} was asked for"),
            )),
            (None, _, Reset::Shown(shown)) => Ok((shown, Evidence::Implied)),
            (None, Some(asked), Reset::Usual(usual)) if asked == usual => {
                Ok((usual, Evidence::Implied))
            }
            (None, Some(asked), _) => Ok((asked, Evidence::Asked)),
            (None, None, Reset::Usual(form)) => Ok((form, Evidence::Implied)),
            (None, None, Reset::Unknown) => Err(Error::new(
                ErrorKind::InvalidRequest,
                "without a bias nothing shows the reset form; say it (--reset before or after; \
                 Keras layers are reset-after by default since version 2.4 of TensorFlow 2)",
            )),
            (None, None, Reset::FromMetadata) => Err(Error::new(
                ErrorKind::InvalidFile,
                "the wgru convention wants the metadata key wgru.reset, the file has none",
            )),
        }
    }

    /// The functions of both directions, and how they are known: `None` where nobody says.
    pub(super) fn functions(
        &self,
        directions: Directions,
        options: &LoadOptions,
    ) -> Result<([CellFunctions; 2], Option<Evidence>)> {
        let stated = self.gate.iter().chain(&self.candidate).any(Option::is_some);
        let mut out = default_functions();
        for (d, functions) in out.iter_mut().enumerate() {
            // A second direction without keys of its own is as the first.
            let d = if directions == Directions::Bidirectional { d } else { 0 };
            functions.gate = self.gate[d].or(self.gate[0]).unwrap_or(functions.gate);
            functions.candidate =
                self.candidate[d].or(self.candidate[0]).unwrap_or(functions.candidate);
            functions.clip = self.clip[d].or(self.clip[0]);
        }
        let Some((gate, candidate)) = options.activations else {
            return Ok((out, stated.then_some(Evidence::Stated)));
        };
        for functions in &mut out {
            if stated && (functions.gate, functions.candidate) != (gate, candidate) {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!(
                        "the file states activations {},{}; {gate},{candidate} were asked for",
                        functions.gate, functions.candidate
                    ),
                ));
            }
            (functions.gate, functions.candidate) = (gate, candidate);
        }
        Ok((out, Some(if stated { Evidence::Stated } else { Evidence::Asked })))
    }
}

/// Stores a parsed value; whether there was one.
fn set<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    *slot = value;
    slot.is_some()
}

fn by_name<T: Display, const N: usize>(name: &str, values: [T; N]) -> Option<T> {
    values.into_iter().find(|v| v.to_string() == name)
}
