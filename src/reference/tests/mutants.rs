//! The check rejects every fault, by a wide margin, on the very runs that a right engine passes.

use super::cases::{Case, cases};
use super::simulator::{Fault, Simulator, padding};
use crate::cell::ResetForm;
use crate::config::Directions;
use crate::reference::Arithmetic;

/// How far outside its bound the worst value of a faulty run must lie.
const MARGIN: f64 = 10.0;

impl Fault {
    const ALL: [Self; 24] = [
        Self::GatesSwapped,
        Self::RecurrentBiasFolded,
        Self::ResetIgnored,
        Self::OtherResetForm,
        Self::PolarityFlipped,
        Self::StateOneStepOld,
        Self::InitialStateIgnored,
        Self::ResetMaskIgnored,
        Self::LastInputTermDropped,
        Self::LastStateTermDropped,
        Self::SigmoidForTanh,
        Self::TanhForSigmoid,
        Self::CoarseTanh,
        Self::RowShifted,
        Self::StepShifted,
        Self::NoInputBias,
        Self::NoRecurrentBias,
        Self::DirectionsSwapped,
        Self::OneUnitNotWritten,
        Self::ReverseFromTheEnd,
        Self::FinalStateAtTheEnd,
        Self::PaddingHoldsTheState,
        Self::WeightsInHalf,
        Self::StateInHalf,
    ];

    /// Whether the fault changes anything in a run of this case.
    fn applies(self, case: &Case) -> bool {
        let config = &case.network.config;
        let (steps, batch, _) = case.input.dim();
        let short = padding(case).iter().any(|p| *p);
        let reads_backwards = config.directions != Directions::Forward;
        match self {
            // In the reset-before form the two biases of the candidate are one.
            Self::RecurrentBiasFolded => config.reset == ResetForm::After,
            Self::ResetMaskIgnored => case.reset_mask.is_some(),
            Self::RowShifted => batch > 1,
            Self::StepShifted | Self::StateOneStepOld => steps > 1,
            Self::ReverseFromTheEnd => short && reads_backwards,
            // At step T - 1 stands padding, or what a reverse direction computed first.
            Self::FinalStateAtTheEnd => short || reads_backwards,
            Self::PaddingHoldsTheState => short,
            // At a thousand units the rounding of f32 sums may be as large as these.
            Self::WeightsInHalf | Self::StateInHalf | Self::CoarseTanh => config.hidden_size < 1000,
            _ => true,
        }
    }
}

#[test]
fn every_fault_is_rejected() {
    let cases = cases();
    let mut failures = Vec::new();
    for fault in Fault::ALL {
        let mut smallest = f64::INFINITY;
        let mut tried = 0;
        for case in cases.iter().filter(|case| fault.applies(case)) {
            let engine = Simulator { fault: Some(fault), ..Simulator::default() };
            let report = engine.run(case).verify(case, &Arithmetic::f32());
            let ratio = report.worst_ratio();
            tried += 1;
            smallest = smallest.min(ratio);
            if report.passed() || ratio < MARGIN {
                failures.push(format!("{fault:?} in {}: ratio {ratio:.3}", case.name));
            }
        }
        println!("{fault:?}: smallest worst ratio {smallest:.1} of {tried} cases");
        assert!(tried > 1, "{fault:?} applies to some cases");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
