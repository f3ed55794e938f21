//! `wgru plan`: what a run would dispatch, with which kernels, why, and in how much memory.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};
use wgru::{Calibration, Choice, Plan, SequenceShape};

use crate::engine::{EngineArgs, tuning_json};
use crate::failure::Failure;
use crate::options::{ModelArgs, whole};
use crate::progress;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Time steps
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = whole::<usize>)]
    steps: usize,
    /// Rows of the batch
    #[arg(long, value_name = "B", allow_negative_numbers = true, value_parser = whole::<usize>)]
    batch: usize,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let gru = args.model.open()?;
    let shape = SequenceShape::new(args.steps, args.batch);
    // The expected time is a part of what is shown.
    let (choice, options) = args.engine.choose(&gru, shape, Calibration::Always)?;
    let device = &choice.device;
    let mut tuning = None;
    let plan = match device.gpu_context() {
        Some(_) if options.tune.is_some() => {
            let message = format!("tuning for {shape} on {device}");
            let session =
                progress::while_shown(message, || gru.session_with(device, shape, &options))?;
            tuning = session.tuning().cloned();
            session.plan().cloned()
        }
        Some(gpu) => Some(Plan::new(gru.config(), shape, gpu.capabilities(), &options)?),
        None => None,
    };
    let engine = match plan {
        Some(_) => device.to_string(),
        None => gru.session_with(device, shape, &options)?.engine(),
    };
    let mut out = io::stdout().lock();
    if args.json {
        let mut value = plan.as_ref().map_or_else(no_dispatches, plan_json);
        value["device"] = json!(device.to_string());
        value["auto"] = auto_json(&choice);
        value["engine"] = json!(engine);
        value["tuning"] = tuning_json(tuning.as_ref());
        value["precision"] = json!(options.precision.to_string());
        value["steps"] = json!(shape.steps);
        value["batch"] = json!(shape.batch);
        writeln!(out, "{value:#}")?;
    } else {
        writeln!(out, "device: {device}")?;
        if let Some(reason) = &choice.reason {
            writeln!(out, "auto: {reason}")?;
        }
        if let Some(tuning) = &tuning {
            writeln!(out, "{tuning}")?;
        }
        match plan {
            Some(plan) => write!(out, "{plan}")?,
            None => writeln!(out, "{engine}; layer by layer, nothing is dispatched")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why the device is the one; null where it was named.
fn auto_json(choice: &Choice) -> Value {
    let Some(reason) = &choice.reason else { return Value::Null };
    let expected = choice.expected.iter().map(
        |e| json!({ "device": e.device, "microseconds": e.microseconds, "measured": e.measured }),
    );
    json!({ "reason": reason, "expected": expected.collect::<Vec<_>>() })
}

fn plan_json(plan: &Plan) -> Value {
    let by_name = |pairs: Vec<(&'static str, u64)>| -> Value {
        pairs.into_iter().map(|(name, n)| (name.to_owned(), json!(n))).collect()
    };
    json!({
        "kernel_family": plan.family().to_string(),
        "wavefront": plan.is_wavefront(),
        "dispatches": plan.dispatches(),
        "dispatches_by_kernel": by_name(plan.dispatches_by_kernel()),
        "flops": plan.flops(),
        "tile_rows": plan.tile_rows(),
        "chunk_steps": plan.chunk_steps(),
        "device_bytes": plan.device_bytes(),
        "weight_bytes": plan.weight_bytes(),
        "buffers": by_name(plan.buffers()),
        "reasons": plan.reasons(),
    })
}

fn no_dispatches() -> Value {
    json!({ "dispatches": 0, "device_bytes": 0 })
}
