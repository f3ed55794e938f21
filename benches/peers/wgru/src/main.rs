//! This project's own engines in the comparison: `peer-wgru [DEVICE] [THREADS]`, by default `cpu`
//! and 2. `reference` is the f64 oracle.

use std::num::NonZeroUsize;

use ndarray::ArrayView3;
use peer::{Case, Network};
use wgru::{CellWeights, Device, Directions, Gru, GruConfig, GruWeights};
use wgru::{MatrixView, Output, ResetForm, SequenceShape, Session, Tensor};

struct Loaded {
    case: Case,
    session: Session,
    output: Option<Output>,
}

impl Network for Loaded {
    fn run(&mut self) -> Result<(), String> {
        let dim = (self.case.steps, self.case.batch, self.case.input);
        let input = ArrayView3::from_shape(dim, &self.case.x).map_err(|e| e.to_string())?;
        self.output = Some(self.session.run(input).map_err(|e| e.to_string())?);
        Ok(())
    }

    fn output(&self) -> Vec<f32> {
        self.output.iter().flat_map(|o| o.hidden_states.iter().copied()).collect()
    }
}

fn gru(case: &Case) -> wgru::Result<Gru> {
    let mut config = GruConfig::new(case.input, case.hidden);
    config.num_layers = case.layers;
    config.directions =
        if case.bidirectional { Directions::Bidirectional } else { Directions::Forward };
    config.reset = if case.reset_after { ResetForm::After } else { ResetForm::Before };
    let h = case.hidden;
    let mut cells = Vec::new();
    for (index, cell) in case.cells.iter().enumerate() {
        let gates = |name: &str, data: &[f32], cols: usize| -> wgru::Result<[MatrixView; 3]> {
            let gate = |g: usize| {
                let name = format!("cell {index} {name} gate {g}");
                let rows = data.len() / 3 / cols;
                let tensor = Tensor::from_f32(
                    &name,
                    &[rows, cols],
                    &data[g * rows * cols..][..rows * cols],
                )?;
                Ok(MatrixView::new(&tensor, 0, [rows, cols], [cols, 1]))
            };
            Ok([gate(0)?, gate(1)?, gate(2)?])
        };
        cells.push(CellWeights {
            input: gates("w_ih", &cell.w_ih, cell.features)?,
            recurrent: gates("w_hh", &cell.w_hh, h)?,
            input_bias: gates("b_ih", &cell.b_ih, h)?.map(Some),
            recurrent_bias: gates("b_hh", &cell.b_hh, h)?.map(Some),
        });
    }
    let weights = GruWeights::new(&config, cells)?;
    Gru::new(config, weights)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "cpu".into());
    let threads = arguments.next().map_or(Ok(2), |t| t.parse::<usize>());
    let Some(threads) = threads.ok().and_then(NonZeroUsize::new) else {
        eprintln!("THREADS must be a number above 0");
        std::process::exit(2);
    };
    let device = match name.as_str() {
        "cpu" => Ok(Device::cpu_with_threads(threads)),
        "reference" => Ok(Device::reference()),
        other => Device::find(other),
    };
    let device = match device {
        Ok(device) => device,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    let engine = format!("wgru {name}");
    peer::serve(&engine, env!("CARGO_PKG_VERSION"), |case| {
        let shape = SequenceShape::new(case.steps, case.batch);
        let session =
            gru(&case).and_then(|gru| gru.session(&device, shape)).map_err(|e| e.to_string())?;
        Ok(Box::new(Loaded { case, session, output: None }))
    });
}
