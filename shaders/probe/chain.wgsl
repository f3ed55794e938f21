// A tiny dispatch that depends on the one before it: each cell takes on what its neighbour, which
// another workgroup owns, was after the last dispatch. The header gives nothing.

// x, y: the value after an even and an odd number of dispatches; z: dispatches so far.
@group(0) @binding(1) var<storage, read_write> cells: array<vec4<u32>>;

const LANES = 32u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let neighbour = (id.x + LANES) % (workgroups.x * LANES);
    let step = cells[id.x].z;
    // One reads the components that no one writes.
    if (step & 1u) == 0u {
        cells[id.x].y = cells[neighbour].x * 5u + 1u;
    } else {
        cells[id.x].x = cells[neighbour].y * 5u + 1u;
    }
    cells[id.x].z = step + 1u;
}
