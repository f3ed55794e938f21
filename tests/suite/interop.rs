//! Runs inside someone else's wgpu program: its device, its buffers, its commands.

use std::time::Duration;

use ndarray::{Array3, s};
use wgru::wgpu::{self, BufferUsages as Usage};
use wgru::{
    BufferIo, Device, Directions, ErrorKind, GpuContext, GpuOptions, Gru, Output, PlanOptions,
    Precision, PreparedRun, ResetForm, SequenceShape, Session,
};

use crate::EngineTest;
use crate::compare::{same_bits, same_output};
use crate::engines::{Engine, On};
use crate::laws::{label, run};
use crate::misuse::refused;
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, config};
use crate::program::{self, Program};

pub(crate) const TESTS: &[EngineTest] = &[
    ("buffers_give_the_bits_of_host_runs", On::Callers, bits),
    ("tuned_sessions_take_buffers", On::Callers, tuned),
    ("runs_of_no_step_or_row", On::Callers, empty),
    ("runs_chain_in_one_encoder", On::Callers, chained),
    ("other_runs_of_the_session_do_no_harm", On::Callers, interleaved),
    ("encoding_creates_nothing", On::Callers, steady),
    ("the_device_stays_the_callers", On::Callers, handlers),
    ("mistakes_are_refused", On::Callers, mistakes),
    ("sequences_that_are_kept_on_the_host", On::Callers, on_device),
    ("small_devices_are_refused", On::Callers, small_devices),
];

/// A problem's arrays in buffers of `program`, each after some sentinels.
struct Arrays<'p> {
    program: &'p Program,
    shape: SequenceShape,
    gru: Gru,
    /// Sentinels before the input, output, initial and final state.
    before: [usize; 4],
    input: wgpu::Buffer,
    output: wgpu::Buffer,
    initial: Option<wgpu::Buffer>,
    end: wgpu::Buffer,
}

impl<'p> Arrays<'p> {
    fn new(program: &'p Program, problem: &Problem, before: [usize; 4]) -> Self {
        let (shape, c) = (problem.shape(), problem.gru.config());
        let state = c.state_planes() * shape.batch * c.hidden_size;
        let put = |values: &Array3<f32>, before| {
            program.buffer(values.as_slice().unwrap(), before, Usage::STORAGE)
        };
        Self {
            program,
            shape,
            gru: problem.gru.clone(),
            before,
            input: put(&problem.input, before[0]),
            output: program.room(shape.steps * shape.batch * c.output_size(), before[1]),
            initial: problem.state.as_ref().map(|state| put(state, before[2])),
            end: program.room(state, before[3]),
        }
    }

    fn io<'a>(&'a self, problem: &'a Problem) -> BufferIo<'a> {
        let [input, output, initial, end] = self.before.map(|values| 4 * values as u64);
        let mut io = BufferIo::new(self.shape, self.input.slice(input..))
            .output(self.output.slice(output..))
            .final_state(self.end.slice(end..));
        if let Some(buffer) = &self.initial {
            io = io.initial_state(buffer.slice(initial..));
        }
        if let Some(lengths) = &problem.lengths {
            io = io.lengths(lengths);
        }
        if let Some(mask) = &problem.mask {
            io = io.reset_mask(mask.view());
        }
        if problem.batch_first { io.batch_first() } else { io }
    }

    /// What the runs left.
    fn output(&self, what: &str, problem: &Problem) -> Output {
        let (SequenceShape { steps, batch }, c) = (self.shape, self.gru.config());
        let [outer, inner] = if problem.batch_first { [batch, steps] } else { [steps, batch] };
        let states = (outer, inner, c.output_size());
        let end = (c.state_planes(), batch, c.hidden_size);
        let read = |buffer, before, dim| self.program.array(what, buffer, before, dim);
        Output {
            hidden_states: read(&self.output, self.before[1], states),
            final_state: read(&self.end, self.before[3], end),
        }
    }
}

