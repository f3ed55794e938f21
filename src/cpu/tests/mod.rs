//! Tests of the CPU engine on every instruction set that this machine has.

mod activations;
mod conformance;
mod laws;
mod support;
