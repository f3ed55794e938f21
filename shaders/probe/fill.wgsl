// Writes the words that `read` and `copy` are checked with. The header gives nothing.

// x: rounds, y: elements less one (a power of two, less one), z: elements between rounds, w: the first.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let first = params.w + id.x;
    for (var round = 0u; round < params.x; round++) {
        let at = (first + round * params.z) & params.y;
        results[at] = (4u * at + vec4<u32>(0u, 1u, 2u, 3u)) * 2654435761u;
    }
}
