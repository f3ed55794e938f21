//! An engine in plain f32 loops, with room for one fault.

use ndarray::{Array2, Array3, s};

use super::cases::Case;
use super::support::RawCell;
use crate::activation::Activation;
use crate::cell::{CellFunctions, Gate, ResetForm};
use crate::reference::{Arithmetic, Verification, verify};

const R: usize = Gate::Reset as usize;
const Z: usize = Gate::Update as usize;
const N: usize = Gate::New as usize;

/// What an engine may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    GatesSwapped,
    RecurrentBiasFolded,
    ResetIgnored,
    OtherResetForm,
    PolarityFlipped,
    StateOneStepOld,
    InitialStateIgnored,
    ResetMaskIgnored,
    LastInputTermDropped,
    LastStateTermDropped,
    SigmoidForTanh,
    TanhForSigmoid,
    /// A tanh that is right to three digits.
    CoarseTanh,
    RowShifted,
    StepShifted,
    NoInputBias,
    NoRecurrentBias,
    DirectionsSwapped,
    OneUnitNotWritten,
    /// The reverse direction starts at T - 1 in shorter rows, too.
    ReverseFromTheEnd,
    /// The final state is what stands at step T - 1.
    FinalStateAtTheEnd,
    PaddingHoldsTheState,
    WeightsInHalf,
    StateInHalf,
}

/// The engine's variations that are not faults.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Simulator {
    pub(super) fault: Option<Fault>,
    /// Flushes every denormal operand and result to zero.
    pub(super) flush: bool,
    /// Rounds `x`, `h` and `r * h` to f16 before the products.
    pub(super) half_operands: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) layers: Vec<Array3<f32>>,
    pub(super) final_state: Array3<f32>,
}

pub(super) fn half(v: f32) -> f32 {
    half::f16::from_f32(v).to_f32()
}

impl Run {
    pub(super) fn verify(&self, case: &Case, arithmetic: &Arithmetic) -> Verification {
        let layers: Vec<_> = self.layers.iter().map(|l| l.view()).collect();
        let network = &case.network;
        let final_state = self.final_state.view();
        let weights = network.weights();
        verify(&network.config, &weights, &case.inputs(), &layers, final_state, arithmetic).unwrap()
    }
}

