//! How a layer's work is spread over threads.

use super::pack::CpuModel;
use super::part::block_rows;
use crate::cell::{GATES, ResetForm};
use crate::shape::SequenceShape;

/// Multiply-adds of one SIMD lane in a microsecond. Here and below only the order of magnitude
/// matters: it decides when another thread pays.
const PER_LANE: f64 = 6_000.0;
/// Bytes of weights that one core reads in a microsecond from its own cache, and from beyond.
const NEAR_BYTES: f64 = 120_000.0;
const FAR_BYTES: f64 = 25_000.0;
/// Weights that a core's own cache holds.
const NEAR_SIZE: f64 = 1_500_000.0;
/// Microseconds that one exchange between two threads takes.
const EXCHANGE: f64 = 0.5;
/// Microseconds to hand a layer to other threads and to wait for the last of them.
const FORK: f64 = 50.0;

/// Threads of a layer: `rows * directions * units`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Groups of rows.
    pub(super) rows: usize,
    /// 2 where the two directions run at the same time.
    pub(super) directions: usize,
    /// Threads that share the units of a layer and exchange states every step.
    pub(super) units: usize,
}

impl Split {
    pub(super) const SINGLE: Self = Self { rows: 1, directions: 1, units: 1 };

    pub(super) fn threads(self) -> usize {
        self.rows * self.directions * self.units
    }

    /// The split of the least expected time for layers of `features` inputs. Results do not
    /// depend on it. Threads share units only where `teams` is set.
    pub(super) fn choose(
        model: &CpuModel,
        features: usize,
        shape: SequenceShape,
        threads: usize,
        teams: bool,
    ) -> Self {
        let mut best = (Self::SINGLE.cost(model, features, shape), Self::SINGLE);
        let granules = model.panels / model.granule();
        for directions in 1..=model.config.num_directions() {
            for rows in 1..=(threads / directions).min(shape.batch.max(1)) {
                // A team runs one block of rows of one direction.
                let block = block_rows(model, model.panels);
                let team = teams
                    && directions == model.config.num_directions()
                    && shape.batch.div_ceil(rows) <= block;
                let most = if team { (threads / directions / rows).min(granules) } else { 1 };
                for units in 1..=most {
                    let split = Self { rows, directions, units };
                    let cost = split.cost(model, features, shape);
                    if cost < best.0 {
                        best = (cost, split);
                    }
                }
            }
        }
        best.1
    }

    /// Expected microseconds of one layer.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn cost(self, model: &CpuModel, features: usize, shape: SequenceShape) -> f64 {
        let granule = model.granule();
        let panels = (model.panels / granule).div_ceil(self.units) * granule;
        let rows = shape.batch.div_ceil(self.rows) as f64;
        let width = (panels * model.lanes * GATES) as f64;
        let hidden = model.config.hidden_size as f64;
        let per_microsecond = PER_LANE * model.lanes as f64;
        let product = |k: f64, rows: f64| {
            let bytes = k * width * size_of::<f32>() as f64;
            let rate = if bytes < NEAR_SIZE { NEAR_BYTES } else { FAR_BYTES };
            (rows * k * width / per_microsecond).max(bytes / rate)
        };
        let exchanges = match (self.units, model.config.reset) {
            (1, _) => 0.0,
            (_, ResetForm::After) => 1.0,
            (_, ResetForm::Before) => 2.0,
        };
        // Each further value of an exchanged state is copied twice, one at a time.
        let copied = 2.0 * rows * hidden / 1_000.0;
        let steps = shape.steps as f64;
        let rounds = (model.config.num_directions() / self.directions) as f64;
        let step = product(hidden, rows) + exchanges * (EXCHANGE + copied);
        let projection = rows * steps * features as f64 * width / per_microsecond;
        let fork = if self.threads() > 1 { FORK } else { 0.0 };
        fork + rounds * (steps * step + projection)
    }
}
