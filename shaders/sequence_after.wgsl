// All reset-after steps of a chunk for a tile of rows: see sequence.wgsl.
//
//   r = sigmoid(gates_r + W_hr h)   z = sigmoid(gates_z + W_hz h)
//   n = tanh(gates_n + r * (W_hn h + b_hn))   h' = (1 - z) n + z h

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
    // Two buffers take turns where a state may be written before the last product that reads it.
    var before = 0u;
    var after = (BUFFERS - 1u) * STATES;
    for (var step = 0u; step < steps; step++) {
        let k = first_step + step;
        for (var part = 0u; part < PARTS; part++) {
            for (var block = 0u; block < BLOCKS; block++) {
                var inputs = ahead;
                if AHEAD { ahead = gate_inputs_ahead(cell, tile, steps, step, part, i); }
                accumulate(held_weights, block, i, before + part * ROWS * STRIDE, 0u, 3u);
                if SHARED { workgroupBarrier(); }
                for (var pair = i; pair < PAIRS; pair += INVOCATIONS) {
                    let quad = block * BLOCK_QUADS + pair % BLOCK_QUADS;
                    let tile_row = part * ROWS + pair / BLOCK_QUADS;
                    let row = tile + tile_row;
                    if quad < UNIT_QUADS && row < launch.rows {
                        if !AHEAD { inputs = gate_inputs(cell, tile, step, tile_row, quad); }
                        let reset = is_reset(row, k);
                        let at = tile_row * STRIDE + quad;
                        let held = hidden[before + at];
                        let h = select(held, zero, reset);
                        let r = gate_activation(cell, inputs.r + select(total(0u, pair), zero, reset));
                        let z = gate_activation(cell, inputs.z + select(total(1u, pair), zero, reset));
                        let inner = select(total(2u, pair), zero, reset) + biases[cell.bias + 3u * UNIT_QUADS + quad];
                        let n = candidate_activation(cell, fma(r, inner, inputs.n));
                        hidden[after + at] = advance(cell, row, quad, k, step, z, n, h, held);
                    }
                }
                if SHARED { workgroupBarrier(); }
            }
        }
        if !SHARED { workgroupBarrier(); }
        let swapped = before;
        before = after;
        after = swapped;
    }
    store_states(cell, tile, i, before);
}
