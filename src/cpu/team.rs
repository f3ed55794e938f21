//! Threads that share the units of one layer exchange each step's new state.
//!
//! Every thread keeps its own copy of the whole state. A value crosses in one atomic word with the
//! number of its exchange: whoever waits for a value waits for its own word, and has it with the
//! transfer of one cache line. Two halves of the buffer take turns: a half is written again only by
//! a thread that has read all values of the exchange in between, which their writers gave after
//! they had read the half.
//!
//! Where other programs want the cores, every exchange may wait for a member that is not running,
//! and one thread alone is faster. Members then stop together after a step, and the caller goes on
//! without a team.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

/// Checks of a counter before a waiting thread lets others run.
const SPINS: u32 = 256;

/// Waiting below this never ends a team: on a processor that has idled for long, a thread takes this
/// long to wake and to get where the others are.
const PATIENCE: Duration = Duration::from_micros(600);

/// The meeting place of the threads of one team.
#[derive(Debug)]
pub(super) struct Team {
    /// Exchanges that each member had begun when its run ended.
    exchanges: Vec<AtomicU64>,
    /// The units of each member, in member order.
    units: Vec<Range<usize>>,
    /// `[row][unit]`: the low word of the number of the exchange, then the value's bits.
    halves: [Vec<AtomicU64>; 2],
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
        let exchanges = units.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            exchanges,
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
                half.resize_with(rows * units, AtomicU64::default);
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
        let exchanges = team.exchanges[index].load(Ordering::Relaxed);
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
            // Published by the values of this exchange, so that all see it after the exchange.
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
        self.exchanges += 1;
        let half = &halves[usize::from(self.exchanges % 2 == 1)];
        let tag = self.exchanges << u32::BITS;
        // What was stored before is seen by whoever has seen a value.
        fence(Ordering::Release);
        for (row, shared) in state.chunks(stride).zip(half.chunks_exact(hidden)).take(rows) {
            let own = units[self.index].clone();
            for (value, slot) in row[own.clone()].iter().zip(&shared[own]) {
                slot.store(tag | u64::from(value.to_bits()), Ordering::Relaxed);
            }
        }
        for (row, shared) in state.chunks_mut(stride).zip(half.chunks_exact(hidden)).take(rows) {
            for (member, range) in units.iter().enumerate() {
                if member != self.index {
                    for (value, slot) in row[range.clone()].iter_mut().zip(&shared[range.clone()]) {
                        *value = self.take(slot, tag);
                    }
                }
            }
        }
        fence(Ordering::Acquire);
    }

    /// The value that another member gives to the exchange `tag`.
    #[inline]
    fn take(&mut self, slot: &AtomicU64, tag: u64) -> f32 {
        let word = slot.load(Ordering::Relaxed);
        f32::from_bits(low_word(if high_word(word) == tag { word } else { self.wait(slot, tag) }))
    }

    #[cold]
    fn wait(&mut self, slot: &AtomicU64, tag: u64) -> u64 {
        let arrived = || Some(slot.load(Ordering::Relaxed)).filter(|word| high_word(*word) == tag);
        for _ in 0..SPINS {
            std::hint::spin_loop();
            if let Some(word) = arrived() {
                return word;
            }
        }
        let began = Instant::now();
        let word = loop {
            if let Some(word) = arrived() {
                break word;
            }
            assert!(!self.team.broken.load(Ordering::Relaxed), "another thread has panicked");
            std::thread::yield_now();
        };
        self.waited += began.elapsed();
        self.judge();
        word
    }

    /// Calls the team slow where one thread alone, without waiting, would have got as far.
    fn judge(&self) {
        let members = u32::try_from(self.team.units.len()).unwrap_or(u32::MAX);
        if self.waited > PATIENCE && self.waited * members > self.began.elapsed() * (members - 1) {
            self.team.stop();
        }
    }
}

/// The number of an exchange, as it tags values.
fn high_word(word: u64) -> u64 {
    word & !u64::from(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "the low word is meant")]
fn low_word(word: u64) -> u32 {
    word as u32
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.team.exchanges[self.index].store(self.exchanges, Ordering::Relaxed);
        if std::thread::panicking() {
            self.team.broken.store(true, Ordering::Relaxed);
        }
    }
}
