// The product of the matrix kernels, in cooperative matrices of SIZE x SIZE: PLANES gates of UNIT_TILES
// tiles of units for ROWS operand rows, f16 operands, f32 sums.
//
// A subgroup owns one plane of one tile of units, a column, for ROW_TILES tiles of rows. Weights are
// packed [unit block][k tile][unit tile][plane], a tile [k][unit], zero-padded. Operand rows are rounded
// to f16 in workgroup memory, STAGE_QUADS vec4s at a time, with zeros past the rows and past k. A row of sums
// depends on its own operand row alone, and is taken over k in ascending tiles, whatever the chunk.
//
// The header gives the types TileA, TileB (f16) and TileC (f32) beside the constants; the kernel supplies
// operand(i): the i-th vec4 of its operand rows. All control flow around
// cooperative matrices is uniform: it depends on constants and the launch record alone.

@group(0) @binding(2) var<storage, read> weights: array<f16>;
@group(0) @binding(3) var<storage, read> biases: array<vec4<f32>>;

// First vec4 of each row of the workgroup.
var<workgroup> first_operands: array<u32, ROWS>;
// Strides are multiples of 16 bytes, as loads and stores of matrices want them, and none of a power of
// two, so that rows lie in different banks.
var<workgroup> operands: array<f16, ROWS * OPERAND_STRIDE>;
var<workgroup> sums: array<f32, ROWS * SUM_STRIDE>;

const NO_ROW = 0xffffffffu;

// The nearest values that f16 has, ties to even, infinities past its range: conversions of f32 may
// round either way, but not what needs no rounding. NaN stays NaN.
fn rounded(v: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(v);
    let sign = bits & vec4<u32>(0x80000000u);
    let magnitude = bits ^ sign;
    let odd = (magnitude >> vec4<u32>(13u)) & vec4<u32>(1u);
    let near = (magnitude + vec4<u32>(0xfffu) + odd) & vec4<u32>(0xffffe000u);
    // From 65520 on; below 2^-14 steps are 2^-24 wide.
    let past = magnitude >= vec4<u32>(0x477ff000u);
    let normal = bitcast<vec4<f32>>(sign | select(near, vec4<u32>(0x7f800000u), past));
    let small = round(v * 16777216.0) * 5.9604644775390625e-8;
    return select(select(normal, small, magnitude < vec4<u32>(0x38800000u)), v, is_nan(v));
}

// Sets the operand rows of a kernel of steps: those of the batch, from vec4 `first` on.
fn own_rows(lane: u32, block: u32, first: u32) {
    for (var i = lane; i < ROWS; i += INVOCATIONS) {
        let row = block * ROWS + i;
        first_operands[i] = select(NO_ROW, first + row * launch.unit_quads, row < launch.rows);
    }
}

// Rounds the vec4s from first on, STAGE_QUADS of each row, into workgroup memory.
fn stage(lane: u32, first: u32) {
    for (var i = lane; i < ROWS * STAGE_QUADS; i += INVOCATIONS) {
        let row = i / STAGE_QUADS;
        let column = i % STAGE_QUADS;
        let base = first_operands[row];
        var v = vec4<f32>(0.0);
        if base != NO_ROW && first + column < launch.k_quads { v = rounded(operand(base + first + column)); }
        let at = row * OPERAND_STRIDE + 4u * column;
        operands[at] = f16(v.x);
        operands[at + 1u] = f16(v.y);
        operands[at + 2u] = f16(v.z);
        operands[at + 3u] = f16(v.w);
    }
}

// Leaves the products of the rows in first_operands in sums.
fn multiply(lane: u32, first_weight: u32, block: u32) {
    let tiles = (launch.k_quads + SIZE / 4u - 1u) / (SIZE / 4u);
    let column = lane / SUBGROUP;
    let first_tile = first_weight / (SIZE * SIZE / 4u) + block * tiles * COLUMNS + column;
    var c0 = TileC();
    var c1 = TileC();
    var c2 = TileC();
    var c3 = TileC();
    for (var first = 0u; first < tiles; first += STAGE_TILES) {
        workgroupBarrier();
        stage(lane, first * (SIZE / 4u));
        workgroupBarrier();
        let end = min(STAGE_TILES, tiles - first);
        for (var t = 0u; t < end; t++) {
            let w = (first_tile + (first + t) * COLUMNS) * SIZE * SIZE;
            let b = coopLoadT<TileB>(&weights[w], SIZE);
            let a0 = coopLoadT<TileA>(&operands[t * SIZE], OPERAND_STRIDE);
            c0 = coopMultiplyAdd(a0, b, c0);
            if ROW_TILES > 1u {
                let a1 = coopLoadT<TileA>(&operands[SIZE * OPERAND_STRIDE + t * SIZE], OPERAND_STRIDE);
                c1 = coopMultiplyAdd(a1, b, c1);
            }
            if ROW_TILES > 2u {
                let a2 = coopLoadT<TileA>(&operands[2u * SIZE * OPERAND_STRIDE + t * SIZE], OPERAND_STRIDE);
                c2 = coopMultiplyAdd(a2, b, c2);
                let a3 = coopLoadT<TileA>(&operands[3u * SIZE * OPERAND_STRIDE + t * SIZE], OPERAND_STRIDE);
                c3 = coopMultiplyAdd(a3, b, c3);
            }
        }
    }
    // naga writes a store before what its arguments compute: both are bound first.
    let at = column * SIZE;
    let s0 = c0;
    coopStoreT(s0, &sums[at], SUM_STRIDE);
    if ROW_TILES > 1u {
        let at1 = SIZE * SUM_STRIDE + at;
        let s1 = c1;
        coopStoreT(s1, &sums[at1], SUM_STRIDE);
    }
    if ROW_TILES > 2u {
        let at2 = 2u * SIZE * SUM_STRIDE + at;
        let s2 = c2;
        coopStoreT(s2, &sums[at2], SUM_STRIDE);
        let at3 = 3u * SIZE * SUM_STRIDE + at;
        let s3 = c3;
        coopStoreT(s3, &sums[at3], SUM_STRIDE);
    }
    workgroupBarrier();
}

// The product of one plane for a quad of the block's units and a row of the workgroup.
fn sum_of(row: u32, plane: u32, lane_quad: u32) -> vec4<f32> {
    let unit = 4u * lane_quad;
    let at = row * SUM_STRIDE + ((unit / SIZE) * PLANES + plane) * SIZE + unit % SIZE;
    return vec4<f32>(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]);
}
