//! The probe's inner workings: texts that every backend can have, wrong results that are found, a
//! device that is lost, reports in the cache. `tests/cli/probe.rs` runs it as a user does.

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use serde_json::{Value, json};

use super::adapters::contexts;
use super::translations::{hlsl, msl, spirv, spirv_validator};
use crate::cache::Cache;
use crate::gpu::{Faults, texts};
use crate::*;

const QUICK: ProbeOptions = ProbeOptions { quick: true, experimental: false, cache: false };

fn validated(name: &str, text: &str) -> (Module, ModuleInfo) {
    let fail = |error: String| -> ! { panic!("{name}: {error}") };
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|e| fail(e.emit_to_string_with_path(text, name)));
    let allowed =
        Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP | Capabilities::COOPERATIVE_MATRIX;
    let info = Validator::new(ValidationFlags::all(), allowed)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|e| fail(e.emit_to_string_with_path(text, name)));
    assert_eq!(module.entry_points.len(), 1, "{name}");
    assert_eq!(module.entry_points[0].stage, ShaderStage::Compute, "{name}");
    (module, info)
}

#[test]
fn every_text_translates_to_every_target() {
    let spirv_val = spirv_validator();
    for (name, text) in texts() {
        let (module, info) = validated(&name, &text);
        let words = spirv(&module, &info).unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Some(spirv_val) = &spirv_val {
            spirv_val.accepts(bytemuck::cast_slice(&words), &name);
        }
        let translated = msl(&module, &info).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(translated.contains("kernel void"), "{name}");
        // Direct3D has no cooperative matrices.
        if !name.starts_with("matrix") {
            let translated = hlsl(&module, &info).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(translated.contains("numthreads"), "{name}");
        }
    }
}

/// Each kernel computes something wrong; those that no fault is planted in are right.
#[test]
fn a_wrong_result_is_reported_and_never_timed() {
    let texts = vec![
        ("chain", "* 5u + 1u;", "* 5u + 2u;"),
        ("copy", "results[(at + 3u * step) & mask] = d;", ""),
        ("barrier", "+ 1u;", "+ 2u;"),
        ("registers", "(c - d)) + input", "(c - d)) - input"),
    ];
    let faults = Faults { texts, any_time: true, ..Faults::default() };
    let report = contexts()[0].probe_with(&QUICK, &faults).unwrap();
    let wrong = [
        Quantity::DispatchLatency,
        Quantity::CopyBandwidth,
        Quantity::BarrierCost,
        Quantity::ResidentRate,
    ];
    for figure in &report.figures {
        let what = format!("{figure:?}");
        match &figure.problem {
            Some(Problem::WrongResult(text)) => {
                assert!(wrong.contains(&figure.quantity), "{what}");
                assert!(text.contains("is right"), "{what}");
                assert_eq!((figure.device, figure.host, figure.value()), (None, None, None));
            }
            Some(Problem::NotMeasured(text)) => assert!(!text.is_empty(), "{what}"),
            None => {
                assert!(!wrong.contains(&figure.quantity), "{what}");
                assert!(figure.value().is_some_and(|v| v > 0.0 && v.is_finite()), "{what}");
            }
        }
    }
    for quantity in wrong {
        let found = |f: &Figure| matches!(f.problem, Some(Problem::WrongResult(_)));
        assert!(report.of(quantity).any(found), "{quantity:?}");
    }
    assert!(!report.is_right());
    assert_eq!(report.dispatch_latency_us(1), None);
    assert!(report.f32_gflops().is_some());
    // Without a chain there is nothing to say about recording one.
    assert_eq!(report.record_us(), None);
}

#[test]
fn a_device_that_is_lost_half_way_is_one_line() {
    let faults = Faults { lose_before: Some("barrier"), any_time: true, ..Faults::default() };
    let context = &contexts()[0];
    let error = context.probe_with(&QUICK, &faults).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeviceLost, "{error}");
    let line = error.to_string();
    assert!(line.contains("lost while measuring workgroup barrier"), "{line}");
    assert!(line.contains(&context.adapter().name) && !line.contains('\n'), "{line}");
    // The probe's devices are its own.
    assert!(context.probe_with(&QUICK, &Faults::default()).is_ok());
}

/// Software adapters promise no progress between workgroups, and the probe asks none of them; but
/// one workgroup needs no other, and more end in time whatever happens.
#[test]
fn hand_offs_are_right_or_end() {
    for context in contexts() {
        let figures = context.hand_offs(&[1, 3], 500).unwrap();
        assert!(figures.len() > 3, "{figures:?}");
        for figure in &figures {
            let alone = figure.parameters["workgroups"] == 1;
            match &figure.problem {
                None => assert!(figure.value().is_some_and(|us| us > 0.0), "{figure:?}"),
                Some(Problem::NotMeasured(reason)) => {
                    assert!(!alone && reason.contains("in vain"), "{figure:?}");
                }
                Some(Problem::WrongResult(_)) => panic!("{}: {figure:?}", context.adapter()),
            }
        }
    }
}

/// Stands for a kernel of cooperative matrices: the same products, plainly.
const PLAIN_PRODUCT: &str = "
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read> left: array<Real>;
@group(0) @binding(2) var<storage, read> right: array<Real>;
@group(0) @binding(3) var<storage, read_write> product: array<Real>;
@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var i = 0u; i < 64u; i++) {
        let row = workgroup.y * 32u + i / 2u;
        let column = workgroup.x * 256u + lane + 128u * (i % 2u);
        var sum = 0.0;
        for (var at = 0u; at < params.z; at++) {
            sum += f32(left[row * params.z + at]) * f32(right[at * params.y + column]);
        }
        product[row * params.y + column] = Real(sum);
    }
}
";

