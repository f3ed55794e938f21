// One reset-after time step of every cell: all gates, activations and the state update.
//
//   r = sigmoid(gates_r + W_hr h)   z = sigmoid(gates_z + W_hz h)
//   n = tanh(gates_n + r * (W_hn h + b_hn))   h' = (1 - z) n + z h
//
// A workgroup owns LANES quads of units and ROWS * ROW_GROUPS rows of the batch of one cell (z). It reads
// one state of the arena and writes the other, so no invocation reads what another writes.

@group(0) @binding(5) var<storage, read> gates: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> arena: array<vec4<f32>>;

fn operand(i: u32) -> vec4<f32> { return arena[i]; }

@compute @workgroup_size(LANES, ROW_GROUPS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let cell = launch.cells[group.z];
    let block = launch.first_block + group.x;
    let quad = block * LANES + local.x;
    let first_row = (group.y * ROW_GROUPS + local.y) * ROWS;
    if quad >= launch.unit_quads || first_row >= launch.rows { return; }
    let k = step_of(group.z);
    if !takes_part(group.y * ROW_GROUPS * ROWS, k) { return; }
    let before = cell.state + (k % 2u) * launch.state_stride;
    let after = cell.state + ((k + 1u) % 2u) * launch.state_stride;

    // States are padded to whole row blocks: reading past the batch is harmless.
    var operands: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) { operands[i] = before + (first_row + i) * launch.unit_quads; }
    let block_vec4s = 4u * launch.k_quads * PLANES * LANES;
    var inputs = inputs_of(cell, group.z, group.x, local.x, first_row, k);
    let sums = products(cell.weights + group.x * block_vec4s, local.x, operands).sums;
    let bias = biases[cell.bias + 3u * launch.unit_quads + quad];

    for (var i = 0u; i < ROWS; i++) {
        let row = first_row + i;
        if row < launch.rows {
            let reset = is_reset(row, k);
            let held = arena[before + row * launch.unit_quads + quad];
            let zero = vec4<f32>(0.0);
            let h = select(held, zero, reset);
            let r = gate_activation(cell, input_of(&inputs, 0u, i, row, quad) + select(sums[i], zero, reset));
            let z = gate_activation(cell, input_of(&inputs, 1u, i, row, quad) + select(sums[ROWS + i], zero, reset));
            let hidden = select(sums[2u * ROWS + i], zero, reset) + bias;
            let n = candidate_activation(cell, fma(r, hidden, input_of(&inputs, 2u, i, row, quad)));
            let live = is_active(row, k);
            let y = unpadded(quad, next_state(z, n, h));
            arena[after + row * launch.unit_quads + quad] = select(held, y, live);
            store_output(cell, group.z, row, k, quad, select(zero, y, live));
        }
    }
}
