//! rten on the case's ONNX model: `peer-rten [THREADS]`, by default 2.

use std::sync::Arc;

use peer::{Case, Network};
use rten::{Model, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

struct Loaded {
    case: Case,
    model: Model,
    ids: [NodeId; 2],
    threads: Arc<ThreadPool>,
    /// `[T, D, B, H]`.
    output: Option<Value>,
}

impl Network for Loaded {
    fn run(&mut self) -> Result<(), String> {
        let shape = [self.case.steps, self.case.batch, self.case.input];
        let x = NdTensorView::from_data(shape, self.case.x.as_slice());
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.threads)));
        let [input, output] = self.ids;
        let mut values = self
            .model
            .run(vec![(input, x.into())], &[output], Some(options))
            .map_err(|e| e.to_string())?;
        self.output = values.pop();
        Ok(())
    }

    fn output(&self) -> Vec<f32> {
        let Some(Value::FloatTensor(states)) = &self.output else { return Vec::new() };
        self.case.from_onnx(&states.to_vec())
    }
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|t| t.parse().ok()).unwrap_or(2);
    let threads = Arc::new(ThreadPool::with_num_threads(threads));
    peer::serve("rten", "0.27.0", |case| {
        let model = Model::load_file(case.folder.join("model.onnx")).map_err(|e| e.to_string())?;
        let id = |name: &str| model.node_id(name).map_err(|e| e.to_string());
        let ids = [id("X")?, id("Y")?];
        Ok(Box::new(Loaded { case, model, ids, threads: Arc::clone(&threads), output: None }))
    });
}
