// Reads of workgroup memory, 16 bytes a lane, neighbours in neighbouring places. The header gives
// nothing.

// x: rounds of four reads.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(2) var<storage, read_write> results: array<u32>;

const LANES = 256u;
var<workgroup> tile: array<vec4<u32>, 512>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var at = lane; at < 2u * LANES; at += LANES) {
        tile[at] = (4u * at + vec4<u32>(0u, 1u, 2u, 3u)) * 2654435761u;
    }
    workgroupBarrier();
    var at = lane;
    var sum = vec4<u32>();
    for (var round = 0u; round < params.x; round++) {
        let a = tile[at & 511u];
        let b = tile[(at + 64u) & 511u];
        let c = tile[(at + 128u) & 511u];
        let d = tile[(at + 192u) & 511u];
        sum += (a + b) + (c + d);
        at += 257u;
    }
    results[id.x] = sum.x + sum.y + sum.z + sum.w;
}
