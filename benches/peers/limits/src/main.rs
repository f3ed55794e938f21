//! What the processor can do at most: multiply-adds, and reading floats from each cache.
//!
//! `peer-limits` prints one JSON object: for one thread and for two at once, GFLOP/s of f32
//! multiply-adds in registers, and GB/s of reading blocks of several sizes over and over, forwards
//! and (`turning`) forwards and backwards in turn. The best of many passes counts.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use pulp::{Arch, Simd, WithSimd};

const PASSES: Duration = Duration::from_millis(150);

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
        let mut add = |group: &[S::f32s; 12]| {
            for (sum, value) in sums.iter_mut().zip(group) {
                *sum = simd.mul_add_e_f32s(*value, factor, *sum);
            }
        };
        let groups = vectors.as_chunks::<12>().0;
        if self.backwards {
            groups.iter().rev().for_each(&mut add);
        } else {
            groups.iter().for_each(&mut add);
        }
        black_box(sums);
        size_of_val(groups) as f64
    }
}

/// The best rate of `pass`, whose argument counts passes, in units a nanosecond.
fn best(mut pass: impl FnMut(usize) -> f64) -> f64 {
    let (end, mut best, mut count) = (Instant::now() + PASSES, 0.0f64, 0);
    while Instant::now() < end {
        let began = Instant::now();
        let mut units = 0.0;
        // Long enough for the clock.
        while began.elapsed() < Duration::from_micros(200) {
            units += pass(count);
            count += 1;
        }
        best = best.max(units / began.elapsed().as_nanos() as f64);
    }
    best
}

/// The sum of what `threads` threads reach at the same time.
fn together(threads: usize, run: impl Fn() -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let work = || {
            barrier.wait();
            run()
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|h| h.join().unwrap_or(0.0)).sum()
    })
}

fn main() {
    let arch = Arch::new();
    let mut results = Vec::new();
    for threads in [1, 2] {
        let arithmetic = together(threads, || best(|_| arch.dispatch(Arithmetic(1000))));
        let mut reads = Vec::new();
        for kib in [24, 48, 192, 384, 768, 1536, 3072, 6144, 12288, 98304] {
            let floats = kib * 256;
            let rate = |turning: bool| {
                together(threads, || {
                    let block = vec![0.25f32; floats + 16];
                    let start = block.as_ptr().align_offset(64).min(16);
                    let data = &block[start..][..floats];
                    best(|count| arch.dispatch(Read { data, backwards: turning && count % 2 == 1 }))
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
    let arch = format!("{arch:?}");
    let report = serde_json::json!({
        "instructions": arch.split('(').next(), "results": results,
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
}
