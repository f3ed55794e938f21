//! The precision in which weights are stored on a device.

/// How a GPU engine stores weights. Sums, gates and states are f32 in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32 weights. The default.
    #[default]
    F32,
    /// f16 weights: half the device memory, rounding of 2^-11 relative a weight.
    F16,
}

impl Precision {
    /// Bytes of a stored weight.
    pub fn weight_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}
