//! `wgru devices`: what networks can run on.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use indicatif::BinaryBytes;
use serde_json::{Value, json};
use wgru::{AdapterDescription, Device, adapters};

use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let found = adapters();
    let cpu = Cpu::detect();
    let auto = Device::auto();
    let mut out = io::stdout().lock();
    if args.json {
        let value = json!({
            "adapters": found.iter().map(adapter_json).collect::<Vec<_>>(),
            "cpu": { "name": cpu.name, "threads": cpu.threads, "features": cpu.features },
            "auto": auto.map(|d| d.to_string()).ok(),
        });
        writeln!(out, "{value:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        writeln!(out, "no GPU adapter: wgpu found none, not even a software one")?;
    }
    for adapter in &found {
        write_adapter(&mut out, adapter)?;
    }
    let name = cpu.name.as_deref().unwrap_or("processor");
    write!(out, "cpu        {name}, {} threads", cpu.threads)?;
    writeln!(out, "{}{}", if cpu.features.is_empty() { "" } else { ", " }, cpu.features.join(" "))?;
    writeln!(out, "reference  plain f64 loops on the processor: the oracle")?;
    match auto {
        Ok(device) => writeln!(out, "auto       {device}")?,
        Err(error) => writeln!(out, "auto       {error}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write_adapter(out: &mut impl Write, a: &AdapterDescription) -> io::Result<()> {
    let c = &a.capabilities;
    writeln!(out, "{:<10} {}", a.index, a.name)?;
    let driver = if a.driver.is_empty() { "unnamed" } else { &a.driver };
    writeln!(out, "           {}, {}; driver {driver}", a.backend, a.kind)?;
    let subgroups = match a.subgroup_sizes {
        [0, 0] => String::new(),
        [low, high] if low == high => format!(", {low} lanes a subgroup"),
        [low, high] => format!(", {low} to {high} lanes a subgroup"),
    };
    let features = if a.features.is_empty() { "none".to_owned() } else { a.features.join(" ") };
    writeln!(out, "           features: {features}{subgroups}")?;
    match &a.cooperative_matrices {
        Ok(matrices) => {
            writeln!(out, "           kernels matrix: if asked for, by matrices of {matrices}")?
        }
        Err(missing) => writeln!(out, "           kernels matrix: no, {missing}")?,
    }
    writeln!(
        out,
        "           limits: binding {}, buffer {}, {} invocations and {} of memory a workgroup, {} \
         storage buffers a kernel",
        BinaryBytes(c.max_storage_binding),
        BinaryBytes(c.max_buffer),
        c.max_invocations,
        BinaryBytes(u64::from(a.workgroup_memory)),
        c.max_storage_buffers
    )
}

fn adapter_json(a: &AdapterDescription) -> Value {
    let c = &a.capabilities;
    json!({
        "index": a.index,
        "name": a.name,
        "backend": a.backend,
        "driver": a.driver,
        "type": a.kind.to_string(),
        "features": a.features,
        "cooperative_matrices": match &a.cooperative_matrices {
            Ok(m) => json!({ "size": m.size, "subgroup": m.subgroup }),
            Err(missing) => json!({ "missing": missing }),
        },
        "subgroup_sizes": a.subgroup_sizes,
        "limits": {
            "max_storage_binding_bytes": c.max_storage_binding,
            "max_buffer_bytes": c.max_buffer,
            "max_storage_buffers": c.max_storage_buffers,
            "max_workgroups": c.max_workgroups,
            "max_invocations": c.max_invocations,
            "max_uniform_binding_bytes": c.max_uniform_binding,
            "uniform_alignment_bytes": c.uniform_alignment,
            "workgroup_memory_bytes": a.workgroup_memory,
        },
        "default_memory_budget_bytes": c.default_budget(),
    })
}

/// The processor that the CPU engine runs on.
pub(crate) struct Cpu {
    /// Where the system says it.
    pub(crate) name: Option<String>,
    /// Hardware threads that this process may use.
    pub(crate) threads: usize,
    /// Vector instructions.
    pub(crate) features: Vec<&'static str>,
}

impl Cpu {
    pub(crate) fn detect() -> Self {
        let name = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        let threads = thread::available_parallelism().map_or(1, |n| n.get());
        Self { name, threads, features: vector_features() }
    }
}

#[cfg(target_arch = "x86_64")]
fn vector_features() -> Vec<&'static str> {
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_features() -> Vec<&'static str> {
    Vec::new()
}
