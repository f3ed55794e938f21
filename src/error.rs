//! The crate's one error type.

use std::fmt;

/// What went wrong, for callers that match. The message says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be read or written.
    Io,
    /// A file is not what its format says: truncated, inconsistent, or of another format.
    InvalidFile,
    /// An option, a device name or another request makes no sense, or contradicts the file.
    InvalidRequest,
    /// A model's sizes are zero, or their products overflow.
    InvalidConfig,
    /// A tensor is missing, misshapen, of a type that is not read, or not finite.
    InvalidWeights,
    /// An input, state, length or mask does not fit the model or the session.
    InvalidShape,
    /// The file asks for something that this crate does not compute.
    Unsupported,
    /// No adapter was found, or none matches the request.
    NoDevice,
    /// The adapter lacks a limit or feature without which no plan exists.
    UnsupportedDevice,
    /// No plan fits the limits or the memory budget.
    ExceedsLimits,
    /// The device or the host could not allocate.
    OutOfMemory,
    /// The device was lost, or did not answer in time.
    DeviceLost,
    /// A defect of this crate, reported by the graphics stack; please report it.
    Internal,
}

/// The error of every fallible call: a [kind](Error::kind) and a one-line message that names the
/// thing, what was wanted and what was given.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: one_line(message.into()), source: None }
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: one_line(message.into()), source: Some(source.into()) }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the device failed, rather than the request or a file being wrong.
    pub fn is_device_failure(&self) -> bool {
        matches!(self.kind, ErrorKind::OutOfMemory | ErrorKind::DeviceLost | ErrorKind::Internal)
    }

    /// The same error with `context: ` in front of its message.
    pub(crate) fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = one_line(format!("{context}: {}", self.message));
        self
    }
}

/// Longest message, in bytes: names and shapes come from files of any content.
const MAX_MESSAGE: usize = 1200;

/// `message` on one line: control characters escaped, its middle cut where it is very long.
fn one_line(message: String) -> String {
    let mut line = if message.contains(char::is_control) {
        message
            .chars()
            .flat_map(|c| {
                let escaped = c.is_control().then(|| c.escape_default());
                let plain = (!c.is_control()).then_some(c);
                escaped.into_iter().flatten().chain(plain)
            })
            .collect()
    } else {
        message
    };
    if line.len() > MAX_MESSAGE {
        let head = line.floor_char_boundary(MAX_MESSAGE * 2 / 3);
        let tail = line.ceil_char_boundary(line.len() - MAX_MESSAGE / 3);
        line.replace_range(head..tail, " ... ");
    }
    line
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as _)
    }
}
