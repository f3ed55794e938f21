//! Arrays in the caller's buffers: what a run takes and leaves there, and the checks of it.

use ndarray::ArrayView2;

use super::context::GpuContext;
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Outside, Places};
use crate::sequence::check_mask;
use crate::shape::{SequenceShape, checked_product};

/// The arrays of a run in the caller's own buffers, of the device that the session runs on. (wgpu
/// cannot tell objects of several instances apart: a buffer of another `wgpu::Instance` is taken
/// for whatever the session's instance has under its number.)
///
/// Each is f32, row-major, tightly packed, and begins where its slice does, at a multiple of 4
/// bytes; a slice may be longer than its array. Buffers need `BufferUsages::STORAGE` and nothing
/// else. What a run writes may not overlap what it reads or writes elsewhere, but the final state
/// may take the place of the initial state.
#[derive(Clone, Copy, Debug)]
pub struct BufferIo<'a> {
    pub(super) shape: SequenceShape,
    pub(super) input: wgpu::BufferSlice<'a>,
    pub(super) output: Option<wgpu::BufferSlice<'a>>,
    pub(super) initial_state: Option<wgpu::BufferSlice<'a>>,
    pub(super) final_state: Option<wgpu::BufferSlice<'a>>,
    pub(super) lengths: Option<&'a [usize]>,
    pub(super) reset_mask: Option<ArrayView2<'a, bool>>,
    pub(super) batch_first: bool,
}

impl<'a> BufferIo<'a> {
    /// A run of `shape` over the sequences `[T, B, I]` in `input`, from a zero state, all rows T
    /// steps long, no resets. What it is to leave is set by [`output`](Self::output) and
    /// [`final_state`](Self::final_state), one of them at least.
    pub fn new(shape: SequenceShape, input: wgpu::BufferSlice<'a>) -> Self {
        Self {
            shape,
            input,
            output: None,
            initial_state: None,
            final_state: None,
            lengths: None,
            reset_mask: None,
            batch_first: false,
        }
    }

    /// Where to leave the states of the last layer after every step, `[T, B, D*H]`; zero past a
    /// row's length.
    pub fn output(mut self, output: wgpu::BufferSlice<'a>) -> Self {
        self.output = Some(output);
        self
    }

    /// The states before the first step, `[L*D, B, H]`.
    pub fn initial_state(mut self, state: wgpu::BufferSlice<'a>) -> Self {
        self.initial_state = Some(state);
        self
    }

    /// Where to leave the states after the rows' last steps, `[L*D, B, H]`.
    pub fn final_state(mut self, state: wgpu::BufferSlice<'a>) -> Self {
        self.final_state = Some(state);
        self
    }

    /// Sets the number of steps of each row, `[B]`, each 0..=T, in any order.
    pub fn lengths(mut self, lengths: &'a [usize]) -> Self {
        self.lengths = Some(lengths);
        self
    }

    /// Sets where states are zeroed before a step, `[T, B]`. Forward networks only.
    pub fn reset_mask(mut self, mask: ArrayView2<'a, bool>) -> Self {
        self.reset_mask = Some(mask);
        self
    }

    /// Says that input, output and mask are batch-first: `[B, T, ...]`.
    pub fn batch_first(mut self) -> Self {
        self.batch_first = true;
        self
    }

    /// Steps and rows of the run.
    pub fn shape(&self) -> SequenceShape {
        self.shape
    }

    /// The mask, `[T, B]`.
    pub(super) fn time_major_mask(&self) -> Option<ArrayView2<'a, bool>> {
        self.reset_mask.map(|m| if self.batch_first { m.reversed_axes() } else { m })
    }

    fn arrays(&self) -> impl Iterator<Item = (Outside, wgpu::BufferSlice<'a>)> {
        let named = [
            (Outside::Input, Some(self.input)),
            (Outside::Output, self.output),
            (Outside::InitialState, self.initial_state),
            (Outside::FinalState, self.final_state),
        ];
        named.into_iter().filter_map(|(outside, slice)| Some((outside, slice?)))
    }
}

/// An array's part of a buffer as a kernel binds it.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) outside: Outside,
    pub(super) buffer: wgpu::Buffer,
    /// Offset of the binding, bytes: the array's, rounded down to what the device aligns to.
    pub(super) offset: u64,
    /// Bytes of the binding; 0 where the array is empty.
    pub(super) size: u64,
    /// The array's first value in the binding.
    first: u32,
    /// The array's own bytes.
    range: std::ops::Range<u64>,
}