fn session(program: &Program, problem: &Problem, options: &PlanOptions) -> Session {
    problem.gru.session_with(&program.wgru_device(), problem.shape(), options).unwrap()
}

fn submit(program: &Program, runs: &[&PreparedRun]) {
    let mut encoder = program.encoder();
    runs.iter().for_each(|run| run.encode(&mut encoder).unwrap());
    program.queue.submit([encoder.finish()]);
}

/// What lies past the ends of rows is not read, whatever it is.
fn poisoned(mut problem: Problem) -> Problem {
    let Some(lengths) = &problem.lengths else { return problem };
    for (row, length) in lengths.iter().enumerate() {
        let past = match problem.batch_first {
            true => problem.input.slice_mut(s![row..row + 1, *length.., ..]),
            false => problem.input.slice_mut(s![*length.., row..row + 1, ..]),
        };
        past.into_iter().for_each(|v| *v = f32::NAN);
    }
    problem
}

fn bits(engine: &Engine) {
    let program = Program::new(engine);
    let cut =
        PlanOptions { max_chunk_steps: Some(2), max_tile_rows: Some(3), ..PlanOptions::default() };
    let half = PlanOptions { precision: Precision::F16, ..PlanOptions::default() };
    let given = [
        Given::default(),
        Given { lengths: true, batch_first: true, ..Given::default() },
        Given { state: true, lengths: true, mask: true, batch_first: false },
    ];
    let mut seed = 0;
    for reset in RESETS {
        for directions in DIRECTIONS {
            for sizes in [[3, 17, 2], [4, 8, 1]] {
                let gru = Network::random(config(sizes, directions, reset), true, 81).gru();
                for options in [&PlanOptions::default(), &cut, &half] {
                    seed += 1;
                    let mut given = given[seed % given.len()];
                    given.mask &= directions == Directions::Forward;
                    let sizes = [[7, 6], [5, 1], [1, 9]][seed / 3 % 3];
                    let problem = poisoned(Problem::new(gru.clone(), sizes, given, seed as u64));
                    let what = format!("{} {given:?} {sizes:?}", label(gru.config()));
                    let mut session = session(&program, &problem, options);
                    let want = run(&mut session, &problem.inputs());
                    let arrays = Arrays::new(&program, &problem, [seed % 5, 1, 64, 3]);
                    let prepared = session.prepare(&arrays.io(&problem)).unwrap();
                    assert!(prepared.dispatches() > prepared.plan().dispatches());
                    submit(&program, &[&prepared]);
                    same_output(&what, &arrays.output(&what, &problem), &want);
                    let arrays = Arrays::new(&program, &problem, [0, 2, 1, 0]);
                    session.run_buffers(&arrays.io(&problem)).unwrap();
                    same_output(&what, &arrays.output(&what, &problem), &want);
                }
            }
        }
    }
    assert_eq!(program.errors(), [""; 0]);
}

/// Without steps the final state is the initial one; without rows there is nothing.
/// Tuning runs on the caller's device; the time is too short for a record to be left.
fn tuned(engine: &Engine) {
    let program = Program::new(engine);
    let options = PlanOptions { tune: Some(Duration::from_nanos(1)), ..PlanOptions::default() };
    let gru = Network::random(config([3, 17, 2], DIRECTIONS[0], RESETS[0]), true, 83).gru();
    let problem = Problem::new(gru, [7, 6], Given::default(), 84);
    let mut session = session(&program, &problem, &options);
    assert!(session.tuning().is_some_and(|tuning| tuning.candidates == 1));
    let want = run(&mut session, &problem.inputs());
    let arrays = Arrays::new(&program, &problem, [0; 4]);
    let prepared = session.prepare(&arrays.io(&problem)).unwrap();
    submit(&program, &[&prepared]);
    same_output("tuned", &arrays.output("tuned", &problem), &want);
}

