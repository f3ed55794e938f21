//! A sign of life during long work.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does `work`; while it lasts, standard error shows `message` and the time that has passed,
/// where that is a terminal.
pub(crate) fn while_shown<T>(message: String, work: impl FnOnce() -> T) -> T {
    let (done, finished) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if finished.recv_timeout(PATIENCE) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let style = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_elapsed(PATIENCE).with_style(style);
            bar.set_message(message);
            bar.enable_steady_tick(Duration::from_millis(200));
            // Ends when the other side is dropped, by a panic too.
            let _ = finished.recv();
            bar.finish_and_clear();
        });
        let result = work();
        drop(done);
        result
    })
}
