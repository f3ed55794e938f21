//! What is kept of a race for the next process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Tuning;
use crate::cache::{Key, Kind};
use crate::config::GruConfig;
use crate::gpu::GpuContext;
use crate::plan::{Capabilities, Geometry, PlanOptions};
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

/// The record of sessions like this one, whose `candidates` begin with the planner's choice.
pub(super) fn key(
    context: &GpuContext,
    config: &GruConfig,
    shape: SequenceShape,
    options: &PlanOptions,
    candidates: &[Geometry],
) -> Key {
    let part = part(context.capabilities(), config, shape, options, candidates);
    context.adapter().cache_key().of_part(&format!("checked {} | {part}", context.is_checked()))
}

/// All that can change what is a candidate or how it fares, rows and steps by the power of two that
/// holds them. Workgroups are built for the exact rows: the candidates' names keep sessions apart
/// that cannot use each other's records.
fn part(
    capabilities: &Capabilities,
    config: &GruConfig,
    shape: SequenceShape,
    options: &PlanOptions,
    candidates: &[Geometry],
) -> String {
    let bucket = |n: usize| n.checked_next_power_of_two().unwrap_or(usize::MAX);
    let of = |n: Option<u64>| n.map_or("any".to_owned(), |n| n.to_string());
    let wide = |n: Option<usize>| of(n.map(|n| n as u64));
    // What a probe has measured since changes no kernel.
    let device = Capabilities { measured_gflops: None, ..capabilities.clone() };
    let labels: Vec<String> = candidates.iter().map(Geometry::label).collect();
    format!(
        "I {}, H {}, L {}, {}, reset-{}, {} | up to T {} x B {} | family {}, wavefront {}, budget \
         {}, chunk {}, tile {}, on device {} | {device:?}, {:?} | {}",
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
        config.functions,
        labels.join(" / "),
    )
}

#[cfg(test)]
mod tests {
    use super::super::numbered;
    use super::*;
    use crate::plan::candidates;

    /// Sessions share a record where they choose among the same kernels, and only there.
    #[test]
    fn records_are_of_the_same_candidates() {
        let gpu = Capabilities {
            max_invocations: 1024,
            max_workgroup_memory: 48 << 10,
            software: false,
            integrated: false,
            ..Capabilities::downlevel()
        };
        let (config, options) = (GruConfig::new(64, 256), PlanOptions::default());
        let of = |steps: usize, batch: usize| {
            let shape = SequenceShape::new(steps, batch);
            let groups = candidates(&config, shape, &gpu, &options).unwrap();
            let all = numbered(&groups).0;
            let labels: Vec<_> = all.iter().map(Geometry::label).collect();
            (part(&gpu, &config, shape, &options, &all), labels)
        };
        // Another choice of the planner's, in one bucket of rows.
        let ((twelve, few), (sixteen, many)) = (of(100, 12), of(100, 16));
        assert_ne!(few[0], many[0]);
        assert_ne!(twelve, sixteen);
        let mut shared = 0;
        for steps in [65, 128] {
            let all: Vec<_> = (1..=64).map(|batch| (batch, of(steps, batch))).collect();
            for (a, (key, labels)) in &all {
                for (b, (other_key, other)) in &all {
                    let bucket = a.next_power_of_two() == b.next_power_of_two();
                    assert_eq!(key == other_key, bucket && labels == other, "B {a} and {b}");
                    shared += usize::from(a < b && key == other_key);
                }
            }
        }
        assert!(shared > 0, "buckets are of use");
        assert_eq!(of(65, 16).0, of(128, 16).0);
        assert_ne!(of(128, 16).0, of(129, 16).0);
    }
}
