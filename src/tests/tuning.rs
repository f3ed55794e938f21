//! Sessions whose kernels are chosen by measurement: right, with every law of a session, and never
//! misled by what lies in the cache.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ndarray::{Array3, s};
use serde_json::{Value, json};

use super::adapters::contexts;
use super::support::Random;
use crate::cache::Cache;
use crate::gpu::{GpuContext, GpuSession};
use crate::plan::{Capabilities, Plan, PlanOptions, RowOrder, candidates};
use crate::*;

const LIMIT: Duration = Duration::from_millis(150);
/// Enough for all candidates, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn network(reset: ResetForm, num_layers: usize) -> Gru {
    Gru::random(GruConfig { num_layers, reset, ..GruConfig::new(6, 21) }, 7).unwrap()
}

fn tuned() -> PlanOptions {
    PlanOptions { tune: Some(LIMIT), ..PlanOptions::default() }
}

fn input(shape: SequenceShape) -> Array3<f32> {
    Random::new(11).array3((shape.steps, shape.batch, 6))
}

#[test]
fn tuned_sessions_are_right() {
    for context in contexts() {
        let device = Device::from_context(context.clone());
        for (reset, layers) in [(ResetForm::After, 2), (ResetForm::Before, 1)] {
            let (gru, shape) = (network(reset, layers), SequenceShape::new(12, 9));
            let mut session = gru.session_with(&device, shape, &tuned()).unwrap();
            let tuning = session.tuning().expect("it was asked for").clone();
            assert!(!tuning.cached && tuning.candidates >= 1 && tuning.steps <= 12, "{tuning:?}");
            assert!(tuning.to_string().starts_with("tuned: "), "{tuning}");
            let input = input(shape);
            let inputs = Inputs::new(input.view()).lengths(&[12, 0, 3, 12, 7, 1, 11, 2, 12]);
            let verification = session.verify(&inputs).unwrap();
            assert!(verification.passed(), "{context:?}: {tuning}: {verification}");
            // Of a shorter and narrower run each row is the same bits.
            let whole = session.run(input.view()).unwrap();
            let part = session.run(input.slice(s![..5, 3..6, ..])).unwrap();
            assert_eq!(
                part.hidden_states,
                whole.hidden_states.slice(s![..5, 3..6, ..]),
                "{tuning}"
            );
        }
    }
}

/// The kernels of every candidate, those of GPUs too, on every adapter.
#[test]
fn every_candidate_computes_the_same() {
    let shape = SequenceShape::new(7, 11);
    let input = input(shape);
    for context in contexts() {
        let own = context.capabilities().clone();
        let gpu = Capabilities { software: false, integrated: false, ..own.clone() };
        for (reset, class) in
            [(ResetForm::After, &own), (ResetForm::After, &gpu), (ResetForm::Before, &gpu)]
        {
            let gru = network(reset, 2);
            let options = PlanOptions::default();
            let want = gru.session(&Device::cpu(), shape).unwrap().run(input.view()).unwrap();
            let groups = candidates(gru.config(), shape, class, &options).unwrap();
            assert_eq!(groups.len(), 3, "step, its wavefront, and sequence");
            for geometry in groups.iter().flat_map(|g| [&g.base].into_iter().chain(&g.variations)) {
                let rows = RowOrder::full(shape);
                let plan =
                    Plan::within(gru.config(), rows, class, &options, *geometry, None).unwrap();
                let mut session = GpuSession::from_plan(context, &gru, &options, plan).unwrap();
                let mut got = Output::zeros(gru.config(), shape, false).unwrap();
                session.run(&Inputs::new(input.view()), &mut got.views(false)).unwrap();
                let near = |a: &Array3<f32>, b: &Array3<f32>| {
                    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
                };
                let same = near(&got.hidden_states, &want.hidden_states)
                    && near(&got.final_state, &want.final_state);
                assert!(same, "{}, reset-{reset}: {geometry}", context.adapter());
            }
        }
    }
}

/// Pieces of tuned streams are their whole runs, bit by bit.
#[test]
fn tuned_streams_keep_their_law() {
    for context in contexts() {
        let device = Device::from_context(context.clone());
        let gru = network(ResetForm::After, 2);
        let call = SequenceShape::new(6, 2);
        let mut streams = gru.streams_with(&device, 3, call, &tuned()).unwrap();
        assert!(streams.tuning().is_some());
        let input = input(SequenceShape::new(6, 2));
        let whole = streams.advance(&[0, 1], &Inputs::new(input.view())).unwrap();
        streams.reset(1).unwrap();
        for (begin, end) in [(0, 1), (1, 4), (4, 6)] {
            let piece = input.slice(s![begin..end, 1..2, ..]);
            let states = streams.advance(&[1], &Inputs::new(piece)).unwrap();
            assert_eq!(states, whole.slice(s![begin..end, 1..2, ..]));
        }
    }
}

/// A tuned session of one network, by way of a cache.
fn tune(context: &GpuContext, cache: &Cache, shape: [usize; 2]) -> Tuning {
    let gru = network(ResetForm::After, 1);
    let shape = SequenceShape::new(shape[0], shape[1]);
    let (session, tuning) =
        crate::tune::session(context, &gru, shape, &tuned(), PATIENCE, cache).unwrap();
    let tuning = tuning.unwrap();
    assert_eq!(session.plan().geometry.label(), tuning.kernels);
    tuning
}

