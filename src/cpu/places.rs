//! Processors of their own for the threads of a run.
//!
//! Linux may wake a helper on the processor of the thread that wakes it, where another idles: guests of
//! a hypervisor take an idle processor for one that the host has taken away. Threads that exchange
//! states every step would then run in turns.

#[cfg(target_os = "linux")]
pub(super) use linux::Places;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Places;

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::{Mutex, PoisonError};

    use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// The processors that the threads of a run have begun on.
    #[derive(Debug, Default)]
    pub(in crate::cpu) struct Places {
        callers: Option<usize>,
        helpers: Mutex<Vec<Helper>>,
        /// A helper's processor in the run before is the caller's now.
        shared: bool,
        /// Whether threads may ask where they are, and to be elsewhere: looked up by the first run.
        safe: Option<bool>,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Helper {
        /// Its number in the pool.
        worker: Option<usize>,
        place: usize,
    }

    impl Places {
        /// The calling thread begins a run.
        pub(in crate::cpu) fn begin(&mut self) {
            if !*self.safe.get_or_insert_with(moves_are_safe) {
                return;
            }
            let helpers = self.helpers.get_mut().unwrap_or_else(PoisonError::into_inner);
            self.callers = own();
            self.shared = helpers.iter().any(|h| Some(h.place) == self.callers);
            helpers.clear();
        }

        /// The calling thread has woken its helpers: one that waits for its processor gets it, and
        /// leaves.
        pub(in crate::cpu) fn make_way(&self) {
            if self.shared {
                std::thread::yield_now();
            }
        }

        /// A helper begins. Where another thread of the run has on its processor, it moves to one that
        /// it may run on and that none has, once: nothing keeps it there. The kernel takes what it
        /// might run on until then for the caller's wish, also where its cpuset grows later.
        pub(in crate::cpu) fn take(&self, worker: Option<usize>) {
            if self.safe != Some(true) {
                return;
            }
            let mut helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
            if helpers.iter().any(|h| h.worker == worker) {
                return;
            }
            let Some(mut place) = own() else { return };
            let taken: Vec<usize> = helpers.iter().map(|h| h.place).chain(self.callers).collect();
            if taken.contains(&place) {
                place = moved_from(&taken).unwrap_or(place);
            }
            helpers.push(Helper { worker, place });
        }
    }

    /// Moves the calling thread to a processor that is none of `taken`; `None` where there is none.
    fn moved_from(taken: &[usize]) -> Option<usize> {
        let allowed = sched_getaffinity(None).ok()?;
        let mut free = allowed;
        taken.iter().for_each(|cpu| free.unset(*cpu));
        if free.count() == 0 || sched_setaffinity(None, &free).is_err() {
            return None;
        }
        let place = own();
        if sched_setaffinity(None, &allowed).is_err() {
            log::warn!("a thread of the CPU engine stays away from the processors of others");
        }
        place
    }

    /// Whether no filter of system calls is on the calling thread, which helpers inherit it from: one may
    /// end the process for such a call.
    fn moves_are_safe() -> bool {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let filter = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        filter.is_some_and(|mode| mode.trim() == "0")
    }

    fn own() -> Option<usize> {
        Some(sched_getcpu()).filter(|cpu| *cpu < CpuSet::MAX_CPU)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// A helper that wakes on the caller's processor leaves it, and may run where it could before.
        #[test]
        fn a_helper_leaves_the_callers_processor() {
            let allowed = sched_getaffinity(None).unwrap();
            let mut places = Places::default();
            places.begin();
            let Some(own) = places.callers else {
                assert!(!moves_are_safe(), "nothing is asked under a filter");
                return;
            };
            let mut callers = CpuSet::new();
            callers.set(own);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    if !moves_are_safe() || sched_setaffinity(None, &callers).is_err() {
                        return;
                    }
                    sched_setaffinity(None, &allowed).unwrap();
                    places.take(Some(0));
                    // A second part of the run stays with its worker.
                    places.take(Some(0));
                    assert_eq!(sched_getaffinity(None).unwrap(), allowed);
                    let helpers = places.helpers.lock().unwrap();
                    assert_eq!(helpers.len(), 1);
                    let moved = !callers.is_set(helpers[0].place);
                    assert_eq!(moved, allowed.count() > 1, "{helpers:?}");
                });
            });
        }

        /// With one processor for both there is nowhere to go; the caller makes way for a helper that was
        /// on its processor, and for none that was not.
        #[test]
        fn a_helper_stays_where_it_must() {
            let mut places = Places::default();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut one = CpuSet::new();
                    one.set(sched_getcpu());
                    if !moves_are_safe() || sched_setaffinity(None, &one).is_err() {
                        return;
                    }
                    places.begin();
                    places.begin();
                    assert!(!places.shared, "there was no helper");
                    places.take(Some(0));
                    assert_eq!(sched_getaffinity(None).unwrap(), one);
                    places.begin();
                    assert!(places.shared);
                    places.make_way();
                });
            });
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// Other systems place threads by themselves.
    #[derive(Debug, Default)]
    pub(in crate::cpu) struct Places;

    impl Places {
        pub(in crate::cpu) fn begin(&mut self) {}

        pub(in crate::cpu) fn make_way(&self) {}

        pub(in crate::cpu) fn take(&self, _: Option<usize>) {}
    }
}
