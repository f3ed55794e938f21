// The GRU cell past its matrix products, on four units of one row; and the launch record of every kernel.
//
// h' = (1 - z) n + z h, exact where z is 0 or 1.

struct Cell {
    weights: u32,     // first vec4 of the packed matrix, in `weights`
    bias: u32,        // first vec4 of the bias, in `biases`
    source: u32,      // first vec4 of what the input product reads: rows in `source`, or, on a
                      // diagonal, the even state of the layer below in `arena`
    gates: u32,       // first vec4 of the chunk's gate inputs, in `gates`
    state: u32,       // first vec4 of the even state, in `arena`; the odd one is state_stride on
    scratch: u32,     // first vec4 of r*h (reset-before), in `arena`; z is state_stride on
    output: u32,      // first vec4 of the outputs, in `arena`; on a diagonal 0: none
    reversed: u32,    // 1: processing step k of a row of n steps is time n-1-k
    gate_code: u32,
    candidate_code: u32,
    gate_alpha: f32,
    gate_beta: f32,
    candidate_alpha: f32,
    candidate_beta: f32,
    clip: f32,        // 0: no clip
    input_weights: u32,  // on a diagonal: first vec4 of the matrix for the layer below, in `weights`
}

struct Launch {
    batch: u32,          // rows from one step to the next, in sources and outputs
    rows: u32,           // rows of the chunk, the first of the tile; gate inputs hold these alone
    steps: u32,          // processing steps of the chunk
    first_step: u32,     // processing step at which the chunk begins
    unit_quads: u32,     // ceil(H / 4)
    k_quads: u32,        // vec4s of an operand row
    first_block: u32,    // first block of units, where a matrix is spread over buffers
    source_stride: u32,  // vec4s from one source row to the next
    output_stride: u32,  // vec4s from one output row to the next
    state_stride: u32,   // vec4s of one state
    mask: u32,           // first word of the reset bits, in `rows`; 0: none
    mask_words: u32,     // words of a step's reset bits
    natural: u32,        // 1: outputs and sources are indexed by time, 0: by step of the chunk
    units: u32,          // H; the last quad may hold padding
    lag: u32,            // steps of a sequence by which a cell's chunk is behind that of the one before
    unused_0: u32,
    cells: array<Cell, CELLS>,
}

@group(0) @binding(0) var<uniform> launch: Launch;

fn clipped(cell: Cell, x: vec4<f32>) -> vec4<f32> {
    let c = vec4<f32>(cell.clip);
    return select(x, clamp(x, -c, c), (c > vec4<f32>(0.0)) & !is_nan(x));
}

fn gate_activation(cell: Cell, x: vec4<f32>) -> vec4<f32> {
    if STANDARD_CELL { return sigmoid(x); }
    return activate(cell.gate_code, cell.gate_alpha, cell.gate_beta, clipped(cell, x));
}

fn candidate_activation(cell: Cell, x: vec4<f32>) -> vec4<f32> {
    if STANDARD_CELL { return saturating_tanh(x); }
    return activate(cell.candidate_code, cell.candidate_alpha, cell.candidate_beta, clipped(cell, x));
}

// Padding units have zero weights, but a non-finite operand times zero is NaN, and activations need not
// be 0 at 0: states are kept 0 there, so that the next product adds nothing.
fn unpadded(quad: u32, v: vec4<f32>) -> vec4<f32> {
    let unit = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), v, unit < vec4<u32>(launch.units));
}

fn next_state(z: vec4<f32>, n: vec4<f32>, h: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(1.0) - z, n, z * h);
}