fn empty(engine: &Engine) {
    let program = Program::new(engine);
    for directions in [DIRECTIONS[0], DIRECTIONS[2]] {
        let gru = Network::random(config([3, 6, 2], directions, ResetForm::After), true, 82).gru();
        let most = SequenceShape::new(4, 5);
        let mut session = gru.session(&program.wgru_device(), most).unwrap();
        for state in [false, true] {
            let given = Given { state, ..Given::default() };
            let problem = Problem::new(gru.clone(), [0, 5], given, 82);
            let want = run(&mut session, &problem.inputs()).final_state;
            let arrays = Arrays::new(&program, &problem, [1, 1, 2, 3]);
            submit(&program, &[&session.prepare(&arrays.io(&problem)).unwrap()]);
            let got = arrays.output("no steps", &problem);
            same_bits("no steps", got.final_state.view(), want.view());
            let problem = Problem::new(gru.clone(), [4, 0], given, 82);
            let arrays = Arrays::new(&program, &problem, [1, 1, 2, 3]);
            let prepared = session.prepare(&arrays.io(&problem)).unwrap();
            assert_eq!(prepared.dispatches(), 0);
            submit(&program, &[&prepared]);
            arrays.output("no rows", &problem);
        }
        // All rows empty: zeros, and the state as it was.
        let given = Given { state: true, ..Given::default() };
        let mut problem = Problem::new(gru.clone(), [4, 5], given, 83);
        problem.lengths = Some(vec![0; 5]);
        let arrays = Arrays::new(&program, &problem, [0; 4]);
        submit(&program, &[&session.prepare(&arrays.io(&problem)).unwrap()]);
        let want = run(&mut session, &problem.inputs());
        same_output("empty rows", &arrays.output("empty rows", &problem), &want);
    }
    assert_eq!(program.errors(), [""; 0]);
}

/// One network's output is another's input, and a state is carried on in place, in one encoder.
fn chained(engine: &Engine) {
    let program = Program::new(engine);
    for (reset, directions) in RESETS.into_iter().zip([DIRECTIONS[2], DIRECTIONS[0]]) {
        let first = Network::random(config([3, 9, 1], directions, reset), true, 84).gru();
        let width = first.config().output_size();
        let second =
            Network::random(config([width, 6, 2], Directions::Forward, reset), true, 85).gru();
        let given = Given { lengths: true, ..Given::default() };
        let problem = Problem::new(first.clone(), [6, 4], given, 86);
        let lengths = problem.lengths.clone().unwrap();
        let shape = problem.shape();
        let mut sessions =
            [&first, &second].map(|gru| gru.session(&program.wgru_device(), shape).unwrap());

        let one = run(&mut sessions[0], &problem.inputs());
        let state = Array3::from_elem((2, 4, 6), 0.25_f32);
        let inputs = wgru::Inputs::new(one.hidden_states.view()).lengths(&lengths);
        let two = run(&mut sessions[1], &inputs.initial_state(state.view()));
        let three = run(&mut sessions[1], &inputs.initial_state(two.final_state.view()));

        let arrays = Arrays::new(&program, &problem, [2; 4]);
        let middle = arrays.output.slice(8..);
        let usage = Usage::STORAGE | Usage::COPY_SRC;
        let carried = program.buffer(state.as_slice().unwrap(), 1, usage);
        let end = program.room(shape.steps * shape.batch * 6, 5);
        let io = BufferIo::new(shape, middle)
            .lengths(&lengths)
            .initial_state(carried.slice(4..))
            .final_state(carried.slice(4..))
            .output(end.slice(20..));
        let runs =
            [sessions[0].prepare(&arrays.io(&problem)).unwrap(), sessions[1].prepare(&io).unwrap()];
        submit(&program, &[&runs[0], &runs[1], &runs[1]]);
        let got = Output {
            hidden_states: program.array("chained", &end, 5, (6, 4, 6)),
            final_state: program.array("chained", &carried, 1, (2, 4, 6)),
        };
        same_output("chained", &got, &three);
    }
    assert_eq!(program.errors(), [""; 0]);
}

