//! The `wgru` command.

mod bench;
mod convert;
mod devices;
mod engine;
mod environment;
mod failure;
mod info;
mod options;
mod plan;
mod probe;
mod progress;
mod run;
mod sequences;
mod verify;
mod warnings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs trained GRU networks on any GPU.
#[derive(Debug, Parser)]
#[command(name = "wgru", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the devices that networks can run on
    Devices(devices::Args),
    /// Show what a model file holds and how it was understood
    Info(info::Args),
    /// Write a model in the canonical form, its convention recorded in the metadata
    Convert(convert::Args),
    /// Run a batch of sequences
    Run(run::Args),
    /// Run on a device and compare every step with the f64 reference
    Verify(verify::Args),
    /// Time a grid of real shapes on the CPU and on GPUs, every result verified
    Bench(Box<bench::Args>),
    /// Show what would be dispatched, with which kernels, why, and how much memory it takes
    Plan(plan::Args),
    /// Measure what an adapter can really do, and keep it for later runs
    Probe(probe::Args),
}

fn main() -> ExitCode {
    environment::silence_device_selection();
    warnings::show();
    let outcome = failure::without_panics(|| match Cli::try_parse()?.command {
        Command::Devices(args) => devices::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Probe(args) => probe::run(&args),
    });
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
