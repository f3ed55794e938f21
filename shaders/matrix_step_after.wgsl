// One reset-after time step of every cell, as step_after computes it, by cooperative matrices.
//
// A workgroup owns LANES quads of units and ROWS rows of the batch of one cell (z). It reads one state of
// the arena and writes the other, so no invocation reads what another writes.

@group(0) @binding(5) var<storage, read> gates: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> arena: array<vec4<f32>>;

fn operand(i: u32) -> vec4<f32> { return arena[i]; }

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let cell = launch.cells[group.z];
    let k = step_of(group.z);
    let before = cell.state + (k % 2u) * launch.state_stride;
    let after = cell.state + ((k + 1u) % 2u) * launch.state_stride;
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
            let held = arena[before + row * launch.unit_quads + quad];
            let zero = vec4<f32>(0.0);
            let h = select(held, zero, reset);
            let bias = biases[cell.bias + 3u * launch.unit_quads + quad];
            let r = gate_activation(cell, input_of(&inputs, 0u, 0u, row, quad) + select(sum_of(own, 0u, q), zero, reset));
            let z = gate_activation(cell, input_of(&inputs, 1u, 0u, row, quad) + select(sum_of(own, 1u, q), zero, reset));
            let hidden = select(sum_of(own, 2u, q), zero, reset) + bias;
            let n = candidate_activation(cell, fma(r, hidden, input_of(&inputs, 2u, 0u, row, quad)));
            let live = is_active(row, k);
            let y = unpadded(quad, next_state(z, n, h));
            arena[after + row * launch.unit_quads + quad] = select(held, y, live);
            store_output(cell, group.z, row, k, quad, select(zero, y, live));
        }
    }
}
