// Streams one buffer into another, 16 bytes a lane. The header gives nothing. The elements between
// copies are those of the grid, so no two invocations write to one place.

// x: rounds of four copies, y: elements less one (a power of two, less one), z: elements between
// copies.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let mask = params.y;
    let step = params.z;
    var at = id.x;
    for (var round = 0u; round < params.x; round++) {
        let a = source[at & mask];
        let b = source[(at + step) & mask];
        let c = source[(at + 2u * step) & mask];
        let d = source[(at + 3u * step) & mask];
        results[at & mask] = a;
        results[(at + step) & mask] = b;
        results[(at + 2u * step) & mask] = c;
        results[(at + 3u * step) & mask] = d;
        at += 4u * step;
    }
}
