use super::*;
use crate::plan::Capabilities;

fn adapter(index: usize, name: &str, backend: &str, kind: AdapterKind) -> AdapterDescription {
    AdapterDescription {
        index,
        name: name.into(),
        backend: backend.into(),
        driver: "1".into(),
        kind,
        subgroup_sizes: [32, 32],
        features: Vec::new(),
        workgroup_memory: 1 << 14,
        pci_ids: [0, 0],
        cooperative_matrices: Err("none"),
        capabilities: Capabilities::downlevel(),
    }
}

#[test]
fn each_gpu_is_considered_once_and_no_software() {
    use AdapterKind::{Discrete, Integrated, Other, Software};
    let found = vec![
        adapter(0, "Big", "Vulkan", Discrete),
        adapter(1, "Big", "Dx12", Discrete),
        adapter(2, "Small", "Vulkan", Integrated),
        adapter(3, "Big/PCIe/SSE2", "Gl", Other),
        adapter(4, "llvmpipe", "Vulkan", Software),
        adapter(5, "SwiftShader", "Vulkan", Software),
    ];
    let kept: Vec<usize> = candidates(found.clone()).iter().map(|a| a.index).collect();
    assert_eq!(kept, [0, 2]);
    assert_eq!(candidates(found[3..].to_vec()).len(), 1, "GL alone is better than nothing");
    assert!(candidates(found[4..].to_vec()).is_empty());
    // Two of one name are two, and each is considered once.
    let twins = [(0, "Vulkan"), (1, "Vulkan"), (2, "Dx12"), (3, "Dx12")];
    let twins = twins.map(|(index, backend)| adapter(index, "Big", backend, Discrete));
    let kept: Vec<usize> = candidates(twins.to_vec()).iter().map(|a| a.index).collect();
    assert_eq!(kept, [0, 1]);
}

fn auto(gpus: Vec<AdapterDescription>) -> Auto {
    Auto { gpus, calibration: Calibration::Never, contexts: Mutex::default() }
}

#[test]
fn small_work_opens_no_gpu() {
    // No such adapter can be opened: choosing it would be an error.
    let auto = auto(vec![adapter(999, "Big", "Vulkan", AdapterKind::Discrete)]);
    let config = GruConfig::new(16, 16);
    let options = PlanOptions::default();
    let choice = auto.choose(&config, SequenceShape::new(1, 1), &options).unwrap();
    assert!(choice.device.gpu_context().is_none());
    let reason = choice.reason.unwrap();
    assert!(reason.starts_with("CPU: ") && reason.ends_with(": one row, one step"), "{reason}");
    assert_eq!(choice.expected.len(), 2);
    assert!(choice.expected.iter().all(|e| e.microseconds.is_some()));
}

#[test]
fn what_only_a_gpu_has_rules_the_cpu_out() {
    let config = GruConfig::new(16, 16);
    let (shape, options) = (
        SequenceShape::new(1, 1),
        PlanOptions { precision: Precision::F16, ..PlanOptions::default() },
    );
    let error = auto(Vec::new()).choose(&config, shape, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.to_string().contains("precision f16"), "{error}");
    let some = auto(vec![adapter(999, "Big", "Vulkan", AdapterKind::Discrete)]);
    assert_eq!(some.choose(&config, shape, &options).unwrap_err().kind(), ErrorKind::NoDevice);
}

#[test]
fn a_network_beyond_a_gpu_is_the_cpus() {
    let mut small = adapter(999, "Small", "Vulkan", AdapterKind::Discrete);
    small.capabilities.max_storage_binding = 1 << 20;
    small.capabilities.max_buffer = 1 << 20;
    small.capabilities.max_storage_buffers = 5;
    let config = GruConfig::new(8, 700);
    // More launches than a plan can hold.
    let shape = SequenceShape::new(10_000, 1 << 20);
    let choice = auto(vec![small]).choose(&config, shape, &PlanOptions::default()).unwrap();
    assert!(choice.device.gpu_context().is_none() && choice.expected[1].microseconds.is_none());
    assert!(choice.reason.unwrap().contains("GPU cannot: "));
}

/// Positive numbers that no device has are not believed.
#[test]
fn absurd_costs_are_not_sound() {
    let costs = Costs::assumed(Class::Discrete);
    assert!(costs.is_sound());
    let absurd: [fn(&mut Costs, f64); 6] = [
        |c, v| c.call = v,
        |c, v| c.step[1][2] = v,
        |c, v| c.product[0] = v,
        |c, v| c.transfer = v,
        |c, v| c.both = v,
        |c, v| c.layer = v,
    ];
    for (index, change) in absurd.into_iter().enumerate() {
        for value in [1e-30, 1e30, 0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut costs = costs.clone();
            change(&mut costs, value);
            assert!(!costs.is_sound(), "cost {index} of {value}");
        }
    }
}
