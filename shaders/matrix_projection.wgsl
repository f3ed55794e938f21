// The gate inputs of a chunk of steps, as input_projection computes them, by cooperative matrices.
//
// A workgroup owns LANES quads of units and ROWS rows (k, b); z is the cell.

@group(0) @binding(5) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> gates: array<vec4<f32>>;

fn operand(i: u32) -> vec4<f32> { return source[i]; }

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let cell = launch.cells[group.z];
    let first_row = group.y * ROWS;
    let count = launch.steps * launch.rows;

    // Steps past a row's length read a row that exists; what they give is not used.
    for (var i = lane; i < ROWS; i += INVOCATIONS) {
        let m = first_row + i;
        var first = NO_ROW;
        if m < count {
            let row = m % launch.rows;
            let k = launch.first_step + m / launch.rows;
            first = cell.source + (time_index(cell, row, k) * launch.batch + row) * launch.source_stride;
        }
        first_operands[i] = first;
    }
    multiply(lane, cell.weights, group.x);

    for (var i = lane; i < ROWS * LANES; i += INVOCATIONS) {
        let r = i / LANES;
        let q = i % LANES;
        let m = first_row + r;
        let quad = (launch.first_block + group.x) * LANES + q;
        if m < count && quad < launch.unit_quads {
            for (var p = 0u; p < PLANES; p++) {
                let bias = biases[cell.bias + p * launch.unit_quads + quad];
                gates[cell.gates + (m * PLANES + p) * launch.unit_quads + quad] = sum_of(r, p, q) + bias;
            }
        }
    }
}
