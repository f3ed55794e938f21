//! Plans of runs on the caller's buffers, followed on the host: every value of an output is
//! written once, and nothing lies outside its array or its buffer.

use std::collections::HashMap;

use super::support::Random;
use crate::kernels::{RelayKernel, RelayPart, RelayRecord, quads};
use crate::plan::{
    Capabilities, Geometry, Move, Outside, Places, Plan, PlanOptions, RelayPlan, Residency,
    RowOrder, SourceBuffer,
};
use crate::*;

/// What the shaders' `place` and loops do for one record: calls `each` with whether the row has
/// ended, the value's index outside and its vec4 inside.
fn follow(
    record: &RelayRecord,
    grid: [u32; 3],
    words: (&[u32], &[u32]),
    mut each: impl FnMut(bool, usize, usize),
) {
    let (rows, map) = words;
    for z in 0..grid[2] {
        for m in record.first..record.end {
            assert!((m - record.first) / RelayKernel::ROW_GROUPS < grid[1], "rows are covered");
            let (row, k) = ((m % record.rows) as usize, record.first_step + m / record.rows);
            let ended = k >= rows[row];
            let time = match record.reversed == 1 && !ended {
                true => rows[row] - 1 - k,
                false => k,
            };
            let own = map[row] & 0x7fff_ffff;
            let odd = map[row] >> 31;
            let at = record.outside + time * record.step_stride + own * record.row_stride;
            let at = at + z * record.width;
            let state = match record.part {
                RelayPart::States => odd * record.state_stride,
                _ => 0,
            };
            let inside = record.inside + m * record.inside_stride + z * record.quads + state;
            let mut quads_seen = 0;
            for start in 0..grid[0] * RelayKernel::LANES {
                let mut quad = start;
                while quad < record.quads {
                    quads_seen += 1;
                    for i in (4 * quad..4 * quad + 4).take_while(|i| *i < record.width) {
                        each(ended, (at + i) as usize, (inside + quad) as usize);
                    }
                    quad += record.next_quad;
                }
            }
            assert_eq!(quads_seen, record.quads, "every vec4 once");
        }
    }
}

