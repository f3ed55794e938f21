// The register-blocked product of every kernel: PLANES gates of four units for ROWS operand rows.
//
// Weights are packed [unit block][k][plane][lane], zero-padded, so lanes read consecutive vec4s and no
// loop is ragged. Every (row, unit) sums over k in ascending order in one chain: a row's result does not
// depend on its neighbours, on ROWS or on how a sequence is cut.
//
// The kernel supplies operand(i): the i-th vec4 of its operand rows.

struct Products { sums: array<vec4<f32>, BLOCK> }

fn products(first_weight: u32, lane: u32, operands: array<u32, ROWS>) -> Products {
    var sums: array<vec4<f32>, BLOCK>;
    var at = operands;
    for (var i = 0u; i < BLOCK; i++) { sums[i] = vec4<f32>(0.0); }
    var w = first_weight + lane;
    for (var q = 0u; q < launch.k_quads; q++) {
        var x: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { x[r] = operand(at[r] + q); }
        for (var p = 0u; p < PLANES; p++) {
            let w0 = weight(w + p * LANES);
            let w1 = weight(w + (PLANES + p) * LANES);
            let w2 = weight(w + (2u * PLANES + p) * LANES);
            let w3 = weight(w + (3u * PLANES + p) * LANES);
            for (var r = 0u; r < ROWS; r++) {
                var s = sums[p * ROWS + r];
                s = fma(w0, vec4<f32>(x[r].x), s);
                s = fma(w1, vec4<f32>(x[r].y), s);
                s = fma(w2, vec4<f32>(x[r].z), s);
                s = fma(w3, vec4<f32>(x[r].w), s);
                sums[p * ROWS + r] = s;
            }
        }
        w += 4u * PLANES * LANES;
    }
    return Products(sums);
}
