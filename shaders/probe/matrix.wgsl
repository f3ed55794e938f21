// C = A B by cooperative matrices, all row-major: a subgroup owns 2 x 4 tiles of C and loads from
// device memory. The header gives the extensions, Operand and Sum (f16 or f32), the types TileA,
// TileB and TileC, SIZE (of a tile), SUBGROUP and SUBGROUPS (lanes of one, and how many a
// workgroup has).

// x: M, y: N, z: K: multiples of 2, 4 * SUBGROUPS and 1 tiles.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read> left: array<Operand>;
@group(0) @binding(2) var<storage, read> right: array<Operand>;
@group(0) @binding(3) var<storage, read_write> product: array<Sum>;

@compute @workgroup_size(SUBGROUP * SUBGROUPS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = params.y;
    let k = params.z;
    // Subgroups of a workgroup lie beside each other and share the rows of A.
    let row = workgroup.y * 2u * SIZE;
    let column = (workgroup.x * SUBGROUPS + lane / SUBGROUP) * 4u * SIZE;
    var c00 = TileC();
    var c01 = TileC();
    var c02 = TileC();
    var c03 = TileC();
    var c10 = TileC();
    var c11 = TileC();
    var c12 = TileC();
    var c13 = TileC();
    for (var at = 0u; at < k; at += SIZE) {
        let a0 = coopLoadT<TileA>(&left[row * k + at], k);
        let a1 = coopLoadT<TileA>(&left[(row + SIZE) * k + at], k);
        let b0 = coopLoadT<TileB>(&right[at * n + column], n);
        let b1 = coopLoadT<TileB>(&right[at * n + column + SIZE], n);
        let b2 = coopLoadT<TileB>(&right[at * n + column + 2u * SIZE], n);
        let b3 = coopLoadT<TileB>(&right[at * n + column + 3u * SIZE], n);
        c00 = coopMultiplyAdd(a0, b0, c00);
        c01 = coopMultiplyAdd(a0, b1, c01);
        c02 = coopMultiplyAdd(a0, b2, c02);
        c03 = coopMultiplyAdd(a0, b3, c03);
        c10 = coopMultiplyAdd(a1, b0, c10);
        c11 = coopMultiplyAdd(a1, b1, c11);
        c12 = coopMultiplyAdd(a1, b2, c12);
        c13 = coopMultiplyAdd(a1, b3, c13);
    }
    // naga writes a store before what its arguments compute: both are bound first.
    let at00 = row * n + column;
    let sum00 = c00;
    let at01 = row * n + column + SIZE;
    let sum01 = c01;
    let at02 = row * n + column + 2u * SIZE;
    let sum02 = c02;
    let at03 = row * n + column + 3u * SIZE;
    let sum03 = c03;
    let at10 = (row + SIZE) * n + column;
    let sum10 = c10;
    let at11 = (row + SIZE) * n + column + SIZE;
    let sum11 = c11;
    let at12 = (row + SIZE) * n + column + 2u * SIZE;
    let sum12 = c12;
    let at13 = (row + SIZE) * n + column + 3u * SIZE;
    let sum13 = c13;
    coopStoreT(sum00, &product[at00], n);
    coopStoreT(sum01, &product[at01], n);
    coopStoreT(sum02, &product[at02], n);
    coopStoreT(sum03, &product[at03], n);
    coopStoreT(sum10, &product[at10], n);
    coopStoreT(sum11, &product[at11], n);
    coopStoreT(sum12, &product[at12], n);
    coopStoreT(sum13, &product[at13], n);
}
