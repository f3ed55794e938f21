// All reset-before steps of a chunk for a tile of rows: see sequence.wgsl.
//
//   r = sigmoid(gates_r + W_hr h)   z = sigmoid(gates_z + W_hz h)
//   n = tanh(gates_n + W_hn (r*h))   h' = (1 - z) n + z h      (b_in and b_hn are inside gates_n)

// z of ROWS rows, between the two halves of a step.
var<workgroup> updates: array<vec4<f32>, ROWS * STRIDE>;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let cell = launch.cells[group.z];
    let tile = group.y * TILE;
    let steps = steps_to_run(group.z, tile);
    // Also keeps Mesa 26's llvmpipe, which runs a loop's body once for no invocation at all, from
    // reading buffers there that it has not looked up.
    if steps == 0u { return; }
    let first_step = first_step_of(group.z);
    let held_weights = hold(cell.weights, i);
    load_states(cell, tile, i);
    workgroupBarrier();

    let zero = vec4<f32>(0.0);
    var ahead = gate_inputs(cell, tile, 0u, min(i / BLOCK_QUADS, ROWS - 1u), i % BLOCK_QUADS);
    for (var step = 0u; step < steps; step++) {
        let k = first_step + step;
        for (var part = 0u; part < PARTS; part++) {
            let first = part * ROWS * STRIDE;
            var inputs = ahead;
            if AHEAD { ahead = gate_inputs_ahead(cell, tile, steps, step, part, i); }
            for (var block = 0u; block < BLOCKS; block++) {
                accumulate(held_weights, block, i, first, 0u, 2u);
                if SHARED { workgroupBarrier(); }
                for (var pair = i; pair < PAIRS; pair += INVOCATIONS) {
                    let quad = block * BLOCK_QUADS + pair % BLOCK_QUADS;
                    let tile_row = part * ROWS + pair / BLOCK_QUADS;
                    let row = tile + tile_row;
                    if quad < UNIT_QUADS && row < launch.rows {
                        if !AHEAD { inputs = gate_inputs(cell, tile, step, tile_row, quad); }
                        let reset = is_reset(row, k);
                        let at = (pair / BLOCK_QUADS) * STRIDE + quad;
                        let h = select(hidden[first + at], zero, reset);
                        let r = gate_activation(cell, inputs.r + select(total(0u, pair), zero, reset));
                        // Where h is 0, r*h is 0 whatever r is.
                        hidden[STATES + at] = select(unpadded(quad, r * h), zero, reset);
                        updates[at] = gate_activation(cell, inputs.z + select(total(1u, pair), zero, reset));
                    }
                }
                if SHARED { workgroupBarrier(); }
            }
            if !SHARED { workgroupBarrier(); }
            for (var block = 0u; block < BLOCKS; block++) {
                accumulate(held_weights, block, i, STATES, 2u, 3u);
                if SHARED { workgroupBarrier(); }
                for (var pair = i; pair < PAIRS; pair += INVOCATIONS) {
                    let quad = block * BLOCK_QUADS + pair % BLOCK_QUADS;
                    let tile_row = part * ROWS + pair / BLOCK_QUADS;
                    let row = tile + tile_row;
                    if quad < UNIT_QUADS && row < launch.rows {
                        if !AHEAD { inputs = gate_inputs(cell, tile, step, tile_row, quad); }
                        let at = (pair / BLOCK_QUADS) * STRIDE + quad;
                        let held = hidden[first + at];
                        let h = select(held, zero, is_reset(row, k));
                        let n = candidate_activation(cell, inputs.n + total(2u, pair));
                        hidden[first + at] = advance(cell, row, quad, k, step, updates[at], n, h, held);
                    }
                }
                if SHARED { workgroupBarrier(); }
            }
            if !SHARED { workgroupBarrier(); }
        }
    }
    store_states(cell, tile, i, 0u);
}
