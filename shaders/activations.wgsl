// Activation functions, elementwise on four lanes. No bindings.
//
// tanh is x P(x^2) / Q(x^2), a minimax fit in relative error on |x| <= 9.02 (1.4e-8 before rounding), and
// exactly +-1 beyond, where f32 tanh rounds to 1. sigmoid is (1 + tanh(x/2)) / 2, exactly 0 or 1 beyond
// |x| = 18.04. Absolute error of both <= 2^-21, with multiply-adds that are not fused and a division
// that is 2.5 ulp off, as WGSL allows.
// NaN is restored by its bits: clamp, min and max may drop it, and compilers may fold x != x.

fn is_nan(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

fn tanh_finite(x: vec4<f32>) -> vec4<f32> {
    let c = clamp(x, vec4<f32>(-9.02), vec4<f32>(9.02));
    let u = c * c;
    var p = fma(u, vec4<f32>(-8.435798311e-14), vec4<f32>(5.257683525e-11));
    p = fma(u, p, vec4<f32>(-2.018377110e-08));
    p = fma(u, p, vec4<f32>(1.114420775e-05));
    p = fma(u, p, vec4<f32>(3.102996619e-03));
    p = fma(u, p, vec4<f32>(1.308315247e-01));
    p = fma(u, p, vec4<f32>(1.0));
    var q = fma(u, vec4<f32>(2.544744348e-04), vec4<f32>(2.449136227e-02));
    q = fma(u, q, vec4<f32>(4.641647935e-01));
    q = fma(u, q, vec4<f32>(1.0));
    let y = clamp((c * p) / q, vec4<f32>(-1.0), vec4<f32>(1.0));
    return select(y, sign(c), abs(c) >= vec4<f32>(9.02));
}

fn saturating_tanh(x: vec4<f32>) -> vec4<f32> {
    return select(tanh_finite(x), x, is_nan(x));
}

fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    return select(fma(vec4<f32>(0.5), tanh_finite(0.5 * x), vec4<f32>(0.5)), x, is_nan(x));
}

// e^x - 1 for x <= 0, without cancellation near 0: 2t / (1 - t) with t = tanh(x/2).
fn exp_minus_one(x: vec4<f32>) -> vec4<f32> {
    let t = tanh_finite(0.5 * x);
    return 2.0 * t / (vec4<f32>(1.0) - t);
}

// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).
fn softplus(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-abs(clamp(x, vec4<f32>(-80.0), vec4<f32>(80.0))));
    // ln(1 + e) by 2 artanh(s), s = e / (2 + e) <= 1/3: an odd series, exact where e is tiny.
    let s = e / (vec4<f32>(2.0) + e);
    let u = s * s;
    var p = fma(u, vec4<f32>(1.0 / 13.0), vec4<f32>(1.0 / 11.0));
    p = fma(u, p, vec4<f32>(1.0 / 9.0));
    p = fma(u, p, vec4<f32>(1.0 / 7.0));
    p = fma(u, p, vec4<f32>(1.0 / 5.0));
    p = fma(u, p, vec4<f32>(1.0 / 3.0));
    p = fma(u, p, vec4<f32>(1.0));
    return fma(2.0 * s, p, max(x, vec4<f32>(0.0)));
}

// The activation with the code that `kernels::activation_code` gives it.
fn activate(code: u32, alpha: f32, beta: f32, x: vec4<f32>) -> vec4<f32> {
    let a = vec4<f32>(alpha);
    let b = vec4<f32>(beta);
    let zero = vec4<f32>(0.0);
    var y = x;
    switch code {
        case 0u: { y = sigmoid(x); }
        case 1u: { y = saturating_tanh(x); }
        case 2u: { y = max(x, zero); }
        case 3u: { y = select(a * x, x, x >= zero); }
        case 4u: { y = select(zero, x, x > a); }
        case 5u: { y = select(a * exp_minus_one(min(x, zero)), x, x >= zero); }
        case 6u: { y = clamp(fma(a, x, b), zero, vec4<f32>(1.0)); }
        case 7u: { y = select(x / (vec4<f32>(1.0) + abs(x)), sign(x), abs(x) >= vec4<f32>(1e30)); }
        case 8u: { y = softplus(x); }
        case 9u: { y = fma(a, x, b); }
        case 10u: { y = a * saturating_tanh(b * x); }
        default: {}
    }
    return select(y, x, is_nan(x));
}
