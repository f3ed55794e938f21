//! The adapters of this machine, opened once a process. See `scripts/test` for the environment
//! variables that choose and require them.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::OnceLock;

use crate::gpu::{AdapterDescription, GpuContext, GpuOptions, adapters};

/// An open context on every adapter that `WGRU_TEST_ADAPTERS` selects: at least one.
pub(super) fn contexts() -> &'static [GpuContext] {
    static CONTEXTS: OnceLock<Vec<GpuContext>> = OnceLock::new();
    CONTEXTS.get_or_init(own_contexts)
}

/// As [`contexts`], on devices that no other test uses.
pub(super) fn own_contexts() -> Vec<GpuContext> {
    let open = |i: &usize| GpuContext::open(*i, &GpuOptions::default()).unwrap();
    chosen().iter().map(open).collect()
}

/// As [`contexts`], opened with cooperative matrices: of those adapters that have them.
/// `WGRU_REQUIRE_MATRICES=1` fails where none has.
pub(super) fn matrix_contexts() -> &'static [GpuContext] {
    static CONTEXTS: OnceLock<Vec<GpuContext>> = OnceLock::new();
    CONTEXTS.get_or_init(|| {
        let all = adapters();
        let found = chosen().iter().filter(|i| all[**i].cooperative_matrices.is_ok());
        let options = GpuOptions { cooperative_matrices: true, ..GpuOptions::default() };
        let contexts: Vec<_> = found.map(|i| GpuContext::open(*i, &options).unwrap()).collect();
        let required = std::env::var_os("WGRU_REQUIRE_MATRICES").is_some();
        assert!(!contexts.is_empty() || !required, "no adapter has cooperative matrices");
        contexts
    })
}

/// Indices of the selected adapters.
fn chosen() -> &'static [usize] {
    static CHOSEN: OnceLock<Vec<usize>> = OnceLock::new();
    CHOSEN.get_or_init(choose)
}

fn choose() -> Vec<usize> {
    let variable = |name| std::env::var(name).unwrap_or_default().to_lowercase();
    let names: Vec<String> = adapters().iter().map(name).collect();
    let selected = selected(&names, &variable("WGRU_TEST_ADAPTERS"));
    assert!(
        !selected.is_empty(),
        "WGRU_TEST_ADAPTERS selects none of the adapters {names:?}; scripts/test installs a \
         software adapter where there is none"
    );
    let chosen: Vec<&str> = selected.iter().map(|i| names[*i].as_str()).collect();
    let required = variable("WGRU_REQUIRE_ADAPTERS");
    let missing = missing(&chosen, &required);
    assert!(missing.is_empty(), "required adapters {missing:?} are not among {chosen:?}");
    if let Some(path) = std::env::var_os("WGRU_ADAPTER_REPORT") {
        let mut report = OpenOptions::new().append(true).create(true).open(path).unwrap();
        // One write a line: other test processes append too.
        chosen.iter().for_each(|name| report.write_all(format!("{name}\n").as_bytes()).unwrap());
    }
    selected
}

fn name(adapter: &AdapterDescription) -> String {
    format!("{} ({})", adapter.name, adapter.backend)
}

/// Indices of the names that `request` (lower case) selects.
fn selected(names: &[String], request: &str) -> Vec<usize> {
    let matches =
        |name: &String| matches!(request, "" | "all") || name.to_lowercase().contains(request);
    (0..names.len()).filter(|i| matches(&names[*i])).collect()
}

/// Entries of `required` (lower case) whose words are not all in one name.
fn missing<'r>(names: &[&str], required: &'r str) -> Vec<&'r str> {
    let names: Vec<String> = names.iter().map(|n| n.to_lowercase()).collect();
    let present =
        |entry: &&str| names.iter().any(|n| entry.split_whitespace().all(|word| n.contains(word)));
    required.split(',').map(str::trim).filter(|entry| !present(entry)).collect()
}

#[test]
fn adapters_are_selected_and_required_by_parts_of_their_names() {
    let names = ["SwiftShader Device (Vulkan)", "llvmpipe (LLVM) (Vulkan)", "llvmpipe (LLVM) (Gl)"];
    let owned = names.map(String::from);
    assert_eq!(selected(&owned, ""), [0, 1, 2]);
    assert_eq!(selected(&owned, "all"), [0, 1, 2]);
    assert_eq!(selected(&owned, "(vulkan)"), [0, 1]);
    assert_eq!(selected(&owned, "metal"), [0; 0]);
    assert_eq!(missing(&names, "llvmpipe vulkan, llvmpipe gl,swiftshader"), [""; 0]);
    assert_eq!(missing(&names[..2], "llvmpipe gl,swiftshader"), ["llvmpipe gl"]);
    assert_eq!(missing(&[], "swiftshader"), ["swiftshader"]);
    assert_eq!(missing(&names, ""), [""; 0]);
}
