// What the sequence kernels share: a workgroup owns TILE rows of the batch of one cell for all steps of a
// chunk, and keeps their states in workgroup memory.
//
// Products are taken for ROWS rows and BLOCK_QUADS quads of units at a time: PAIRS (row, quad) pairs. How
// invocations share them, and the order of each sum, is said where `accumulate` and `total` are; of what
// follows, invocation i owns the pairs i, i + INVOCATIONS, ...

@group(0) @binding(5) var<storage, read> gates: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> arena: array<vec4<f32>>;

const PAIRS = ROWS * BLOCK_QUADS;
const STATES = TILE * STRIDE;

// [row of the tile][quad], STRIDE quads a row, those past UNIT_QUADS zero: BUFFERS times the states, then
// r*h of ROWS rows (reset-before).
var<workgroup> hidden: array<vec4<f32>, HIDDEN>;

struct GateInputs { r: vec4<f32>, z: vec4<f32>, n: vec4<f32> }

// Of several layers' cells each runs the chunk before that of the layer below: all but the first run
// launch.lag steps.
fn first_step_of(cell: u32) -> u32 { return launch.first_step - cell * launch.lag; }
fn steps_of(cell: u32) -> u32 { return select(launch.steps, launch.lag, cell > 0u && launch.lag > 0u); }

// Steps that the workgroup runs: those of its longest row, the first. The same for all invocations.
fn steps_to_run(cell: u32, tile: u32) -> u32 {
    let first = first_step_of(cell);
    return min(steps_of(cell), max(rows[tile], first) - first);
}

// A row of the tile as one of the launch; past the end the last one, whose values are not used.
fn row_of(tile: u32, row: u32) -> u32 { return min(tile + row, launch.rows - 1u); }

fn gate_inputs(cell: Cell, tile: u32, step: u32, row: u32, quad: u32) -> GateInputs {
    let first = (step * launch.rows + row_of(tile, row)) * 3u * UNIT_QUADS;
    let at = cell.gates + first + min(quad, UNIT_QUADS - 1u);
    return GateInputs(gates[at], gates[at + UNIT_QUADS], gates[at + 2u * UNIT_QUADS]);
}

// The gate inputs of invocation i's pair, where it has one in every part: those of the part after `part`.
fn gate_inputs_ahead(cell: Cell, tile: u32, steps: u32, step: u32, part: u32, i: u32) -> GateInputs {
    let wraps = part + 1u == PARTS;
    let row = select(part + 1u, 0u, wraps) * ROWS + min(i / BLOCK_QUADS, ROWS - 1u);
    return gate_inputs(cell, tile, min(step + u32(wraps), steps - 1u), row, i % BLOCK_QUADS);
}

fn load_states(cell: Cell, tile: u32, i: u32) {
    for (var p = i; p < HIDDEN; p += INVOCATIONS) {
        let quad = p % STRIDE;
        var h = vec4<f32>(0.0);
        if p < STATES && quad < UNIT_QUADS { h = arena[cell.state + row_of(tile, p / STRIDE) * UNIT_QUADS + quad]; }
        hidden[p] = h;
    }
}

// `first`: where the states after the last step begin.
fn store_states(cell: Cell, tile: u32, i: u32, first: u32) {
    for (var p = i; p < STATES; p += INVOCATIONS) {
        let row = tile + p / STRIDE;
        let quad = p % STRIDE;
        if row < launch.rows && quad < UNIT_QUADS {
            arena[cell.state + row * UNIT_QUADS + quad] = hidden[first + p];
        }
    }
}

// What a row holds after step k, the chunk's `step`, `held` being what it holds before and h its state;
// writes the output.
fn advance(cell: Cell, row: u32, quad: u32, k: u32, step: u32, z: vec4<f32>, n: vec4<f32>, h: vec4<f32>, held: vec4<f32>) -> vec4<f32> {
    let live = is_active(row, k);
    let y = unpadded(quad, next_state(z, n, h));
    var time = step;
    if launch.natural != 0u { time = time_index(cell, row, k); }
    let out = cell.output + (time * launch.batch + row) * launch.output_stride + quad;
    arena[out] = select(vec4<f32>(0.0), y, live);
    return select(held, y, live);
}
