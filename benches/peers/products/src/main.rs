//! What well-kept crates reach on the products and activations of a GRU's step, on one thread.
//!
//! `RAYON_NUM_THREADS=1 peer-products` prints one JSON object. Products are `rows [M, K] x weights
//! [K, 3K]` of f32, the weights in the crate's better layout, packed beforehand where it can:
//! GFLOP/s, best of many passes. Activations are nanoseconds a value over a block that stays in the
//! innermost cache. `limits.py --products` sets the figures against those of `limits/`. What wgru
//! reaches, activations and copies included, is `gflops` in a record of the comparison.

use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_simd::SimdUnaryOp;
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use rten_vecmath::{Sigmoid, Tanh};

const PASSES: Duration = Duration::from_millis(300);

/// The shortest of many runs, in nanoseconds.
fn shortest(mut run: impl FnMut()) -> f64 {
    run();
    let (end, mut best) = (Instant::now() + PASSES, f64::MAX);
    while Instant::now() < end {
        let began = Instant::now();
        let mut count = 0;
        while count == 0 || began.elapsed() < Duration::from_micros(100) {
            run();
            count += 1;
        }
        best = best.min(began.elapsed().as_nanos() as f64 / f64::from(count));
    }
    best
}

/// `rows [M, K] x weights [K, N]`, both row by row.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    rows: Vec<f32>,
    weights: Vec<f32>,
    /// In f64.
    expected: Vec<f64>,
}

impl Product {
    fn new(m: usize, k: usize) -> Self {
        let n = 3 * k;
        let rows: Vec<_> = (0..m * k).map(|i| ((i * 7) % 13) as f32 * 0.1 - 0.6).collect();
        let weights: Vec<_> = (0..k * n).map(|i| ((i * 5) % 11) as f32 * 0.1 - 0.5).collect();
        let mut expected = vec![0.0; m * n];
        for (row, out) in rows.chunks(k).zip(expected.chunks_mut(n)) {
            for (x, weights) in row.iter().zip(weights.chunks(n)) {
                for (sum, w) in out.iter_mut().zip(weights) {
                    *sum += f64::from(*x) * f64::from(*w);
                }
            }
        }
        Self { m, n, k, rows, weights, expected }
    }

    /// GFLOP/s of a run that took so many nanoseconds, once its result is right.
    fn gflops(&self, name: &str, nanoseconds: f64, out: impl Fn(usize, usize) -> f32) -> f64 {
        for (i, expected) in self.expected.iter().enumerate() {
            let value = f64::from(out(i / self.n, i % self.n));
            assert!((value - expected).abs() < 1e-3, "{name}: {value}, not {expected}, at {i}");
        }
        (2 * self.m * self.n * self.k) as f64 / nanoseconds
    }

    fn faer(&self) -> f64 {
        let rows = Mat::from_fn(self.m, self.k, |r, c| self.rows[r * self.k + c]);
        let by_columns = Mat::from_fn(self.k, self.n, |r, c| self.weights[r * self.n + c]);
        let by_rows = Mat::from_fn(self.n, self.k, |r, c| self.weights[c * self.n + r]);
        let mut best = 0.0f64;
        for weights in [by_columns.as_ref(), by_rows.transpose()] {
            let mut out = Mat::<f32>::zeros(self.m, self.n);
            let time = shortest(|| {
                matmul(out.as_mut(), Accum::Replace, rows.as_ref(), weights, 1.0, Par::Seq);
                black_box(&out);
            });
            best = best.max(self.gflops("faer", time, |r, c| out[(r, c)]));
        }
        best
    }

    fn rten(&self) -> f64 {
        let rows = NdTensor::from_data([self.m, self.k], self.rows.clone());
        let weights = NdTensor::from_data([self.k, self.n], self.weights.clone());
        let gemm = GemmExecutor::<f32>::default();
        let packed = gemm.prepack_b(weights.view());
        let mut best = 0.0f64;
        // Packing helps where there are several rows; one row may be faster on the plain matrix.
        for packed in [Some(&packed), None] {
            let mut out = vec![0.0f32; self.m * self.n];
            let time = shortest(|| {
                let rows = GemmInputA::Unpacked(rows.view());
                let weights =
                    packed.map_or(GemmInputB::Unpacked(weights.view()), GemmInputB::Packed);
                let done = gemm.gemm(&mut out, rows, weights, GemmOptions::default());
                assert!(done.is_ok(), "the shapes fit");
                black_box(&out);
            });
            best = best.max(self.gflops("rten-gemm", time, |r, c| out[r * self.n + c]));
        }
        best
    }

    /// `gemm`, with the allocation of candle's result.
    fn gemm(&self) -> candle_core::Result<f64> {
        let rows = Tensor::from_slice(&self.rows, (self.m, self.k), &Device::Cpu)?;
        let by_rows = Tensor::from_slice(&self.weights, (self.k, self.n), &Device::Cpu)?;
        let by_columns = by_rows.t()?.contiguous()?.t()?;
        let mut best = 0.0f64;
        for weights in [by_rows, by_columns] {
            let time = shortest(|| {
                black_box(rows.matmul(&weights).is_ok());
            });
            let out = rows.matmul(&weights)?.to_vec2::<f32>()?;
            best = best.max(self.gflops("gemm", time, |r, c| out[r][c]));
        }
        Ok(best)
    }
}

/// Nanoseconds a value.
fn vecmath(function: impl SimdUnaryOp<f32>) -> f64 {
    let input: Vec<f32> = (0..1024).map(|i| (i as f32 - 512.0) / 64.0).collect();
    let mut values = input.clone();
    shortest(|| {
        values.copy_from_slice(&input);
        function.map_mut(&mut values);
        black_box(&values);
    }) / 1024.0
}

fn main() -> candle_core::Result<()> {
    if std::env::var("RAYON_NUM_THREADS").as_deref() != Ok("1") {
        eprintln!("peer-products measures one thread: set RAYON_NUM_THREADS=1");
        std::process::exit(2);
    }
    let mut products = Vec::new();
    for k in [256, 512, 1024] {
        for m in [1, 64, 256] {
            let product = Product::new(m, k);
            products.push(serde_json::json!({
                "M": m, "N": 3 * k, "K": k,
                "faer": product.faer(), "gemm": product.gemm()?, "rten-gemm": product.rten(),
            }));
        }
    }
    let report = serde_json::json!({
        "threads": 1, "gflops": products,
        "versions": { "faer": "0.24.4", "gemm": "0.19.0", "rten-gemm": "0.27.0" },
        "rten_vecmath_ns_a_value": {
            "sigmoid": vecmath(Sigmoid {}), "tanh": vecmath(Tanh {}),
        },
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    Ok(())
}
