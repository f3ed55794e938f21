// States between the slots of streams and the arena in which a tile runs: from slots to the even states
// when the tile begins, from the states in which its rows end to slots when it ends. Copied as bits.
//
// A workgroup owns LANES quads of units and ROWS * ROW_GROUPS rows of one layer (z).

struct Exchange {
    store: u32,         // 0: from slots to the arena, 1: from the arena to slots
    rows: u32,          // rows of the tile
    unit_quads: u32,    // ceil(H / 4)
    state: u32,         // first vec4 of the first layer's even state, in `arena`; the odd one is state_stride on
    state_stride: u32,  // vec4s of one state
    layer_stride: u32,  // vec4s from there to the even state of the arena's next layer
    plane: u32,         // first vec4 of the first layer's state, in a place
    plane_stride: u32,  // vec4s from there to the state of the arena's next layer
    place_stride: u32,  // vec4s of a place
    first: u32,         // the tile's first word, in `words`
    words: array<u32>,  // a row: the place that it is read from; twice the place that it is written
                        // to, plus 1 where it ends in the odd state
}

// Read: a state of zeros. Written: nothing.
const NOWHERE = 0xffffffffu;

@group(0) @binding(0) var<storage, read> exchange: Exchange;
@group(0) @binding(1) var<storage, read_write> slots: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> arena: array<vec4<u32>>;

@compute @workgroup_size(LANES, ROW_GROUPS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let quad = group.x * LANES + local.x;
    let first_row = (group.y * ROW_GROUPS + local.y) * ROWS;
    if quad >= exchange.unit_quads || first_row >= exchange.rows { return; }
    let state = exchange.state + group.z * exchange.layer_stride + quad;
    let plane = exchange.plane + group.z * exchange.plane_stride + quad;
    for (var row = first_row; row < min(first_row + ROWS, exchange.rows); row++) {
        let here = state + row * exchange.unit_quads;
        let word = exchange.words[exchange.first + 2u * row + exchange.store];
        if exchange.store == 0u {
            var h = vec4<u32>(0u);
            if word != NOWHERE { h = slots[word * exchange.place_stride + plane]; }
            arena[here] = h;
        } else if word != NOWHERE {
            let there = (word / 2u) * exchange.place_stride + plane;
            slots[there] = arena[here + (word % 2u) * exchange.state_stride];
        }
    }
}
