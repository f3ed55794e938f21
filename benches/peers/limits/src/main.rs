//! What the processor can do at most: multiply-adds, reading floats from each cache, and meetings of
//! two threads.
//!
//! `peer-limits` prints one JSON object: for one thread and for two at once, GFLOP/s of f32
//! multiply-adds in registers, and GB/s of reading blocks of several sizes over and over, forwards
//! and (`turning`) forwards and backwards in turn; each thread has a block of its own, and the rates
//! of two are their sum over the same millisecond. Then nanoseconds of what two threads tell each
//! other ([`exchange`]). The best of many counts.

mod exchange;

use std::hint::black_box;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use pulp::{Arch, Simd, WithSimd};

const PASSES: Duration = Duration::from_millis(150);
/// Threads' work is added up over windows of so many seconds.
const WINDOW: f64 = 1e-3;
/// Bytes between two looks at the clock.
const PASS_BYTES: usize = 4 << 20;

/// Independent chains of multiply-adds; returns operations.
struct Arithmetic(usize);

impl WithSimd for Arithmetic {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let factor = simd.splat_f32s(black_box(0.999));
        let mut chains = [simd.splat_f32s(1.0); 12];
        for _ in 0..self.0 {
            for chain in &mut chains {
                *chain = simd.mul_add_e_f32s(*chain, factor, factor);
            }
        }
        black_box(chains);
        (self.0 * 12 * 2 * S::F32_LANES) as f64
    }
}

/// Multiplies all of a block by a number into twelve sums, as a product of one row does.
struct Read<'a> {
    data: &'a [f32],
    backwards: bool,
}

impl WithSimd for Read<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let vectors: &[S::f32s] = bytemuck::cast_slice(self.data);
        let factor = simd.splat_f32s(black_box(0.5));
        let mut sums = [simd.splat_f32s(0.0); 12];
        let groups = vectors.as_chunks::<12>().0;
        if self.backwards {
            for group in groups.iter().rev() {
                add(simd, &mut sums, group, factor);
            }
        } else {
            for group in groups {
                add(simd, &mut sums, group, factor);
            }
        }
        black_box(sums);
        size_of_val(groups) as f64
    }
}

/// Not a closure: it must become part of the function that has the processor's instructions.
#[inline(always)]
fn add<S: Simd>(simd: S, sums: &mut [S::f32s; 12], group: &[S::f32s; 12], factor: S::f32s) {
    for (sum, value) in sums.iter_mut().zip(group) {
        *sum = simd.mul_add_e_f32s(*value, factor, *sum);
    }
}

/// The most that `threads` threads did together within one window, in units a nanosecond. `make`
/// gives a thread's pass, whose argument counts passes and which returns units.
fn together<P: FnMut(usize) -> f64>(threads: usize, make: impl Fn() -> P + Sync) -> f64 {
    let (barrier, epoch) = (Barrier::new(threads), OnceLock::new());
    let work = || {
        let (mut pass, mut windows) = (make(), Vec::new());
        pass(0);
        barrier.wait();
        let epoch: Instant = *epoch.get_or_init(Instant::now);
        let (mut count, mut at) = (0, epoch.elapsed().as_secs_f64() / WINDOW);
        while at * WINDOW < PASSES.as_secs_f64() {
            let units = pass(count);
            let now = epoch.elapsed().as_secs_f64() / WINDOW;
            spread(units, at, now, &mut windows);
            (count, at) = (count + 1, now);
        }
        windows
    };
    let all: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|h| h.join().unwrap_or_default()).collect()
    });
    // The last windows are not full, or not of all threads.
    let full = all.iter().map(Vec::len).min().unwrap_or(0).saturating_sub(1);
    let sums = (0..full).map(|w| all.iter().map(|windows| windows[w]).sum());
    sums.fold(0.0, f64::max) / (WINDOW * 1e9)
}

/// Adds `units`, done evenly from `from` to `to` (in windows), to the windows between.
fn spread(units: f64, from: f64, to: f64, windows: &mut Vec<f64>) {
    for window in from as usize..=to as usize {
        windows.resize(windows.len().max(window + 1), 0.0);
        let (begin, end) = (from.max(window as f64), to.min((window + 1) as f64));
        windows[window] += units * (end - begin) / (to - from).max(f64::MIN_POSITIVE);
    }
}

fn main() {
    let arch = Arch::new();
    let mut results = Vec::new();
    for threads in [1, 2] {
        let arithmetic = together(threads, || |_| arch.dispatch(Arithmetic(1000)));
        let mut reads = Vec::new();
        for kib in [24, 48, 192, 384, 768, 1536, 3072, 6144, 12288, 98304] {
            let floats = kib * 256;
            let repeats = (PASS_BYTES / (4 * floats)).max(2);
            let rate = |turning: bool| {
                together(threads, || {
                    let block = vec![0.25f32; floats + 16];
                    move |_| {
                        let start = block.as_ptr().align_offset(64).min(16);
                        let data = &block[start..][..floats];
                        let read =
                            |i| arch.dispatch(Read { data, backwards: turning && i % 2 == 1 });
                        (0..repeats).map(read).sum()
                    }
                })
            };
            reads.push(serde_json::json!({
                "kib_a_thread": kib, "gb_per_s": rate(false), "turning_gb_per_s": rate(true),
            }));
        }
        results.push(serde_json::json!({
            "threads": threads, "gflops": arithmetic, "reads": reads,
        }));
    }
    let halves: Vec<_> = [64, 256, 512, 1024]
        .iter()
        .map(|&units| serde_json::json!({ "units": units, "ns": exchange::halves_ns(units) }))
        .collect();
    let arch = format!("{arch:?}");
    let report = serde_json::json!({
        "instructions": arch.split('(').next(), "results": results,
        "round_trip_ns": exchange::round_trip_ns(), "wake_ns": exchange::wake_ns(),
        "exchange_of_halves": halves,
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
}
