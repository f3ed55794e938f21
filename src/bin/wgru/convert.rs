//! `wgru convert`: the canonical form of a model.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use wgru::OutputFile;

use crate::failure::Failure;
use crate::options::ModelArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The safetensors file to write
    output: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // Files of these endings are read as what they end in.
    let ending = args.output.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if ["onnx", "npz", "npy"].iter().any(|e| ending.eq_ignore_ascii_case(e)) {
        return Err(Failure::Request(format!(
            "{}: a safetensors file is written, its name must not end in .{ending}",
            args.output.display()
        )));
    }
    let gru = args.model.open()?;
    let (own, source) = (args.output.canonicalize(), args.model.model.canonicalize());
    if own.is_ok_and(|own| source.is_ok_and(|source| own == source)) {
        return Err(Failure::Request(format!(
            "{}: the model that is read is not written over, another file was wanted",
            args.output.display()
        )));
    }
    let mut file = OutputFile::create(&args.output)?;
    let bytes = gru.to_safetensors()?;
    file.write_bytes(&bytes)?;
    file.commit()?;
    // What may be wrong with the model is still wrong with the copy.
    for warning in &gru.description().warnings {
        let _ = writeln!(io::stderr(), "wgru: warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}
