//! What well-kept crates reach on this project's products and activations, on one thread.
//!
//! `peer-products` prints one JSON object. Products are `rows [M, K] x weights [K, N]` of f32 with
//! the weights packed beforehand where the crate can: GFLOP/s, best of many passes. Activations are
//! nanoseconds a value over a block that stays in the innermost cache. What wgru itself reaches,
//! activations and copies included, is `gflops` in a record of the comparison with `--threads 1`.

use std::hint::black_box;
use std::time::{Duration, Instant};

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

fn faer_gflops(m: usize, n: usize, k: usize) -> f64 {
    let rows = Mat::<f32>::from_fn(m, k, |r, c| ((r * 7 + c) % 13) as f32 * 0.1);
    let weights = Mat::<f32>::from_fn(k, n, |r, c| ((r + c * 5) % 11) as f32 * 0.1);
    let mut out = Mat::<f32>::zeros(m, n);
    let time = shortest(|| {
        matmul(out.as_mut(), Accum::Replace, rows.as_ref(), weights.as_ref(), 1.0, Par::Seq);
        black_box(&out);
    });
    (2 * m * n * k) as f64 / time
}

fn rten_gflops(m: usize, n: usize, k: usize) -> f64 {
    let rows = NdTensor::from_fn([m, k], |[r, c]| ((r * 7 + c) % 13) as f32 * 0.1);
    let weights = NdTensor::from_fn([k, n], |[r, c]| ((r + c * 5) % 11) as f32 * 0.1);
    let gemm = GemmExecutor::<f32>::default();
    let packed = gemm.prepack_b(weights.view());
    let mut out = vec![0.0f32; m * n];
    let mut best = f64::MAX;
    // Packing helps where there are several rows; one row may be faster on the plain matrix.
    for input in [GemmInputB::Packed(&packed), GemmInputB::Unpacked(weights.view())] {
        best = best.min(shortest(|| {
            let rows = GemmInputA::Unpacked(rows.view());
            let done = gemm.gemm(&mut out, rows, input, GemmOptions::default());
            assert!(done.is_ok(), "the shapes fit");
            black_box(&out);
        }));
    }
    (2 * m * n * k) as f64 / best
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

fn main() {
    // Rows of a step by all gates' units by features.
    let shapes = [
        ("a step of h64", 1, 192, 64),
        ("the input of h64", 100, 192, 64),
        ("a step of h256", 1, 768, 256),
        ("a step of h1024", 1, 3072, 1024),
        ("a step of b64", 64, 768, 256),
        ("a step of b256", 256, 1536, 512),
    ];
    let products: Vec<_> = shapes
        .iter()
        .map(|&(name, m, n, k)| {
            serde_json::json!({
                "name": name, "M": m, "N": n, "K": k,
                "faer_gflops": faer_gflops(m, n, k), "rten_gemm_gflops": rten_gflops(m, n, k),
            })
        })
        .collect();
    let report = serde_json::json!({
        "threads": 1, "faer": "0.24.4", "rten": "0.27.0", "products": products,
        "rten_vecmath_ns_a_value": {
            "sigmoid": vecmath(Sigmoid {}), "tanh": vecmath(Tanh {}),
        },
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
}
