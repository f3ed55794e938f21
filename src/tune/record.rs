//! What is kept of a race for the next process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Tuning;
use crate::cache::{Key, Kind};
use crate::config::GruConfig;
use crate::gpu::GpuContext;
use crate::plan::{Capabilities, PlanOptions};
use crate::shape::SequenceShape;

pub(super) const KIND: Kind = Kind { name: "tuning", version: 1 };

/// More candidates, and longer words, are not of this program.
const MOST_CANDIDATES: usize = 1000;
const MOST_TEXT: usize = 300;

/// A [`Tuning`] on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) kernels: String,
    pub(super) planned: String,
    pub(super) microseconds: f64,
    pub(super) planned_microseconds: f64,
    pub(super) steps: usize,
    pub(super) candidates: usize,
    pub(super) seconds: f64,
    pub(super) measured_at: u64,
    /// The time that the measurement was given.
    pub(super) allowed_seconds: f64,
}

impl Stored {
    pub(super) fn new(tuning: &Tuning, limit: Duration) -> Self {
        Self {
            kernels: tuning.kernels.clone(),
            planned: tuning.planned.clone(),
            microseconds: tuning.microseconds,
            planned_microseconds: tuning.planned_microseconds,
            steps: tuning.steps,
            candidates: tuning.candidates,
            seconds: tuning.seconds,
            measured_at: tuning.measured_at,
            allowed_seconds: limit.as_secs_f64(),
        }
    }

    pub(super) fn tuning(self) -> Tuning {
        Tuning {
            kernels: self.kernels,
            planned: self.planned,
            microseconds: self.microseconds,
            planned_microseconds: self.planned_microseconds,
            steps: self.steps,
            candidates: self.candidates,
            seconds: self.seconds,
            measured_at: self.measured_at,
            cached: true,
        }
    }

    /// What no measurement can have left; `None` where there is nothing of that.
    pub(super) fn absurdity(&self) -> Option<&'static str> {
        let time = |v: f64| (0.0..1e12).contains(&v);
        let text = |t: &str| !t.is_empty() && t.len() <= MOST_TEXT;
        let kept = self.kernels == self.planned;
        if !text(&self.kernels) || !text(&self.planned) {
            return Some("the kernels have no names of kernels");
        }
        let times =
            [self.microseconds, self.planned_microseconds, self.seconds, self.allowed_seconds];
        if !times.into_iter().all(time) {
            return Some("a time is none");
        }
        if !(1..=MOST_CANDIDATES).contains(&self.candidates) || self.steps == 0 {
            return Some("a count is none");
        }
        if !kept && (self.microseconds >= self.planned_microseconds || self.candidates < 2) {
            return Some("what was chosen was not the fastest");
        }
        None
    }
}

/// The record of sessions like this one: all that can change what is a candidate or how it fares,
/// rows and steps by the power of two that holds them.
pub(super) fn key(
    context: &GpuContext,
    config: &GruConfig,
    shape: SequenceShape,
    options: &PlanOptions,
) -> Key {
    let bucket = |n: usize| n.checked_next_power_of_two().unwrap_or(usize::MAX);
    let of = |n: Option<u64>| n.map_or("any".to_owned(), |n| n.to_string());
    let wide = |n: Option<usize>| of(n.map(|n| n as u64));
    // What a probe has measured since changes no kernel.
    let device = Capabilities { measured_gflops: None, ..context.capabilities().clone() };
    context.adapter().cache_key().of_part(&format!(
        "I {}, H {}, L {}, {}, reset-{}, {} | up to T {} x B {} | family {}, wavefront {}, budget \
         {}, chunk {}, tile {}, on device {}, checked {} | {device:?}, {:?}",
        config.input_size,
        config.hidden_size,
        config.num_layers,
        config.directions,
        config.reset,
        options.precision,
        bucket(shape.steps),
        bucket(shape.batch),
        options.family.map_or("any".to_owned(), |f| f.to_string()),
        options.wavefront.map_or("any", |w| if w { "on" } else { "off" }),
        of(options.memory_budget),
        wide(options.max_chunk_steps),
        wide(options.max_tile_rows),
        options.on_device,
        context.is_checked(),
        config.functions,
    ))
}
