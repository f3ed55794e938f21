//! Burn's `nn::gru::Gru` and `BiGru`, on any of its devices.

use burn::module::Param;
use burn::nn::Linear;
use burn::nn::gru::{BiGru, BiGruConfig, Gru, GruConfig};
use burn::tensor::{Device, Tensor, TensorData};
use peer::{Case, Cell, Network, swap_axes, transpose};

pub const VERSION: &str = "0.22.1";

enum Layer {
    One(Gru),
    Two(BiGru),
}

struct Loaded {
    case: Case,
    device: Device,
    layers: Vec<Layer>,
    /// `[B, T, I]`.
    input: Vec<f32>,
    /// `[B, T, D*H]`.
    output: Vec<f32>,
}

/// `case` on `device`.
pub fn load(case: Case, device: &Device) -> Result<Box<dyn Network>, String> {
    let directions = case.directions();
    let layers = case.cells.chunks(directions).map(|cells| layer(&case, cells, device)).collect();
    let input = case.batch_first();
    Ok(Box::new(Loaded { case, device: device.clone(), layers, input, output: Vec::new() }))
}

fn layer(case: &Case, cells: &[Cell], device: &Device) -> Layer {
    let (features, hidden) = (cells[0].features, case.hidden);
    if case.bidirectional {
        let config = BiGruConfig::new(features, hidden, true).with_reset_after(case.reset_after);
        let mut layer = config.init(device);
        fill(&mut layer.forward, &cells[0], hidden, device);
        fill(&mut layer.reverse, &cells[1], hidden, device);
        Layer::Two(layer)
    } else {
        let config = GruConfig::new(features, hidden, true).with_reset_after(case.reset_after);
        let mut layer = config.init(device);
        fill(&mut layer, &cells[0], hidden, device);
        Layer::One(layer)
    }
}

fn fill(gru: &mut Gru, cell: &Cell, hidden: usize, device: &Device) {
    let gates = [&mut gru.reset_gate, &mut gru.update_gate, &mut gru.new_gate];
    for (index, gate) in gates.into_iter().enumerate() {
        let linear = |linear: &mut Linear, weight: &[f32], bias: &[f32], features: usize| {
            let weight = &weight[index * hidden * features..][..hidden * features];
            let weight = transpose(weight, hidden, features);
            let weight = TensorData::new(weight, [features, hidden]);
            let bias = TensorData::new(bias[index * hidden..][..hidden].to_vec(), [hidden]);
            linear.weight = Param::from_tensor(Tensor::<2>::from_data(weight, device));
            linear.bias = Some(Param::from_tensor(Tensor::<1>::from_data(bias, device)));
        };
        linear(&mut gate.input_transform, &cell.w_ih, &cell.b_ih, cell.features);
        linear(&mut gate.hidden_transform, &cell.w_hh, &cell.b_hh, hidden);
    }
}

impl Network for Loaded {
    fn run(&mut self) -> Result<(), String> {
        let case = &self.case;
        let input = TensorData::new(self.input.clone(), [case.batch, case.steps, case.input]);
        let mut states = Tensor::<3>::from_data(input, &self.device);
        for layer in &self.layers {
            states = match layer {
                Layer::One(layer) => layer.forward(states, None),
                Layer::Two(layer) => layer.forward(states, None).0,
            };
        }
        self.output = states.into_data().to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
        Ok(())
    }

    fn output(&self) -> Vec<f32> {
        let case = &self.case;
        swap_axes(&self.output, case.batch, case.steps, case.directions() * case.hidden)
    }
}
