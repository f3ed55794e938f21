//! candle's `candle_nn::GRU` on the processor. It has one layer, one direction, reset-after.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{GRU, GRUConfig, RNN as _, VarBuilder};
use peer::{Case, Network};

struct Loaded {
    case: Case,
    gru: GRU,
    /// `[B, T, I]`.
    input: Vec<f32>,
    /// `[T, B, H]`.
    output: Vec<f32>,
}

impl Loaded {
    fn forward(&self) -> Result<Vec<f32>> {
        let case = &self.case;
        let shape = (case.batch, case.steps, case.input);
        let x = Tensor::from_slice(&self.input, shape, &Device::Cpu)?;
        let states: Vec<_> = self.gru.seq(&x)?.into_iter().map(|s| s.h).collect();
        Tensor::stack(&states, 0)?.flatten_all()?.to_vec1()
    }
}

impl Network for Loaded {
    fn run(&mut self) -> std::result::Result<(), String> {
        self.output = self.forward().map_err(|e| e.to_string())?;
        Ok(())
    }

    fn output(&self) -> Vec<f32> {
        self.output.clone()
    }
}

fn gru(case: &Case) -> Result<GRU> {
    let (cell, h) = (&case.cells[0], case.hidden);
    let matrix = |data: &[f32], columns| Tensor::from_slice(data, (3 * h, columns), &Device::Cpu);
    let vector = |data: &[f32]| Tensor::from_slice(data, 3 * h, &Device::Cpu);
    let tensors = HashMap::from([
        ("weight_ih_l0".to_string(), matrix(&cell.w_ih, cell.features)?),
        ("weight_hh_l0".to_string(), matrix(&cell.w_hh, h)?),
        ("bias_ih_l0".to_string(), vector(&cell.b_ih)?),
        ("bias_hh_l0".to_string(), vector(&cell.b_hh)?),
    ]);
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    candle_nn::gru(cell.features, h, GRUConfig::default(), builder)
}

fn main() {
    peer::serve("candle", "0.11.1", |case| {
        if !case.reset_after {
            return Err("candle's GRU is reset-after only".into());
        }
        if case.layers > 1 || case.bidirectional {
            return Err("candle's GRU has one layer and one direction".into());
        }
        let gru = gru(&case).map_err(|e| e.to_string())?;
        let input = case.batch_first();
        Ok(Box::new(Loaded { case, gru, input, output: Vec::new() }))
    });
}
