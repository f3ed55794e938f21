//! What an engine's work takes, in numbers: a few costs, and how they add up to a run.

use serde::{Deserialize, Serialize};

use crate::cell::ResetForm;
use crate::config::GruConfig;
use crate::shape::SequenceShape;

/// Hidden sizes and rows at which steps are measured.
pub(crate) const HIDDEN: [usize; 3] = [64, 256, 1024];
pub(crate) const ROWS: [usize; 3] = [1, 16, 256];
/// Rows times steps at which the projection is measured.
pub(crate) const PRODUCT_ROWS: [usize; 2] = [128, 4096];

/// Costs of one engine on one machine, microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// A call that computes next to nothing.
    pub(crate) call: f64,
    /// A step of one layer and direction, reset-after, by `HIDDEN` and `ROWS`.
    pub(crate) step: [[f64; 3]; 3],
    /// A million operations of a projection of `PRODUCT_ROWS` rows.
    pub(crate) product: [f64; 2],
    /// A million bytes from the host to the device or back.
    pub(crate) transfer: f64,
    /// A step of two directions over one of one.
    pub(crate) both: f64,
    /// A reset-before step over a reset-after one.
    pub(crate) before: f64,
    /// Each further layer over the first.
    pub(crate) layer: f64,
}

/// A run in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    pub(crate) steps: f64,
    pub(crate) rows: f64,
    pub(crate) hidden: f64,
    pub(crate) layers: f64,
    pub(crate) both: bool,
    pub(crate) before: bool,
    /// Operations of the projections of all layers.
    pub(crate) product: f64,
    /// Bytes of input and output.
    pub(crate) bytes: f64,
}

impl Work {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn new(config: &GruConfig, shape: SequenceShape) -> Self {
        let places = shape.steps as f64 * shape.batch as f64;
        let width = config.output_size() as f64;
        let read: f64 = (0..config.num_layers.min(1 << 16))
            .map(|layer| config.layer_input_size(layer) as f64)
            .sum();
        Self {
            steps: shape.steps as f64,
            rows: shape.batch as f64,
            hidden: config.hidden_size as f64,
            layers: config.num_layers as f64,
            both: config.num_directions() == 2,
            before: config.reset == ResetForm::Before,
            product: 6.0 * places * width * read,
            bytes: 4.0 * places * (config.input_size as f64 + width),
        }
    }
}

impl Costs {
    /// Microseconds that a run is expected to take.
    pub(crate) fn expected(&self, work: &Work) -> f64 {
        if work.steps == 0.0 || work.rows == 0.0 {
            return self.call;
        }
        let factor = |applies: bool, factor: f64| if applies { factor } else { 1.0 };
        let step = self.step_of(work.hidden, work.rows)
            * factor(work.both, self.both)
            * factor(work.before, self.before);
        let layers = 1.0 + (work.layers - 1.0) * self.layer;
        self.call
            + work.steps * step * layers
            + work.product * 1e-6 * self.product_of(work.steps * work.rows)
            + work.bytes * 1e-6 * self.transfer
    }

    /// A step, between the measured ones on logarithmic scales. Beyond the most rows it grows by
    /// their power 0.7 at least (a device that is not full yet) and 1 at most, beyond the largest
    /// hidden size by the power 1 to 2, below the smallest it falls by the power 1.5 at most.
    fn step_of(&self, hidden: f64, rows: f64) -> f64 {
        let by_rows =
            self.step.map(|of_hidden| line(ROWS, of_hidden, rows, [0.0, 0.0], [0.7, 1.0]));
        line(HIDDEN, by_rows, hidden, [0.0, 1.5], [1.0, 2.0])
    }

    fn product_of(&self, rows: f64) -> f64 {
        let [few, many] = PRODUCT_ROWS.map(ln);
        let share = ((rows.ln() - few) / (many - few)).clamp(0.0, 1.0);
        let [a, b] = self.product.map(f64::ln);
        (a + share * (b - a)).exp()
    }

