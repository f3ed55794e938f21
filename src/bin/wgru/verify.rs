//! `wgru verify`: a device's own steps against the f64 reference.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use wgru::Calibration;
use wgru::reference::{Location, Verification};

use crate::engine::{EngineArgs, tuning_json};
use crate::failure::Failure;
use crate::options::{ModelArgs, whole};
use crate::progress;
use crate::sequences::SequenceArgs;

/// A value of the device was outside its bound.
const MISMATCH: u8 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The sequences [T, B, I], or one sequence [T, I]: an npy file [default: random ones]
    #[arg(long, value_name = "NPY", conflicts_with_all = ["steps", "batch", "seed"])]
    input: Option<PathBuf>,
    /// Time steps of random sequences
    #[arg(long, value_name = "T", allow_negative_numbers = true, default_value_t = 24, value_parser = whole::<usize>)]
    steps: usize,
    /// Rows of random sequences
    #[arg(long, value_name = "B", allow_negative_numbers = true, default_value_t = 5, value_parser = whole::<usize>)]
    batch: usize,
    /// Seed of random sequences, uniform in [-2, 2)
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, value_parser = whole::<u64>)]
    seed: u64,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    sequences: SequenceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let gru = args.model.open()?;
    let sequences = match &args.input {
        Some(path) => args.sequences.read::<f32>(path, gru.config())?,
        None => args.sequences.random([args.steps, args.batch], args.seed, gru.config())?,
    };
    let inputs = sequences.inputs();
    let shape = inputs.shape();
    let (choice, options) = args.engine.choose(&gru, shape, Calibration::default())?;
    let device = choice.device;
    let message = format!("verifying {shape} on {device}");
    let (verification, tuning) = progress::while_shown(message, || {
        let mut session = gru.session_with(&device, shape, &options)?;
        let verification = session.verify(&inputs)?;
        Ok::<_, wgru::Error>((verification, session.tuning().cloned()))
    })?;
    let verdict = Verdict::of(&verification, shape.batch)?;
    let mut out = io::stdout().lock();
    if args.json {
        let mut value = verification_json(&verification);
        value["passed"] = match verdict {
            Verdict::Pass => json!(true),
            Verdict::Fail => json!(false),
            Verdict::Nothing => Value::Null,
        };
        value["device"] = json!(device.to_string());
        value["tuning"] = tuning_json(tuning.as_ref());
        value["precision"] = json!(options.precision.to_string());
        value["steps"] = json!(shape.steps);
        value["batch"] = json!(shape.batch);
        writeln!(out, "{value:#}")?;
    } else {
        write!(out, "device: {device}, {} weights\ninput: {shape}", options.precision)?;
        match &args.input {
            Some(path) => writeln!(out, ", {}", path.display())?,
            None => writeln!(out, ", random, seed {}", args.seed)?,
        }
        for warning in &gru.description().warnings {
            writeln!(out, "warning: {warning}")?;
        }
        if let Some(tuning) = &tuning {
            writeln!(out, "{tuning}")?;
        }
        writeln!(out, "{verification}")?;
        match verdict {
            Verdict::Pass => writeln!(out, "PASS")?,
            Verdict::Fail => writeln!(out, "FAIL")?,
            Verdict::Nothing => {}
        }
    }
    Ok(ExitCode::from(verdict.exit_code()))
}

/// What a check amounts to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Pass,
    Fail,
    /// There are no rows, so no value that could be wrong.
    Nothing,
}

impl Verdict {
    fn of(verification: &Verification, rows: usize) -> Result<Self, Failure> {
        match verification.passed() {
            true => Ok(Self::Pass),
            false if !verification.is_empty() => Ok(Self::Fail),
            false if rows == 0 => Ok(Self::Nothing),
            false => Err(Failure::Request(format!(
                "nothing can be compared: {} values, all beyond what their operands decide in f32",
                verification.undecided
            ))),
        }
    }

    fn exit_code(self) -> u8 {
        if self == Self::Fail { MISMATCH } else { 0 }
    }
}

fn verification_json(v: &Verification) -> Value {
    json!({
        "compared": v.compared,
        "not_a_number": v.not_a_number,
        "undecided": v.undecided,
        "mismatches": v.mismatches,
        "worst_ratio": v.worst_ratio(),
        "worst": v.worst.map(|c| json!({
            "at": location_json(&c.location), "got": c.got, "want": c.want, "bound": c.bound,
        })),
        "end_to_end": v.end_to_end.map(|d| json!({
            "at": location_json(&d.location), "got": d.got, "want": d.want,
            "difference": d.difference,
        })),
    })
}

fn location_json(at: &Location) -> Value {
    json!({
        "layer": at.layer, "direction": at.direction, "step": at.step, "row": at.row,
        "unit": at.unit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_and_exit_codes() {
        let verdict = |compared, mismatches, rows| {
            let mut verification = Verification::default();
            verification.compared = compared;
            verification.mismatches = mismatches;
            Verdict::of(&verification, rows).ok().map(|v| (v, v.exit_code()))
        };
        assert_eq!(verdict(5, 0, 2), Some((Verdict::Pass, 0)));
        assert_eq!(verdict(5, 1, 2), Some((Verdict::Fail, 1)));
        assert_eq!(verdict(0, 0, 0), Some((Verdict::Nothing, 0)));
        assert_eq!(verdict(0, 0, 2), None);
    }
}
