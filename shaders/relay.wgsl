// Rows between an array of the caller's, tightly packed, and the engine's: whole vec4s, rows by falling
// length. Values move as bits.

struct Relay {
    part: u32,           // SEQUENCE, STATES or PADDING
    rows: u32,           // rows of the tile that the window holds, the first ones
    first_step: u32,     // processing step at which the window begins
    first: u32,          // first flat row (k, b) of the window that the launch moves
    end: u32,            // and the one after the last
    width: u32,          // values of a row outside, of one direction
    quads: u32,          // vec4s of a row inside, of one direction
    inside: u32,         // first vec4 of the window, in `inside`
    inside_stride: u32,  // vec4s from one row of the window to the next
    state_stride: u32,   // vec4s from the even state to the odd one
    outside: u32,        // first value of the array, in `outside`
    step_stride: u32,    // values from one step to the next, outside
    row_stride: u32,     // values from one row of the batch to the next, outside
    reversed: u32,       // 1: processing step k of a row of n steps is time n-1-k
    next_quad: u32,      // vec4s from one that an invocation moves to its next
    unused_0: u32,
}

const SEQUENCE = 0u;     // a window of a sequence; rows that have ended are zero inside, untouched outside
const STATES = 1u;       // one state of each row
const PADDING = 2u;      // what lies past the rows' ends, outside, by time

@group(0) @binding(0) var<uniform> relay: Relay;
// Lengths of the tile's rows.
@group(0) @binding(1) var<storage, read> rows: array<u32>;
// The caller's rows; the highest bit: the row's state after its last step is the odd one.
@group(0) @binding(2) var<storage, read> map: array<u32>;

struct Place {
    ended: bool,    // the row has no such step
    odd: u32,
    outside: u32,   // first value of the row, in `outside`
}

fn place(m: u32) -> Place {
    let row = m % relay.rows;
    let k = relay.first_step + m / relay.rows;
    let length = rows[row];
    let ended = k >= length;
    var time = k;
    if relay.reversed == 1u && !ended { time = length - 1u - k; }
    let own = map[row];
    let outside = relay.outside + time * relay.step_stride + (own & 0x7fffffffu) * relay.row_stride;
    return Place(ended, own >> 31u, outside);
}
