//! The `wgru` command.

mod failure;
mod info;
mod options;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Runs trained GRU networks on any GPU.
#[derive(Debug, Parser)]
#[command(name = "wgru", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a model file holds and how it was understood
    Info(info::Args),
}

fn main() -> ExitCode {
    let outcome = Cli::try_parse().map_err(Failure::from).and_then(|cli| match cli.command {
        Command::Info(args) => info::run(&args),
    });
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
