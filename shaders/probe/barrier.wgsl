// What a step of a resident loop pays to pass values on within a workgroup: a word read of a
// neighbour's place, a word written, a barrier. The header gives LANES.

// x: rounds.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(2) var<storage, read_write> results: array<u32>;

// Two halves, so that one is written while the other is read.
var<workgroup> tile: array<u32, 2u * LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let neighbour = (lane + 1u) % LANES;
    var half = 0u;
    tile[lane] = lane;
    workgroupBarrier();
    for (var round = 0u; round < params.x; round++) {
        let value = tile[half + neighbour] + 1u;
        half = LANES - half;
        tile[half + lane] = value;
        workgroupBarrier();
    }
    results[id.x] = tile[half + lane];
}
