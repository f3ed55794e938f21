//! The suite: what the crate promises, asked of every engine through the public API alone.
//!
//! The engines are the f64 reference, the CPU engine, and every adapter of this machine in three
//! settings (see [`engines`]). A test is a function of an engine; each pair is a named test, such
//! as `laws::same_run_same_bits::llvmpipe_vulkan`. Arguments are those of any Rust test.

mod adapters;
mod allocations;
mod compare;
mod conformance;
mod engines;
mod golden;
mod grid;
mod interop;
mod laws;
mod misuse;
mod numbers;
mod oracle;
mod problem;
mod program;
mod random;
mod refusals;
mod rows;
mod sharing;
mod sizes;
mod slots;
mod streams;
mod timing;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use engines::{Engine, On};

/// A test, the engines that it is for, and what it does with one of them.
pub(crate) type EngineTest = (&'static str, On, fn(&Engine));
/// A test that concerns no engine in particular.
pub(crate) type PlainTest = (&'static str, fn());

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let found = adapters::selected();
    if !arguments.list {
        adapters::print_banner(&found);
    }
    let engines: Vec<Arc<Engine>> = engines::all(&found).into_iter().map(Arc::new).collect();
    let mut trials = vec![plain("adapters::required_ones_are_here", move || {
        adapters::check_required(&found);
    })];
    let modules: [(&str, &[PlainTest]); 3] =
        [("oracle", oracle::TESTS), ("misuse", misuse::TESTS), ("files", refusals::FILE_TESTS)];
    for (module, tests) in modules {
        trials.extend(tests.iter().map(|(name, test)| plain(&format!("{module}::{name}"), *test)));
    }
    let modules: &[(&str, &[EngineTest])] = &[
        ("conformance", conformance::TESTS),
        ("numbers", numbers::TESTS),
        ("laws", laws::TESTS),
        ("rows", rows::TESTS),
        ("sizes", sizes::TESTS),
        ("sharing", sharing::TESTS),
        ("streams", streams::TESTS),
        ("slots", slots::TESTS),
        ("allocations", allocations::TESTS),
        ("timing", timing::TESTS),
        ("refusals", refusals::TESTS),
        ("grid", grid::TESTS),
        ("random", random::TESTS),
        ("interop", interop::TESTS),
    ];
    for (module, tests) in modules {
        for (name, on, test) in tests.iter() {
            for engine in engines.iter().filter(|engine| on.includes(engine)) {
                let (engine, test) = (Arc::clone(engine), *test);
                let name = format!("{module}::{name}::{}", engine.name);
                trials.push(plain(&name, move || test(&engine)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn plain(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
