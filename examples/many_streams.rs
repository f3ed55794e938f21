//! Serves hundreds of streams whose frames arrive at random, and checks each against its offline run.
//!
//! ```text
//! cargo run --release --example many_streams
//! cargo run --release --example many_streams -- --device gpu --streams 500 --seconds 10
//! ```
//!
//! At each tick a random subset of the live streams has 1 to 4 new frames; they are advanced at
//! once, 64 streams a call. A stream that ends gives its slot to another; now and then one is
//! parked in host memory and goes on later in another slot. Every stream that ends is then run
//! again, whole, in an ordinary session of the same device: all its states must be the same bits.

#[path = "../src/bin/wgru/environment.rs"]
mod environment;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ndarray::{Array2, Array3, s};
use wgru::{Device, Gru, GruConfig, Inputs, Plan, PlanOptions, SequenceShape, Session, Streams};

/// Frames of 40 features, as of speech; two layers of 64 units.
const FEATURES: usize = 40;
const HIDDEN: usize = 64;
const LAYERS: usize = 2;
/// Streams of a call, and frames of a stream that arrive together.
const CALL: SequenceShape = SequenceShape { steps: 4, batch: 64 };
/// Frames of a stream.
const SHORTEST: usize = 10;
const LONGEST: usize = 120;

fn main() -> ExitCode {
    environment::silence_device_selection();
    match Options::parse(env::args().skip(1)).and_then(|options| serve(&options)) {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "many_streams: error: {error}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    device: String,
    streams: usize,
    seconds: f64,
    seed: u64,
}

impl Options {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self { device: "auto".into(), streams: 300, seconds: 2.0, seed: 1 };
        while let Some(name) = given.next() {
            let known = ["--device", "--streams", "--seconds", "--seed"];
            if !known.contains(&name.as_str()) {
                return Err(format!("{} are known, '{name}' was given", known.join(", ")).into());
            }
            let value = given.next().ok_or(format!("{name} wants a value, nothing was given"))?;
            let wrong = |what: &str| format!("{name} must be {what}, '{value}' was given");
            let positive = |n: f64| n.is_finite() && n > 0.0 && n <= 86_400.0;
            match name.as_str() {
                "--device" => options.device = value,
                "--streams" => {
                    let streams = value.parse().ok().filter(|n| (1..=1_000_000).contains(n));
                    options.streams = streams.ok_or_else(|| wrong("1 to 1000000"))?;
                }
                "--seconds" => {
                    let seconds = value.parse().ok().filter(|n| positive(*n));
                    options.seconds = seconds.ok_or_else(|| wrong("above 0 and at most 86400"))?;
                }
                _ => options.seed = value.parse().map_err(|_| wrong("a number"))?,
            }
        }
        Ok(options)
    }
}

/// A splitmix64 generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("the remainder is below n")
    }

    /// Of [-1, 1).
    fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

/// One stream: its frames follow from its number.
struct Stream {
    number: u64,
    length: usize,
    /// `[frames served, H]`: the last layer's states, as they came back.
    states: Vec<f32>,
}

impl Stream {
    fn new(number: u64, random: &mut Random) -> Self {
        let length = SHORTEST + random.below(LONGEST + 1 - SHORTEST);
        Self { number, length, states: Vec::new() }
    }

    fn served(&self) -> usize {
        self.states.len() / HIDDEN
    }

    /// `[length, I]`
    fn frames(&self) -> Array2<f32> {
        let mut random = Random(self.number << 32);
        Array2::from_shape_simple_fn((self.length, FEATURES), || random.signed())
    }
}

/// A stream in a slot, with its frames.
struct Live {
    slot: usize,
    stream: Stream,
    frames: Array2<f32>,
}

/// A stream that waits in host memory.
struct Parked {
    stream: Stream,
    /// `[L, H]`
    state: Array2<f32>,
}

