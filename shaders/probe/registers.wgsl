// The recurrent product of a resident kernel: weights that an invocation keeps over all rounds. The
// header gives LANES, QUADS (of weights) and
//
//     fn resident_rounds(first: u32, rounds: u32, input: vec4<f32>) -> vec4<f32>
//
// which holds `weights[first..]` in QUADS named variables, straight-line, so that nothing has to
// be indexed. A round takes the state through four chains of `fma(chain, weight, input)`: no
// compiler can put the weights together, as it could with a sum of products by one state.

// x: rounds, y: the input.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    // Invocations share what they hold: loading it shall not count.
    results[id.x] = resident_rounds((id.x % 4u) * QUADS, params.x, vec4<f32>(f32(params.y)));
}