    /// Costs of a device that was never measured: the order of magnitude of its class.
    pub(crate) fn assumed(class: Class) -> Self {
        Self::of_rates(&class.rates(), matches!(class, Class::Cpu { .. }))
    }

    /// Costs of a device of these rates.
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    pub(crate) fn of_rates(rates: &Rates, cpu: bool) -> Self {
        let Rates { flops, weights, bytes, step: fixed, call } = *rates;
        let step = HIDDEN.map(|h| {
            ROWS.map(|rows| {
                let weights_of_step = 3.0 * (h * h) as f64;
                let products = 2.0 * weights_of_step * rows as f64 / flops;
                fixed + products.max(4.0 * weights_of_step / weights)
            })
        });
        Self {
            call,
            step,
            product: [1e6 / flops * if cpu { 1.5 } else { 4.0 }, 1e6 / flops],
            transfer: 1e6 / bytes,
            both: if cpu { 2.0 } else { 1.2 },
            before: if cpu { 1.1 } else { 1.8 },
            layer: 1.0,
        }
    }

    /// Whether every cost is one that some device may have, as those of a record from elsewhere
    /// need not be.
    pub(crate) fn is_sound(&self) -> bool {
        let within = |low: f64, high: f64| move |v: &f64| (low..=high).contains(v);
        // Between a nanosecond and ten minutes; from an EFLOP/s and an EB/s down to a MFLOP/s and
        // 10 kB/s.
        let times = self.step.iter().flatten().chain([&self.call]).all(within(1e-3, 6e8));
        let products = self.product.iter().all(within(1e-6, 1e6));
        let factors = [self.both, self.before, self.layer].iter().all(within(0.01, 100.0));
        times && products && factors && within(1e-6, 1e8)(&self.transfer)
    }
}

/// What is assumed of a device that was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Cpu {
        threads: usize,
    },
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory, or of an unknown kind.
    Shared,
}

/// What costs follow from, where no network has been timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    /// Operations a microsecond, at the share of the peak that products reach.
    pub(crate) flops: f64,
    /// Bytes of weights a microsecond.
    pub(crate) weights: f64,
    /// Bytes of transfers a microsecond.
    pub(crate) bytes: f64,
    /// Microseconds of a step and of a call that compute next to nothing.
    pub(crate) step: f64,
    pub(crate) call: f64,
}

impl Class {
    #[expect(clippy::cast_precision_loss, reason = "threads are few")]
    pub(crate) fn rates(self) -> Rates {
        match self {
            Self::Cpu { threads } => {
                let flops = 30e3 * (1.0 + 0.7 * (threads as f64 - 1.0));
                Rates { flops, weights: 40e3, bytes: 1e9, step: 0.5, call: 3.0 }
            }
            Self::Discrete => {
                Rates { flops: 4e6, weights: 500e3, bytes: 5e3, step: 7.0, call: 250.0 }
            }
            Self::Shared => {
                Rates { flops: 400e3, weights: 40e3, bytes: 8e3, step: 12.0, call: 250.0 }
            }
        }
    }
}

/// The value at `x` of a line through three points on logarithmic scales. Beyond its ends the
/// slope of the nearest piece goes on, within `below` or `above`.
fn line(xs: [usize; 3], ys: [f64; 3], x: f64, below: [f64; 2], above: [f64; 2]) -> f64 {
    let (xs, ys, x) = (xs.map(ln), ys.map(f64::ln), x.max(1.0).ln());
    let slope = |i: usize| (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i]);
    let at = if x < xs[0] {
        ys[0] + slope(0).clamp(below[0], below[1]) * (x - xs[0])
    } else if x > xs[2] {
        ys[2] + slope(1).clamp(above[0], above[1]) * (x - xs[2])
    } else {
        let i = usize::from(x > xs[1]);
        ys[i] + slope(i) * (x - xs[i])
    };
    at.exp()
}

#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
fn ln(n: usize) -> f64 {
    (n as f64).ln()
}
