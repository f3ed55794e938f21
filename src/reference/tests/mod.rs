//! The reference against float64 goldens and laws; the check against a simulated engine and
//! against faults planted in it.

mod cases;
mod check;
mod comparator;
mod goldens;
mod laws;
mod mutants;
mod simulator;
mod support;
mod textbook;
