//! The library's warnings as lines on standard error.

use std::io::{self, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Shows them from now on.
pub(crate) fn show() {
    // Fails only where there is a logger already.
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

struct Lines;

impl Log for Lines {
    /// Warnings of this crate: what is an error ends the command and is said then, and what the
    /// graphics stack logs is not for its users.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() == Level::Warn && metadata.target().starts_with("wgru")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = record.args().to_string().replace(char::is_control, " ");
            // Standard error may be closed; there is no one left to tell then.
            let _ = writeln!(io::stderr(), "wgru: warning: {line}");
        }
    }

    fn flush(&self) {}
}
