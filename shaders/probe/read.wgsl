// Streams a working set, 16 bytes a lane, and sums what it reads. The header gives nothing.

// x: rounds of four reads, y: elements less one (a power of two, less one), z: elements between
// reads.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> results: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let mask = params.y;
    let step = params.z;
    var at = id.x;
    var sum = vec4<u32>();
    for (var round = 0u; round < params.x; round++) {
        let a = source[at & mask];
        let b = source[(at + step) & mask];
        let c = source[(at + 2u * step) & mask];
        let d = source[(at + 3u * step) & mask];
        sum += (a + b) + (c + d);
        at += 4u * step;
    }
    results[id.x] = sum.x + sum.y + sum.z + sum.w;
}
