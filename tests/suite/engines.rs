//! What the tests run on: the reference, the CPU engine, and each adapter in four or five settings.

use std::sync::OnceLock;

use half::f16;
use wgru::{
    AdapterDescription, Device, Directions, GpuContext, GpuOptions, Gru, Inputs, KernelFamily,
    PlanOptions, Precision, SequenceShape, Session,
};

use crate::adapters;

/// A device under test, opened at its first use and shared by all tests of the process.
#[derive(Debug)]
pub(crate) struct Engine {
    /// A part of its tests' names.
    pub(crate) name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Reference,
    Cpu,
    Gpu { adapter: Box<AdapterDescription>, setting: Setting, device: OnceLock<Device> },
}

/// How an adapter is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// As a user opens it.
    Full,
    /// With what every WebGPU device has, and no more; layers as a wavefront wherever they can.
    Downlevel,
    /// With wgpu's run-time checks in the kernels; layers as a wavefront wherever they can.
    Checked,
    /// As a user opens it, with the sequence-resident kernels.
    Sequence,
    /// The same with wgpu's run-time checks, for few tests.
    CheckedSequence,
    /// With cooperative matrices, by the matrix kernels, where the adapter has them: what is
    /// multiplied is rounded to f16.
    Matrix,
}

pub(crate) fn all(adapters: &[AdapterDescription]) -> Vec<Engine> {
    let mut engines = vec![
        Engine { name: "reference".into(), kind: Kind::Reference },
        Engine { name: "cpu".into(), kind: Kind::Cpu },
    ];
    for adapter in adapters {
        let name = short_name(adapter);
        let alone = adapters.iter().filter(|a| short_name(a) == name).count() == 1;
        let name = if alone { name } else { format!("{name}_{}", adapter.index) };
        let settings = [
            (Setting::Full, ""),
            (Setting::Downlevel, "_downlevel"),
            (Setting::Checked, "_checked"),
            (Setting::Sequence, "_sequence"),
            (Setting::CheckedSequence, "_checked_sequence"),
            (Setting::Matrix, "_matrix"),
        ];
        let has_matrices = adapter.cooperative_matrices.is_ok();
        for (setting, suffix) in settings {
            if setting == Setting::Matrix && !has_matrices {
                continue;
            }
            let adapter = Box::new(adapter.clone());
            engines.push(Engine {
                name: format!("{name}{suffix}"),
                kind: Kind::Gpu { adapter, setting, device: OnceLock::new() },
            });
        }
    }
    engines
}

/// The engines that a test is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    All,
    /// All but the reference, which carries f64 states and hands out their roundings.
    F32,
    Cpu,
    /// All whose sessions multiply f32 with f32.
    F32Operands,
    /// Every adapter in every setting.
    Gpu,
    /// Every adapter in every setting that a program without `unsafe` can open it in: leave to use
    /// experimental features takes it.
    Callers,
    Downlevel,
    /// All but adapters with run-time checks, with which large runs take long.
    Unchecked,
    /// All, and the sequence kernels with run-time checks.
    AllAndCheckedSequence,
}

impl On {
    pub(crate) fn includes(self, engine: &Engine) -> bool {
        let checked_sequence = engine.setting() == Some(Setting::CheckedSequence);
        match self {
            Self::AllAndCheckedSequence => true,
            _ if checked_sequence => false,
            Self::All => true,
            Self::F32 => !matches!(engine.kind, Kind::Reference),
            Self::Cpu => matches!(engine.kind, Kind::Cpu),
            Self::F32Operands => !engine.is_half(),
            Self::Gpu => engine.is_gpu(),
            Self::Callers => engine.is_gpu() && !engine.is_half(),
            Self::Downlevel => engine.setting() == Some(Setting::Downlevel),
            Self::Unchecked => engine.setting() != Some(Setting::Checked),
        }
    }
}

fn short_name(adapter: &AdapterDescription) -> String {
    let first = adapter.name.split_whitespace().next().unwrap_or("adapter");
    format!("{first}_{}", adapter.backend).to_lowercase()
}

impl Engine {
    pub(crate) fn device(&self) -> Device {
        match &self.kind {
            Kind::Reference => Device::reference(),
            Kind::Cpu => Device::cpu(),
            Kind::Gpu { device, .. } => device
                .get_or_init(|| Device::from_context(self.open().expect("a GPU engine opens")))
                .clone(),
        }
    }

