// Second half of a reset-before time step, as step_before_candidate computes it, by cooperative matrices.
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
    let after = cell.state + ((k + 1u) % 2u) * launch.state_stride;
    own_rows(lane, group.y, cell.scratch);
    multiply(lane, cell.weights, group.x);

    var inputs = inputs_of(cell, group.z, group.x, 0u, 0u, k);
    for (var i = lane; i < ROWS * LANES; i += INVOCATIONS) {
        let own = i / LANES;
        let row = group.y * ROWS + own;
        let q = i % LANES;
        let quad = (launch.first_block + group.x) * LANES + q;
        if row < launch.rows && quad < launch.unit_quads {
            let zero = vec4<f32>(0.0);
            let at = row * launch.unit_quads + quad;
            let held = arena[before + at];
            let h = select(held, zero, is_reset(row, k));
            let z = arena[cell.scratch + launch.state_stride + at];
            let n = candidate_activation(cell, input_of(&inputs, 2u, 0u, row, quad) + sum_of(own, 0u, q));
            let live = is_active(row, k);
            let y = unpadded(quad, next_state(z, n, h));
            arena[after + at] = select(held, y, live);
            store_output(cell, group.z, row, k, quad, select(zero, y, live));
        }
    }
}
