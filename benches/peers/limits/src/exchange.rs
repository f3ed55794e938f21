//! What two threads on two cores take to tell each other something.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Meetings between two looks at the clock.
const MEETINGS: u64 = 1000;
/// The best of so many looks counts.
const LOOKS: usize = 200;

/// A word that shares no cache line with another.
#[derive(Default)]
#[repr(align(128))]
struct Word(AtomicU64);

impl Word {
    fn tell(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Waits without the processor's hint for such loops, which would delay the answer.
    fn wait_for(&self, value: u64) {
        while self.0.load(Ordering::Acquire) < value {}
    }
}

/// Nanoseconds of one of `MEETINGS` calls of `first` beside as many of `second` on another thread;
/// the argument counts calls from 1.
fn best(first: impl Fn(u64) + Sync, second: impl Fn(u64) + Sync) -> f64 {
    let barrier = Barrier::new(2);
    let turns = |look: usize| {
        let start = look as u64 * MEETINGS;
        start + 1..=start + MEETINGS
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for look in 0..LOOKS {
                barrier.wait();
                turns(look).for_each(&second);
            }
        });
        let mut best = f64::MAX;
        for look in 0..LOOKS {
            barrier.wait();
            // The other thread may take a while to wake: the first meeting waits for it.
            first(turns(look).next().unwrap_or(1));
            let began = Instant::now();
            turns(look).skip(1).for_each(&first);
            best = best.min(began.elapsed().as_nanos() as f64 / (MEETINGS - 1) as f64);
        }
        best
    })
}

/// One thread writes a word, the other sees it and writes another, which the first one sees.
pub fn round_trip_ns() -> f64 {
    let [there, back] = [Word::default(), Word::default()];
    best(
        |turn| {
            there.tell(turn);
            back.wait_for(turn);
        },
        |turn| {
            there.wait_for(turn);
            back.tell(turn);
        },
    )
}

/// Each of two threads gives half of the `units` floats of a state and takes the other half, as an
/// engine must after every step whose units two threads share. Two buffers take turns, so that
/// one meeting an exchange is enough.
pub fn halves_ns(units: usize) -> f64 {
    // Two floats a word.
    let words = units / 4;
    let half = || -> [Vec<AtomicU64>; 2] {
        [0, 1].map(|_| (0..words).map(|_| AtomicU64::new(0)).collect())
    };
    let (halves, arrived) = ([half(), half()], [Word::default(), Word::default()]);
    let exchange = |own: usize, turn: u64| {
        let side = usize::from(turn % 2 == 1);
        for word in &halves[own][side] {
            word.store(turn, Ordering::Relaxed);
        }
        arrived[own].tell(turn);
        arrived[1 - own].wait_for(turn);
        for word in &halves[1 - own][side] {
            assert!(word.load(Ordering::Relaxed) == turn, "a half that is not of this exchange");
        }
    };
    best(|turn| exchange(0, turn), |turn| exchange(1, turn))
}

/// Median nanoseconds from waking a parked thread to seeing its answer.
pub fn wake_ns() -> f64 {
    let [there, back] = [Word::default(), Word::default()];
    const WAKINGS: u64 = 200;
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            for turn in 1..=WAKINGS {
                while there.0.load(Ordering::Acquire) < turn {
                    std::thread::park();
                }
                back.tell(turn);
            }
        });
        let mut times: Vec<f64> = (1..=WAKINGS)
            .map(|turn| {
                // Long enough that the other one sleeps.
                std::thread::sleep(Duration::from_millis(2));
                let began = Instant::now();
                there.tell(turn);
                sleeper.thread().unpark();
                back.wait_for(turn);
                began.elapsed().as_nanos() as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}