    /// The adapter and how it is opened; `None` where the engine is none.
    pub(crate) fn adapter(&self) -> Option<(AdapterDescription, GpuOptions)> {
        let Kind::Gpu { adapter, setting, .. } = &self.kind else { return None };
        let options = GpuOptions {
            runtime_checks: matches!(setting, Setting::Checked | Setting::CheckedSequence),
            downlevel: *setting == Setting::Downlevel,
            cooperative_matrices: *setting == Setting::Matrix,
        };
        Some(((**adapter).clone(), options))
    }

    /// A context of the test's own; `None` where the engine is no adapter.
    pub(crate) fn open(&self) -> Option<GpuContext> {
        let (adapter, options) = self.adapter()?;
        let context = GpuContext::open(adapter.index, &options)
            .unwrap_or_else(|e| panic!("{}: {e:?}", self.name));
        assert_eq!(adapters::title(context.adapter()), adapters::title(&adapter));
        adapters::report(&adapter);
        Some(context)
    }

    pub(crate) fn is_gpu(&self) -> bool {
        matches!(self.kind, Kind::Gpu { .. })
    }

    /// Whether weights and what is multiplied with them are rounded to f16 in every session
    /// whose options leave the kernels open.
    pub(crate) fn is_half(&self) -> bool {
        self.setting() == Some(Setting::Matrix)
    }

    /// What the engine multiplies with weights where it is given `value`, at most f16's largest.
    pub(crate) fn operand(&self, value: f32) -> f32 {
        let half = || f16::from_f32(value.clamp(-65504.0, 65504.0)).to_f32();
        if self.is_half() && value.is_finite() { half() } else { value }
    }

    /// `None` where the engine is no adapter.
    fn setting(&self) -> Option<Setting> {
        match &self.kind {
            Kind::Gpu { setting, .. } => Some(*setting),
            _ => None,
        }
    }

    pub(crate) fn session(&self, gru: &Gru, inputs: &Inputs<'_, f32>) -> Session {
        self.session_of(gru, inputs.shape())
    }

    pub(crate) fn session_of(&self, gru: &Gru, shape: SequenceShape) -> Session {
        self.session_with(gru, shape, &PlanOptions::default())
    }

    pub(crate) fn session_with(
        &self,
        gru: &Gru,
        shape: SequenceShape,
        options: &PlanOptions,
    ) -> Session {
        let options = &self.forced(gru, options);
        gru.session_with(&self.device(), shape, options)
            .unwrap_or_else(|e| panic!("a session on {}: {e:?}", self.name))
    }

    /// `options` without what only a GPU can honour, where the engine is none.
    pub(crate) fn possible(&self, options: &PlanOptions) -> PlanOptions {
        match self.is_gpu() {
            true => options.clone(),
            false => PlanOptions {
                memory_budget: None,
                family: None,
                wavefront: None,
                ..options.clone()
            },
        }
    }

    /// `options`, and what the setting forces of what they leave open.
    pub(crate) fn forced(&self, gru: &Gru, options: &PlanOptions) -> PlanOptions {
        let options = &self.possible(options);
        let config = gru.config();
        let possible = config.num_layers > 1 && config.directions != Directions::Bidirectional;
        let forced = match self.setting() {
            _ if options.family.is_some() || options.wavefront.is_some() => (None, None),
            Some(Setting::Downlevel | Setting::Checked) if possible => {
                (Some(KernelFamily::Step), Some(true))
            }
            Some(Setting::Downlevel | Setting::Checked) => (Some(KernelFamily::Step), None),
            Some(Setting::Sequence | Setting::CheckedSequence) => {
                (Some(KernelFamily::Sequence), None)
            }
            Some(Setting::Matrix) => (Some(KernelFamily::Matrix), None),
            _ => (None, None),
        };
        let precision = match forced.0 {
            Some(KernelFamily::Matrix) => Precision::F16,
            _ => options.precision,
        };
        PlanOptions {
            family: options.family.or(forced.0),
            precision,
            wavefront: options.wavefront.or(forced.1),
            ..options.clone()
        }
    }
}
