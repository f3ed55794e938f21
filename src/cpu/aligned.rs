//! Vectors whose elements begin at a cache line, so that no SIMD load crosses two lines.

const LINE: usize = 64;

/// A growable block of floats that begins at a cache line. New elements are zero.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn zeros(len: usize) -> Self {
        let mut this = Self::default();
        this.grow(len);
        this
    }

    /// Makes room for at least `len` elements. Contents are lost where it grows.
    pub(super) fn grow(&mut self, len: usize) {
        if len > self.len {
            self.data = vec![0.0; len + LINE / size_of::<f32>()];
            self.start = self.data.as_ptr().align_offset(LINE).min(LINE / size_of::<f32>());
            self.len = len;
        }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..self.start + self.len]
    }
}

/// The smallest stride of at least `len` floats that is an odd number of cache lines: rows at
/// equal columns then fall into different sets of a cache.
pub(super) fn odd_lines(len: usize) -> usize {
    const FLOATS: usize = LINE / size_of::<f32>();
    (len.div_ceil(FLOATS) | 1) * FLOATS
}
