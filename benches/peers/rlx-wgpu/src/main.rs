//! rlx-wgpu's GRU on the adapter that its device module picks.

use peer::{Case, Cell, Network, swap_axes};
use rlx_ir::{DType, Graph, Op, Shape};
use rlx_wgpu::backend::WgpuExecutable;

struct Loaded {
    case: Case,
    executable: WgpuExecutable,
    /// `[B, T, I]`.
    input: Vec<f32>,
    /// `[B, T, D*H]`.
    output: Vec<f32>,
}

impl Network for Loaded {
    fn run(&mut self) -> Result<(), String> {
        let mut outputs = self.executable.run(&[("x", &self.input)]);
        if outputs.is_empty() {
            return Err("the graph gave no output".into());
        }
        self.output = outputs.swap_remove(0);
        Ok(())
    }

    fn output(&self) -> Vec<f32> {
        let case = &self.case;
        swap_axes(&self.output, case.batch, case.steps, case.directions() * case.hidden)
    }
}

fn load(case: Case) -> Result<Box<dyn Network>, String> {
    if !case.reset_after {
        return Err("rlx's GRU is reset-after only".into());
    }
    if case.hidden > 256 {
        return Err("rlx-wgpu computes hidden sizes above 256 on the host".into());
    }
    let mut graph = Graph::new("gru");
    let shape = |dims: &[usize]| Shape::new(dims, DType::F32);
    let all = |field: fn(&Cell) -> &Vec<f32>| -> Vec<f32> {
        case.cells.iter().flat_map(|cell| field(cell).iter().copied()).collect()
    };
    let weights = [
        ("w_ih", all(|c| &c.w_ih)),
        ("w_hh", all(|c| &c.w_hh)),
        ("b_ih", all(|c| &c.b_ih)),
        ("b_hh", all(|c| &c.b_hh)),
    ];
    let mut inputs = vec![graph.input("x", shape(&[case.batch, case.steps, case.input]))];
    for (name, data) in &weights {
        inputs.push(graph.param(*name, shape(&[data.len()])));
    }
    let op = Op::Gru {
        hidden_size: case.hidden,
        num_layers: case.layers,
        bidirectional: case.bidirectional,
        carry: false,
    };
    let width = case.directions() * case.hidden;
    let out = graph.append_node(op, inputs, shape(&[case.batch, case.steps, width]), None);
    graph.set_outputs(vec![out]);
    let mut executable = WgpuExecutable::compile(graph);
    for (name, data) in &weights {
        executable.set_param(name, data);
    }
    let input = case.batch_first();
    Ok(Box::new(Loaded { case, executable, input, output: Vec::new() }))
}

fn main() {
    peer::serve("rlx-wgpu", "0.2.19", load);
}
