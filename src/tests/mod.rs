//! Tests of what is not public: kernel texts, plans, GPU objects, and the teeth of the checks.

mod activations;
mod adapters;
mod allocations;
mod cache;
mod matrices;
mod matrix_mutants;
mod mutants;
mod noop;
mod overlap;
mod plan_invariants;
mod plan_properties;
mod plans;
mod probe;
mod relay;
mod relay_kernels;
mod shaders;
mod slots;
mod support;
mod translations;
mod tuning;
