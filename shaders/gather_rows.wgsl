// Rows of the caller's input or initial states into the engine's layout, zero past a row's end and
// width. An invocation writes vec4s of one row.

@group(0) @binding(3) var<storage, read> outside: array<u32>;
@group(0) @binding(4) var<storage, read_write> inside: array<vec4<u32>>;

@compute @workgroup_size(LANES, ROW_GROUPS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let m = relay.first + group.y * ROW_GROUPS + local.y;
    if m >= relay.end { return; }
    let begin = place(m);
    let empty = relay.part == SEQUENCE && begin.ended;
    for (var quad = group.x * LANES + local.x; quad < relay.quads; quad += relay.next_quad) {
        var value = vec4<u32>(0u);
        for (var i = 0u; i < 4u; i++) {
            if !empty && 4u * quad + i < relay.width { value[i] = outside[begin.outside + 4u * quad + i]; }
        }
        inside[relay.inside + m * relay.inside_stride + quad] = value;
    }
}
