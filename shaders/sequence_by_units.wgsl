// Products of the sequence kernels for GPUs: an invocation owns a unit of a block and the slice of k that
// its place gives it.
//
// Every (row, unit) sums over the k of a slice in ascending order in one chain, then over the slices in
// ascending order.

const BLOCK_UNITS = 4u * BLOCK_QUADS;

// [slice][gate][row][component of the quad][quad]
var<workgroup> sums: array<f32, SLICES * 3u * ROWS * BLOCK_UNITS>;

fn chain(w: vec4<f32>, x: vec4<f32>, s: f32) -> f32 {
    return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, s))));
}

fn total(gate: u32, pair: u32) -> vec4<f32> {
    var at = (gate * ROWS + pair / BLOCK_QUADS) * BLOCK_UNITS + pair % BLOCK_QUADS;
    var s = vec4<f32>(0.0);
    for (var slice = 0u; slice < SLICES; slice++) {
        s += vec4<f32>(sums[at], sums[at + BLOCK_QUADS], sums[at + 2u * BLOCK_QUADS], sums[at + 3u * BLOCK_QUADS]);
        at += 3u * ROWS * BLOCK_UNITS;
    }
    return s;
}

fn keep(i: u32, gate: u32, row: u32, s: f32) {
    sums[((i / BLOCK_UNITS * 3u + gate) * ROWS + row) * BLOCK_UNITS + i % BLOCK_UNITS] = s;
}

// The first weight of invocation i, in its first block; those of the next k and gate are BLOCK_UNITS on.
fn first_weight_of(i: u32, first: u32) -> u32 {
    return first + i / BLOCK_UNITS * SLICE_QUADS * 3u * BLOCK_UNITS + i % BLOCK_UNITS;
}

// The first operand of invocation i.
fn first_operand_of(i: u32, operands: u32) -> u32 { return operands + i / BLOCK_UNITS * SLICE_QUADS; }
