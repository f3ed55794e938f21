//! Measures the costs of an engine, in well under two seconds.

use std::time::{Duration, Instant};

use ndarray::Array3;

use super::costs::{Costs, HIDDEN, PRODUCT_ROWS, ROWS};
use crate::cell::ResetForm;
use crate::config::{Directions, GruConfig};
use crate::device::Device;
use crate::error::Result;
use crate::model::Gru;
use crate::shape::SequenceShape;

/// Measurements that have not begun by then are not made.
const PATIENCE: Duration = Duration::from_millis(1200);
/// Runs of a measurement, of which the fastest counts: what slows a run down is something else.
const RUNS: usize = 4;
/// Features of the networks whose steps are measured: next to nothing to project.
const FEATURES: usize = 16;

/// Runs of trial networks on a device.
struct Trials<'d> {
    device: &'d Device,
    begin: Instant,
    steps: usize,
}

/// The costs of `device`, which is the CPU engine or a GPU. What time does not suffice for keeps
/// its proportion to what was measured as in `assumed`.
pub(crate) fn measure(device: &Device, assumed: &Costs) -> Result<Costs> {
    let gpu = device.gpu_context().is_some();
    // A GPU's call takes longer than many of its steps.
    let trials = Trials { device, begin: Instant::now(), steps: if gpu { 48 } else { 12 } };
    let mut costs = assumed.clone();
    let mut config = GruConfig::new(FEATURES, 16);
    if let Some(time) = trials.time(&config, 1, 1)? {
        costs.call = time;
    }
    let mut ratios = Vec::new();
    let mut measured = [[false; 3]; 3];
    // From the cheap ones to the dear ones.
    for sum in 0..=4 {
        for (h, r) in (0..3).flat_map(|h| (0..3).map(move |r| (h, r))).filter(|(h, r)| h + r == sum)
        {
            config.hidden_size = HIDDEN[h];
            let steps = if h + r >= 3 { trials.steps.div_ceil(4) } else { trials.steps };
            if let Some(time) = trials.time(&config, steps, ROWS[r])? {
                #[expect(clippy::cast_precision_loss, reason = "a few steps")]
                let step = (time - costs.call).max(0.05 * time) / steps as f64;
                ratios.push((step / assumed.step[h][r]).ln());
                costs.step[h][r] = step;
                measured[h][r] = true;
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "nine at most")]
    let ratio = (ratios.iter().sum::<f64>() / ratios.len().max(1) as f64).exp();
    for (h, r) in (0..3).flat_map(|h| (0..3).map(move |r| (h, r))) {
        if !measured[h][r] {
            costs.step[h][r] = assumed.step[h][r] * ratio;
        }
    }
    trials.factors(&mut costs)?;
    trials.products(&mut costs, gpu)?;
    Ok(costs)
}

impl Trials<'_> {
    /// Microseconds of a run; `None` where there is no time for it.
    fn time(&self, config: &GruConfig, steps: usize, rows: usize) -> Result<Option<f64>> {
        if self.begin.elapsed() > PATIENCE {
            return Ok(None);
        }
        let gru = Gru::random(config.clone(), 1)?;
        let mut session = gru.session(self.device, SequenceShape::new(steps, rows))?;
        let input = Array3::<f32>::zeros((steps, rows, config.input_size));
        session.run(input.view())?;
        let mut best = f64::MAX;
        for _ in 0..RUNS {
            let begin = Instant::now();
            session.run(input.view())?;
            best = best.min(begin.elapsed().as_secs_f64() * 1e6);
        }
        Ok(Some(best))
    }

    /// What two directions, the other reset form and a second layer make of a step.
    fn factors(&self, costs: &mut Costs) -> Result<()> {
        let plain = GruConfig::new(FEATURES, 256);
        let (steps, rows) = (2 * self.steps, 4);
        let Some(one) = self.time(&plain, steps, rows)? else { return Ok(()) };
        let call = costs.call;
        // No kind of work can be done for less than half of the plain one.
        let ratio = move |time: f64| ((time - call) / (one - call).max(0.05 * one)).clamp(0.5, 8.0);
        let both = GruConfig { directions: Directions::Bidirectional, ..plain.clone() };
        if let Some(time) = self.time(&both, steps, rows)? {
            costs.both = ratio(time);
        }
        let before = GruConfig { reset: ResetForm::Before, ..plain.clone() };
        if let Some(time) = self.time(&before, steps, rows)? {
            costs.before = ratio(time);
        }
        let layers = GruConfig { num_layers: 2, ..plain };
        if let Some(time) = self.time(&layers, steps, rows)? {
            costs.layer = (ratio(time) - 1.0).max(0.05);
        }
        Ok(())
    }

    /// Projections of few and of many rows, and transfers.
    fn products(&self, costs: &mut Costs, gpu: bool) -> Result<()> {
        // Many features and next to no units: bytes go up, little is computed.
        let (wide, steps, rows) = (GruConfig::new(1024, 16), 16, 64);
        if gpu && let Some(time) = self.time(&wide, steps, rows)? {
            let megabytes = (4 * steps * rows * 1040) as f64 * 1e-6;
            let steps_take = steps as f64 * costs.step[0][1];
            costs.transfer = (time - costs.call - steps_take).max(0.1 * time) / megabytes;
        }
        let shapes = [(64, PRODUCT_ROWS[0], 1, 0), (256, PRODUCT_ROWS[1] / 256, 256, 1)];
        for (hidden, steps, rows, slot) in shapes {
            let narrow = GruConfig::new(FEATURES, hidden);
            let wide = GruConfig::new(512, hidden);
            let (Some(less), Some(more)) =
                (self.time(&narrow, steps, rows)?, self.time(&wide, steps, rows)?)
            else {
                return Ok(());
            };
            let places = (steps * rows) as f64;
            let megaflops = 6.0 * places * (hidden * (512 - FEATURES)) as f64 * 1e-6;
            let bytes = 4.0 * places * (512 - FEATURES) as f64 * 1e-6 * costs.transfer;
            costs.product[slot] = (more - less - bytes).max(0.02 * more) / megaflops;
        }
        Ok(())
    }
}
