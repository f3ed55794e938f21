// Rounds of an all-to-all exchange between workgroups that run at the same time: a word is its own
// flag, so nothing is fenced. No interface promises that the workgroup that is waited for runs:
// every wait is bounded, and one that fails ends all others through the abort word. The header
// gives PATIENCE (polls).

// x: rounds, y: words that a workgroup hands over a round, z: workgroups.
@group(0) @binding(0) var<uniform> params: vec4<u32>;
// [round][workgroup][word]; 0 where nothing was written yet.
@group(0) @binding(1) var<storage, read_write> slots: array<atomic<u32>>;
// 0: roles given out; 1: not 0 where a wait failed.
@group(0) @binding(2) var<storage, read_write> control: array<atomic<u32>, 2>;
// Sums of what each invocation read.
@group(0) @binding(3) var<storage, read_write> results: array<u32>;

const LANES = 64u;
var<workgroup> role: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    // Roles are given out in the order of arrival: only workgroups that run are waited for.
    if lane == 0u {
        role = atomicAdd(&control[0], 1u);
    }
    let own = workgroupUniformLoad(&role);
    let words = params.y;
    let all = words * params.z;
    var sum = 0u;
    var waiting = true;
    for (var round = 0u; round < params.x; round++) {
        let slot = round * all;
        for (var word = lane; word < words; word += LANES) {
            let at = slot + own * words + word;
            atomicStore(&slots[at], (at * 2654435761u) | 1u);
        }
        // Begins with the next workgroup, so that not all poll one place.
        for (var i = lane; waiting && i < all; i += LANES) {
            let at = slot + (own * words + words + i) % all;
            var value = atomicLoad(&slots[at]);
            for (var polls = 0u; waiting && value == 0u; polls++) {
                if polls == PATIENCE {
                    atomicStore(&control[1], 1u);
                }
                if (polls & 63u) == 63u || polls == PATIENCE {
                    waiting = atomicLoad(&control[1]) == 0u;
                }
                value = atomicLoad(&slots[at]);
            }
            sum += value;
        }
        workgroupBarrier();
    }
    results[own * LANES + lane] = sum;
}
