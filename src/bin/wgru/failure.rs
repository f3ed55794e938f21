//! How a command ends: one line on standard error and an exit code.

use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// The request or a file is wrong.
const WRONG_REQUEST: u8 = 2;
/// The device failed.
pub(crate) const DEVICE_FAILED: u8 = 3;

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the library.
    Library(wgru::Error),
    /// The command line is wrong, or asked for help.
    CommandLine(clap::Error),
    /// The request makes no sense.
    Request(String),
    /// Standard output cannot be written to.
    Stdout(io::Error),
    /// A defect of this program.
    Internal(String),
}

impl From<wgru::Error> for Failure {
    fn from(error: wgru::Error) -> Self {
        Self::Library(error)
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stdout(error)
    }
}

impl Failure {
    /// Writes the line and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (message, code) = match self {
            Self::Library(error) => {
                let code = if error.is_device_failure() { DEVICE_FAILED } else { WRONG_REQUEST };
                (error.to_string(), code)
            }
            Self::CommandLine(error) if !error.use_stderr() => {
                // Help and version.
                return match error.print() {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => Self::Stdout(error).report(),
                };
            }
            Self::CommandLine(error) => (command_line_message(&error), WRONG_REQUEST),
            Self::Request(message) => (one_line(&message), WRONG_REQUEST),
            Self::Internal(message) => {
                (format!("internal: {}; please report it", one_line(&message)), DEVICE_FAILED)
            }
            // A reader that has seen enough, such as `head`.
            Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            Self::Stdout(error) => {
                (format!("cannot write to standard output: {error}"), WRONG_REQUEST)
            }
        };
        // Standard error may be closed; there is no one left to tell then.
        let _ = writeln!(io::stderr(), "wgru: error: {message}");
        ExitCode::from(code)
    }
}

/// Runs `command`; a panic in it, on any thread it waits for, is a failure like any other.
pub(crate) fn without_panics(
    command: impl FnOnce() -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    static FIRST: Mutex<Option<String>> = Mutex::new(None);
    panic::set_hook(Box::new(|info| {
        let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| info.to_string());
    }));
    panic::catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(Failure::Internal(first.unwrap_or_else(|| "a panic".to_owned())))
    })
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What clap prints, on one line and without the usage.
fn command_line_message(error: &clap::Error) -> String {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return "a command is missing; see wgru --help".to_owned();
    }
    let text = error.to_string();
    let text = text.split("\nUsage:").next().unwrap_or_default();
    let text = text.split("\nFor more information").next().unwrap_or_default();
    let line = one_line(text);
    // There is no command that takes such a value.
    let line = line.split(" tip: to pass '").next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).replace(" tip: ", "; ")
}
