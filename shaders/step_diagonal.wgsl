// What a dispatch of steps holds: a diagonal of the wavefront. In dispatch d the cell of layer l runs its
// step d - l: the dispatch before gave it the state of the layer below, and nothing in this one
// writes that.
//
// Layer 0 has its gate inputs from the chunk's projection; every other computes them here, in the
// projection's order: (products + bias), to which the kernel adds the recurrent products.

struct Inputs { values: array<vec4<f32>, BLOCK> }

// The processing step of the cell of `layer`. The grid leaves out layers that have not begun.
fn step_of(layer: u32) -> u32 { return launch.first_step + step_of_chunk() - layer; }

// Whether the rows from first_row on have steps left in the layer: the grid covers those that have
// in any.
fn takes_part(first_row: u32, k: u32) -> bool { return is_active(first_row, k); }

fn inputs_of(cell: Cell, layer: u32, block: u32, lane: u32, first_row: u32, k: u32) -> Inputs {
    let quad = (launch.first_block + block) * LANES + lane;
    var inputs: Inputs;
    if layer == 0u {
        let first = cell.gates + step_of_chunk() * launch.rows * 3u * launch.unit_quads + quad;
        for (var i = 0u; i < ROWS; i++) {
            let row = min(first_row + i, launch.rows - 1u);
            for (var p = 0u; p < PLANES; p++) {
                inputs.values[p * ROWS + i] = gates[first + (row * 3u + FIRST_GATE + p) * launch.unit_quads];
            }
        }
        return inputs;
    }
    let below = cell.source + ((k + 1u) % 2u) * launch.state_stride;
    var operands: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) { operands[i] = below + (first_row + i) * launch.unit_quads; }
    let block_vec4s = 4u * launch.k_quads * PLANES * LANES;
    inputs.values = products(cell.input_weights + block * block_vec4s, lane, operands).sums;
    for (var p = 0u; p < PLANES; p++) {
        let bias = biases[cell.bias + (FIRST_GATE + p) * launch.unit_quads + quad];
        for (var i = 0u; i < ROWS; i++) { inputs.values[p * ROWS + i] += bias; }
    }
    return inputs;
}

// What the input adds to a gate (0 r, 1 z, 2 n) of four units of the invocation's row i.
fn input_of(inputs: ptr<function, Inputs>, gate: u32, i: u32, row: u32, quad: u32) -> vec4<f32> {
    return (*inputs).values[(gate - FIRST_GATE) * ROWS + i];
}

// A layer whose states nobody wants has no outputs. The first one of a chunk is that of the layer's
// first step in it.
fn store_output(cell: Cell, layer: u32, row: u32, k: u32, quad: u32, h: vec4<f32>) {
    if cell.output == 0u { return; }
    let first = max(launch.first_step, layer) - layer;
    arena[cell.output + ((k - first) * launch.batch + row) * launch.output_stride + quad] = h;
}
