//! What a caller may say about a file beyond what the file says itself.

use crate::activation::Activation;
use crate::cell::ResetForm;
use crate::convention::Convention;

/// Options of [`Gru::open_with`](crate::Gru::open_with) and
/// [`Gru::from_tensors`](crate::Gru::from_tensors). The default asks for nothing: the file, its
/// tensors' names and their shapes decide.
///
/// An option that contradicts what the file states is an error, never a silent choice.
///
/// ```
/// use wgru::{Activation, Convention, LoadOptions, ResetForm};
///
/// let options = LoadOptions::new()
///     .prefix("encoder.rnn")
///     .convention(Convention::Keras)
///     .reset(ResetForm::Before)
///     .activations(Activation::from_name("hard_sigmoid", None, None)?, Activation::Tanh);
/// # let _ = options;
/// # Ok::<(), wgru::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    pub(crate) prefix: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) convention: Option<Convention>,
    pub(crate) reset: Option<ResetForm>,
    pub(crate) activations: Option<(Activation, Activation)>,
    pub(crate) go_backwards: bool,
    pub(crate) allow_non_finite: bool,
}

impl LoadOptions {
    /// Nothing asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which GRU of a file of named tensors: the one whose tensors are called
    /// `prefix.weight_ih_l0` and so on (`/` may stand in place of the dot). The first parts of a
    /// longer prefix are enough where they lead to one GRU. An empty prefix is the GRU whose names
    /// have none. Default: the only GRU of the file.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Which GRU of an ONNX file: its name or its index, as [`Gru::list`](crate::Gru::list) gives
    /// them (that of several layers is called after its first node); or one node alone, by its
    /// name or by one of its outputs. Default: the only one.
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// How the tensors are named and ordered. Default: decided by the file's metadata, else by
    /// the tensors' names.
    pub fn convention(mut self, convention: Convention) -> Self {
        self.convention = Some(convention);
        self
    }

    /// The reset form, where the file does not state it. Default: the convention's own.
    pub fn reset(mut self, reset: ResetForm) -> Self {
        self.reset = Some(reset);
        self
    }

    /// Activations of the gates and of the candidate, where the file does not state them.
    /// Default: sigmoid and tanh.
    pub fn activations(mut self, gate: Activation, candidate: Activation) -> Self {
        self.activations = Some((gate, candidate));
        self
    }

    /// A Keras layer made with `go_backwards=True`: reads its input from the last step to the
    /// first, and gives its outputs in the order in which it computed them. Default: false.
    pub fn go_backwards(mut self, go_backwards: bool) -> Self {
        self.go_backwards = go_backwards;
        self
    }

    /// Accept NaN and infinite weights (and f64 weights beyond the range of f32). Default: false.
    pub fn allow_non_finite(mut self, allow: bool) -> Self {
        self.allow_non_finite = allow;
        self
    }
}
