//! Tells the language of a word by its letters.
//!
//! ```text
//! cargo run --release --example language_id                       the held-out words
//! cargo run --release --example language_id -- house maison casa  these words
//! cargo run --release --example language_id -- --device gpu       on another device
//! ```
//!
//! Devices are those of `wgru --device`. README.md says what the network is, how it was trained
//! and how a word becomes its input.

mod classifier;
#[path = "../../src/bin/wgru/environment.rs"]
mod environment;
mod records;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ndarray::{ArrayView1, Axis};
use wgru::{AdapterKind, Device, adapters};

use classifier::{Classifier, normalised};
use records::{Golden, held_out, trained};

/// f32 differs from PyTorch's float64 logits, of size 10, by a few 1e-6; more than this is wrong.
const LARGEST_DIFFERENCE: f64 = 1e-4;

fn main() -> ExitCode {
    environment::silence_device_selection();
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "language_id: error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let (request, words) = arguments(env::args().skip(1))?;
    let classifier = Classifier::load()?;
    let device = Device::find(&request)?;
    let mut out = io::stdout().lock();
    writeln!(out, "device    {device}{}", why(&device, &request))?;
    if words.is_empty() {
        classify_held_out(&classifier, &device, &mut out)
    } else {
        classify(&classifier, &device, &words, &mut out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The device asked for, `auto` by default, and the words.
fn arguments(
    mut given: impl Iterator<Item = String>,
) -> Result<(String, Vec<String>), Box<dyn Error>> {
    let (mut device, mut words) = ("auto".to_owned(), Vec::new());
    while let Some(argument) = given.next() {
        if argument == "--device" {
            device = given.next().ok_or("--device wants a device, nothing was given")?;
        } else if argument.starts_with('-') {
            return Err(format!("words and --device D are wanted, '{argument}' was given").into());
        } else if argument.is_empty() {
            return Err("a word must have a letter, an empty one was given".into());
        } else {
            words.push(normalised(&argument));
        }
    }
    Ok((device, words))
}

/// Why the CPU engine was chosen, where nobody asked for it.
fn why(device: &Device, request: &str) -> &'static str {
    if request != "auto" || device.gpu_context().is_some() {
        return "";
    }
    match adapters().first().map(|a| a.kind) {
        None => ", as there is no GPU adapter",
        Some(AdapterKind::Software) => ", as the only adapters are software on the same processor",
        Some(_) => "",
    }
}

/// Prints the three likeliest languages of each word.
fn classify(
    classifier: &Classifier,
    device: &Device,
    words: &[String],
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let logits = classifier.logits(&mut classifier.session(device, words)?, words)?;
    let width = words.iter().map(|w| w.chars().count()).max().unwrap_or(0);
    for (word, logits) in words.iter().zip(logits.axis_iter(Axis(0))) {
        let mut ranked: Vec<(usize, f32)> = softmax(logits).into_iter().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        write!(out, "{word:<width$}")?;
        for (class, probability) in ranked.iter().take(3) {
            let name = &classifier.languages[*class];
            write!(out, "   {name:>10} {:5.1} %", 100.0 * probability)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Classifies the held-out words as one batch and compares with what was recorded.
fn classify_held_out(
    classifier: &Classifier,
    device: &Device,
    out: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let (words, classes) = held_out(&classifier.languages)?;
    let mut session = classifier.session(device, &words)?;
    let logits = classifier.logits(&mut session, &words)?;
    let predicted: Vec<usize> = logits.axis_iter(Axis(0)).map(largest).collect();
    let right = predicted.iter().zip(&classes).filter(|(a, b)| a == b).count();
    let mut seconds = Vec::new();
    let begin = Instant::now();
    while seconds.len() < 3 || begin.elapsed() < Duration::from_secs(1) {
        let begin = Instant::now();
        classifier.logits(&mut session, &words)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];

    let golden = Golden::load()?;
    let agreeing = predicted.iter().zip(&golden.predicted).filter(|(a, b)| a == b).count();
    let difference = golden
        .logits
        .iter()
        .flat_map(|(row, wanted)| wanted.iter().zip(logits.row(*row)))
        .map(|(wanted, got)| (wanted - f64::from(*got)).abs())
        .fold(0.0, f64::max);
    let count = words.len();
    let percent = |part: usize| 100.0 * part as f64 / count as f64;
    let (gru, rnn) = (trained("GRU")?, trained("RNN")?);
    writeln!(out, "words     {count} held-out words, one batch of {}", session.shape())?;
    writeln!(out, "accuracy  {:.2} % ({right} of {count})", percent(right))?;
    writeln!(
        out,
        "recorded  on 10,000 held-out words: GRU {:.1} % ({} parameters), plain tanh RNN {:.1} % ({})",
        100.0 * gru.accuracy,
        gru.parameters,
        100.0 * rnn.accuracy,
        rnn.parameters
    )?;
    writeln!(
        out,
        "speed     {:.0} words/s, letters to classes ({:.1} ms a batch, median of {})",
        count as f64 / median,
        1e3 * median,
        seconds.len()
    )?;
    writeln!(
        out,
        "PyTorch   {agreeing} of {count} predictions agree; largest difference of a logit \
         {difference:.1e} ({} words)",
        golden.logits.len()
    )?;
    if difference <= LARGEST_DIFFERENCE {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "FAIL      logits must be within {LARGEST_DIFFERENCE:e} of PyTorch's")?;
    Ok(ExitCode::FAILURE)
}

fn largest(logits: ArrayView1<'_, f32>) -> usize {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0)
}

fn softmax(logits: ArrayView1<'_, f32>) -> Vec<f32> {
    let largest = logits.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let powers = logits.mapv(|v| (v - largest).exp());
    (&powers / powers.sum()).to_vec()
}
