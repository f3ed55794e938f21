// First half of a reset-before time step, as step_before_gates computes it, by cooperative matrices.
//
// Ownership as in matrix_step_after.

@group(0) @binding(5) var<storage, read> gates: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> arena: array<vec4<f32>>;

fn operand(i: u32) -> vec4<f32> { return arena[i]; }

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let cell = launch.cells[group.z];
    let k = step_of(group.z);
    let before = cell.state + (k % 2u) * launch.state_stride;
    own_rows(lane, group.y, before);
    multiply(lane, cell.weights, group.x);

    var inputs = inputs_of(cell, group.z, group.x, 0u, 0u, k);
    for (var i = lane; i < ROWS * LANES; i += INVOCATIONS) {
        let own = i / LANES;
        let row = group.y * ROWS + own;
        let q = i % LANES;
        let quad = (launch.first_block + group.x) * LANES + q;
        if row < launch.rows && quad < launch.unit_quads {
            let reset = is_reset(row, k);
            let zero = vec4<f32>(0.0);
            let at = row * launch.unit_quads + quad;
            let h = select(arena[before + at], zero, reset);
            let r = gate_activation(cell, input_of(&inputs, 0u, 0u, row, quad) + select(sum_of(own, 0u, q), zero, reset));
            let z = gate_activation(cell, input_of(&inputs, 1u, 0u, row, quad) + select(sum_of(own, 1u, q), zero, reset));
            // Where h is 0, r*h is 0 whatever r is.
            arena[cell.scratch + at] = select(unpadded(quad, r * h), zero, reset);
            arena[cell.scratch + launch.state_stride + at] = z;
        }
    }
}
