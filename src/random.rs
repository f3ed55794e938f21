//! Networks to try things with.

use crate::cell::GATES;
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Gru;
use crate::tensor::{MatrixView, Tensor};
use crate::weights::{CellWeights, GruWeights};

impl Gru {
    /// A network for benchmarks and trials: weights and biases are uniform in ±1/sqrt(H), as
    /// PyTorch initialises them, and the same for a `seed` on every machine.
    ///
    /// ```
    /// use wgru::{Gru, GruConfig};
    /// let gru = Gru::random(GruConfig::new(40, 64), 1)?;
    /// assert_eq!(gru.description().parameters, gru.config().parameter_count());
    /// # Ok::<(), wgru::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`]; [`ErrorKind::OutOfMemory`] where the weights do not fit into
    /// memory.
    pub fn random(config: GruConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        #[expect(clippy::cast_precision_loss, reason = "a bound need not be exact")]
        let bound = 1.0 / (config.hidden_size as f32).sqrt();
        let mut random = SplitMix::new(seed);
        let mut tensor = |name: &str, rows: usize, cols: usize| -> Result<Tensor> {
            let mut values: Vec<f32> = Vec::new();
            values.try_reserve_exact(rows * cols).map_err(|_| {
                Error::new(
                    ErrorKind::OutOfMemory,
                    format!("{name} of {rows} x {cols} values does not fit into memory"),
                )
            })?;
            values.extend((0..rows * cols).map(|_| bound * random.next()));
            Tensor::from_f32(name, &[rows, cols], &values)
        };
        let h = config.hidden_size;
        let gates = |t: Tensor, rows: usize, cols: usize| -> [MatrixView; GATES] {
            std::array::from_fn(|g| MatrixView::new(&t, g * rows * cols, [rows, cols], [cols, 1]))
        };
        let cells = (0..config.state_planes()).map(|plane| {
            let k = config.layer_input_size(plane / config.num_directions());
            Ok(CellWeights {
                input: gates(tensor("input weights", GATES * h, k)?, h, k),
                recurrent: gates(tensor("recurrent weights", GATES * h, h)?, h, h),
                input_bias: gates(tensor("input biases", GATES, h)?, 1, h).map(Some),
                recurrent_bias: gates(tensor("recurrent biases", GATES, h)?, 1, h).map(Some),
            })
        });
        let weights = GruWeights::new(&config, cells.collect::<Result<_>>()?)?;
        Self::new(config, weights)
    }
}

/// A splitmix64 generator.
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A value of [-1, 1).
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
        let unit = ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32;
        2.0 * unit - 1.0
    }
}
