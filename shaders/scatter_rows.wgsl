// Rows of the engine's states into the caller's output or final states. z is the direction; an
// invocation reads vec4s of one row.

@group(0) @binding(3) var<storage, read_write> outside: array<u32>;
@group(0) @binding(4) var<storage, read> inside: array<vec4<u32>>;

@compute @workgroup_size(LANES, ROW_GROUPS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let m = relay.first + group.y * ROW_GROUPS + local.y;
    if m >= relay.end { return; }
    let begin = place(m);
    let wanted = relay.part == STATES || begin.ended == (relay.part == PADDING);
    if !wanted { return; }
    let state = select(0u, begin.odd * relay.state_stride, relay.part == STATES);
    let row = relay.inside + m * relay.inside_stride + group.z * relay.quads + state;
    let first = begin.outside + group.z * relay.width;
    for (var quad = group.x * LANES + local.x; quad < relay.quads; quad += relay.next_quad) {
        var value = vec4<u32>(0u);
        if relay.part != PADDING { value = inside[row + quad]; }
        for (var i = 0u; i < 4u; i++) {
            if 4u * quad + i < relay.width { outside[first + 4u * quad + i] = value[i]; }
        }
    }
}
