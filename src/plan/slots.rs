//! Resident states of streams: where they lie, and the dispatches that move them in and out of a
//! tile.

use std::ops::Range;

use super::{ArenaLayout, Capabilities, Plan};
use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{ExchangeRecord, Kernel, NOWHERE, Variant, quads};
use crate::precision::Precision;

/// Words from one record of the list to the next: storage bindings begin at multiples of 256
/// bytes on every device.
const RECORD_STRIDE: usize = 64;

/// The buffers of resident states: `[place][layer][unit]` vec4s. A slot has two places: a call
/// reads one and writes the other, so that a call that does not end changes no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotLayout {
    /// vec4s of one layer's state.
    pub(crate) units: u64,
    pub(crate) layers: usize,
    slots: usize,
}

impl SlotLayout {
    pub(crate) fn new(
        config: &GruConfig,
        slots: usize,
        capabilities: &Capabilities,
    ) -> Result<Self> {
        let units = quads(config.hidden_size) as u64;
        let layout = Self { units, layers: config.num_layers, slots };
        let limit = capabilities.max_storage_binding.min(capabilities.max_buffer);
        let slot_bytes = layout.place_bytes().saturating_mul(2);
        // The kernel indexes vec4s with 32 bits, and places with 31.
        let most = (limit.min(1 << 35) / slot_bytes).min((1 << 30) - 1);
        if slots as u64 > most {
            return Err(Error::new(
                ErrorKind::ExceedsLimits,
                format!(
                    "{slots} slots of {slot_bytes} bytes lie in one binding, the device binds \
                     {limit} bytes at most: {most} slots are possible"
                ),
            ));
        }
        Ok(layout)
    }

    /// vec4s of a place.
    pub(crate) fn place(&self) -> u64 {
        self.units.saturating_mul(self.layers as u64)
    }

    pub(crate) fn place_bytes(&self) -> u64 {
        self.place().saturating_mul(16)
    }

    pub(crate) fn bytes(&self) -> u64 {
        2 * self.slots as u64 * self.place_bytes()
    }
}

/// One dispatch of `slot_exchange`: all layers of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotExchange {
    pub(crate) arena: usize,
    pub(crate) record: ExchangeRecord,
    pub(crate) grid: [u32; 3],
}

/// The list that goes up with a tile: one record a dispatch, then two words a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotList {
    records: usize,
}

impl SlotList {
    /// A load and a store for each of `arenas`.
    pub(crate) fn new(arenas: usize) -> Self {
        Self { records: 2 * arenas }
    }

    /// Bytes of a list for tiles of up to `rows` rows.
    pub(crate) fn bytes(self, rows: usize) -> u64 {
        4 * (RECORD_STRIDE as u64 * self.records as u64 + 2 * rows as u64)
    }

    /// Byte at which the record of an arena's load or store begins.
    pub(crate) fn record(self, arena: usize, store: bool) -> u64 {
        4 * (RECORD_STRIDE * Self::index(arena, store)) as u64
    }

    fn index(arena: usize, store: bool) -> usize {
        2 * arena + usize::from(store)
    }

    /// The words of `exchanges` and of the rows, each `(place read, place written)`; `None` is
    /// zeros, and nothing.
    pub(crate) fn words(
        self,
        exchanges: &[SlotExchange],
        rows: impl Iterator<Item = (Option<u32>, Option<(u32, usize)>)>,
    ) -> Vec<u32> {
        let mut words = vec![0; RECORD_STRIDE * self.records];
        for exchange in exchanges {
            let at = RECORD_STRIDE * Self::index(exchange.arena, exchange.record.store);
            let first = words.len() - at - ExchangeRecord::WORDS;
            let first = u32::try_from(first).expect("a few records");
            let record = ExchangeRecord { first, ..exchange.record };
            words[at..at + ExchangeRecord::WORDS].copy_from_slice(&record.words());
        }
        for (read, written) in rows {
            let odd = |parity: usize| u32::from(parity % 2 == 1);
            words.push(read.unwrap_or(NOWHERE));
            words.push(written.map_or(NOWHERE, |(place, parity)| 2 * place + odd(parity)));
        }
        words
    }
}

impl Plan {
    /// The dispatches that bring the states of the tile `rows` in, or take them out.
    pub(crate) fn slot_exchanges(&self, rows: &Range<usize>, store: bool) -> Vec<SlotExchange> {
        let units = quads(self.config.hidden_size);
        let layout = ArenaLayout::new(self);
        let (layers, arenas) = (self.config.num_layers, self.memory.arenas);
        let word = |v: u64| u32::try_from(v).expect("the plan keeps offsets below 2^32");
        let block_rows = self.geometry.step_rows * self.geometry.step_groups;
        let blocks = units.div_ceil(self.geometry.lanes as usize);
        (0..arenas.min(layers))
            .map(|first| {
                let of_arena = (first..layers)
                    .filter(|l| self.memory.arena_of(*l) == self.memory.arena_of(first));
                SlotExchange {
                    arena: self.memory.arena_of(first),
                    record: ExchangeRecord {
                        store,
                        rows: word(rows.len() as u64),
                        unit_quads: word(units as u64),
                        state: word(layout.state(first, 0)),
                        state_stride: word(layout.state_stride),
                        layer_stride: word(layout.state(arenas, 0)),
                        plane: word((first * units) as u64),
                        plane_stride: word((arenas * units) as u64),
                        place_stride: word((layers * units) as u64),
                        first: 0,
                    },
                    grid: [
                        word(blocks as u64),
                        word((rows.len() as u64).div_ceil(u64::from(block_rows))),
                        word(of_arena.count() as u64),
                    ],
                }
            })
            .collect()
    }

    /// The kernel of [`slot_exchanges`](Self::slot_exchanges).
    pub(crate) fn slot_variant(&self) -> Variant {
        Variant {
            kernel: Kernel::SlotExchange,
            precision: Precision::F32,
            lanes: self.geometry.lanes,
            row_groups: self.geometry.step_groups,
            rows: self.geometry.step_rows,
            cells: 1,
            wavefront: false,
            standard_cell: true,
            immediates: false,
            resident: None,
            tiles: None,
        }
    }
}