#[test]
fn products_are_checked_in_every_type() {
    let context = &contexts()[0];
    let products = |half: bool, wrong: bool| {
        let header = if half { "enable f16;\nalias Real = f16;" } else { "alias Real = f32;" };
        let text = format!("{header}{PLAIN_PRODUCT}");
        let text = if wrong { text.replace("= Real(sum)", "= Real(sum + 1.0)") } else { text };
        let texts = vec![("matrix", "", &*text.leak())];
        context.products(half, &Faults { texts, any_time: true, ..Faults::default() }).unwrap()
    };
    let halves = context.adapter().features.contains(&"shader-f16");
    for half in [false, true].into_iter().filter(|half| halves || !half) {
        let (figures, shape) = products(half, false);
        assert_eq!(figures.len(), 1);
        assert_eq!(figures[0].problem, None);
        assert!(figures[0].value().is_some_and(|rate| rate > 0.0), "{figures:?}");
        assert_eq!(figures[0].parameters["m"], 64);
        assert_eq!((shape.right, shape.note), (Some(true), None));
    }
    let (figures, shape) = products(false, true);
    assert!(matches!(figures[0].problem, Some(Problem::WrongResult(_))), "{figures:?}");
    assert_eq!((figures[0].value(), shape.right), (None, Some(false)));
}

fn report(figures: Value) -> ProbeReport {
    serde_json::from_value(json!({
        "wgru": "0.1.0",
        "adapter": {
            "name": "GPU", "backend": "Vulkan", "driver": "1", "type": "discrete GPU",
            "subgroup_sizes": [32, 32],
        },
        "quick": false,
        "experimental": false,
        "unix_time": 0,
        "seconds": 1.0,
        "timestamp_period_ns": null,
        "matrix_shapes": [],
        "figures": figures,
    }))
    .unwrap()
}

fn figure(quantity: &str, parameters: Value, host: f64) -> Value {
    let spread = json!({ "median": host, "low": host, "high": host, "samples": 1 });
    json!({
        "quantity": quantity, "case": "", "parameters": parameters, "unit": "", "device": null,
        "host": spread, "expected_of_h200": null, "problem": null,
    })
}

#[test]
fn the_nearest_case_answers() {
    let latency = |n, us| figure("dispatch_latency", json!({ "workgroups": n }), us);
    let report = report(json!([latency(16, 3.0), latency(1, 2.0), latency(132, 5.0)]));
    let ask = |n| report.dispatch_latency_us(n);
    assert_eq!([1, 2, 16, 17, 132, 1000].map(ask), [2.0, 3.0, 3.0, 5.0, 5.0, 5.0].map(Some));
    assert_eq!(report.f32_gflops(), None);
    assert_eq!(report.resident_units(), None);
    assert!(report.is_right());
}

#[test]
fn registers_end_at_the_first_cliff() {
    let rate = |lanes, values, gflops| {
        figure("resident_rate", json!({ "invocations": lanes, "values": values }), gflops)
    };
    let figures = [
        rate(256, 32, 10.0),
        rate(256, 64, 20.0),
        rate(256, 96, 19.0),
        rate(256, 128, 11.0),
        rate(256, 192, 30.0),
        rate(512, 32, 20.0),
        rate(512, 64, 12.1),
    ];
    let report = report(json!(figures));
    assert_eq!(report.resident_values(256), Some(96));
    assert_eq!(report.resident_values(512), Some(64));
    assert_eq!(report.resident_values(1024), None);
    // 512 x 64 values, three gates.
    assert_eq!(report.resident_units(), Some(104));
}

#[test]
fn a_hand_off_that_failed_once_is_not_relied_on() {
    let good = figure("hand_off_latency", json!({ "workgroups": 2, "words": 1 }), 1.5);
    let mut bad = figure("hand_off_latency", json!({ "workgroups": 8, "words": 1 }), 1.5);
    assert_eq!(report(json!([good, bad])).hand_off_us(2), Some(1.5));
    bad["host"] = Value::Null;
    bad["problem"] = json!({ "not_measured": "a workgroup waited in vain" });
    assert_eq!(report(json!([good, bad])).hand_off_us(2), None);
}

#[test]
fn a_cached_report_comes_back_until_the_driver_changes() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().into());
    let mut adapter = contexts()[0].adapter().clone();
    let mut thorough = report(json!([figure("f32_rate", json!({}), 123.5)]));
    assert_eq!(ProbeReport::cached_in(&cache, &adapter), None);
    thorough.keep(&cache, &adapter);
    assert_eq!(ProbeReport::cached_in(&cache, &adapter), Some(thorough.clone()));
    // What took longer is worth more.
    let mut quick = thorough.clone();
    quick.quick = true;
    quick.keep(&cache, &adapter);
    assert_eq!(ProbeReport::cached_in(&cache, &adapter), Some(thorough.clone()));
    thorough.seconds = 2.0;
    thorough.keep(&cache, &adapter);
    assert_eq!(ProbeReport::cached_in(&cache, &adapter), Some(thorough));
    adapter.driver.push_str(" of next year");
    assert_eq!(ProbeReport::cached_in(&cache, &adapter), None);
    quick.keep(&cache, &adapter);
    assert_eq!(ProbeReport::cached_in(&cache, &adapter), Some(quick));
}

/// Its analysis of uniform control flow is the one that naga lacks. It wants another directive for
/// subgroups, and has no cooperative matrices.
#[test]
fn tint_accepts_every_text() {
    let Some(tint) = super::translations::tint() else {
        println!("tint is not on the PATH");
        return;
    };
    for (name, text) in texts() {
        if !name.starts_with("matrix") {
            let extension = if name == "subgroup" { "enable subgroups;\n" } else { "" };
            tint.accepts(format!("{extension}{text}").as_bytes(), &name);
        }
    }
}
