//! Threads that share the units of one layer exchange each step's new state.
//!
//! Every thread keeps its own copy of the whole state. Values cross through relaxed atomics,
//! ordered by one arrival counter a thread. Two halves of the buffer take turns, so that one
//! meeting an exchange is enough: a half is written again only after everybody has arrived at
//! the exchange in between, that is, after everybody has read it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Checks of a counter before a waiting thread lets others run.
const SPINS: u32 = 4_000;

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
}

impl Team {
    /// A team whose member `i` computes `units[i]`.
    pub(super) fn new(units: Vec<Range<usize>>) -> Self {
        let arrivals = units.iter().map(|_| Arrivals::default()).collect();
        Self { arrivals, units, halves: [Vec::new(), Vec::new()], broken: AtomicBool::new(false) }
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
}

impl<'a> Member<'a> {
    pub(super) fn new(team: &'a Team, index: usize) -> Self {
        let exchanges = team.arrivals[index].0.load(Ordering::Relaxed);
        Self { team, index, exchanges }
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
            let mut spins = 0;
            while other.0.load(Ordering::Acquire) < self.exchanges {
                assert!(!self.team.broken.load(Ordering::Relaxed), "another thread has panicked");
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
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