/// The arrays of a run after every check that needs no call of the device.
#[derive(Clone, Debug)]
pub(super) struct BoundArrays {
    pub(super) arrays: Vec<Bound>,
    pub(super) places: Places,
}

impl BoundArrays {
    pub(super) fn check(
        context: &GpuContext,
        config: &GruConfig,
        io: &BufferIo<'_>,
    ) -> Result<Self> {
        let SequenceShape { steps, batch } = io.shape;
        if let Some(mask) = &io.reset_mask {
            check_mask(config, io.shape, mask.dim(), io.batch_first)?;
        }
        if io.output.is_none() && io.final_state.is_none() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "a run must be given an output or a final state to write, neither was given",
            ));
        }
        let arrays = io
            .arrays()
            .map(|(outside, slice)| {
                let dim = match outside {
                    Outside::Input => [steps, batch, config.input_size],
                    Outside::Output => [steps, batch, config.output_size()],
                    Outside::InitialState | Outside::FinalState => {
                        [config.state_planes(), batch, config.hidden_size]
                    }
                };
                bound(context, outside, dim, slice)
            })
            .collect::<Result<Vec<_>>>()?;
        for (index, written) in arrays.iter().enumerate() {
            if matches!(written.outside, Outside::Input | Outside::InitialState) {
                continue;
            }
            let others = arrays.iter().enumerate().filter(|(other, _)| *other != index);
            for (_, other) in others {
                check_apart(written, other)?;
            }
        }
        let first = |outside| arrays.iter().find(|a| a.outside == outside).map(|a| a.first);
        let places = Places {
            input: first(Outside::Input).unwrap_or(0),
            output: first(Outside::Output),
            initial_state: first(Outside::InitialState),
            final_state: first(Outside::FinalState),
            batch_first: io.batch_first,
        };
        Ok(Self { arrays, places })
    }
}

pub(super) fn name(outside: Outside) -> &'static str {
    match outside {
        Outside::Input => "the input buffer",
        Outside::Output => "the output buffer",
        Outside::InitialState => "the initial state's buffer",
        Outside::FinalState => "the final state's buffer",
    }
}

fn bound(
    context: &GpuContext,
    outside: Outside,
    dim: [usize; 3],
    slice: wgpu::BufferSlice<'_>,
) -> Result<Bound> {
    let (buffer, offset) = (slice.buffer(), slice.offset());
    let wrong = |kind, message: String| Err(Error::new(kind, message));
    let what = name(outside);
    let needed = 4 * checked_product(what, &dim)? as u64;
    if slice.size() < needed {
        return wrong(
            ErrorKind::InvalidShape,
            format!(
                "{what} must hold {dim:?} values, {needed} bytes; its slice of {} bytes is too \
                 small",
                slice.size()
            ),
        );
    }
    if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return wrong(
            ErrorKind::InvalidRequest,
            format!("{what} must have the usage STORAGE, it has {:?}", buffer.usage()),
        );
    }
    if !offset.is_multiple_of(4) {
        return wrong(
            ErrorKind::InvalidRequest,
            format!("{what} must begin at a multiple of 4 bytes, its slice begins at {offset}"),
        );
    }
    let alignment =
        u64::from(context.inner.device.limits().min_storage_buffer_offset_alignment).max(4);
    let aligned = offset - offset % alignment;
    let size = if needed == 0 { 0 } else { offset - aligned + needed };
    let most = context.capabilities().max_storage_binding.min(4 * u64::from(u32::MAX));
    if size > most {
        return wrong(
            ErrorKind::ExceedsLimits,
            format!(
                "{what}: {dim:?} values take a binding of {size} bytes, the device binds {most} \
                 at most: cut the run"
            ),
        );
    }
    let first = u32::try_from((offset - aligned) / 4).expect("an alignment is small");
    let range = offset..offset + needed;
    Ok(Bound { outside, buffer: buffer.clone(), offset: aligned, size, first, range })
}

fn check_apart(written: &Bound, other: &Bound) -> Result<()> {
    let (a, b) = (&written.range, &other.range);
    let apart = a.is_empty() || b.is_empty() || a.end <= b.start || b.end <= a.start;
    // Each row's state is read before its own is written.
    let in_place =
        [written.outside, other.outside] == [Outside::FinalState, Outside::InitialState] && a == b;
    if apart || in_place || written.buffer != other.buffer {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidRequest,
        format!(
            "{}, bytes {}..{}, overlaps {}, bytes {}..{}",
            name(written.outside),
            a.start,
            a.end,
            name(other.outside),
            b.start,
            b.end
        ),
    ))
}
