//! The thread that waits for the device on behalf of async runs: nothing else drives a native
//! device's callbacks, and an executor's thread must not block.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use futures_intrusive::channel::shared::oneshot_channel;

use super::context::GpuContext;

type Job = Box<dyn FnOnce() + Send>;
type Polled = Result<wgpu::PollStatus, wgpu::PollError>;

/// Started at the first async run; ends with the context.
#[derive(Debug, Default)]
pub(super) struct Poller {
    jobs: Mutex<Option<Sender<Job>>>,
}

impl Poller {
    /// Runs `job` on the thread; on the caller's where no thread can be started.
    fn run(&self, job: Job) {
        let mut jobs = self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if jobs.is_none() {
            let (sender, receiver) = channel::<Job>();
            let thread = std::thread::Builder::new().name("wgru-poll".into());
            let started = thread.spawn(move || receiver.into_iter().for_each(|job| job()));
            if started.is_err() {
                return job();
            }
            *jobs = Some(sender);
        }
        let sender = jobs.as_ref().expect("the thread was started above");
        if let Err(unsent) = sender.send(job) {
            unsent.0();
        }
    }
}

impl GpuContext {
    /// `Device::poll` on the polling thread.
    pub(super) async fn poll_elsewhere(&self, poll: wgpu::PollType) -> Polled {
        let (sender, receiver) = oneshot_channel();
        let context = self.clone();
        self.inner.poller.run(Box::new(move || {
            let polled = context.inner.device.poll(poll);
            // The waiting run may have been dropped.
            let _ = sender.send(polled);
        }));
        receiver.receive().await.unwrap_or(Err(wgpu::PollError::Timeout))
    }
}