#[derive(Default)]
struct Statistics {
    calls: usize,
    ticks: usize,
    frames: usize,
    resumed: usize,
    serving: Duration,
    /// Of each frame, seconds from its arrival to its state.
    latencies: Vec<f32>,
}

struct Server {
    random: Random,
    streams: Streams,
    live: Vec<Live>,
    free: Vec<usize>,
    parked: Vec<Parked>,
    /// Whether streams are parked: the reference's f64 states are not what can be saved.
    parks: bool,
    begun: u64,
    statistics: Statistics,
}

impl Server {
    /// Gives free slots to parked streams, where there are many, and to new ones.
    fn admit(&mut self) -> wgru::Result<()> {
        while !self.free.is_empty() {
            let slot = self.free.swap_remove(self.random.below(self.free.len()));
            let stream = if self.parked.len() > 4 {
                let Parked { stream, state } = self.parked.remove(0);
                self.streams.restore(slot, state.view())?;
                self.statistics.resumed += 1;
                stream
            } else {
                self.streams.reset(slot)?;
                self.begun += 1;
                Stream::new(self.begun, &mut self.random)
            };
            let frames = stream.frames();
            self.live.push(Live { slot, stream, frames });
        }
        Ok(())
    }

    /// New frames of about a third of the streams, served at once; returns streams that ended.
    fn tick(&mut self) -> wgru::Result<Vec<Stream>> {
        let mut arrived: Vec<(usize, usize)> = Vec::new();
        for (index, live) in self.live.iter().enumerate() {
            if self.random.below(3) == 0 {
                let left = live.stream.length - live.stream.served();
                arrived.push((index, left.min(1 + self.random.below(CALL.steps))));
            }
        }
        let arrival = Instant::now();
        for call in arrived.chunks(CALL.batch) {
            let pieces: Vec<_> = call
                .iter()
                .map(|(index, steps)| {
                    let live = &self.live[*index];
                    let first = live.stream.served();
                    (live.slot, live.frames.slice(s![first..first + steps, ..]))
                })
                .collect();
            let states = self.streams.advance_each(&pieces)?;
            let latency = arrival.elapsed().as_secs_f32();
            for ((index, steps), states) in call.iter().zip(&states) {
                self.live[*index].stream.states.extend(states);
                self.statistics.latencies.extend(std::iter::repeat_n(latency, *steps));
            }
            self.statistics.calls += 1;
        }
        self.statistics.frames += arrived.iter().map(|(_, steps)| steps).sum::<usize>();
        self.statistics.serving += arrival.elapsed();
        self.statistics.ticks += 1;

        let mut ended = Vec::new();
        let mut index = 0;
        while index < self.live.len() {
            let live = &self.live[index];
            if live.stream.served() == live.stream.length {
                let Live { slot, stream, .. } = self.live.swap_remove(index);
                self.free.push(slot);
                ended.push(stream);
            } else {
                index += 1;
            }
        }
        if self.parks && self.random.below(4) == 0 && !self.live.is_empty() {
            let index = self.random.below(self.live.len());
            let Live { slot, stream, .. } = self.live.swap_remove(index);
            self.parked.push(Parked { stream, state: self.streams.save(slot)? });
            self.free.push(slot);
        }
        Ok(ended)
    }
}

/// Runs streams whole in an ordinary session and compares every state.
struct Checker {
    session: Session,
    waiting: Vec<Stream>,
    checked: usize,
}

impl Checker {
    fn check(&mut self) -> Result<(), Box<dyn Error>> {
        let count = self.waiting.len();
        let mut input = Array3::zeros((LONGEST, count, FEATURES));
        for (row, stream) in self.waiting.iter().enumerate() {
            input.slice_mut(s![..stream.length, row, ..]).assign(&stream.frames());
        }
        let lengths: Vec<usize> = self.waiting.iter().map(|stream| stream.length).collect();
        let output = self.session.run_with(&Inputs::new(input.view()).lengths(&lengths))?;
        for (row, stream) in self.waiting.drain(..).enumerate() {
            let served = stream.served();
            let offline = output.hidden_states.slice(s![..served, row, ..]);
            let pairs = offline.iter().zip(&stream.states);
            let different = pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            if different > 0 {
                let number = stream.number;
                return Err(format!(
                    "stream {number}: {different} values differ from its offline run"
                )
                .into());
            }
            self.checked += 1;
        }
        Ok(())
    }
}

