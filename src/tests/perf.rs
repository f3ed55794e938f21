use super::smoke::{network, random};
use crate::gpu::*;
use crate::plan::PlanOptions;
use crate::*;
use ndarray::Array3;

#[test]
#[ignore = "timing"]
fn perf() {
    let mut seed = 88172645463325252u64;
    let only = std::env::var("ADAPTER").unwrap_or_default();
    for a in adapters() {
        if !format!("{a}").contains(&only) {
            continue;
        }
        eprintln!("{a}");
        let context = GpuContext::open(a.index, &GpuOptions::default()).unwrap();
        for (t, b, i, l, dirs) in [
            (20, 1, 64, 1, Directions::Forward),
            (20, 8, 128, 1, Directions::Forward),
            (20, 4, 64, 2, Directions::Bidirectional),
            (20, 64, 64, 1, Directions::Forward),
            (10, 64, 256, 1, Directions::Forward),
            (20, 1, 256, 1, Directions::Forward),
        ] {
            for reset in [ResetForm::After, ResetForm::Before] {
                let config =
                    GruConfig { num_layers: l, directions: dirs, reset, ..GruConfig::new(i, i) };
                let gru = network(config, &mut seed);
                let x = Array3::from_shape_fn((t, b, i), |_| random(&mut seed));
                let inputs = Inputs::new(x.view());
                let mut s =
                    GpuSession::new(&context, &gru, inputs.shape(), &PlanOptions::default())
                        .unwrap();
                let mut out = Output::zeros(gru.config(), inputs.shape(), false).unwrap();
                let mut times = vec![];
                for _ in 0..15 {
                    let t0 = std::time::Instant::now();
                    s.run(&inputs, &mut out.views(false)).unwrap();
                    times.push(t0.elapsed().as_secs_f64() * 1e3);
                }
                times.sort_by(f64::total_cmp);
                let flops = s.plan().flops() as f64;
                eprintln!(
                    "T{t} B{b} H{i} L{l} {dirs} {reset}: min {:.2} med {:.2} ms, {:.2} GFLOP/s",
                    times[0],
                    times[7],
                    flops / times[7] / 1e6
                );
            }
        }
    }
}
