// What a dispatch of steps holds: one step of one layer, whose gate inputs the chunk's projection left.

struct Inputs { first: u32 }

// The processing step of the cell of `layer`.
fn step_of(layer: u32) -> u32 { return launch.first_step + step_of_chunk(); }

// Whether the rows from first_row on have steps left: the grid covers no others.
fn takes_part(first_row: u32, k: u32) -> bool { return true; }

fn inputs_of(cell: Cell, layer: u32, block: u32, lane: u32, first_row: u32, k: u32) -> Inputs {
    return Inputs(cell.gates + step_of_chunk() * launch.rows * 3u * launch.unit_quads);
}

// What the input adds to a gate (0 r, 1 z, 2 n) of four units of the invocation's row i.
fn input_of(inputs: ptr<function, Inputs>, gate: u32, i: u32, row: u32, quad: u32) -> vec4<f32> {
    return gates[(*inputs).first + (row * 3u + gate) * launch.unit_quads + quad];
}

fn store_output(cell: Cell, layer: u32, row: u32, k: u32, quad: u32, h: vec4<f32>) {
    arena[cell.output + (time_index(cell, row, k) * launch.batch + row) * launch.output_stride + quad] = h;
}
