//! Every kernel variant translated for every backend, and put before other validators.

use std::io::Write;
use std::process::{Command, Stdio};

use naga::Module;
use naga::valid::ModuleInfo;

use super::shaders::{matrix_variants, validated, variants};

/// Khronos's validator, where it is installed.
pub(super) fn spirv_validator() -> Option<Validate> {
    Validate::find("spirv-val", &["--target-env", "vulkan1.1", "-"])
}

#[test]
fn every_variant_translates_to_every_target() {
    let spirv_val = spirv_validator();
    for variant in variants(&[1, 8, 32], &[1, 8]) {
        let (module, info) = validated(&variant);
        let words = spirv(&module, &info).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
        assert!(!words.is_empty());
        if let Some(spirv_val) = &spirv_val
            && variant.lanes == 8
        {
            spirv_val.accepts(bytemuck::cast_slice(&words), &variant);
        }
        let text = msl(&module, &info).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
        assert!(text.contains("kernel void"), "{variant:?}: {text}");
        let text = hlsl(&module, &info).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
        assert!(text.contains("numthreads"), "{variant:?}: {text}");
    }
}

/// HLSL has no cooperative matrices, and Metal's are of 8 x 8.
#[test]
fn matrix_kernels_translate_to_spirv_and_to_metal() {
    let spirv_val = spirv_validator();
    for variant in matrix_variants() {
        let (module, info) = validated(&variant);
        let words = spirv(&module, &info).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
        // OpCooperativeMatrixMulAddKHR.
        assert!(words.iter().any(|w| w & 0xffff == 4459), "{variant:?}");
        if let Some(spirv_val) = &spirv_val {
            spirv_val.accepts(bytemuck::cast_slice(&words), &variant);
        }
        if variant.tiles.unwrap().size == 8 {
            let text = msl(&module, &info).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
            assert!(text.contains("simdgroup_multiply_accumulate"), "{variant:?}: {text}");
        }
        assert!(hlsl(&module, &info).is_err(), "{variant:?}");
    }
}

pub(super) fn spirv(
    module: &Module,
    info: &ModuleInfo,
) -> Result<Vec<u32>, naga::back::spv::Error> {
    use naga::back::spv;
    let pipeline = spv::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: "main".into(),
    };
    spv::write_vec(module, info, &spv::Options::default(), Some(&pipeline))
}

pub(super) fn msl(module: &Module, info: &ModuleInfo) -> Result<String, naga::back::msl::Error> {
    use naga::back::msl;
    let resources = msl::EntryPointResources {
        immediates_buffer: Some(8),
        sizes_buffer: Some(9),
        ..Default::default()
    };
    let options = msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: [("main".to_string(), resources)].into(),
        fake_missing_bindings: true,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions::default();
    let (text, reflection) = msl::write_string(module, info, &options, &pipeline)?;
    for name in reflection.entry_point_names {
        name.expect("the entry point is translated");
    }
    Ok(text)
}

pub(super) fn hlsl(module: &Module, info: &ModuleInfo) -> Result<String, naga::back::hlsl::Error> {
    use naga::back::hlsl;
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        immediates_target: Some(hlsl::BindTarget { register: 100, ..Default::default() }),
        fake_missing_bindings: true,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    let mut text = String::new();
    let reflection = hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None)?;
    for name in reflection.entry_point_names {
        name.expect("the entry point is translated");
    }
    Ok(text)
}

/// A second compiler's front end, where its program is installed.
pub(super) fn tint() -> Option<Validate> {
    Validate::find("tint", &["-f", "wgsl", "--input-format", "wgsl", "-"])
}

#[test]
fn tint_accepts_every_kernel() {
    let Some(tint) = tint() else {
        println!("tint is not on the PATH");
        return;
    };
    assert!(!tint.run(b"fn broken( {").0, "tint refuses what is wrong");
    for variant in variants(&[8], &[4]) {
        tint.accepts(variant.wgsl().as_bytes(), &variant);
    }
}

/// A program that reads a shader from its standard input and fails where it is invalid.
pub(super) struct Validate {
    program: &'static str,
    arguments: &'static [&'static str],
}

impl Validate {
    fn find(program: &'static str, arguments: &'static [&'static str]) -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let here = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
        here.then_some(Self { program, arguments })
    }

    pub(super) fn accepts(&self, shader: &[u8], what: &impl std::fmt::Debug) {
        let (accepted, message) = self.run(shader);
        assert!(accepted, "{}: {what:?}: {message}", self.program);
    }

    fn run(&self, shader: &[u8]) -> (bool, String) {
        let mut child = Command::new(self.program)
            .args(self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(shader).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