fn only_file(folder: &tempfile::TempDir) -> PathBuf {
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn what_was_measured_is_found_again() {
    let context = &contexts()[0];
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().into());
    let first = tune(context, &cache, [20, 5]);
    assert!(!first.cached && first.candidates > 1, "{first:?}");
    let more = {
        let gru = network(ResetForm::After, 1);
        let shape = SequenceShape::new(20, 5);
        crate::tune::session(context, &gru, shape, &tuned(), 2 * PATIENCE, &cache)
            .unwrap()
            .1
            .unwrap()
    };
    assert!(!more.cached, "more time may find more");
    let first = more;
    // The same bucket of rows and steps, and the same candidates.
    let again = tune(context, &cache, [32, 7]);
    assert_eq!(again, Tuning { cached: true, ..first.clone() });
    assert!(again.to_string().contains("; from the cache of 20"), "{again}");
    only_file(&folder);
    for other in [[33, 8], [32, 9], [1, 1]] {
        assert!(!tune(context, &cache, other).cached, "{other:?}");
    }
    assert!(!tune(context, &Cache::off(), [20, 5]).cached);
    // Nothing can be measured of an empty run, and none is refused.
    let empty = SequenceShape::new(0, 5);
    let gru = network(ResetForm::After, 1);
    let (_, tuning) = crate::tune::session(context, &gru, empty, &tuned(), LIMIT, &cache).unwrap();
    assert_eq!(tuning, None);
}

/// Whatever is wrong with a record: it is measured anew, and a right one takes its place.
#[test]
fn records_that_cannot_be_are_ignored() {
    let context = &contexts()[0];
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().into());
    tune(context, &cache, [20, 5]);
    let path = only_file(&folder);
    let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let other = "step, 1 x 3 rows; 8 units, projection of 1 x 4 rows";
    let changes: [(&str, Value); 14] = [
        ("kernels", json!(other)),
        ("kernels", json!("")),
        ("kernels", json!(7)),
        ("planned", json!(other)),
        ("planned", json!("x".repeat(400))),
        ("microseconds", json!(-1.0)),
        ("microseconds", json!(1e300)),
        ("microseconds", Value::Null),
        ("planned_microseconds", json!("fast")),
        ("seconds", json!(-0.5)),
        ("allowed_seconds", Value::Null),
        ("candidates", json!(0)),
        ("candidates", json!(1_000_000)),
        ("steps", json!(0)),
    ];
    for (field, value) in changes {
        let mut json = whole.clone();
        json["record"][field] = value.clone();
        fs::write(&path, json.to_string()).unwrap();
        assert!(!tune(context, &cache, [20, 5]).cached, "{field} {value}");
        assert!(tune(context, &cache, [20, 5]).cached, "the new record is used");
    }
    // Another one than the planner's choice, which was not the faster.
    let labels: Vec<String> = {
        let gru = network(ResetForm::After, 1);
        let shape = SequenceShape::new(20, 5);
        let groups = candidates(gru.config(), shape, context.capabilities(), &tuned()).unwrap();
        groups
            .iter()
            .flat_map(|g| [&g.base].into_iter().chain(&g.variations))
            .map(|g| g.label())
            .collect()
    };
    let with = |own: f64, planned: f64| {
        let mut json = whole.clone();
        json["record"]["kernels"] = json!(labels[1]);
        json["record"]["planned"] = json!(labels[0]);
        json["record"]["candidates"] = json!(5);
        json["record"]["microseconds"] = json!(own);
        json["record"]["planned_microseconds"] = json!(planned);
        json.to_string()
    };
    fs::write(&path, with(2.0, 1.0)).unwrap();
    assert!(!tune(context, &cache, [20, 5]).cached);
    // A sound one is believed, whatever is faster today.
    fs::write(&path, with(1.0, 2.0)).unwrap();
    let believed = tune(context, &cache, [20, 5]);
    assert_eq!((believed.cached, &believed.kernels), (true, &labels[1]));
    // Damage, and another driver's.
    let text = with(1.0, 2.0);
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(!tune(context, &cache, [20, 5]).cached);
    let mut foreign: Value = serde_json::from_str(&with(1.0, 2.0)).unwrap();
    foreign["state"] = json!("another driver");
    fs::write(&path, foreign.to_string()).unwrap();
    assert!(!tune(context, &cache, [20, 5]).cached);
}

#[test]
fn tuning_is_of_gpus() {
    let gru = network(ResetForm::After, 1);
    let shape = SequenceShape::new(4, 2);
    for device in [Device::cpu(), Device::reference()] {
        let error = gru.session_with(&device, shape, &tuned()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains("tuning needs a GPU"), "{error}");
    }
    let device = Device::from_context(contexts()[0].clone());
    let hour = Duration::from_secs(3600);
    for (time, wanted) in [
        (Duration::ZERO, "tune must be more than 0"),
        (hour + Duration::from_nanos(1), "tune must be an hour at most"),
        (Duration::MAX, "tune must be an hour at most"),
    ] {
        let options = PlanOptions { tune: Some(time), ..PlanOptions::default() };
        let error = gru.session_with(&device, shape, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
