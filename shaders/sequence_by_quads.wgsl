// Products of the sequence kernels for processors: a vector register holds the lanes, an invocation owns
// one quad of units of a block. Weights are read anew in each step.
//
// Every (row, unit) sums over k in ascending order in one chain, as in products.wgsl.

struct Held { first: u32 }

// [gate][pair]: read by the invocation that wrote them.
var<workgroup> sums: array<vec4<f32>, 3u * PAIRS>;

fn hold(first_weight: u32, i: u32) -> Held { return Held(first_weight + i); }

fn total(gate: u32, pair: u32) -> vec4<f32> { return sums[gate * PAIRS + pair]; }

// Gates `gate` to `end` of the ROWS operand rows that begin at vec4 `operands` of `hidden`.
fn accumulate(held: Held, block: u32, i: u32, operands: u32, gate: u32, end: u32) {
    var own: array<vec4<f32>, 3u * ROWS>;
    for (var s = 0u; s < 3u * ROWS; s++) { own[s] = vec4<f32>(0.0); }
    var w = held.first + block * 12u * UNIT_QUADS * BLOCK_QUADS;
    for (var q = 0u; q < UNIT_QUADS; q++) {
        var x: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { x[r] = hidden[operands + r * STRIDE + q]; }
        for (var g = gate; g < end; g++) {
            let w0 = weight(w + g * BLOCK_QUADS);
            let w1 = weight(w + (3u + g) * BLOCK_QUADS);
            let w2 = weight(w + (6u + g) * BLOCK_QUADS);
            let w3 = weight(w + (9u + g) * BLOCK_QUADS);
            for (var r = 0u; r < ROWS; r++) {
                var s = own[g * ROWS + r];
                s = fma(w0, vec4<f32>(x[r].x), s);
                s = fma(w1, vec4<f32>(x[r].y), s);
                s = fma(w2, vec4<f32>(x[r].z), s);
                s = fma(w3, vec4<f32>(x[r].w), s);
                own[g * ROWS + r] = s;
            }
        }
        w += 12u * BLOCK_QUADS;
    }
    for (var g = gate; g < end; g++) {
        for (var r = 0u; r < ROWS; r++) { sums[g * PAIRS + r * BLOCK_QUADS + i] = own[g * ROWS + r]; }
    }
}