fn check(plan: &Plan, capabilities: &Capabilities, batch_first: bool, random: &mut Random) {
    let (c, shape) = (&plan.config, plan.shape);
    let base = [0, 1, 2, 3].map(|_| u32::try_from(random.below(20)).unwrap());
    let places = Places {
        input: base[0],
        output: Some(base[1]),
        initial_state: (random.below(2) == 0).then_some(base[2]),
        final_state: Some(base[3]),
        batch_first,
    };
    let relay = RelayPlan::new(plan, capabilities, &places, None).unwrap();
    let sizes = HashMap::from([
        (Outside::Input, (base[0], shape.steps * shape.batch * c.input_size)),
        (Outside::Output, (base[1], shape.steps * shape.batch * c.output_size())),
        (Outside::InitialState, (base[2], c.state_planes() * shape.batch * c.hidden_size)),
        (Outside::FinalState, (base[3], c.state_planes() * shape.batch * c.hidden_size)),
    ]);
    let mut touched: HashMap<Outside, Vec<u32>> =
        sizes.iter().map(|(outside, (_, size))| (*outside, vec![0; *size])).collect();
    let mut words: (&[u32], &[u32]) = (&[], &[]);
    let memory = &plan.memory;
    for entry in &relay.moves {
        match entry {
            Move::Words { rows, map } => {
                let part = |r: &std::ops::Range<u64>| {
                    let [a, b] = [r.start, r.end].map(|n| usize::try_from(n / 4).unwrap());
                    &relay.words[a..b]
                };
                words = (part(rows), part(map));
                assert!(words.0.len() as u64 <= memory.row_words);
                assert!(words.1.len() <= memory.tile_rows);
            }
            Move::Clear { offset, size, .. } => assert!(offset + size <= 16 * memory.arena),
            Move::Operation(_) => {}
            Move::Relay { outside, inside, record, grid } => {
                let record = &relay.records[*record];
                assert!(grid.iter().all(|n| (1..=capabilities.max_workgroups).contains(n)));
                let room = match inside {
                    SourceBuffer::Input => memory.input,
                    SourceBuffer::Arena(_) => memory.arena,
                };
                let (first, size) = sizes[outside];
                let seen = touched.get_mut(outside).unwrap();
                follow(record, *grid, words, |ended, value, vec4| {
                    // Rows that have ended are written by the padding alone.
                    let moved = match record.part {
                        RelayPart::Sequence => !ended,
                        RelayPart::States => true,
                        RelayPart::Padding => ended,
                    };
                    assert!(record.part == RelayPart::Padding || (vec4 as u64) < room);
                    if moved {
                        let at = value - first as usize;
                        assert!(at < size, "{outside:?} {at} of {size}");
                        seen[at] += 1;
                    }
                });
            }
        }
    }
    assert!(touched[&Outside::Output].iter().all(|n| *n == 1), "outputs are written once");
    assert!(touched[&Outside::FinalState].iter().all(|n| *n == 1), "final states once");
    let initial = u32::from(places.initial_state.is_some() && !relay.moves.is_empty());
    assert!(touched[&Outside::InitialState].iter().all(|n| *n == initial));
    // Each value of the input that a row has is read, once a direction that keeps its own window.
    let input = &touched[&Outside::Input];
    let read = |t: usize, b: usize| match batch_first {
        false => (t * shape.batch + b) * c.input_size,
        true => (b * shape.steps + t) * c.input_size,
    };
    for position in 0..shape.batch {
        let row = plan.rows.row(position);
        for t in 0..shape.steps {
            let wanted = u32::from(t < plan.rows.length(position));
            for i in 0..c.input_size {
                assert_eq!(input[read(t, row) + i], wanted, "input of row {row} at {t}");
            }
        }
    }
    assert_eq!(quads(c.hidden_size), c.hidden_size.div_ceil(4));
}

#[test]
fn every_value_is_moved_once() {
    let mut random = Random::new(71);
    let mut residencies = std::collections::HashSet::new();
    for round in 0..400 {
        let directions =
            [Directions::Forward, Directions::Reverse, Directions::Bidirectional][random.below(3)];
        let config = GruConfig {
            num_layers: 1 + random.below(3),
            directions,
            reset: [ResetForm::After, ResetForm::Before][random.below(2)],
            ..GruConfig::new(1 + random.below(9), 1 + random.below(40))
        };
        let shape = SequenceShape::new(random.below(9), random.below(12));
        let lengths: Vec<usize> = (0..shape.batch).map(|_| random.below(shape.steps + 1)).collect();
        let lengths = (random.below(3) > 0).then_some(lengths.as_slice());
        let capabilities = Capabilities {
            software: random.below(2) == 0,
            // Grids of few workgroups: moves are cut.
            max_workgroups: if round % 2 == 0 { 1 << 10 } else { 65535 },
            ..Capabilities::downlevel()
        };
        let options = PlanOptions {
            on_device: true,
            max_chunk_steps: (random.below(2) == 0).then(|| 1 + random.below(4)),
            max_tile_rows: (random.below(2) == 0).then(|| 1 + random.below(5)),
            ..PlanOptions::default()
        };
        let geometry = Geometry::choose(&config, shape, &capabilities, &options).unwrap();
        let order = RowOrder::new(shape, lengths).unwrap();
        let plan = Plan::within(&config, order, &capabilities, &options, geometry, None).unwrap();
        assert_ne!(plan.memory.residency, Residency::HostBetweenLayers);
        residencies.insert(format!("{:?}", plan.memory.residency));
        check(&plan, &capabilities, round % 3 == 0, &mut random);
    }
    assert_eq!(residencies.len(), 2);
}
