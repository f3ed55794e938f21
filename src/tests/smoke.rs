use crate::gpu::*;
use crate::plan::PlanOptions;
use crate::*;
use ndarray::Array3;

pub(super) fn random(seed: &mut u64) -> f32 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0
}

pub(super) fn network(config: GruConfig, seed: &mut u64) -> Gru {
    let (h, d) = (config.hidden_size, config.num_directions());
    let scale = 1.0 / (h as f32).sqrt();
    let mut cells = vec![];
    for l in 0..config.num_layers {
        for _ in 0..d {
            let mut m = |r: usize, c: usize| {
                let v: Vec<f32> = (0..r * c).map(|_| random(seed) * scale).collect();
                let t = Tensor::from_f32("w", &[r, c], &v).unwrap();
                MatrixView::new(&t, 0, [r, c], [c, 1])
            };
            let k = config.layer_input_size(l);
            cells.push(CellWeights {
                input: [m(h, k), m(h, k), m(h, k)],
                recurrent: [m(h, h), m(h, h), m(h, h)],
                input_bias: [Some(m(1, h)), Some(m(1, h)), Some(m(1, h))],
                recurrent_bias: [Some(m(1, h)), Some(m(1, h)), Some(m(1, h))],
            });
        }
    }
    let w = GruWeights::new(&config, cells).unwrap();
    Gru::new(config, w).unwrap()
}

#[test]
fn gpu_smoke() {
    let mut seed = 88172645463325252u64;
    for a in adapters() {
        eprintln!("{a}");
        let context = GpuContext::open(a.index, &GpuOptions::default()).unwrap();
        for (t, b, i, h, l, dirs, reset) in [
            (1, 1, 1, 1, 1, Directions::Forward, ResetForm::After),
            (5, 3, 4, 8, 1, Directions::Forward, ResetForm::After),
            (7, 5, 3, 17, 2, Directions::Bidirectional, ResetForm::Before),
            (9, 9, 6, 65, 2, Directions::Reverse, ResetForm::After),
            (9, 33, 6, 65, 3, Directions::Bidirectional, ResetForm::After),
            (6, 4, 6, 40, 2, Directions::Forward, ResetForm::Before),
        ] {
            let config =
                GruConfig { num_layers: l, directions: dirs, reset, ..GruConfig::new(i, h) };
            let gru = network(config, &mut seed);
            let x = Array3::from_shape_fn((t, b, i), |_| random(&mut seed));
            let h0 =
                Array3::from_shape_fn((gru.config().state_planes(), b, h), |_| random(&mut seed));
            let lengths: Vec<usize> = (0..b).map(|r| (r * 7 + 3) % (t + 1)).collect();
            let inputs = Inputs::new(x.view()).initial_state(h0.view()).lengths(&lengths);
            let x64 = x.mapv(f64::from);
            let h64 = h0.mapv(f64::from);
            let want = reference::forward(
                gru.config(),
                gru.weights(),
                &Inputs::new(x64.view()).initial_state(h64.view()).lengths(&lengths),
            )
            .unwrap();
            for (chunk, tile) in [(None, None), (Some(2), Some(3))] {
                let o = PlanOptions {
                    max_chunk_steps: chunk,
                    max_tile_rows: tile,
                    ..Default::default()
                };
                let shape = inputs.shape();
                let mut s = GpuSession::new(&context, &gru, shape, &o).unwrap();
                for _ in 0..2 {
                    let mut out = Output::zeros(gru.config(), shape, false).unwrap();
                    s.run(&inputs, &mut out.views(false)).unwrap();
                    let e = |a: &Array3<f32>, w: &Array3<f64>| {
                        a.iter()
                            .zip(w)
                            .map(|(a, w)| (f64::from(*a) - w).abs())
                            .fold(0.0, |m: f64, e| if e.is_nan() { f64::NAN } else { m.max(e) })
                    };
                    eprintln!(
                        "{t} {b} {i} {h} {l} {dirs} {reset} {chunk:?}: {:.2e} {:.2e}",
                        e(&out.hidden_states, &want.hidden_states),
                        e(&out.final_state, &want.final_state)
                    );
                    assert!(e(&out.hidden_states, &want.hidden_states) < 2e-6);
                    assert!(e(&out.final_state, &want.final_state) < 2e-6);
                }
            }
        }
    }
}
