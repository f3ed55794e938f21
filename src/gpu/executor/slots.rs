//! Tiles whose states come from the slots of streams and go back there.

use std::ops::Range;
use std::sync::Arc;

use super::Recorder;
use crate::error::Result;
use crate::gpu::dispatch::Told;
use crate::gpu::slots::SlotRows;
use crate::kernels::Kernel;

impl Recorder<'_, '_, '_> {
    /// Uploads where the states of `rows` lie, and brings them in.
    pub(super) async fn load_slots(
        &mut self,
        slots: SlotRows<'_>,
        rows: &Range<usize>,
    ) -> Result<()> {
        let words = slots.words(&self.plan, rows);
        let list = slots.list().clone();
        self.upload_bytes(&list, 0, bytemuck::cast_slice(&words)).await?;
        self.exchange(slots, rows, false)
    }

    /// Takes the final states of `rows` to their slots' other places.
    pub(super) fn exchange(
        &mut self,
        slots: SlotRows<'_>,
        rows: &Range<usize>,
        store: bool,
    ) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        for exchange in plan.slot_exchanges(rows, store) {
            self.begin_pass(Kernel::SlotExchange)?;
            let pass = self.pass.as_mut().expect("the pass was begun above");
            self.told = Told::default();
            pass.set_pipeline(slots.pipeline());
            pass.set_bind_group(0, slots.bind_group(exchange.arena, store), &[]);
            let [x, y, z] = exchange.grid;
            pass.dispatch_workgroups(x, y, z);
            self.recorded += 1;
        }
        Ok(())
    }
}
