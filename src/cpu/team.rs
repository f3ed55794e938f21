//! Threads that share the units of one layer exchange each step's new state.
//!
//! Every thread keeps its own copy of the whole state. Values cross through relaxed atomics,
//! ordered by one arrival counter a thread. Two halves of the buffer take turns, so that one
//! meeting an exchange is enough: a half is written again only after everybody has arrived at
//! the exchange in between, that is, after everybody has read it.

//!
//! Where other programs want the cores, every exchange may wait for a member that is not running,
//! and one thread alone is faster. Members then stop together after a step, and the caller goes on
//! without a team.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Checks of a counter before a waiting thread lets others run.
const SPINS: u32 = 256;

/// Waiting below this never ends a team: threads take this long to wake.
const PATIENCE: Duration = Duration::from_micros(300);

/// A counter that shares no cache line with another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Arrivals(AtomicU64);

/// The meeting place of the threads of one team.
#[derive(Debug)]
pub(super) struct Team {
    arrivals: Vec<Arrivals>,
    /// The units of each member, in member order.
    units: Vec<Range<usize>>,
    halves: [Vec<AtomicU32>; 2],
    broken: AtomicBool,
    /// A member has waited longer than the team saves.
    slow: AtomicBool,
    /// The exchange after which all members stop.
    last: AtomicU64,
    /// Steps that were done when the members stopped; 0 where they finished.
    stopped: AtomicUsize,
}

impl Team {
    /// A team whose member `i` computes `units[i]`.
    pub(super) fn new(units: Vec<Range<usize>>) -> Self {
        let arrivals = units.iter().map(|_| Arrivals::default()).collect();
        Self {
            arrivals,
            units,
            halves: [Vec::new(), Vec::new()],
            broken: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            last: AtomicU64::new(u64::MAX),
            stopped: AtomicUsize::new(0),
        }
    }

    /// Forgets how the run before ended.
    pub(super) fn begin(&mut self) {
        *self.slow.get_mut() = false;
        *self.last.get_mut() = u64::MAX;
        *self.stopped.get_mut() = 0;
    }

    /// Makes the members stop after their next step.
    pub(super) fn stop(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }

    /// Steps that were done when the members stopped, where they stopped before the end.
    pub(super) fn stopped(&mut self) -> Option<usize> {
        Some(*self.stopped.get_mut()).filter(|steps| *steps > 0)
    }

    /// Makes room for exchanges of `rows` rows.
    pub(super) fn reserve(&mut self, rows: usize) {
        let units = self.units.last().map_or(0, |u| u.end);
        for half in &mut self.halves {
            if half.len() < rows * units {
                half.clear();
                half.resize_with(rows * units, AtomicU32::default);
            }
        }
    }

    pub(super) fn units(&self) -> &[Range<usize>] {
        &self.units
    }
}

/// One thread's membership.
#[derive(Debug)]
pub(super) struct Member<'a> {
    team: &'a Team,
    index: usize,
    exchanges: u64,
    began: Instant,
    waited: Duration,
}

impl<'a> Member<'a> {
    pub(super) fn new(team: &'a Team, index: usize) -> Self {
        let exchanges = team.arrivals[index].0.load(Ordering::Relaxed);
        Self { team, index, exchanges, began: Instant::now(), waited: Duration::ZERO }
    }

    /// The exchange that ends step `step`: as [`exchange`](Self::exchange). Whether the team goes
    /// on.
    pub(super) fn end_step(
        &mut self,
        step: usize,
        state: &mut [f32],
        rows: usize,
        stride: usize,
    ) -> bool {
        let team = self.team;
        if self.index == 0 && team.slow.load(Ordering::Relaxed) {
            // Published by the arrival at this exchange, so that all see it after the exchange.
            team.stopped.store(step + 1, Ordering::Relaxed);
            team.last.store(self.exchanges + 1, Ordering::Relaxed);
        }
        self.exchange(state, rows, stride);
        team.last.load(Ordering::Relaxed) != self.exchanges
    }

    /// Gives this member's units of `rows` rows of `state` and takes all the others'. Row `r`
    /// begins at `r * stride`.
    ///
    /// # Panics
    /// Where another member has panicked.
    pub(super) fn exchange(&mut self, state: &mut [f32], rows: usize, stride: usize) {
        let Team { units, halves, .. } = self.team;
        let hidden = units.last().map_or(0, |u| u.end);
        let half = &halves[usize::from(self.exchanges % 2 == 1)];
        for (row, shared) in state.chunks(stride).zip(half.chunks_exact(hidden)).take(rows) {
            let own = units[self.index].clone();
            for (value, slot) in row[own.clone()].iter().zip(&shared[own]) {
                slot.store(value.to_bits(), Ordering::Relaxed);
            }
        }
        self.meet();
        for (row, shared) in state.chunks_mut(stride).zip(half.chunks_exact(hidden)).take(rows) {
            for (member, range) in units.iter().enumerate() {
                if member != self.index {
                    for (value, slot) in row[range.clone()].iter_mut().zip(&shared[range.clone()]) {
                        *value = f32::from_bits(slot.load(Ordering::Relaxed));
                    }
                }
            }
        }
    }

    fn meet(&mut self) {
        self.exchanges += 1;
        self.team.arrivals[self.index].0.store(self.exchanges, Ordering::Release);
        for other in &self.team.arrivals {
            let arrived = || other.0.load(Ordering::Acquire) >= self.exchanges;
            if (0..SPINS).any(|_| {
                std::hint::spin_loop();
                arrived()
            }) {
                continue;
            }
            let began = Instant::now();
            while !arrived() {
                assert!(!self.team.broken.load(Ordering::Relaxed), "another thread has panicked");
                std::thread::yield_now();
            }
            self.waited += began.elapsed();
            self.judge();
        }
    }

    /// Calls the team slow where one thread alone, without waiting, would have got as far.
    fn judge(&self) {
        let members = u32::try_from(self.team.units.len()).unwrap_or(u32::MAX);
        if self.waited > PATIENCE && self.waited * members > self.began.elapsed() * (members - 1) {
            self.team.stop();
        }
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.team.broken.store(true, Ordering::Relaxed);
        }
    }
}
