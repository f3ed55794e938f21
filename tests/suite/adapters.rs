//! Which adapters are tested: all, unless the environment narrows them (see `scripts/test`).

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

use wgru::AdapterDescription;

/// The adapters that `WGRU_TEST_ADAPTERS` selects: "all", or a part of "name (backend)".
pub(crate) fn selected() -> Vec<AdapterDescription> {
    let wanted = env::var("WGRU_TEST_ADAPTERS").unwrap_or_default().to_lowercase();
    let mut found = wgru::adapters();
    if !wanted.is_empty() && wanted != "all" {
        found.retain(|a| title(a).to_lowercase().contains(&wanted));
    }
    found
}

/// "name (backend)", by which the environment names adapters.
pub(crate) fn title(adapter: &AdapterDescription) -> String {
    format!("{} ({})", adapter.name, adapter.backend)
}

pub(crate) fn print_banner(adapters: &[AdapterDescription]) {
    for adapter in adapters {
        println!("adapter {}: {adapter}", adapter.index);
    }
}

/// Tells `scripts/test` that a test opened `adapter`.
pub(crate) fn report(adapter: &AdapterDescription) {
    let Some(path) = env::var_os("WGRU_ADAPTER_REPORT") else { return };
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| file.write_all((title(adapter) + "\n").as_bytes()));
    if let Err(e) = written {
        panic!("WGRU_ADAPTER_REPORT names a file that cannot be appended to: {e}");
    }
}

/// Fails where no adapter is tested, or one of `WGRU_REQUIRE_ADAPTERS` is missing: entries
/// separated by commas, each one or more words that must all occur in one "name (backend)".
pub(crate) fn check_required(adapters: &[AdapterDescription]) {
    assert!(
        !adapters.is_empty(),
        "no adapter is tested; scripts/test installs a software one, and WGRU_TEST_ADAPTERS, \
         where it is set, must name one that is there"
    );
    let titles: Vec<String> = adapters.iter().map(|a| title(a).to_lowercase()).collect();
    let required = env::var("WGRU_REQUIRE_ADAPTERS").unwrap_or_default().to_lowercase();
    for entry in required.split(',').filter(|entry| !entry.trim().is_empty()) {
        assert!(
            titles.iter().any(|t| entry.split_whitespace().all(|word| t.contains(word))),
            "WGRU_REQUIRE_ADAPTERS wants '{}', tested are {titles:?}",
            entry.trim()
        );
    }
}
