//! What a run keeps in flight, and what a session really allocates: on the noop backend.

use super::noop::devices;
use super::plans::{bidirectional, gpu};
use super::support::{Random, Sequences, Values};
use crate::gpu::{Event, GpuContext, GpuSession};
use crate::plan::{Capabilities, Plan, PlanOptions, Residency};
use crate::*;

/// While the host fills the next staging buffer or empties the last one, the device has a
/// submission to work on: no wait is for the youngest one, except where a run ends, and where a
/// layer begins whose input is in host memory.
#[test]
fn the_device_has_work_while_the_host_copies() {
    let mut random = Random::new(11);
    let window = GruConfig::new(16, 16);
    let stacked = GruConfig { num_layers: 3, ..GruConfig::new(12, 16) };
    let mut between = bidirectional(8, 16, 2);
    between.reset = ResetForm::Before;
    for (config, budget) in [(window, 1 << 20), (stacked, 1 << 20), (between, 400 << 10)] {
        let (context, _) = GpuContext::noop(&devices()[2]);
        let gru = Values::random(config.clone(), 1.0, &mut random).gru();
        let shape = SequenceShape::new(2000, 8);
        let options = PlanOptions {
            memory_budget: Some(budget),
            family: Some(KernelFamily::Step),
            wavefront: Some(false).filter(|_| config.num_layers > 1),
            ..PlanOptions::default()
        };
        let mut session = GpuSession::new(&context, &gru, shape, &options).unwrap();
        let on_host = session.plan().memory.residency == Residency::HostBetweenLayers;
        assert_eq!(on_host, config.directions == Directions::Bidirectional);
        let sequences = Sequences::random(&config, shape, &mut random);
        let mut output = Output::zeros(&config, shape, false).unwrap();
        context.take_events();
        session.run(&sequences.inputs(), &mut output.views(false)).unwrap();

        let (mut submitted, mut drained, mut waits) = (Vec::new(), Vec::new(), 0);
        for event in context.take_events() {
            match event {
                Event::Submitted(index) => submitted.push(index),
                Event::Awaited(index) => {
                    waits += 1;
                    if submitted.last() == Some(&index) {
                        drained.push(submitted.len());
                    }
                }
            }
        }
        // Each of these is one place, however often it is waited for there.
        drained.dedup();
        let layers = if on_host { config.num_layers } else { 1 };
        assert!(submitted.len() >= 20 && waits >= 20, "{} submissions", submitted.len());
        assert!(drained.len() <= layers, "{drained:?} of {} submissions", submitted.len());
        assert_eq!(drained.last(), Some(&submitted.len()), "the end is waited for");
    }
}

/// The longest row of the benchmark's grid in 512 MiB, with what a session creates counted:
/// weights, launch records, step indices and staging.
#[test]
fn a_session_creates_what_its_plan_says_within_512_mib() {
    const ALL: u64 = 512 << 20;
    // The backend has no larger buffers.
    let large = Capabilities { max_storage_binding: 1 << 30, max_buffer: (1 << 31) - 1, ..gpu() };
    let bound = Capabilities { max_storage_binding: 128 << 20, ..large.clone() };
    let sets = [large, bound, Capabilities::downlevel(), devices()[0].clone()];
    let config = bidirectional(10, 128, 2);
    let shape = SequenceShape::new(10_000, 100);
    let mut random = Random::new(12);
    for capabilities in sets {
        // A budget leaves out the weights and what a plan is told in uniforms: a hundredth.
        let options = PlanOptions { memory_budget: Some(ALL / 100 * 99), ..PlanOptions::default() };
        for reset in [ResetForm::After, ResetForm::Before] {
            let config = GruConfig { reset, ..config.clone() };
            let plan = Plan::new(&config, shape, &capabilities, &options).unwrap();
            assert!(plan.device_bytes() <= ALL, "{plan}");
        }
        let (context, _) = GpuContext::noop(&capabilities);
        let gru = Values::random(config.clone(), 1.0, &mut random).gru();
        let before = context.created_objects().buffer_bytes;
        let session = GpuSession::new(&context, &gru, shape, &options).unwrap();
        let created = context.created_objects().buffer_bytes - before;
        assert!(created <= ALL, "{created} bytes: {}", session.plan());
        let said = session.device_bytes();
        assert!(said.abs_diff(created) <= 64, "{said} of {created} bytes");
    }
}
