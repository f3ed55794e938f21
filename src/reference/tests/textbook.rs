//! The textbook's four equations in their own notation, written independently of the reference:
//!
//! ```text
//! U = sigmoid(W_u [x, h] + b_u)
//! R = sigmoid(W_R [x, h] + b_R)
//! C = tanh(W_h [x, R * h] + b_h)
//! h = U * C + (1 - U) * h
//! ```

use ndarray::{Array1, Array2, Array3, concatenate, prelude::*};
use proptest::prelude::*;

use super::support::{Random, from_textbook, seeded};
use crate::cell::ResetForm;
use crate::config::GruConfig;
use crate::reference::forward;
use crate::sequence::Inputs;
use crate::tensor::Tensor;
use crate::weights::GruWeights;

struct Textbook {
    w_u: Array2<f64>,
    w_r: Array2<f64>,
    w_h: Array2<f64>,
    b_u: Array1<f64>,
    b_r: Array1<f64>,
    b_h: Array1<f64>,
}

impl Textbook {
    fn step(&self, x: ArrayView1<'_, f64>, h: &Array1<f64>) -> Array1<f64> {
        let sigmoid = |a: Array1<f64>| a.mapv(|a| 1.0 / (1.0 + (-a).exp()));
        let joined = concatenate![Axis(0), x, *h];
        let u = sigmoid(self.w_u.dot(&joined) + &self.b_u);
        let r = sigmoid(self.w_r.dot(&joined) + &self.b_r);
        let c = (self.w_h.dot(&concatenate![Axis(0), x, &r * h]) + &self.b_h).mapv(f64::tanh);
        &u * c + (1.0 - &u) * h
    }

    fn weights(&self, config: &GruConfig) -> GruWeights {
        let matrix = |w: &Array2<f64>| {
            Tensor::from_f64("w", w.shape(), w.as_slice().expect("row-major")).unwrap()
        };
        let vector = |b: &Array1<f64>| Tensor::from_f64("b", b.shape(), &b.to_vec()).unwrap();
        let w = [&self.w_r, &self.w_u, &self.w_h].map(matrix);
        let b = [&self.b_r, &self.b_u, &self.b_h].map(vector);
        let cell = from_textbook(config.hidden_size, w.each_ref(), b.each_ref());
        GruWeights::new(config, vec![cell]).unwrap()
    }
}

proptest! {
    #![proptest_config(seeded(32))]

    #[test]
    fn the_reference_computes_the_textbook_equations(
        inputs in 1usize..6, units in 1usize..9, steps in 0usize..7, batch in 1usize..4,
        seed: u64, scale in 0.1f32..4.0,
    ) {
        let random = &mut Random(seed);
        let matrix = |random: &mut Random| {
            Array2::from_shape_simple_fn((units, inputs + units), || f64::from(random.uniform(scale)))
        };
        let vector = |random: &mut Random| {
            Array1::from_shape_simple_fn(units, || f64::from(random.uniform(scale)))
        };
        let book = Textbook {
            w_u: matrix(random), w_r: matrix(random), w_h: matrix(random),
            b_u: vector(random), b_r: vector(random), b_h: vector(random),
        };
        let x: Array3<f64> = random.array((steps, batch, inputs), 2.0).mapv(f64::from);
        let start: Array3<f64> = random.array((1, batch, units), 1.0).mapv(f64::from);
        let config = GruConfig { reset: ResetForm::Before, ..GruConfig::new(inputs, units) };
        let run = Inputs::new(x.view()).initial_state(start.view());
        let got = forward(&config, &book.weights(&config), &run).unwrap();
        for row in 0..batch {
            let mut h = start.slice(s![0, row, ..]).to_owned();
            for step in 0..steps {
                h = book.step(x.slice(s![step, row, ..]), &h);
                for (want, got) in h.iter().zip(got.hidden_states.slice(s![step, row, ..])) {
                    prop_assert!((want - got).abs() <= 1e-13, "{want} against {got}");
                }
            }
            prop_assert!(
                h.iter().zip(got.final_state.slice(s![0, row, ..])).all(|(a, b)| (a - b).abs() <= 1e-13)
            );
        }
    }
}