/// Host runs of other shapes between preparing, recording and submitting; a prepared run that
/// outlives its session.
fn interleaved(engine: &Engine) {
    let program = Program::new(engine);
    let cut = PlanOptions { max_tile_rows: Some(2), ..PlanOptions::default() };
    let given = Given { state: true, lengths: true, ..Given::default() };
    for reset in RESETS {
        let gru = Network::random(config([5, 9, 2], DIRECTIONS[2], reset), true, 87).gru();
        let problem = Problem::new(gru.clone(), [7, 6], given, 88);
        let other = Problem::new(gru, [3, 5], given, 89);
        let mut session = session(&program, &problem, &cut);
        let want = run(&mut session, &problem.inputs());
        let arrays = Arrays::new(&program, &problem, [1; 4]);
        let prepared = session.prepare(&arrays.io(&problem)).unwrap();
        let [before, between] = [0; 2].map(|_| run(&mut session, &other.inputs()));
        same_output("host runs", &between, &before);
        let mut encoder = program.encoder();
        prepared.encode(&mut encoder).unwrap();
        same_output("a host run", &run(&mut session, &other.inputs()), &before);
        drop(session);
        program.queue.submit([encoder.finish()]);
        same_output("encoded", &arrays.output("encoded", &problem), &want);
        submit(&program, &[&prepared]);
        same_output("again", &arrays.output("again", &problem), &want);
    }
    assert_eq!(program.errors(), [""; 0]);
}

fn steady(engine: &Engine) {
    let program = Program::new(engine);
    let given = Given { state: true, lengths: true, ..Given::default() };
    let gru = Network::random(config([5, 9, 2], DIRECTIONS[2], RESETS[1]), true, 90).gru();
    let problem = Problem::new(gru, [7, 6], given, 91);
    let session = session(&program, &problem, &PlanOptions::default());
    let arrays = Arrays::new(&program, &problem, [1; 4]);
    let before = program.context.created_objects();
    let prepared = session.prepare(&arrays.io(&problem)).unwrap();
    let made = program.context.created_objects();
    assert!(made.buffers > before.buffers && made.bind_groups > before.bind_groups);
    for _ in 0..3 {
        submit(&program, &[&prepared, &prepared]);
    }
    assert_eq!(program.context.created_objects(), made);
    // A second preparation compiles nothing.
    session.prepare(&arrays.io(&problem)).unwrap();
    assert_eq!(program.context.created_objects().pipelines, made.pipelines);
}

/// Our calls, failing ones too, tell the caller's handlers nothing; the caller's own mistakes
/// reach them as ever.
fn handlers(engine: &Engine) {
    let program = Program::new(engine);
    let given = Given { state: true, lengths: true, ..Given::default() };
    let gru = Network::random(config([5, 9, 2], DIRECTIONS[2], RESETS[0]), true, 92).gru();
    let problem = Problem::new(gru, [7, 6], given, 93);
    let mut session = session(&program, &problem, &PlanOptions::default());
    let want = run(&mut session, &problem.inputs());
    let got = pollster::block_on(session.run_async(&problem.inputs())).unwrap();
    same_output("async on the caller's device", &got, &want);
    let arrays = Arrays::new(&program, &problem, [1; 4]);
    let (foreign, _queue) = program.other_device();
    foreign.on_uncaptured_error(std::sync::Arc::new(|e: wgpu::Error| panic!("{e}")));
    let room = program::buffer(&foreign, &vec![0.0; 7 * 6 * 18], 0, Usage::STORAGE);
    let io = arrays.io(&problem).output(room.slice(..));
    let what = "a buffer of another device";
    let words = ["the output buffer", "device"];
    refused(what, session.prepare(&io), ErrorKind::InvalidRequest, &words);
    refused(what, session.run_buffers(&io), ErrorKind::InvalidRequest, &words);
    let gone = program.room(7 * 6 * 18, 0);
    gone.destroy();
    let io = arrays.io(&problem).output(gone.slice(..));
    let words = ["the output buffer", "live"];
    refused("a destroyed buffer", session.prepare(&io), ErrorKind::InvalidRequest, &words);
    assert_eq!(program.errors(), [""; 0]);
    // The caller's scopes and handler are as they were.
    let scope = program.device.push_error_scope(wgpu::ErrorFilter::Validation);
    session.prepare(&io).unwrap_err();
    session.run_buffers(&arrays.io(&problem)).unwrap();
    assert!(pollster::block_on(scope.pop()).is_none());
    let _ = program.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("the caller's own mistake"),
        size: 16,
        usage: Usage::empty(),
        mapped_at_creation: false,
    });
    let told = program.errors();
    assert!(told.len() == 1 && told[0].contains("the caller's own mistake"), "{told:?}");
    same_output("afterwards", &arrays.output("afterwards", &problem), &want);
}

