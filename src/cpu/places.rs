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
    use std::fmt;
    use std::sync::{Mutex, PoisonError};

    use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// The processors that threads of a run are on.
    #[derive(Default)]
    pub(in crate::cpu) struct Places {
        taken: Mutex<CpuSet>,
        /// A helper's processor in the run before is the caller's now.
        shared: bool,
    }

    impl Places {
        /// The calling thread begins a run.
        pub(in crate::cpu) fn begin(&mut self) {
            let taken = self.taken.get_mut().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::take(taken);
            self.shared = false;
            if let Some(own) = own() {
                self.shared = before.is_set(own);
                taken.set(own);
            }
        }

        /// The calling thread has woken its helpers: one that waits for its processor gets it, and
        /// leaves.
        pub(in crate::cpu) fn make_way(&self) {
            if self.shared {
                std::thread::yield_now();
            }
        }

        /// A helper begins. Where another thread has on its processor, it moves to one that it may run
        /// on and that none has. It moves only this once: where it may run stays as it was.
        pub(in crate::cpu) fn take(&self) {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(mut place) = own() else { return };
            if taken.is_set(place) {
                let Ok(allowed) = sched_getaffinity(None) else { return };
                let mut free = allowed;
                for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| taken.is_set(*cpu)) {
                    free.unset(cpu);
                }
                if free.count() == 0 || sched_setaffinity(None, &free).is_err() {
                    return;
                }
                place = own().unwrap_or(place);
                if sched_setaffinity(None, &allowed).is_err() {
                    log::warn!(
                        "a thread of the CPU engine stays away from the processors of others"
                    );
                }
            }
            taken.set(place);
        }
    }

    fn own() -> Option<usize> {
        Some(sched_getcpu()).filter(|cpu| *cpu < CpuSet::MAX_CPU)
    }

    impl fmt::Debug for Places {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Places").finish_non_exhaustive()
        }
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
            let callers = *places.taken.lock().unwrap();
            assert_eq!(callers.count(), 1);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    sched_setaffinity(None, &callers).unwrap();
                    sched_setaffinity(None, &allowed).unwrap();
                    places.take();
                    assert_eq!(sched_getaffinity(None).unwrap(), allowed);
                });
            });
            let taken = places.taken.lock().unwrap().count();
            assert_eq!(taken, allowed.count().min(2));
        }

        /// With one processor for both there is nowhere to go.
        #[test]
        fn a_helper_stays_where_it_must() {
            let mut places = Places::default();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut one = CpuSet::new();
                    one.set(sched_getcpu());
                    sched_setaffinity(None, &one).unwrap();
                    places.begin();
                    places.take();
                    assert_eq!(*places.taken.lock().unwrap(), one);
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

        pub(in crate::cpu) fn take(&self) {}
    }
}
