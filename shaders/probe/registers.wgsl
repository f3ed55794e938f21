// The recurrent product of a resident kernel: weights that an invocation keeps over all rounds. The
// header gives LANES, QUADS (of weights) and
//
//     fn resident_rounds(first: u32, rounds: u32) -> vec4<f32>
//
// which holds `weights[first..]` in QUADS named variables, straight-line, so that nothing has to
// be indexed. A round multiplies all of them by the state and sums; the weights of a lane sum to
// one, so a round adds one to the state.

// x: rounds.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    // Invocations share what they hold: loading it shall not count.
    results[id.x] = resident_rounds((id.x % 4u) * QUADS, params.x);
}
