//! Every activation of `shaders/activations.wgsl`, swept over the f32 numbers on every adapter,
//! against the same function in f64.

use super::adapters;
use crate::kernels::activation_code;
use crate::reference::{Arithmetic, activation_error, activation_value};
use crate::{ACTIVATION_ERROR, Activation};

/// Evaluates `activate` on all values but the first four, which tell it which function to be.
const MAIN: &str = "
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + 1u;
    if i >= arrayLength(&input) { return; }
    let function = input[0];
    output[i] = activate(bitcast<u32>(function.x), function.y, function.z, input[i]);
}
";

/// Zeros, denormals, where tanh and sigmoid saturate, where e^x leaves f32, infinities and NaN.
const SPECIAL: [f32; 26] = [
    0.0,
    1e-45,
    1e-40,
    1.175_494_4e-38,
    1e-30,
    1.0,
    9.0,
    9.01,
    9.019_999,
    9.02,
    9.020_001,
    15.0,
    18.0,
    18.039_999,
    18.04,
    44.0,
    80.0,
    87.3,
    88.7,
    88.8,
    89.0,
    104.0,
    1e10,
    1e30,
    f32::MAX,
    f32::INFINITY,
];
const NAN_BITS: [u32; 6] =
    [0x7f80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xff80_0001, 0xffc0_0000, 0xffff_ffff];

/// About 1.5 million values: every 4099th bit pattern, which covers all exponents with changing
/// mantissas, and equal steps where the functions bend.
fn inputs() -> Vec<f32> {
    let mut all: Vec<f32> = (0..=u32::MAX).step_by(4099).map(f32::from_bits).collect();
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^24")]
    all.extend((-(1 << 18)..1 << 18).map(|i: i32| i as f32 * (20.5 / (1 << 18) as f32)));
    all.extend(SPECIAL.iter().flat_map(|x| [*x, -x]));
    all.extend(NAN_BITS.map(f32::from_bits));
    all.resize(all.len().next_multiple_of(4), 0.0);
    all
}

fn functions() -> Vec<Activation> {
    vec![
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::LeakyRelu { alpha: 0.01 },
        Activation::LeakyRelu { alpha: -1.5 },
        Activation::ThresholdedRelu { alpha: 1.0 },
        Activation::ThresholdedRelu { alpha: -0.75 },
        Activation::Elu { alpha: 1.0 },
        Activation::Elu { alpha: 1.7 },
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::HardSigmoid { alpha: -3.0, beta: 4.0 },
        Activation::Softsign,
        Activation::Softplus,
        Activation::LINEAR,
        Activation::Affine { alpha: -2.5, beta: 0.3 },
        Activation::ScaledTanh { alpha: 1.0, beta: 1.0 },
        Activation::ScaledTanh { alpha: 1.7159, beta: 0.6667 },
    ]
}

/// The largest error of a function on an adapter, absolute and against its bound.
#[derive(Default)]
struct Worst {
    error: f64,
    at: f32,
    ratio: f64,
}

#[test]
fn activations_are_within_their_bounds() {
    let values = inputs();
    let wgsl = [MAIN, include_str!("../../shaders/activations.wgsl")].concat();
    let groups = u32::try_from(values.len().div_ceil(4 * 64)).unwrap();
    let arithmetic = Arithmetic::f32();
    for function in functions() {
        let (alpha, beta) = function.parameters();
        let mut words = vec![activation_code(function), alpha.to_bits(), beta.to_bits(), 0];
        words.extend(values.iter().map(|x| x.to_bits()));
        let wanted: Vec<(f64, f64)> = values
            .iter()
            .map(|x| {
                let x = f64::from(*x);
                // An operand may be flushed to zero.
                let flushed = f64::from(f32::MIN_POSITIVE);
                let bound = activation_error(function, x, flushed, &arithmetic);
                (activation_value(function, x), bound)
            })
            .collect();
        for context in adapters::contexts() {
            let got = context.evaluate(&wgsl, &words, groups);
            let mut worst = Worst::default();
            for ((x, got), (want, bound)) in values.iter().zip(&got[4..]).zip(&wanted) {
                let got = f32::from_bits(*got);
                check_exact(function, *x, got, context.adapter());
                worst.compare(function, *x, got, *want, *bound, context.adapter());
            }
            println!(
                "{function}: {:.3e} = 2^{:.2} at {:e}, {:.3} of the bound: {}",
                worst.error,
                worst.error.log2(),
                worst.at,
                worst.ratio,
                context.adapter()
            );
        }
    }
}

impl Worst {
    fn compare(
        &mut self,
        function: Activation,
        x: f32,
        got: f32,
        want: f64,
        bound: f64,
        adapter: &impl std::fmt::Display,
    ) {
        let exact = f64::from(got);
        if want.is_nan() || want.is_infinite() {
            assert!(
                exact == want || (exact.is_nan() && want.is_nan()),
                "{function}({x:e}) = {got:e}, want {want:e}: {adapter}"
            );
            return;
        }
        // What overflows f32 may be infinite.
        if want.abs() + bound > f64::from(f32::MAX) {
            return;
        }
        let error = (exact - want).abs();
        // Written so that NaN fails.
        assert!(
            error <= bound,
            "{function}({x:e}) = {got:e}, want {want:e}, off by {error:.3e}, bound {bound:.3e}: \
             {adapter}"
        );
        self.ratio = self.ratio.max(error / bound);
        if error > self.error && want.abs() < 2.0 {
            (self.error, self.at) = (error, x);
        }
    }
}

/// What sigmoid and tanh promise beyond their bound.
fn check_exact(function: Activation, x: f32, got: f32, adapter: &impl std::fmt::Display) {
    let exact = match function {
        Activation::Tanh if x.abs() >= 9.02 => x.signum(),
        Activation::Sigmoid if x >= 18.04 => 1.0,
        Activation::Sigmoid if x <= -18.04 => 0.0,
        Activation::Tanh => {
            assert!(x.is_nan() || got.abs() <= 1.0, "tanh({x:e}) = {got:e}: {adapter}");
            // Small values keep their relative accuracy, down to where denormals are flushed.
            let relative = (f64::from(got) / f64::from(x).tanh() - 1.0).abs();
            assert!(
                x.is_nan() || x.abs() < 1e-36 || relative <= 4.0 * ACTIVATION_ERROR,
                "tanh({x:e}) = {got:e}: {adapter}"
            );
            return;
        }
        Activation::Sigmoid => {
            assert!(
                x.is_nan() || (0.0..=1.0).contains(&got),
                "sigmoid({x:e}) = {got:e}: {adapter}"
            );
            return;
        }
        _ => return,
    };
    assert_eq!(got, exact, "{function}({x:e}): {adapter}");
}
