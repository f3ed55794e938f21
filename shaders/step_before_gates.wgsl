// First half of a reset-before time step: r and z; leaves r*h and z in the arena's scratch.
//
//   r = sigmoid(gates_r + W_hr h)   z = sigmoid(gates_z + W_hz h)
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

    var operands: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) { operands[i] = before + (first_row + i) * launch.unit_quads; }
    let block_vec4s = 4u * launch.k_quads * PLANES * LANES;
    var inputs = inputs_of(cell, group.z, group.x, local.x, first_row, k);
    let sums = products(cell.weights + group.x * block_vec4s, local.x, operands).sums;

    for (var i = 0u; i < ROWS; i++) {
        let row = first_row + i;
        if row < launch.rows {
            let reset = is_reset(row, k);
            let zero = vec4<f32>(0.0);
            let at = row * launch.unit_quads + quad;
            let h = select(arena[before + at], zero, reset);
            let r = gate_activation(cell, input_of(&inputs, 0u, i, row, quad) + select(sums[i], zero, reset));
            let z = gate_activation(cell, input_of(&inputs, 1u, i, row, quad) + select(sums[ROWS + i], zero, reset));
            // Where h is 0, r*h is 0 whatever r is.
            arena[cell.scratch + at] = select(unpadded(quad, r * h), zero, reset);
            arena[cell.scratch + launch.state_stride + at] = z;
        }
    }
}
