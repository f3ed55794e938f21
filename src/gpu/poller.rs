//! The thread that waits for the device on behalf of async runs: nothing else drives a native
//! device's callbacks, and an executor's thread must not block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use futures_intrusive::channel::shared::oneshot_channel;

use super::context::GpuContext;

type Job = Box<dyn FnOnce() + Send>;
type Polled = Result<(), String>;

/// `Device::poll`, or why not: wgpu gives an error for a wait that is too long, and panics where
/// the device itself fails.
pub(super) fn poll(device: &wgpu::Device, poll: wgpu::PollType) -> Polled {
    // Nothing of ours is changed by a poll but through callbacks, which send and return.
    match catch_unwind(AssertUnwindSafe(|| device.poll(poll))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let words = text.unwrap_or("it is lost").split_whitespace();
            Err(format!("the device failed: {}", words.collect::<Vec<_>>().join(" ")))
        }
    }
}

/// Whether the device has taken `submission`: a lost one takes none, without a word. Does not wait.
pub(super) fn has_taken(device: &wgpu::Device, submission: &wgpu::SubmissionIndex) -> Polled {
    let poll = wgpu::PollType::Wait {
        submission_index: Some(submission.clone()),
        timeout: Some(Duration::ZERO),
    };
    let timed_out = wgpu::PollError::Timeout.to_string();
    self::poll(device, poll).or_else(|e| if e == timed_out { Ok(()) } else { Err(e) })
}

/// Started at the first async run; ends with the context.
#[derive(Debug, Default)]
pub(super) struct Poller {
    jobs: Mutex<Option<Sender<Job>>>,
}

impl Poller {
    /// Runs `job` on the thread; on the caller's where no thread can be started.
    fn run(&self, job: Job) {
        let mut jobs = self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let job = match jobs.as_ref() {
            None => job,
            Some(sender) => match sender.send(job) {
                Ok(()) => return,
                Err(unsent) => unsent.0,
            },
        };
        let (sender, receiver) = channel::<Job>();
        let thread = std::thread::Builder::new().name("wgru-poll".into());
        match thread.spawn(move || receiver.into_iter().for_each(|job| job())) {
            Ok(_) => {
                sender.send(job).expect("the thread waits for it");
                *jobs = Some(sender);
            }
            Err(_) => job(),
        }
    }
}

impl GpuContext {
    /// `Device::poll` on the polling thread.
    pub(super) async fn poll_elsewhere(&self, poll: wgpu::PollType) -> Polled {
        let (sender, receiver) = oneshot_channel();
        let context = self.clone();
        self.inner.poller.run(Box::new(move || {
            let polled = self::poll(&context.inner.device, poll);
            // The waiting run may have been dropped.
            let _ = sender.send(polled);
        }));
        receiver.receive().await.unwrap_or_else(|| Err("its thread has ended".to_owned()))
    }
}
