//! The residual check has teeth: faults planted in what the GPU engine is given, and in the text of
//! its kernels, are rejected with a wide margin by the check that passes the engine without them.

use ndarray::Array3;

use super::adapters;
use super::support::{Random, Sequences, Values};
use crate::gpu::{GpuContext, GpuSession};
use crate::kernels::{Kernel, LaunchRecord};
use crate::plan::{Capabilities, Geometry, Operation, Plan, PlanOptions, RowOrder};
use crate::reference::{self, Arithmetic, Verification};
use crate::*;

/// How far outside its bound the worst value of a faulty run lies at least.
pub(super) const MARGIN: f64 = 10.0;

/// A run, and the division of it that the plan is to take.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) values: Values,
    pub(super) sequences: Sequences,
    pub(super) options: PlanOptions,
    /// Whether the plan is one for a GPU, and whether for one that shares the processor's memory.
    pub(super) gpu: Option<bool>,
}

impl Case {
    fn new(name: &'static str, directions: Directions, reset: ResetForm, seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Two blocks of units on software adapters, a last quad of units that is not whole.
        let config = GruConfig { num_layers: 2, directions, reset, ..GruConfig::new(6, 39) };
        let mut sequences = Sequences::random(&config, SequenceShape::new(7, 5), &mut random);
        sequences.lengths = Some(vec![7, 3, 0, 5, 6]);
        let values = Values::random(config, 3.0, &mut random);
        let options = PlanOptions {
            all_layers: true,
            family: Some(KernelFamily::Step),
            wavefront: Some(false),
            ..PlanOptions::default()
        };
        Self { name, values, sequences, options, gpu: None }
    }

    pub(super) fn chunked(mut self) -> Self {
        self.options.max_chunk_steps = Some(3);
        self.options.max_tile_rows = Some(3);
        self
    }

    fn sequence(mut self) -> Self {
        self.options.family = Some(KernelFamily::Sequence);
        self
    }

    /// As for a GPU: weights in registers, or streamed where it is an integrated one.
    fn gpu(mut self, integrated: bool) -> Self {
        self.gpu = Some(integrated);
        self
    }

    fn capabilities(&self, context: &GpuContext) -> Capabilities {
        let capabilities = context.capabilities().clone();
        match self.gpu {
            Some(integrated) => Capabilities { software: false, integrated, ..capabilities },
            None => capabilities,
        }
    }

    fn wavefront(mut self) -> Self {
        self.options.wavefront = Some(true);
        self
    }

    pub(super) fn masked(mut self) -> Self {
        let (steps, batch, _) = self.sequences.input.dim();
        self.sequences.reset_mask = Some(Random::new(9).mask((steps, batch), 3));
        self
    }
}

fn cases() -> Vec<Case> {
    use Directions::{Bidirectional, Forward, Reverse};
    use ResetForm::{After, Before};
    vec![
        Case::new("bidirectional, reset-after", Bidirectional, After, 11),
        Case::new("bidirectional, reset-before, chunked", Bidirectional, Before, 12).chunked(),
        Case::new("forward, reset-after, masked, chunked", Forward, After, 13).chunked().masked(),
        Case::new("forward, reset-before, masked", Forward, Before, 14).masked(),
        Case::new("reverse, reset-after", Reverse, After, 15),
        Case::new("sequence, bidirectional, reset-after", Bidirectional, After, 16).sequence(),
        Case::new("sequence, forward, reset-before, masked, chunked", Forward, Before, 17)
            .sequence()
            .chunked()
            .masked(),
        Case::new("sequence in registers, bidirectional, reset-before", Bidirectional, Before, 18)
            .sequence()
            .gpu(false),
        Case::new("sequence streamed, forward, reset-after, masked, chunked", Forward, After, 19)
            .sequence()
            .gpu(true)
            .chunked()
            .masked(),
        Case::new("wavefront, reset-after, masked", Forward, After, 20).masked().wavefront(),
        Case::new("wavefront, reset-before, chunked", Reverse, Before, 21).chunked().wavefront(),
    ]
}

