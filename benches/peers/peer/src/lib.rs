//! What every engine's program shares: the case that it is given, and the lines that it answers.
//!
//! A driver writes a case into a folder (`case.py`) and speaks in lines of standard input; every
//! answer is one line of JSON on standard output.
//!
//! | line | answer |
//! |---|---|
//! | (none, at the start) | `{"engine", "version"}` |
//! | `load FOLDER` | `{"ok": true}` or `{"unsupported": reason}` |
//! | `output FILE` | runs once and writes `[T, B, D*H]` as little-endian f32: `{"ok": true}` |
//! | `time N` | `{"seconds": [..], "cpu_seconds": [..]}`: N runs, each from the input in host memory to the output there; by the clock, and of all the process's threads |

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use cpu_time::ProcessTime;
use serde::Deserialize;

/// The numbers of `case.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// T.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// I of layer 0.
    pub input: usize,
    /// H.
    pub hidden: usize,
    /// L.
    pub layers: usize,
    /// Two directions a layer.
    pub bidirectional: bool,
    /// The form of the candidate: reset-after, otherwise reset-before.
    pub reset_after: bool,
    /// `[T, B, I]`.
    #[serde(skip)]
    pub x: Vec<f32>,
    /// By layer, then direction.
    #[serde(skip)]
    pub cells: Vec<Cell>,
    /// Holds `model.onnx` too.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// One cell's weights; gates in the order r, z, n.
#[derive(Clone, Debug)]
pub struct Cell {
    /// K: features of an input.
    pub features: usize,
    /// `[3H, K]`.
    pub w_ih: Vec<f32>,
    /// `[3H, H]`.
    pub w_hh: Vec<f32>,
    /// `[3H]`.
    pub b_ih: Vec<f32>,
    /// `[3H]`.
    pub b_hh: Vec<f32>,
}

/// A case in an engine, ready to run.
pub trait Network {
    /// From the input in host memory to the output there.
    fn run(&mut self) -> Result<(), String>;

    /// `[T, B, D*H]` of the last run.
    fn output(&self) -> Vec<f32>;
}

impl Case {
    /// Reads what `case.py` wrote.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let say = |e: &dyn std::fmt::Display| format!("{}: {e}", folder.display());
        let text = std::fs::read_to_string(folder.join("case.json")).map_err(|e| say(&e))?;
        let mut case: Self = serde_json::from_str(&text).map_err(|e| say(&e))?;
        case.x = floats(&folder.join("x.f32"))?;
        let all = floats(&folder.join("weights.f32"))?;
        let mut rest = all.as_slice();
        let mut take = |count: usize| -> Result<Vec<f32>, String> {
            let (head, tail) = rest.split_at_checked(count).ok_or("weights.f32 is too short")?;
            rest = tail;
            Ok(head.to_vec())
        };
        let h = case.hidden;
        for layer in 0..case.layers {
            for _ in 0..case.directions() {
                let features = if layer == 0 { case.input } else { case.directions() * h };
                case.cells.push(Cell {
                    features,
                    w_ih: take(3 * h * features)?,
                    w_hh: take(3 * h * h)?,
                    b_ih: take(3 * h)?,
                    b_hh: take(3 * h)?,
                });
            }
        }
        case.folder = folder.to_path_buf();
        Ok(case)
    }

    /// D.
    pub fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// The input as `[B, T, I]`.
    pub fn batch_first(&self) -> Vec<f32> {
        swap_axes(&self.x, self.steps, self.batch, self.input)
    }

    /// ONNX's `[T, D, B, H]` as `[T, B, D*H]`.
    pub fn from_onnx(&self, states: &[f32]) -> Vec<f32> {
        let (d, b, h) = (self.directions(), self.batch, self.hidden);
        states.chunks(d * b * h).flat_map(|step| swap_axes(step, d, b, h)).collect()
    }
}

/// `[a, b, c]` as `[b, a, c]`.
pub fn swap_axes(data: &[f32], a: usize, b: usize, c: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(data.len());
    for j in 0..b {
        for i in 0..a {
            out.extend_from_slice(&data[(i * b + j) * c..][..c]);
        }
    }
    out
}

/// `[rows, columns]` as `[columns, rows]`.
pub fn transpose(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| data[r * columns + c])).collect()
}

fn floats(path: &Path) -> Result<Vec<f32>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

/// Answers the driver's lines until it closes standard input.
pub fn serve(
    engine: &str,
    version: &str,
    mut load: impl FnMut(Case) -> Result<Box<dyn Network>, String>,
) {
    let mut network: Option<Box<dyn Network>> = None;
    say(&serde_json::json!({ "engine": engine, "version": version }));
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match word {
            "load" => {
                network = None;
                match Case::read(Path::new(rest)).and_then(&mut load) {
                    Ok(loaded) => {
                        network = Some(loaded);
                        serde_json::json!({ "ok": true })
                    }
                    Err(reason) => serde_json::json!({ "unsupported": reason }),
                }
            }
            "output" => match network.as_deref_mut().map(|n| output(n, rest)) {
                Some(Ok(())) => serde_json::json!({ "ok": true }),
                Some(Err(reason)) => serde_json::json!({ "unsupported": reason }),
                None => serde_json::json!({ "error": "no case is loaded" }),
            },
            "time" => match (network.as_deref_mut(), rest.parse()) {
                (Some(network), Ok(count)) => match time(network, count) {
                    Ok([seconds, cpu]) => {
                        serde_json::json!({ "seconds": seconds, "cpu_seconds": cpu })
                    }
                    Err(reason) => serde_json::json!({ "error": reason }),
                },
                _ => serde_json::json!({ "error": "no case is loaded, or no number of runs" }),
            },
            other => serde_json::json!({ "error": format!("unknown line {other:?}") }),
        };
        say(&answer);
    }
}

fn output(network: &mut dyn Network, path: &str) -> Result<(), String> {
    network.run()?;
    let bytes: Vec<u8> = network.output().iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, bytes).map_err(|e| format!("{path}: {e}"))
}

fn time(network: &mut dyn Network, count: usize) -> Result<[Vec<f64>; 2], String> {
    let mut times = [Vec::with_capacity(count), Vec::with_capacity(count)];
    for _ in 0..count {
        // The clock is read next to the run: asking for the processor time is a system call.
        let cpu = ProcessTime::now();
        let began = Instant::now();
        network.run()?;
        let elapsed = began.elapsed();
        times[1].push(cpu.elapsed().as_secs_f64());
        times[0].push(elapsed.as_secs_f64());
    }
    Ok(times)
}

fn say(answer: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    // The driver may have gone; the next read ends the program.
    let _ = writeln!(out, "{answer}").and_then(|()| out.flush());
}
