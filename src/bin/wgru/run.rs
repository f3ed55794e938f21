//! `wgru run`: a batch of sequences from file to file.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use ndarray::{ArrayViewD, Axis};
use wgru::array_file::{self, Real};
use wgru::{
    Calibration, Device, Gru, Inputs, Output, OutputFile, OutputOrder, PlanOptions, reference,
};

use crate::engine::EngineArgs;
use crate::failure::Failure;
use crate::options::ModelArgs;
use crate::progress;
use crate::sequences::SequenceArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The sequences [T, B, I], or one sequence [T, I]: an npy file of f32, f64 or f16
    #[arg(long, value_name = "NPY")]
    input: PathBuf,
    /// Where to write the states of the last layer [T, B, D*H]: an npy file of f32; of f64 with
    /// --device reference
    #[arg(long, value_name = "NPY")]
    output: PathBuf,
    /// Where to write the final state [L*D, B, H] [default: nowhere]
    #[arg(long, value_name = "NPY")]
    r#final: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    sequences: SequenceArgs,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let gru = args.model.open()?;
    let opened = args.engine.open(Calibration::default())?;
    if opened.0.is_reference() {
        args.finish::<f64>(&gru, &opened, |_, inputs| {
            reference::forward(gru.config(), gru.weights(), inputs)
        })
    } else {
        args.finish::<f32>(&gru, &opened, |(device, options), inputs| {
            let mut session = gru.session_with(device, inputs.shape(), options)?;
            if let Some(tuning) = session.tuning() {
                note(&tuning.to_string());
            }
            session.run_with(inputs)
        })
    }
}

impl Args {
    /// Reads, computes, writes. Whatever can be wrong with a request shows before the computation.
    fn finish<A: Real>(
        &self,
        gru: &Gru,
        (device, options): &(Device, PlanOptions),
        compute: impl FnOnce((&Device, &PlanOptions), &Inputs<'_, A>) -> wgru::Result<Output<A>>,
    ) -> Result<ExitCode, Failure> {
        let sequences = self.sequences.read::<A>(&self.input, gru.config())?;
        let target = Target::check(&self.output)?;
        let final_target = self.r#final.as_deref().map(Target::check).transpose()?;
        if let Some(final_target) = &final_target
            && final_target.same_file(&target)
        {
            return Err(Failure::Request(format!(
                "--output and --final name the same file {}, two were wanted",
                self.output.display()
            )));
        }
        for (option, written) in [("--output", Some(&target)), ("--final", final_target.as_ref())] {
            let Some(written) = written else { continue };
            for read in [&self.model.model, &self.input] {
                if written.is_file(read) {
                    return Err(Failure::Request(format!(
                        "{option} names {}, which this run reads: another file was wanted",
                        read.display()
                    )));
                }
            }
        }
        for warning in &gru.description().warnings {
            note(&format!("warning: {warning}"));
        }
        let inputs = sequences.inputs();
        let shape = inputs.shape();
        let choice = device.choose(gru, shape, options)?;
        let (device, begin) = (&choice.device, Instant::now());
        let message = format!("running {shape} on {device}");
        let mut output = progress::while_shown(message, || compute((device, options), &inputs))?;
        let elapsed = begin.elapsed();
        if gru.description().output_order == OutputOrder::Processing {
            output.reverse_time(sequences.lengths.as_deref(), sequences.batch_first);
        }
        let mut files = vec![(target, output.hidden_states.view())];
        files.extend(final_target.map(|file| (file, output.final_state.view())));
        // All are written before the first one takes its place.
        let mut written = Vec::new();
        for (target, array) in files {
            let array = if sequences.unbatched {
                array.index_axis(Axis(1), 0).into_dyn()
            } else {
                array.into_dyn()
            };
            written.push(target.write(array)?);
        }
        OutputFile::commit_all(written)?;
        let why = match choice.reason.filter(|_| choice.expected.len() > 1) {
            Some(reason) => format!("; auto: {reason}"),
            None => String::new(),
        };
        note(&format!("{shape} on {device} in {elapsed:.3?}, set-up included{why}"));
        Ok(ExitCode::SUCCESS)
    }
}

/// A path that can be written to.
#[derive(Debug)]
struct Target<'a> {
    path: &'a Path,
    /// Open where it is no regular file: closing a pipe would end it for its reader.
    open: Option<OutputFile>,
}

impl<'a> Target<'a> {
    /// Checks that a file can be made at `path`. A regular one is begun when there is something to
    /// write: an interrupted computation leaves nothing behind.
    fn check(path: &'a Path) -> Result<Self, Failure> {
        let file = OutputFile::create(path)?;
        let replaceable = fs::metadata(path).map_or(true, |m| m.is_file());
        Ok(Self { path, open: (!replaceable).then_some(file) })
    }

    fn same_file(&self, other: &Self) -> bool {
        let full = |path: &Path| match path.canonicalize() {
            Ok(full) => Some(full),
            // A file that does not exist yet, in a folder that does.
            Err(_) => {
                let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
                let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
                Some(folder.join(path.file_name()?))
            }
        };
        self.open.is_none() && full(self.path) == full(other.path)
    }

    /// Whether it would replace the file at `path`, which exists.
    fn is_file(&self, path: &Path) -> bool {
        let (own, other) = (self.path.canonicalize(), path.canonicalize());
        self.open.is_none() && own.is_ok_and(|own| other.is_ok_and(|other| own == other))
    }

    fn write<A: Real>(self, array: ArrayViewD<'_, A>) -> Result<OutputFile, Failure> {
        let mut file = match self.open {
            Some(file) => file,
            None => OutputFile::create(self.path)?,
        };
        array_file::write(&mut file, array)?;
        Ok(file)
    }
}

/// A line on standard error, which may be closed.
fn note(message: &str) {
    let _ = writeln!(io::stderr(), "wgru: {message}");
}