fn mistakes(engine: &Engine) {
    let program = Program::new(engine);
    let gru = Network::random(config([3, 5, 1], Directions::Forward, RESETS[0]), true, 94).gru();
    let both = Network::random(config([3, 5, 1], DIRECTIONS[2], RESETS[0]), true, 94).gru();
    let shape = SequenceShape::new(4, 2);
    let device = program.wgru_device();
    let session = gru.session(&device, shape).unwrap();
    let wide = both.session(&device, shape).unwrap();
    let usage = Usage::STORAGE | Usage::COPY_SRC;
    // 24 inputs, 40 outputs, 10 of a state; each with 3 sentinels behind.
    let input = program.buffer(&[0.5; 24], 0, usage);
    let output = program.room(40, 0);
    let state = program.room(10, 0);
    let io = || BufferIo::new(shape, input.slice(..)).output(output.slice(..));
    session.prepare(&io()).unwrap();
    let prepare = |io: BufferIo<'_>| session.prepare(&io);
    use ErrorKind::{InvalidRequest, InvalidShape};

    let copies = program.buffer(&[0.5; 40], 0, Usage::COPY_SRC | Usage::COPY_DST);
    let mask = ndarray::Array2::from_elem((2, 4), false);
    let cases: [(&str, BufferIo<'_>, ErrorKind, &[&str]); 14] = [
        ("nothing to write", BufferIo::new(shape, input.slice(..)), InvalidRequest, &["output"]),
        (
            "a small input",
            BufferIo::new(shape, input.slice(..92)).output(output.slice(..)),
            InvalidShape,
            &["the input buffer", "[4, 2, 3]", "96 bytes", "92"],
        ),
        (
            "a small output",
            io().output(output.slice(16..)),
            InvalidShape,
            &["the output buffer", "160 bytes", "156"],
        ),
        (
            "an empty output",
            io().output(output.slice(8..8)),
            InvalidShape,
            &["the output buffer", "160 bytes", "slice of 0"],
        ),
        (
            "a small state",
            io().initial_state(state.slice(16..)),
            InvalidShape,
            &["the initial state's buffer", "[1, 2, 5]", "40 bytes", "36"],
        ),
        (
            "no storage",
            io().output(copies.slice(..)),
            InvalidRequest,
            &["the output buffer", "STORAGE", "COPY_DST"],
        ),
        (
            "misaligned",
            io().final_state(state.slice(2..)),
            InvalidRequest,
            &["the final state's buffer", "multiple of 4", "at 2"],
        ),
        (
            "output over input",
            BufferIo::new(shape, output.slice(64..)).output(output.slice(..)),
            InvalidRequest,
            &["the output buffer", "overlaps the input buffer", "0..160", "64..160"],
        ),
        (
            "states that overlap in part",
            io().initial_state(output.slice(..40)).final_state(output.slice(4..44)),
            InvalidRequest,
            &["overlaps"],
        ),
        (
            "a final state over the output",
            io().final_state(output.slice(..)),
            InvalidRequest,
            &["the output buffer", "overlaps the final state's buffer"],
        ),
        ("a length too few", io().lengths(&[4]), InvalidShape, &["lengths", "2 were wanted"]),
        ("a length too long", io().lengths(&[4, 5]), InvalidShape, &["row 1", "5 was given"]),
        (
            "a mask of another shape",
            io().reset_mask(mask.view()),
            InvalidShape,
            &["reset mask", "T 4 and B 2"],
        ),
        (
            "a run too long",
            BufferIo::new(SequenceShape::new(5, 2), input.slice(..)),
            InvalidShape,
            &["up to T 4 x B 2"],
        ),
    ];
    for (what, io, kind, words) in cases {
        refused(what, prepare(io), kind, words);
    }
    let mask = ndarray::Array2::from_elem((4, 2), false);
    let io =
        BufferIo::new(shape, input.slice(..)).final_state(output.slice(..)).reset_mask(mask.view());
    refused("a mask backwards", wide.prepare(&io), InvalidRequest, &["forward network"]);
    let io = io.output(output.slice(..));
    for device in [Device::cpu(), Device::reference()] {
        let session = gru.session(&device, shape).unwrap();
        refused("no GPU", session.prepare(&io), InvalidRequest, &["a GPU"]);
    }
    let own = gru.session(&engine.device(), shape).unwrap();
    refused("a device of our own", own.prepare(&io), InvalidRequest, &["from_wgpu"]);
    assert_eq!(program.errors(), [""; 0]);
}

/// A session that keeps sequences in host memory cannot have its runs encoded; one that may not
/// does the same with smaller tiles.
fn on_device(engine: &Engine) {
    let program = Program::new(engine);
    let gru = Network::random(config([4, 9, 2], DIRECTIONS[2], RESETS[0]), true, 95).gru();
    let given = Given { state: true, lengths: true, ..Given::default() };
    let problem = Problem::new(gru, [60, 5], given, 96);
    let little = PlanOptions { memory_budget: Some(50_000), ..PlanOptions::default() };
    let mut host = session(&program, &problem, &little);
    let want = run(&mut host, &problem.inputs());
    let arrays = Arrays::new(&program, &problem, [1; 4]);
    let words = ["on_device", "memory budget", "T 60 x B 5"];
    let kind = ErrorKind::ExceedsLimits;
    refused("host memory", host.prepare(&arrays.io(&problem)), kind, &words);
    let little = PlanOptions { on_device: true, ..little };
    let mut session = session(&program, &problem, &little);
    same_output("a host run", &run(&mut session, &problem.inputs()), &want);
    let prepared = session.prepare(&arrays.io(&problem)).unwrap();
    assert!(prepared.plan().tile_rows() < 5, "the budget makes tiles");
    submit(&program, &[&prepared]);
    same_output("encoded", &arrays.output("encoded", &problem), &want);
}

/// Devices opened with fewer limits than any plan needs are refused by the limit's name.
fn small_devices(engine: &Engine) {
    let program = Program::new(engine);
    let limits = wgpu::Limits {
        max_storage_buffers_per_shader_stage: 4,
        ..wgpu::Limits::default().or_worse_values_from(&program.adapter().limits())
    };
    let opened = program
        .adapter()
        .request_device(&wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() });
    let (device, queue) = pollster::block_on(opened).unwrap();
    let refusal = GpuContext::from_wgpu(device, queue, &GpuOptions::default());
    let words = ["4 storage buffers", "5 are needed"];
    refused("four storage buffers", refusal, ErrorKind::UnsupportedDevice, &words);
}