impl Simulator {
    pub(super) fn run(&self, case: &Case) -> Run {
        let config = &case.network.config;
        let (units, directions) = (config.hidden_size, config.num_directions());
        let (steps, batch, _) = case.input.dim();
        let mut final_state = Array3::zeros((config.state_planes(), batch, units));
        let mut layers: Vec<Array3<f32>> = Vec::new();
        for layer in 0..config.num_layers {
            let input = layers.last().unwrap_or(&case.input).clone();
            let mut out = Array3::zeros((steps, batch, config.output_size()));
            for direction in 0..directions {
                let plane = layer * directions + direction;
                let cell = &case.network.cells[plane];
                let functions = &config.functions[direction];
                let reverse =
                    config.directions.is_reverse(direction) != self.is(Fault::DirectionsSwapped);
                let column = direction * units;
                for row in 0..batch {
                    let length = case.lengths.as_ref().map_or(steps, |l| l[row]);
                    let mut state = vec![0.0f32; units];
                    if let Some(initial) = &case.initial_state
                        && !self.is(Fault::InitialStateIgnored)
                    {
                        state = initial.slice(s![plane, row, ..]).to_vec();
                    }
                    let mut older = state.clone();
                    let source = self.pick(Fault::RowShifted, (row + 1) % batch, row);
                    for index in 0..length {
                        let end = self.pick(Fault::ReverseFromTheEnd, steps, length);
                        let step = if reverse { end - 1 - index } else { index };
                        let masked = case.reset_mask.as_ref().is_some_and(|m| m[[step, row]]);
                        if masked && !self.is(Fault::ResetMaskIgnored) {
                            state.fill(0.0);
                        }
                        let read = self.pick(Fault::StepShifted, (step + 1) % steps, step);
                        let x = input.slice(s![read, source, ..]).to_vec();
                        let before = self.pick(Fault::StateOneStepOld, &older, &state);
                        let mut next = self.step(cell, config.reset, functions, &x, before);
                        if self.is(Fault::OneUnitNotWritten) {
                            next[units / 2] = state[units / 2];
                        }
                        older = std::mem::replace(&mut state, next);
                        for (unit, value) in state.iter().enumerate() {
                            out[[step, row, column + unit]] = *value;
                        }
                    }
                    for (unit, value) in state.iter().enumerate() {
                        if self.is(Fault::PaddingHoldsTheState) {
                            out.slice_mut(s![length.., row, column + unit]).fill(*value);
                        }
                        final_state[[plane, row, unit]] = *value;
                        if self.is(Fault::FinalStateAtTheEnd) {
                            final_state[[plane, row, unit]] = out[[steps - 1, row, column + unit]];
                        }
                    }
                }
            }
            layers.push(out);
        }
        Run { layers, final_state }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn pick<T>(&self, fault: Fault, wrong: T, right: T) -> T {
        if self.is(fault) { wrong } else { right }
    }

    /// A value as the hardware gives it.
    fn hw(&self, v: f32) -> f32 {
        if self.flush && v.is_subnormal() { 0.0 } else { v }
    }

    /// `W v + b` of one unit, in ascending order of columns from the bias on.
    fn sum(&self, w: &[f32], v: &[f32], bias: f32, terms: usize) -> f32 {
        let mut sum = self.hw(bias);
        for (w, v) in w.iter().zip(v).take(terms) {
            let w = if self.is(Fault::WeightsInHalf) { half(*w) } else { *w };
            let v = if self.half_operands { half(*v) } else { *v };
            sum = self.hw(sum + self.hw(self.hw(w) * self.hw(v)));
        }
        sum
    }

    fn step(
        &self,
        cell: &RawCell,
        reset: ResetForm,
        functions: &CellFunctions,
        x: &[f32],
        h: &[f32],
    ) -> Vec<f32> {
        let (columns, units) = (cell.columns, cell.units);
        let input_terms = self.pick(Fault::LastInputTermDropped, columns - 1, columns);
        let state_terms = self.pick(Fault::LastStateTermDropped, units - 1, units);
        let input = |g: usize, unit: usize| {
            let mut bias = self.pick(Fault::NoInputBias, 0.0, cell.input_bias[g][unit]);
            if self.is(Fault::RecurrentBiasFolded) && g == N {
                bias += cell.recurrent_bias[g][unit];
            }
            self.sum(&cell.input[g][unit * columns..][..columns], x, bias, input_terms)
        };
        let state = |g: usize, unit: usize, v: &[f32]| {
            let folded = self.is(Fault::RecurrentBiasFolded) && g == N;
            let dropped = folded || self.is(Fault::NoRecurrentBias);
            let bias = if dropped { 0.0 } else { cell.recurrent_bias[g][unit] };
            self.sum(&cell.recurrent[g][unit * units..][..units], v, bias, state_terms)
        };
        let gate = |a: f32| match functions.gate {
            Activation::Sigmoid if self.is(Fault::TanhForSigmoid) => clipped(a, functions).tanh(),
            function => self.hw(activate(function, clipped(a, functions))),
        };
        let candidate = |a: f32| match functions.candidate {
            Activation::Tanh if self.is(Fault::SigmoidForTanh) => {
                activate(Activation::Sigmoid, clipped(a, functions))
            }
            Activation::Tanh if self.is(Fault::CoarseTanh) => {
                (clipped(a, functions).tanh() * 1e3).round() / 1e3
            }
            function => self.hw(activate(function, clipped(a, functions))),
        };
        let both = |g: usize, unit: usize| gate(self.hw(input(g, unit) + state(g, unit, h)));
        let (first, second) = self.pick(Fault::GatesSwapped, (Z, R), (R, Z));
        let ones = vec![1.0; units];
        let mut r: Vec<f32> = (0..units).map(|unit| both(first, unit)).collect();
        if self.is(Fault::ResetIgnored) {
            r = ones;
        }
        let before = (reset == ResetForm::Before) != self.is(Fault::OtherResetForm);
        let rh: Vec<f32> =
            r.iter().zip(h).map(|(r, h)| self.hw(self.hw(*r) * self.hw(*h))).collect();
        let unit = |unit: usize| {
            let p = input(N, unit);
            let n = if before {
                candidate(self.hw(p + state(N, unit, &rh)))
            } else {
                candidate(self.hw(p + self.hw(r[unit] * state(N, unit, h))))
            };
            let mut z = both(second, unit);
            if self.is(Fault::PolarityFlipped) {
                z = 1.0 - z;
            }
            let next = self.hw(self.hw((1.0 - z) * n) + self.hw(z * self.hw(h[unit])));
            if self.is(Fault::StateInHalf) { half(next) } else { next }
        };
        (0..units).map(unit).collect()
    }
}

fn clipped(a: f32, functions: &CellFunctions) -> f32 {
    functions.clip.map_or(a, |c| a.clamp(-c, c))
}

/// The activations as an engine writes them in f32.
fn activate(function: Activation, a: f32) -> f32 {
    match function {
        Activation::Sigmoid => 1.0 / (1.0 + (-a).exp()),
        Activation::Tanh => a.tanh(),
        Activation::Relu if a < 0.0 => 0.0,
        Activation::LeakyRelu { alpha } if a < 0.0 => alpha * a,
        Activation::ThresholdedRelu { alpha } if a <= alpha => 0.0,
        Activation::Elu { alpha } if a < 0.0 => alpha * (a.exp() - 1.0),
        Activation::HardSigmoid { alpha, beta } => (alpha * a + beta).clamp(0.0, 1.0),
        Activation::Softsign if a.is_infinite() => a.signum(),
        Activation::Softsign => a / (1.0 + a.abs()),
        Activation::Softplus => a.max(0.0) + (1.0 + (-a.abs()).exp()).ln(),
        Activation::Affine { alpha, beta } => alpha * a + beta,
        Activation::ScaledTanh { alpha, beta } => alpha * (beta * a).tanh(),
        _ => a,
    }
}

/// Every row and step of `[T, B]` that is padding.
pub(super) fn padding(case: &Case) -> Array2<bool> {
    let (steps, batch, _) = case.input.dim();
    Array2::from_shape_fn((steps, batch), |(step, row)| {
        case.lengths.as_ref().is_some_and(|l| step >= l[row])
    })
}
