//! What the tests run on: the reference, the CPU engine, and each adapter in four settings.

use std::sync::OnceLock;

use wgru::{
    AdapterDescription, Device, Directions, GpuContext, GpuOptions, Gru, Inputs, KernelFamily,
    PlanOptions, SequenceShape, Session,
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
        ];
        for (setting, suffix) in settings {
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
    /// Every adapter in every setting.
    Gpu,
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
            Self::Gpu => engine.is_gpu(),
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
            _ => (None, None),
        };
        PlanOptions {
            family: options.family.or(forced.0),
            wavefront: options.wavefront.or(forced.1),
            ..options.clone()
        }
    }
}
