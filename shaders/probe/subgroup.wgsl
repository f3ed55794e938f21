// A chain of sums over the subgroup, each needing the one before. The header gives nothing.

// x: rounds.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
// The value, the subgroup's size, the place in it.
@group(0) @binding(2) var<storage, read_write> results: array<vec4<u32>>;

@compute @workgroup_size(128)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) place: u32,
) {
    var value = place;
    for (var round = 0u; round < params.x; round++) {
        value = subgroupAdd(value) + place;
    }
    results[id.x] = vec4<u32>(value, size, place, 0u);
}