/// What the engine is given: right at first, then with a fault in it.
pub(super) struct Given {
    values: Values,
    sequences: Sequences,
    pub(super) plan: Plan,
    /// Replacements in the texts of all kernels that contain the first.
    pub(super) texts: Option<[&'static str; 2]>,
}

impl Given {
    pub(super) fn right(case: &Case, context: &GpuContext) -> Self {
        let (steps, batch, _) = case.sequences.input.dim();
        let shape = SequenceShape::new(steps, batch);
        let config = &case.values.config;
        let capabilities = &case.capabilities(context);
        // The very plan that the run will ask for: another one would be made anew, without the fault.
        let options = &case.options;
        let mut geometry = Geometry::choose(config, shape, capabilities, options).unwrap();
        if let (Some(resident), Some(_)) = (&mut geometry.resident, case.gpu) {
            // As for a large batch.
            (resident.rows, resident.parts) = (2, 2);
        }
        let rows = RowOrder::new(shape, case.sequences.lengths.as_deref()).unwrap();
        let plan = Plan::within(config, rows, capabilities, options, geometry, None).unwrap();
        Self { values: case.values.clone(), sequences: case.sequences.clone(), plan, texts: None }
    }

    /// Runs what was given and checks the result against what the case asked for.
    pub(super) fn verify(self, case: &Case, context: &GpuContext) -> Verification {
        let options = &case.options;
        let gru = self.values.gru();
        let mut session = GpuSession::from_plan(context, &gru, options, self.plan).unwrap();
        if let Some([from, to]) = self.texts {
            for kernel in session.plan().kernels() {
                let text = session.plan().variant(*kernel).wgsl();
                if text.contains(from) {
                    session.replace_kernel(*kernel, &text.replace(from, to)).unwrap();
                }
            }
        }
        let config = gru.config();
        let inputs = self.sequences.inputs();
        let shape = inputs.shape();
        let mut output = Output::zeros(config, shape, false).unwrap();
        let dim = (shape.steps, shape.batch, config.output_size());
        let mut layers = vec![Array3::zeros(dim); config.num_layers];
        let mut views = output.views(false);
        views.layers = layers.iter_mut().map(|l| l.view_mut()).collect();
        session.run(&inputs, &mut views).unwrap();
        let layers: Vec<_> = layers.iter().map(|l| l.view()).collect();
        let gru = case.values.gru();
        reference::verify(
            gru.config(),
            gru.weights(),
            &case.sequences.inputs(),
            &layers,
            output.final_state.view(),
            &match options.family {
                Some(KernelFamily::Matrix) => Arithmetic::f16_operands(),
                _ => Arithmetic::f32(),
            },
        )
        .unwrap()
    }

    fn each_launch(&mut self, change: impl Fn(&mut LaunchRecord)) {
        self.plan.launches.iter_mut().for_each(change);
    }

    /// Changes the launch records of steps; projections keep theirs.
    fn each_step_launch(&mut self, change: impl Fn(&mut LaunchRecord)) {
        for operation in &self.plan.operations {
            let slices: Vec<_> = match operation {
                Operation::Steps { kernels, .. } => {
                    kernels.iter().flat_map(|k| &k.slices).collect()
                }
                Operation::Sequence { slices, .. } => slices.iter().collect(),
                _ => continue,
            };
            for slice in slices {
                change(&mut self.plan.launches[slice.launch]);
            }
        }
    }

    fn is_bidirectional(&self) -> bool {
        self.values.config.directions == Directions::Bidirectional
    }