fn serve(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let network = GruConfig { num_layers: LAYERS, ..GruConfig::new(FEATURES, HIDDEN) };
    let gru = Gru::random(network, options.seed)?;
    // One engine for the streams and their offline runs, whose shapes differ.
    let device = Device::find(&options.device)?;
    let device = device.choose(&gru, CALL, &PlanOptions::default())?.device;
    // Some streams are parked: fewer slots than streams.
    let slots = (options.streams - options.streams / 16).max(1);
    let streams = gru.streams(&device, slots, CALL)?;
    // The same kernels: bits may depend on their family.
    let family = streams.session().plan().map(Plan::family);
    let offline = PlanOptions { family, ..PlanOptions::default() };
    let session = gru.session_with(&device, SequenceShape::new(LONGEST, CALL.batch), &offline)?;
    let mut checker = Checker { session, waiting: Vec::new(), checked: 0 };
    let mut server = Server {
        random: Random(options.seed),
        streams,
        live: Vec::new(),
        free: (0..slots).collect(),
        parked: Vec::new(),
        parks: !device.is_reference(),
        begun: 0,
        statistics: Statistics::default(),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "device      {device}")?;
    writeln!(
        out,
        "network     I {FEATURES} -> H {HIDDEN}, {LAYERS} layers; {slots} slots, {CALL} a call"
    )?;
    while server.statistics.serving.as_secs_f64() < options.seconds {
        server.admit()?;
        for stream in server.tick()? {
            checker.waiting.push(stream);
            if checker.waiting.len() == CALL.batch {
                checker.check()?;
            }
        }
    }
    let ended = checker.checked + checker.waiting.len();
    // What is under way has its first frames right, too.
    let under_way = server.live.drain(..).map(|live| live.stream);
    for stream in under_way.chain(server.parked.drain(..).map(|parked| parked.stream)) {
        checker.waiting.push(stream);
        if checker.waiting.len() == CALL.batch {
            checker.check()?;
        }
    }
    checker.check()?;
    report(&mut server.statistics, ended, &checker, &mut out)?;
    Ok(ExitCode::SUCCESS)
}

fn report(
    statistics: &mut Statistics,
    ended: usize,
    checker: &Checker,
    out: &mut impl Write,
) -> io::Result<()> {
    let Statistics { calls, ticks, frames, resumed, serving, .. } = *statistics;
    let seconds = serving.as_secs_f64();
    statistics.latencies.sort_by(f32::total_cmp);
    let latencies = &statistics.latencies;
    let percentile = |p: usize| match latencies.len() {
        0 => 0.0,
        n => 1e3 * latencies[(n - 1) * p / 100],
    };
    writeln!(out, "served      {frames} frames in {calls} calls of {ticks} ticks")?;
    writeln!(
        out,
        "throughput  {:.0} frames/s, {:.1} s of calls",
        frames as f64 / seconds,
        seconds
    )?;
    writeln!(
        out,
        "latency     ms from a frame's arrival to its state: p50 {:.2}, p90 {:.2}, p99 {:.2}, most {:.2}",
        percentile(50),
        percentile(90),
        percentile(99),
        percentile(100)
    )?;
    writeln!(
        out,
        "slots       {ended} streams ended and gave theirs to others, {resumed} were parked and \
         went on in another"
    )?;
    writeln!(
        out,
        "check       {} streams are, to the bit, what an offline run of each gives on this device",
        checker.checked
    )
}
