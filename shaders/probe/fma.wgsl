// Fused multiply-adds and next to nothing else: eight chains an invocation. The header gives the
// type `Real`, f32 or f16.

// x: rounds.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
// One, what a step up adds, what a step down adds: the compiler knows none of them.
@group(0) @binding(1) var<storage, read> factors: array<vec4<f32>, 3>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let one = vec4<Real>(factors[0]);
    let up = vec4<Real>(factors[1]);
    let down = vec4<Real>(factors[2]);
    var a = vec4<Real>(Real(id.x % 32u));
    var b = a + one;
    for (var round = 0u; round < params.x; round++) {
        a = fma(a, one, up); b = fma(b, one, up);
        a = fma(a, one, up); b = fma(b, one, up);
        a = fma(a, one, up); b = fma(b, one, up);
        a = fma(a, one, up); b = fma(b, one, up);
        a = fma(a, one, up); b = fma(b, one, up);
        a = fma(a, one, up); b = fma(b, one, up);
        a = fma(a, one, up); b = fma(b, one, up);
        a = fma(a, one, up); b = fma(b, one, up);
        a = fma(a, one, down); b = fma(b, one, down);
        a = fma(a, one, down); b = fma(b, one, down);
        a = fma(a, one, down); b = fma(b, one, down);
        a = fma(a, one, down); b = fma(b, one, down);
        a = fma(a, one, down); b = fma(b, one, down);
        a = fma(a, one, down); b = fma(b, one, down);
        a = fma(a, one, down); b = fma(b, one, down);
        a = fma(a, one, down); b = fma(b, one, down);
    }
    results[id.x] = vec4<f32>(a + b);
}
