//! Resident states on the device: what the dispatches address, on every device that validates, and
//! faults in the kernel that the laws of streams must see.

use ndarray::Array3;

use super::adapters;
use super::noop::devices;
use super::support::{Random, Sequences, Values};
use crate::gpu::{GpuContext, GpuSession, GpuSlots, Waiting};
use crate::kernels::quads;
use crate::plan::{ArenaLayout, Plan, PlanOptions, SlotLayout, SlotList};
use crate::*;

fn network(sizes: [usize; 3], reset: ResetForm) -> GruConfig {
    let [input_size, hidden_size, num_layers] = sizes;
    GruConfig { num_layers, reset, ..GruConfig::new(input_size, hidden_size) }
}

fn networks() -> Vec<GruConfig> {
    let sizes = [[1, 1, 1], [7, 17, 3], [66, 130, 2], [2, 5, 6]];
    let of = |reset| sizes.map(|sizes| network(sizes, reset));
    [of(ResetForm::After), of(ResetForm::Before)].concat()
}

fn options() -> [PlanOptions; 2] {
    let cut =
        PlanOptions { max_chunk_steps: Some(3), max_tile_rows: Some(4), ..PlanOptions::default() };
    [PlanOptions::default(), cut]
}

/// Every state of a tile moves once each way, within the buffers.
#[test]
fn exchanges_cover_every_state_once() {
    for device in devices() {
        for config in networks() {
            for options in options() {
                let shape = SequenceShape::new(6, 9);
                let plan = Plan::new(&config, shape, &device, &options).unwrap();
                for store in [false, true] {
                    for first in (0..shape.batch).step_by(plan.memory.tile_rows) {
                        let rows = first..shape.batch.min(first + plan.memory.tile_rows);
                        check_exchanges(&plan, &rows, store);
                    }
                }
            }
        }
    }
}

fn check_exchanges(plan: &Plan, rows: &std::ops::Range<usize>, store: bool) {
    let (layout, units) = (ArenaLayout::new(plan), quads(plan.config.hidden_size));
    let mut seen = vec![false; plan.config.num_layers];
    for exchange in plan.slot_exchanges(rows, store) {
        let record = exchange.record;
        assert_eq!((record.store, record.rows as usize), (store, rows.len()));
        assert_eq!(record.unit_quads as usize, units);
        assert_eq!(record.place_stride as usize, plan.config.num_layers * units);
        let [x, y, z] = exchange.grid;
        let variant = plan.slot_variant();
        assert!(x * variant.lanes >= record.unit_quads, "units");
        assert!(y * variant.rows * variant.row_groups >= record.rows, "rows");
        for step in 0..z {
            let plane = (record.plane + step * record.plane_stride) as usize;
            let layer = plane / units;
            assert_eq!(plane % units, 0);
            assert!(!std::mem::replace(&mut seen[layer], true), "layer {layer} twice");
            assert_eq!(plan.memory.arena_of(layer), exchange.arena, "arena of layer {layer}");
            let state = u64::from(record.state + step * record.layer_stride);
            assert_eq!(state, layout.state(layer, 0), "state of layer {layer}");
            assert_eq!(u64::from(record.state_stride), layout.state_stride);
        }
    }
    assert!(seen.iter().all(|seen| *seen), "every layer: {seen:?}");
}

#[test]
fn a_list_holds_records_and_places() {
    let config = network([3, 5, 3], ResetForm::After);
    let shape = SequenceShape::new(2, 3);
    let device = &devices()[0];
    let plan = Plan::new(&config, shape, device, &PlanOptions::default()).unwrap();
    let list = SlotList::new(plan.memory.arenas);
    let mut exchanges = plan.slot_exchanges(&(0..3), false);
    exchanges.extend(plan.slot_exchanges(&(0..3), true));
    let rows = [(Some(4), Some((5, 0))), (None, Some((7, 1))), (Some(9), None)];
    let words = list.words(&exchanges, rows.into_iter());
    assert_eq!(4 * words.len() as u64, list.bytes(3));
    let places = [4, 10, u32::MAX, 15, 9, u32::MAX];
    for exchange in &exchanges {
        let at = list.record(exchange.arena, exchange.record.store);
        assert_eq!(at % 256, 0, "a binding begins here");
        let at = usize::try_from(at / 4).unwrap();
        let [.., first] = exchange.record.words();
        assert_eq!(first, 0, "set by the list");
        let record = &words[at..at + 10];
        assert_eq!(record[..9], exchange.record.words()[..9]);
        assert_eq!(words[at + 10 + record[9] as usize..], places);
    }
}

#[test]
fn slots_beyond_a_binding_are_refused() {
    let device = &devices()[1];
    // 2 places of 3 layers of 5 vec4s of 16 bytes.
    let config = network([3, 17, 3], ResetForm::After);
    let most = (1 << 20) / 480;
    assert_eq!(SlotLayout::new(&config, most, device).unwrap().bytes(), 480 * most as u64);
    for slots in [most + 1, usize::MAX] {
        let error = SlotLayout::new(&config, slots, device).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ExceedsLimits);
        let message = error.to_string();
        for part in [slots.to_string(), "480".into(), format!("{most} slots are possible")] {
            assert!(message.contains(&part), "{message}");
        }
    }
}

