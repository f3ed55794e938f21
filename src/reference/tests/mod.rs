//! The reference against float64 goldens and laws; the check against a simulated engine and
//! against faults planted in it.

mod goldens;
mod laws;
mod support;
mod textbook;
