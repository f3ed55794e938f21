// Where a row of the batch stands in time. Rows are ordered by falling length, so that those which
// have ended are the last ones and need no dispatch.

// Lengths of the tile's rows, then, from launch.mask on, one reset bit a step and row.
@group(0) @binding(4) var<storage, read> rows: array<u32>;

fn is_active(row: u32, k: u32) -> bool {
    return k < rows[row];
}

// Whether the row's state is zeroed before step k.
fn is_reset(row: u32, k: u32) -> bool {
    if launch.mask == 0u { return false; }
    let word = rows[launch.mask + k * launch.mask_words + row / 32u];
    return ((word >> (row % 32u)) & 1u) != 0u;
}

// Index along the first axis of a source or an output for processing step k; rows that have ended
// take the places that their active steps left over.
fn time_index(cell: Cell, row: u32, k: u32) -> u32 {
    if launch.natural == 0u { return k - launch.first_step; }
    let length = rows[row];
    if cell.reversed == 1u && k < length { return length - 1u - k; }
    return k;
}