/// One call: row b from and to slot `slots[b]`.
fn advance(
    slots: &mut GpuSlots,
    session: &mut GpuSession,
    of_row: &[usize],
    sequences: &Sequences,
) -> Array3<f32> {
    let inputs = Inputs { initial_state: None, ..sequences.inputs() };
    let SequenceShape { steps, batch } = inputs.shape();
    let mut out = Array3::zeros((steps, batch, session.plan().config.output_size()));
    let call = slots.advance(session, of_row, &inputs, out.view_mut(), Waiting::Blocking);
    pollster::block_on(call).unwrap();
    out
}

/// On wgpu's noop backend, which validates and computes nothing.
#[test]
fn calls_are_valid_on_every_device() {
    let mut random = Random::new(6);
    for device in devices() {
        let (context, uncaught) = GpuContext::noop(&device);
        for config in networks() {
            let gru = Values::random(config.clone(), 1.0, &mut random).gru();
            for options in options() {
                let most = SequenceShape::new(7, 9);
                let mut session = GpuSession::new(&context, &gru, most, &options).unwrap();
                let mut slots = GpuSlots::new(&session, 20).unwrap();
                for shape in [most, SequenceShape::new(1, 1), SequenceShape::new(5, 9)] {
                    let mut sequences = Sequences::random(&config, shape, &mut random);
                    let lengths = (0..shape.batch).map(|_| random.below(shape.steps + 1)).collect();
                    sequences.lengths = Some(lengths);
                    sequences.reset_mask = Some(random.mask((shape.steps, shape.batch), 3));
                    let of_row: Vec<usize> = (0..shape.batch).map(|row| 19 - 2 * row).collect();
                    advance(&mut slots, &mut session, &of_row, &sequences);
                    let dim = (config.num_layers, shape.batch, config.hidden_size);
                    let mut states = Array3::zeros(dim);
                    let (states_in, waiting) = (states.clone(), Waiting::Blocking);
                    let save = slots.save(&mut session, &of_row, states.view_mut(), waiting);
                    pollster::block_on(save).unwrap();
                    let restore = slots.restore(&mut session, &of_row, states_in.view(), waiting);
                    pollster::block_on(restore).unwrap();
                }
            }
        }
        assert_eq!(uncaught.lock().unwrap().as_slice(), &[] as &[String]);
    }
}

/// A name, and what replaces what in the kernel's text. All keep accesses inside the buffers.
const FAULTS: [(&str, &str, &str); 6] = [
    ("the state of another step", "(word % 2u) * exchange.state_stride", "0u"),
    ("one state for all layers", "group.z * exchange.plane_stride", "0u"),
    ("a state of another place", "slots[word *", "slots[(word ^ 1u) *"),
    ("written where it was read", "(word / 2u)", "((word / 2u) ^ 1u)"),
    ("a row too few", "row < min(first_row + ROWS, exchange.rows)", "row + 1u < exchange.rows"),
    ("a reset state is not zero", "vec4<u32>(0u)", "vec4<u32>(0x3f800000u)"),
];

/// Three calls, rows of different lengths: each fault gives other results than the kernel does.
#[test]
fn faults_in_the_exchange_change_results() {
    let mut random = Random::new(7);
    let config = network([4, 18, 3], ResetForm::After);
    let gru = Values::random(config.clone(), 2.0, &mut random).gru();
    let shape = SequenceShape::new(6, 5);
    let whole = Sequences::random(&config, shape, &mut random);
    let part = |steps: std::ops::Range<usize>, lengths: Option<Vec<usize>>| Sequences {
        input: whole.input.slice(ndarray::s![steps, .., ..]).to_owned(),
        lengths,
        ..whole.clone()
    };
    // Sequence kernels leave every state even; a wavefront has one arena, with all layers in it.
    let family = Some(KernelFamily::Step);
    let options = PlanOptions { family, ..PlanOptions::default() };
    for context in adapters::contexts() {
        let run = |fault: Option<(&str, &str)>| {
            let mut session = GpuSession::new(context, &gru, shape, &options).unwrap();
            let mut slots = GpuSlots::new(&session, 6).unwrap();
            if let Some((from, to)) = fault {
                let text = session.plan().slot_variant().wgsl();
                assert!(text.contains(from), "the kernel has '{from}'");
                slots.replace_kernel(&session, &text.replace(from, to)).unwrap();
            }
            let mut call = |sequences: &Sequences| {
                advance(&mut slots, &mut session, &[5, 1, 3, 0, 2], sequences)
            };
            // Ends in the odd states, then in the even ones.
            call(&part(0..3, Some(vec![3, 2, 1, 2, 3])));
            let second = call(&part(2..4, None));
            let third = call(&part(4..6, Some(vec![1, 2, 1, 2, 2])));
            ndarray::concatenate![ndarray::Axis(0), second, third]
        };
        let right = run(None);
        assert!(right == run(None), "{}", context.adapter());
        for (name, from, to) in FAULTS {
            let wrong = run(Some((from, to)));
            assert!(wrong != right, "'{name}' changes nothing on {}", context.adapter());
        }
    }
}
