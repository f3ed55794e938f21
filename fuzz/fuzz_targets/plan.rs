//! Plans of any configuration, shape, lengths, device and options: a plan, or one line why not.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use wgru::{
    Capabilities, Directions, GruConfig, Plan, PlanOptions, Precision, ResetForm, SequenceShape,
};

#[derive(Arbitrary, Debug)]
struct Request {
    sizes: [u32; 3],
    /// Sizes are cut to so many bits, so that small ones are as likely as large ones.
    bits: [u8; 8],
    directions: u8,
    flags: u8,
    run: [u64; 2],
    lengths: Option<Vec<u16>>,
    limits: [u64; 4],
    budget: Option<u64>,
    chunk: Option<u32>,
    tile: Option<u32>,
}

fn cut(value: u64, bits: u8) -> u64 {
    value & (u64::MAX >> (bits % 64))
}

libfuzzer_sys::fuzz_target!(|request: Request| {
    let r = &request;
    let size = |i: usize| cut(u64::from(r.sizes[i]), 32 + r.bits[i] % 32) as usize;
    let flag = |i: u8| r.flags >> i & 1 == 1;
    let config = GruConfig {
        num_layers: size(2),
        directions: [Directions::Forward, Directions::Reverse, Directions::Bidirectional]
            [usize::from(r.directions % 3)],
        reset: if flag(0) { ResetForm::Before } else { ResetForm::After },
        ..GruConfig::new(size(0), size(1))
    };
    let capabilities = Capabilities {
        max_storage_binding: cut(r.limits[0], r.bits[3]),
        max_buffer: cut(r.limits[1], r.bits[4]),
        max_workgroups: cut(r.limits[2], 32 + r.bits[5] % 32) as u32,
        max_invocations: cut(r.limits[3], 48 + r.bits[6] % 16) as u32,
        max_workgroup_memory: cut(r.limits[3], 46 + r.bits[6] % 8) as u32,
        uniform_alignment: 1 << (r.bits[7] % 10),
        immediates: flag(1),
        software: flag(2),
        integrated: flag(3),
        measured_gflops: flag(4).then_some(1.0),
        ..Capabilities::downlevel()
    };
    let options = PlanOptions {
        precision: if flag(4) { Precision::F16 } else { Precision::F32 },
        memory_budget: r.budget,
        max_chunk_steps: r.chunk.map(|n| n as usize),
        max_tile_rows: r.tile.map(|n| n as usize),
        all_layers: flag(5),
        ..PlanOptions::default()
    };
    let plan = match &r.lengths {
        Some(lengths) => {
            let lengths: Vec<usize> = lengths.iter().map(|n| usize::from(*n)).collect();
            let steps = lengths.iter().copied().max().unwrap_or(0);
            let shape = SequenceShape::new(steps, lengths.len());
            Plan::with_lengths(&config, shape, &lengths, &capabilities, &options)
        }
        None => {
            // A plan lists its pieces: runs of too many are another's test.
            let shape = r.run.map(|n| cut(n, 40 + r.bits[0] % 24) as usize);
            Plan::new(&config, SequenceShape::new(shape[0], shape[1]), &capabilities, &options)
        }
    };
    match plan {
        Ok(plan) => {
            let budget = options.memory_budget.unwrap_or_else(|| capabilities.default_budget());
            assert!(plan.tile_rows() >= 1 && plan.chunk_steps() >= 1);
            assert!(plan.device_bytes() >= plan.weight_bytes());
            assert!(plan.session_bytes() <= budget, "{} of {budget}", plan.session_bytes());
            assert!(!plan.to_string().is_empty());
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
});
