//! Options that choose the device and say how it is used.

use std::time::Duration;

use serde_json::{Value, json};
use wgru::{
    Calibration, Choice, Device, GpuOptions, Gru, KernelFamily, PlanOptions, Precision,
    SequenceShape, Tuning, auto_candidates,
};

use crate::failure::Failure;
use crate::options::at_least_one;

#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// auto, cpu, gpu, reference (f64), an index of `wgru devices`, or a part of an adapter's name
    /// [default: WGRU_DEVICE, else auto]
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Weights on the device: f32, or f16 (GPU only; sums and states stay f32)
    #[arg(long, value_name = "P", default_value = "f32", value_parser = precision)]
    precision: Precision,
    /// Device memory for everything but the weights, bytes (GPU only)
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = at_least_one::<u64>)]
    memory_budget: Option<u64>,
    /// Longest chunk of time steps (GPU only)
    #[arg(long, value_name = "STEPS", allow_negative_numbers = true, value_parser = at_least_one::<usize>)]
    max_chunk_steps: Option<usize>,
    /// Largest tile of batch rows (GPU only)
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true, value_parser = at_least_one::<usize>)]
    max_tile_rows: Option<usize>,
    /// The kernels that compute the steps: auto, step, sequence, matrix (GPU only; matrix
    /// asks for cooperative matrices, which are experimental, and for --precision f16)
    #[arg(long, value_name = "K", default_value = "auto", value_parser = kernels)]
    kernels: Kernels,
    /// With auto: measure nothing; use what was measured before, or ordinary devices' costs
    #[arg(long)]
    no_calibration: bool,
    /// Whether a dispatch runs a step of every layer, each one step behind the layer below: auto, on,
    /// off (GPU only)
    #[arg(long, value_name = "W", default_value = "auto", value_parser = wavefront)]
    wavefront: Wavefront,
    /// Try other kernels on the adapter for about S seconds [2], keep the fastest, and remember them;
    /// the last bits of a result may be others than without (GPU only)
    #[arg(long, value_name = "S", num_args = 0..=1, require_equals = true,
          default_missing_value = "2", value_parser = tuning_time)]
    tune: Option<Duration>,
}

/// `None`: the planner chooses.
#[derive(Clone, Copy, Debug)]
struct Wavefront(Option<bool>);

/// `None`: the planner chooses.
#[derive(Clone, Copy, Debug)]
struct Kernels(Option<KernelFamily>);

impl EngineArgs {
    /// The device for runs of `shape`, and how it is used.
    pub(crate) fn choose(
        &self,
        gru: &Gru,
        shape: SequenceShape,
        calibration: Calibration,
    ) -> Result<(Choice, PlanOptions), Failure> {
        let (device, options) = self.open(calibration)?;
        Ok((device.choose(gru, shape, &options)?, options))
    }

    /// Opens the device; `auto` is still undecided.
    pub(crate) fn open(&self, calibration: Calibration) -> Result<(Device, PlanOptions), Failure> {
        let request = requested(self.device.as_deref())?;
        let calibration = if self.no_calibration { Calibration::Never } else { calibration };
        let auto = request.trim().eq_ignore_ascii_case("auto");
        let cooperative_matrices = self.kernels.0 == Some(KernelFamily::Matrix);
        if auto && cooperative_matrices {
            return Err(Failure::Request(
                "--kernels matrix opens a device with an experimental feature: name the device, as \
                 in --device gpu"
                    .to_owned(),
            ));
        }
        let gpu = GpuOptions { cooperative_matrices, ..GpuOptions::default() };
        let device = match auto {
            true => Device::auto_with(calibration),
            false => Device::find_with(&request, &gpu)?,
        };
        if device.gpu_context().is_none() {
            let given = [
                ("--precision f16", self.precision == Precision::F16),
                ("--memory-budget", self.memory_budget.is_some()),
                ("--max-chunk-steps", self.max_chunk_steps.is_some()),
                ("--max-tile-rows", self.max_tile_rows.is_some()),
                ("--kernels", self.kernels.0.is_some()),
                ("--wavefront", self.wavefront.0.is_some()),
                ("--tune", self.tune.is_some()),
            ];
            // Where auto has a GPU to choose, these choose it.
            let option = given.iter().find(|(_, given)| *given);
            let option = option.filter(|_| !device.is_auto() || auto_candidates().is_empty());
            if let Some((option, _)) = option {
                return Err(Failure::Request(format!(
                    "{option} wants a GPU, device '{request}' is the {device}"
                )));
            }
        }
        let options = PlanOptions {
            precision: self.precision,
            memory_budget: self.memory_budget,
            max_chunk_steps: self.max_chunk_steps,
            max_tile_rows: self.max_tile_rows,
            family: self.kernels.0,
            wavefront: self.wavefront.0,
            tune: self.tune,
            ..PlanOptions::default()
        };
        Ok((device, options))
    }
}

/// The device that the option, else `WGRU_DEVICE`, asks for; `auto` where both are absent or the
/// variable is empty.
pub(crate) fn requested(option: Option<&str>) -> Result<String, Failure> {
    if let Some(request) = option {
        return Ok(request.to_owned());
    }
    match std::env::var("WGRU_DEVICE") {
        Ok(request) if !request.is_empty() => Ok(request),
        Err(std::env::VarError::NotUnicode(request)) => Err(Failure::Request(format!(
            "WGRU_DEVICE must be UTF-8 text, {} was given",
            request.display()
        ))),
        _ => Ok("auto".to_owned()),
    }
}

pub(crate) fn precision(text: &str) -> Result<Precision, String> {
    [Precision::F32, Precision::F16]
        .into_iter()
        .find(|p| p.to_string() == text)
        .ok_or_else(|| "f32 or f16 is wanted".to_owned())
}

/// Seconds, more than none.
pub(crate) fn tuning_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| *s > 0.0 && *s <= 3600.0);
    let time = seconds.map(Duration::from_secs_f64).filter(|time| !time.is_zero());
    time.ok_or_else(|| "a number of seconds, more than 0 and 3600 at most, is wanted".to_owned())
}

/// How a session came to its kernels; null where it was not asked to measure any.
pub(crate) fn tuning_json(tuning: Option<&Tuning>) -> Value {
    let Some(t) = tuning else { return Value::Null };
    json!({
        "kernels": t.kernels, "planned": t.planned, "microseconds": t.microseconds,
        "planned_microseconds": t.planned_microseconds, "steps": t.steps,
        "candidates": t.candidates, "seconds": t.seconds, "measured_at": t.measured_at,
        "cached": t.cached,
    })
}

fn kernels(text: &str) -> Result<Kernels, String> {
    let families = [KernelFamily::Step, KernelFamily::Sequence, KernelFamily::Matrix];
    let named = families.into_iter().find(|f| f.to_string() == text);
    match named {
        None if text != "auto" => Err("auto, step, sequence or matrix is wanted".to_owned()),
        _ => Ok(Kernels(named)),
    }
}

fn wavefront(text: &str) -> Result<Wavefront, String> {
    match text {
        "auto" => Ok(Wavefront(None)),
        "on" => Ok(Wavefront(Some(true))),
        "off" => Ok(Wavefront(Some(false))),
        _ => Err("auto, on or off is wanted".to_owned()),
    }
}
