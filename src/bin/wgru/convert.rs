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
    let gru = args.model.open()?;
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