    fn is_wavefront(&self) -> bool {
        self.plan.geometry.wavefront
    }
}

/// A name, and the fault; `false` where it changes nothing in a run of this kind. All faults keep
/// every access inside its buffer: kernels run without bounds checks.
pub(super) type Fault = (&'static str, fn(&mut Given) -> bool);

pub(super) const DATA_FAULTS: [Fault; 22] = [
    ("layers of a wavefront of chunks in step", |given| {
        given.each_step_launch(|l| l.lag = 0);
        given.plan.geometry.cascade && given.plan.memory.chunk_steps < given.plan.shape.steps
    }),
    ("recurrent planes of r and z swapped", |given| {
        given.values.cells.iter_mut().for_each(|c| c.recurrent.swap(0, 1));
        true
    }),
    ("input planes of z and n swapped in the last cell", |given| {
        given.values.cells.last_mut().unwrap().input.swap(1, 2);
        true
    }),
    ("b_hn folded into the input bias", |given| {
        for cell in &mut given.values.cells {
            let inner = std::mem::take(&mut cell.recurrent_bias[2]);
            cell.input_bias[2].iter_mut().zip(&inner).for_each(|(outer, b)| *outer += b);
            cell.recurrent_bias[2] = vec![0.0; inner.len()];
        }
        given.values.config.reset == ResetForm::After
    }),
    ("one recurrent column dropped", |given| {
        let h = given.values.config.hidden_size;
        for matrix in &mut given.values.cells[0].recurrent {
            matrix.chunks_mut(h).for_each(|row| row[h - 1] = 0.0);
        }
        true
    }),
    ("state one slot off", |given| {
        given.each_step_launch(|l| {
            l.cells.iter_mut().for_each(|c| c.state += l.state_stride);
        });
        true
    }),
    ("output stride one off", |given| {
        given.each_step_launch(|l| l.output_stride -= 1);
        true
    }),
    ("source stride one off", |given| {
        given.each_launch(|l| l.source_stride -= 1);
        true
    }),
    ("states of another cell", |given| {
        given.each_step_launch(|l| {
            let first = l.cells[0].state;
            l.cells.iter_mut().for_each(|c| c.state = first);
        });
        given.is_bidirectional() || given.is_wavefront()
    }),
    ("weights of another cell", |given| {
        given.each_launch(|l| {
            let first = l.cells[0].weights;
            l.cells.iter_mut().for_each(|c| c.weights = first);
        });
        given.is_bidirectional() || given.is_wavefront()
    }),
    ("a layer that reads its own state for that of the layer below", |given| {
        given.each_step_launch(|l| l.cells.iter_mut().for_each(|c| c.source = c.state));
        given.is_wavefront()
    }),
    ("the recurrent matrix for the layer below", |given| {
        given.each_step_launch(|l| {
            l.cells.iter_mut().for_each(|c| c.input_weights = c.weights);
        });
        given.is_wavefront()
    }),
    ("input biases of another layer", |given| {
        given.each_step_launch(|l| {
            let first = l.cells[0].bias;
            l.cells.iter_mut().for_each(|c| c.bias = first);
        });
        given.is_wavefront()
    }),
    ("outputs of a layer in those of another", |given| {
        given.each_step_launch(|l| {
            let first = l.cells[0].output;
            l.cells.iter_mut().for_each(|c| c.output = first);
        });
        given.is_wavefront()
    }),
    ("gate inputs of another direction", |given| {
        if !given.is_bidirectional() {
            return false;
        }
        given.each_step_launch(|l| l.cells[1].gates = l.cells[0].gates);
        true
    }),
    ("bias of another gate", |given| {
        given.each_step_launch(|l| {
            // Addresses wrap: the first cell's biases are the first of the buffer.
            l.cells.iter_mut().for_each(|c| c.bias = c.bias.wrapping_sub(l.unit_quads));
        });
        given.values.config.reset == ResetForm::After && !given.is_wavefront()
    }),
    ("direction flag lost", |given| {
        given.each_launch(|l| l.cells.iter_mut().for_each(|c| c.reversed = 0));
        given.plan.launches[0].natural == 1
    }),
    ("last step of a chunk not dispatched", |given| {
        for operation in given.plan.operations.iter_mut().rev() {
            match operation {
                Operation::Steps { steps, .. } => steps.end -= 1,
                Operation::Sequence { slices, .. } => {
                    given.plan.launches[slices[0].launch].steps -= 1;
                }
                _ => continue,
            }
            return true;
        }
        false
    }),
    ("second kernel of a step not dispatched", |given| {
        for operation in &mut given.plan.operations {
            if let Operation::Steps { kernels, .. } = operation {
                kernels.truncate(1);
            }
        }
        given.plan.kernels().len() > 2
    }),
    ("a projection not dispatched", |given| {
        let is_project = |o: &Operation| matches!(o, Operation::Project { .. });
        let first = given.plan.operations.iter().position(is_project).unwrap();
        given.plan.operations.remove(first);
        true
    }),
    ("lengths ignored", |given| {
        given.sequences.lengths = None;
        true
    }),
    ("reset mask ignored", |given| given.sequences.reset_mask.take().is_some()),
];

/// A name, the text, and what replaces it. Where no kernel of a run has the text, the fault is none
/// there.
const TEXT_FAULTS: [(&str, &str, &str); 25] = [
    ("sigmoid for tanh", "return saturating_tanh(x);", "return sigmoid(x);"),
    (
        "tanh for sigmoid",
        "if STANDARD_CELL { return sigmoid(x); }",
        "if STANDARD_CELL { return saturating_tanh(x); }",
    ),
    ("a coarse tanh", "1.308315247e-01", "1.3085e-01"),
    ("reset ignored (after)", "fma(r, hidden,", "fma(vec4<f32>(1.0), hidden,"),
    ("reset ignored (before)", "unpadded(quad, r * h)", "unpadded(quad, h)"),
    ("last quad of k skipped", "q < launch.k_quads", "q + 1u < launch.k_quads"),
    ("one product of four skipped", "s = fma(w3, vec4<f32>(x[r].w), s);", ""),
    (
        "last quad of units skipped",
        "if quad >= launch.unit_quads",
        "if quad + 1u >= launch.unit_quads",
    ),
    ("last row skipped", "if row < launch.rows {", "if row + 1u < launch.rows {"),
    (
        "z polarity flipped",
        "fma(vec4<f32>(1.0) - z, n, z * h)",
        "fma(z, n, (vec4<f32>(1.0) - z) * h)",
    ),
    (
        "states read where they are written",
        "let before = cell.state + (k % 2u)",
        "let before = cell.state + ((k + 1u) % 2u)",
    ),
    ("ended rows go on", "= select(held, y, live);", "= y;"),
    ("ended rows of a sequence go on", "return select(held, y, live);", "return y;"),
    ("reset ignored (sequence, after)", "fma(r, inner,", "fma(vec4<f32>(1.0), inner,"),
    ("last quad of k skipped (sequence)", "q < UNIT_QUADS", "q + 1u < UNIT_QUADS"),
    ("last quad of k skipped (streamed)", "q < SLICE_QUADS", "q + 1u < SLICE_QUADS"),
    ("last slice of k skipped", "slice < SLICES", "slice + 1u < SLICES"),
    ("one product of four skipped (units)", "fma(w.w, x.w, fma", "(fma"),
    ("last quad of units skipped (sequence)", "if quad < UNIT_QUADS", "if quad + 1u < UNIT_QUADS"),
    ("states are not kept", "hidden[first + p];", "vec4<f32>(0.0);"),
    ("states do not take turns", "const BUFFERS = 2u;", "const BUFFERS = 1u;"),
    ("steps of the shortest row", "max(rows[tile], first)", "max(rows[tile] - 1u, first)"),
    (
        "the layer below one step late",
        "let below = cell.source + ((k + 1u) % 2u)",
        "let below = cell.source + (k % 2u)",
    ),
    ("input bias lost", "inputs.values[p * ROWS + i] += bias;", ""),
    ("gates of the input product out of order", "[(gate - FIRST_GATE) * ROWS + i]", "[i]"),
];

#[test]
fn the_engine_without_faults_passes() {
    for context in adapters::contexts() {
        for case in cases() {
            let report = Given::right(&case, context).verify(&case, context);
            println!("{}: {:.3}: {}", case.name, report.worst_ratio(), context.adapter());
            assert!(report.passed() && report.undecided == 0, "{}: {report}", case.name);
        }
    }
}

#[test]
fn faults_in_what_kernels_are_given_are_rejected() {
    for context in adapters::contexts() {
        let cases = cases();
        for (name, fault) in DATA_FAULTS {
            reject(name, &cases, context, fault);
        }
    }
}

#[test]
fn faults_in_kernel_texts_are_rejected() {
    for context in adapters::contexts() {
        // One of each reset form, layer by layer, as a wavefront, and for each way in which a
        // sequence kernel shares products: every fault compiles its kernels anew.
        let mut cases = cases();
        cases.drain(2..5);
        for (name, from, to) in TEXT_FAULTS {
            reject(name, &cases, context, |given| {
                given.texts = Some([from, to]);
                let has = |k: &Kernel| given.plan.variant(*k).wgsl().contains(from);
                given.plan.kernels().iter().any(has)
            });
        }
    }
}

/// Checks that the fault is rejected in every case in which it is one, and that there is such a
/// case.
fn reject(name: &str, cases: &[Case], context: &GpuContext, fault: impl Fn(&mut Given) -> bool) {
    assert!(rejected(name, cases, context, fault) > 0, "'{name}' applies to some case");
}

/// Checks that the fault is rejected in every case in which it is one; how many these are.
pub(super) fn rejected(
    name: &str,
    cases: &[Case],
    context: &GpuContext,
    fault: impl Fn(&mut Given) -> bool,
) -> usize {
    let mut smallest = f64::INFINITY;
    let mut tried = 0;
    for case in cases {
        let mut given = Given::right(case, context);
        if !fault(&mut given) {
            continue;
        }
        let report = given.verify(case, context);
        let ratio = report.worst_ratio();
        assert!(
            !report.passed() && ratio >= MARGIN,
            "'{name}' in '{}' is not rejected: {ratio:.3} on {}",
            case.name,
            context.adapter()
        );
        smallest = smallest.min(ratio);
        tried += 1;
    }
    println!("{name}: {smallest:.1} in the least of {tried} cases: {}", context.adapter());
    tried
}
