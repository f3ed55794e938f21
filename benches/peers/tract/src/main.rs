//! tract on the case's ONNX model: `peer-tract [THREADS]`, by default 2.

use std::sync::Arc;

use peer::{Case, Network};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::multithread::{Executor, set_default_executor};

struct Loaded {
    case: Case,
    model: Arc<TypedRunnableModel>,
    /// `[T, D, B, H]`.
    output: Option<TValue>,
}

impl Network for Loaded {
    fn run(&mut self) -> Result<(), String> {
        let shape = [self.case.steps, self.case.batch, self.case.input];
        let x = Tensor::from_shape(&shape, &self.case.x).map_err(|e| e.to_string())?;
        let mut values = self.model.run(tvec!(x.into())).map_err(|e| format!("{e:#}"))?;
        self.output = Some(values.swap_remove(0));
        Ok(())
    }

    fn output(&self) -> Vec<f32> {
        let states = self.output.as_ref().and_then(|o| o.to_plain_array_view::<f32>().ok());
        states
            .map_or_else(Vec::new, |s| self.case.from_onnx(&s.iter().copied().collect::<Vec<_>>()))
    }
}

fn load(case: &Case) -> TractResult<Arc<TypedRunnableModel>> {
    let fact = f32::fact([case.steps, case.batch, case.input]);
    tract_onnx::onnx()
        .model_for_path(case.folder.join("model.onnx"))?
        .with_input_fact(0, fact.into())?
        .into_optimized()?
        .into_runnable()
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|t| t.parse().ok()).unwrap_or(2);
    set_default_executor(Executor::multithread(threads));
    peer::serve("tract", "0.23.9", |case| {
        let model = load(&case).map_err(|e| format!("{e:#}"))?;
        Ok(Box::new(Loaded { case, model, output: None }))
    });
}
