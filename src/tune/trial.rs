//! Real runs of candidates: what a race is run on.

use std::time::{Duration, Instant};

use ndarray::{Array3, s};

use super::race::Track;
use crate::error::{Error, ErrorKind, Result};
use crate::gpu::{GpuContext, GpuSession};
use crate::model::Gru;
use crate::plan::{Geometry, Plan, PlanOptions, RowOrder};
use crate::sequence::{Inputs, Output, zeroed};
use crate::shape::SequenceShape;

/// A run takes about this part of the time that there is, so that all candidates have some.
const PARTS: u32 = 64;
/// Bytes of a trial's inputs, at most.
const MOST_INPUT: usize = 64 << 20;
/// Steps of the runs whose outputs are compared: rounding does not grow far in so few.
const COMPARED: usize = 4;
/// Two kernels' states differ by this at most, times 1 + their magnitude; f16 weights are the same
/// for both.
const CLOSE: f32 = 1e-2;

/// The planner's choice and a candidate on the session's network and shape, fed random sequences
/// uniform in [-1, 1). What a kernel takes depends on sizes alone, not on values; random ones keep
/// processors from denormal numbers, and show a kernel that a driver has compiled wrongly.
pub(super) struct Trial<'a> {
    context: &'a GpuContext,
    gru: &'a Gru,
    shape: SequenceShape,
    options: &'a PlanOptions,
    geometries: Vec<Geometry>,
    begin: Instant,
    input: Array3<f32>,
    output: Output,
    /// What the planner's choice gives in a run of the first steps.
    wanted: Array3<f32>,
    planned: GpuSession,
    entered: Option<(usize, GpuSession)>,
}

impl<'a> Trial<'a> {
    /// A trial in about `limit`, of which the first of `geometries` is the planner's choice.
    pub(super) fn new(
        context: &'a GpuContext,
        gru: &'a Gru,
        shape: SequenceShape,
        options: &'a PlanOptions,
        geometries: Vec<Geometry>,
        limit: Duration,
    ) -> Result<Self> {
        let begin = Instant::now();
        let config = gru.config();
        let planned = session(context, gru, shape, options, geometries[0])?;
        let row_bytes = 4 * shape.batch.saturating_mul(config.input_size.max(config.output_size()));
        let most = (MOST_INPUT / row_bytes.max(1)).clamp(1, shape.steps);
        let (input, output) =
            (Array3::zeros((0, 0, 0)), Output::zeros(config, shape_of(0, 0), false)?);
        let wanted = Array3::zeros((0, 0, 0));
        let (entered, mut steps) = (None, 1);
        let mut trial = Self {
            context,
            gru,
            shape,
            options,
            geometries,
            begin,
            input,
            output,
            wanted,
            planned,
            entered,
        };
        // The first run of a length compiles, plans and uploads.
        loop {
            trial.set_steps(steps)?;
            trial.planned()?;
            let took = trial.planned()?.max(1e-9);
            let part = (limit / PARTS).as_secs_f64();
            if steps == most || took > part / 2.0 || begin.elapsed() > limit / 4 {
                break;
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "2 to 16")]
            let factor = (part / took).clamp(2.0, 16.0) as usize;
            steps = steps.saturating_mul(factor).min(most);
        }
        trial.wanted = first_steps(&mut trial.planned, gru, &trial.input)?;
        Ok(trial)
    }

    /// Steps of each run.
    pub(super) fn steps(&self) -> usize {
        self.input.dim().0
    }

    /// The session of a geometry, and no other one.
    pub(super) fn finish(self, winner: usize) -> Result<GpuSession> {
        let Self { context, gru, shape, options, geometries, planned, entered, .. } = self;
        if winner == 0 {
            return Ok(planned);
        }
        drop(planned);
        match entered {
            Some((candidate, session)) if candidate == winner => Ok(session),
            _ => session(context, gru, shape, options, geometries[winner]),
        }
    }

    fn set_steps(&mut self, steps: usize) -> Result<()> {
        let (batch, features) = (self.shape.batch, self.gru.config().input_size);
        let mut random = crate::random::SplitMix::new(1);
        self.input = zeroed("the inputs of a trial", [steps, batch, features])?;
        self.input.iter_mut().for_each(|v| *v = random.next());
        self.output = Output::zeros(self.gru.config(), shape_of(steps, batch), false)?;
        Ok(())
    }

    /// Whether states of the first steps are those of the planner's choice, but for rounding.
    fn agree(&self, states: &Array3<f32>) -> bool {
        let close = |a: f32, b: f32| (a - b).abs() <= CLOSE * (1.0 + b.abs());
        let same = |a: f32, b: f32| a == b || close(a, b) || !a.is_finite() && !b.is_finite();
        states.iter().zip(&self.wanted).all(|(a, b)| same(*a, *b))
    }
}

/// The states of a run of the first steps of `input`.
fn first_steps(session: &mut GpuSession, gru: &Gru, input: &Array3<f32>) -> Result<Array3<f32>> {
    let (steps, batch, _) = input.dim();
    let steps = steps.min(COMPARED);
    let mut output = Output::zeros(gru.config(), shape_of(steps, batch), false)?;
    session.run(&Inputs::new(input.slice(s![..steps, .., ..])), &mut output.views(false))?;
    Ok(output.hidden_states)
}

fn shape_of(steps: usize, batch: usize) -> SequenceShape {
    SequenceShape::new(steps, batch)
}

/// A session for runs of up to `shape` with `geometry`.
pub(super) fn session(
    context: &GpuContext,
    gru: &Gru,
    shape: SequenceShape,
    options: &PlanOptions,
    geometry: Geometry,
) -> Result<GpuSession> {
    let (rows, capabilities) = (RowOrder::full(shape), context.capabilities());
    let plan = Plan::within(gru.config(), rows, capabilities, options, geometry, None)?;
    GpuSession::from_plan(context, gru, options, plan)
}

/// Seconds of a run.
fn time(session: &mut GpuSession, input: &Array3<f32>, output: &mut Output) -> Result<f64> {
    let begin = Instant::now();
    session.run(&Inputs::new(input.view()), &mut output.views(false))?;
    Ok(begin.elapsed().as_secs_f64())
}

impl Track for Trial<'_> {
    type Error = Error;

    fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    fn enter(&mut self, candidate: usize) -> Result<bool> {
        // Two sessions are on the device at a time.
        self.entered = None;
        let geometry = self.geometries[candidate];
        let made = session(self.context, self.gru, self.shape, self.options, geometry);
        let ran = made.and_then(|mut session| {
            let states = first_steps(&mut session, self.gru, &self.input)?;
            // The first run of a length plans and uploads.
            time(&mut session, &self.input, &mut self.output)?;
            Ok((session, states))
        });
        match ran {
            Ok((session, states)) if self.agree(&states) => {
                self.entered = Some((candidate, session));
                Ok(true)
            }
            Ok(_) => {
                log::warn!("{}: not used: {geometry}: its results differ", self.context.adapter());
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::DeviceLost => Err(error),
            Err(error) => {
                log::info!("{}: not used: {geometry}: {error}", self.context.adapter());
                Ok(false)
            }
        }
    }

    fn planned(&mut self) -> Result<f64> {
        time(&mut self.planned, &self.input, &mut self.output)
    }

    fn candidate(&mut self) -> Result<f64> {
        match &mut self.entered {
            Some((_, session)) => time(session, &self.input, &mut self.output),
            None => Err(Error::new(ErrorKind::InvalidRequest, "no candidate was entered")),
        }
    }
}
