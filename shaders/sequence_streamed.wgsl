// Weights that do not fit registers are read anew in each step.

struct Held { first: u32 }

fn hold(first_weight: u32, i: u32) -> Held { return Held(first_weight_of(i, first_weight)); }

// Gates `gate` to `end` of the ROWS operand rows that begin at vec4 `operands` of `hidden`.
fn accumulate(held: Held, block: u32, i: u32, operands: u32, gate: u32, end: u32) {
    var own: array<f32, 3u * ROWS>;
    for (var s = 0u; s < 3u * ROWS; s++) { own[s] = 0.0; }
    var w = held.first + block * SLICES * SLICE_QUADS * 3u * BLOCK_UNITS;
    let first = first_operand_of(i, operands);
    for (var q = 0u; q < SLICE_QUADS; q++) {
        var x: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { x[r] = hidden[first + r * STRIDE + q]; }
        for (var g = gate; g < end; g++) {
            let v = weight(w + g * BLOCK_UNITS);
            for (var r = 0u; r < ROWS; r++) { own[g * ROWS + r] = chain(v, x[r], own[g * ROWS + r]); }
        }
        w += 3u * BLOCK_UNITS;
    }
    for (var g = gate; g < end; g++) {
        for (var r = 0u; r < ROWS; r++) { keep(i, g, r, own[g * ROWS + r]); }
    }
}
