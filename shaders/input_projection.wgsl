// gates[k, b, gate, j] = b[gate, j] + sum_i W_i[gate, j, i] x[t(k, b), b, i] for a chunk of steps k.
//
// A workgroup owns LANES quads of units and ROWS * ROW_GROUPS rows (k, b); an invocation owns one quad
// of units, all three gates, ROWS rows. z is the cell: both directions share a dispatch.

@group(0) @binding(5) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> gates: array<vec4<f32>>;

fn operand(i: u32) -> vec4<f32> { return source[i]; }

@compute @workgroup_size(LANES, ROW_GROUPS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let cell = launch.cells[group.z];
    let block = launch.first_block + group.x;
    let quad = block * LANES + local.x;
    let first_row = (group.y * ROW_GROUPS + local.y) * ROWS;
    let count = launch.steps * launch.rows;
    if quad >= launch.unit_quads || first_row >= count { return; }

    // Rows past the end, and steps past a row's length, read a row that exists; what they give is
    // not written, or not used.
    var operands: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let m = min(first_row + r, count - 1u);
        let row = m % launch.rows;
        let k = launch.first_step + m / launch.rows;
        operands[r] = cell.source + (time_index(cell, row, k) * launch.batch + row) * launch.source_stride;
    }
    let block_vec4s = 4u * launch.k_quads * PLANES * LANES;
    let sums = products(cell.weights + group.x * block_vec4s, local.x, operands).sums;
    for (var r = 0u; r < ROWS; r++) {
        let m = first_row + r;
        if m < count {
            for (var p = 0u; p < PLANES; p++) {
                let bias = biases[cell.bias + p * launch.unit_quads + quad];
                gates[cell.gates + (m * PLANES + p) * launch.unit_quads + quad] = sums[p * ROWS + r] + bias;
            }
        }
    }
}
