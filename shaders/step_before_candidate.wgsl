// Second half of a reset-before time step: the candidate from r*h, and the state update.
//
//   n = tanh(gates_n + W_hn (r*h))   h' = (1 - z) n + z h      (b_in and b_hn are inside gates_n)
//
// Ownership as in step_after.

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

    var operands: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) { operands[i] = cell.scratch + (first_row + i) * launch.unit_quads; }
    let block_vec4s = 4u * launch.k_quads * PLANES * LANES;
    var inputs = inputs_of(cell, group.z, group.x, local.x, first_row, k);
    let sums = products(cell.weights + group.x * block_vec4s, local.x, operands).sums;

    for (var i = 0u; i < ROWS; i++) {
        let row = first_row + i;
        if row < launch.rows {
            let zero = vec4<f32>(0.0);
            let at = row * launch.unit_quads + quad;
            let held = arena[before + at];
            let h = select(held, zero, is_reset(row, k));
            let z = arena[cell.scratch + launch.state_stride + at];
            let n = candidate_activation(cell, input_of(&inputs, 2u, i, row, quad) + sums[i]);
            let live = is_active(row, k);
            let y = unpadded(quad, next_state(z, n, h));
            arena[after + at] = select(held, y, live);
            store_output(cell, group.z, row, k, quad, select(zero, y, live));
        }
    }
}
