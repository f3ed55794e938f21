//! Runs of a packed model: layers in order, each spread over threads.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut3, Axis, s};
use rayon_core::{ThreadPool, ThreadPoolBuilder};

use crate::config::GruConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sequence::{Inputs, OutputViews};
use crate::shape::checked_product;

use super::pack::CpuModel;
use super::part::{Part, Scratch, block_rows};
use super::places::Places;
use super::split::Split;
use super::team::{Member, Team};

/// How many layers run without teams after a team was too slow: doubled each time.
const ALONE: Range<u32> = 4..64;

/// Runs a [`CpuModel`]; owns the threads and all working memory.
///
/// A run's results do not depend on the number of threads. Threads sleep between runs.
#[derive(Debug)]
pub(crate) struct CpuSession {
    model: Arc<CpuModel>,
    threads: usize,
    /// Helpers of the calling thread, started by the first run that needs them.
    pool: Option<ThreadPool>,
    places: Places,
    scratch: Vec<Scratch>,
    teams: Vec<Team>,
    /// Layers to run before the next team is tried, after one was slower than a thread alone.
    alone: u32,
    /// What `alone` is set to next time.
    next_alone: u32,
    /// Which end of its weights the next run begins at: the one where the last run has ended.
    backward: bool,
    /// States of the layer below and of the layer that runs, `[T, B, D*H]`.
    between: [Vec<f32>; 2],
    /// A split other than the planned one.
    #[cfg(test)]
    pub(super) forced: Option<Split>,
    /// So many teams stop after their first step.
    #[cfg(test)]
    pub(super) stop_teams: usize,
    #[cfg(test)]
    pub(super) forced_window: Option<usize>,
}

/// One layer of a run.
struct Layer<'a, 'i> {
    index: usize,
    /// As [`Part::backward`].
    backward: bool,
    inputs: &'a Inputs<'i, f32>,
    /// What the layer reads, `[T, B, K]`.
    input: ArrayView3<'a, f32>,
    /// `[T, B, D*H]`.
    out: ArrayViewMut3<'a, f32>,
    /// `[D, B, H]`.
    last: ArrayViewMut3<'a, f32>,
}

impl CpuSession {
    /// A session of at most `threads` threads; by default one a core.
    pub(crate) fn new(model: Arc<CpuModel>, threads: Option<NonZeroUsize>) -> Self {
        let threads = threads
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        Self {
            model,
            threads,
            pool: None,
            places: Places::default(),
            scratch: Vec::new(),
            teams: Vec::new(),
            alone: 0,
            next_alone: ALONE.start,
            backward: false,
            between: Default::default(),
            #[cfg(test)]
            forced: None,
            #[cfg(test)]
            stop_teams: 0,
            #[cfg(test)]
            forced_window: None,
        }
    }

    pub(super) fn config(&self) -> &GruConfig {
        &self.model.config
    }

    /// Most threads that a run takes.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Computes one window of a run: as [`run`](Self::run), all layers after each other.
    pub(super) fn run_window(
        &mut self,
        inputs: &Inputs<'_, f32>,
        out: &mut OutputViews<'_, f32>,
    ) -> Result<()> {
        let model = self.model.clone();
        let shape = inputs.shape();
        let directions = model.config.num_directions();
        let layers = model.config.num_layers;
        let dim = (shape.steps, shape.batch, model.config.output_size());
        let keep = !out.layers.is_empty();
        if layers > 1 && !keep {
            let size = checked_product("the states between layers", &[dim.0, dim.1, dim.2])?;
            // Two layers need one of them, the one that the first writes.
            for buffer in self.between.iter_mut().rev().take(layers - 1) {
                reserve(buffer, size)?;
            }
        }
        let [mut below, mut above] = std::mem::take(&mut self.between);
        for index in 0..layers {
            let size = dim.0 * dim.1 * dim.2;
            let last =
                out.final_state.slice_mut(s![index * directions..(index + 1) * directions, .., ..]);
            let (done, rest) = out.layers.split_at_mut(if keep { index } else { 0 });
            let input = match (index, done.last()) {
                (0, _) => inputs.input,
                (_, Some(kept)) => kept.view(),
                (_, None) => view(dim, &below[..size]),
            };
            let sink = match rest.first_mut() {
                Some(kept) => kept.view_mut(),
                None if index + 1 == layers => out.hidden_states.view_mut(),
                None => ArrayViewMut3::from_shape(dim, &mut above[..size])
                    .expect("the slice has the size of the shape"),
            };
            let backward = self.backward;
            self.run_layer(&model, Layer { index, backward, inputs, input, out: sink, last })?;
            std::mem::swap(&mut below, &mut above);
        }
        if let Some(kept) = out.layers.last() {
            out.hidden_states.assign(kept);
        }
        self.between = [below, above];
        self.backward ^= shape.steps % 2 == 1;
        Ok(())
    }

    fn split(&self, model: &CpuModel, layer: &Layer<'_, '_>) -> Split {
        let split = self.wanted_split(model, layer);
        // A team that stops has one block of rows under way; groups of rows of unequal lengths may
        // hold more rows than their share.
        let block = block_rows(model, model.panels);
        let large = || row_bounds(layer.inputs, split.rows).iter().any(|g| g.len() > block);
        if split.units > 1 && large() { Split { units: 1, ..split } } else { split }
    }

    fn wanted_split(&self, model: &CpuModel, layer: &Layer<'_, '_>) -> Split {
        #[cfg(test)]
        if let Some(split) = self.forced {
            return split;
        }
        let features = model.config.layer_input_size(layer.index);
        let teams = self.alone == 0;
        Split::choose(model, features, layer.inputs.shape(), self.threads, teams)
    }

    fn run_layer(&mut self, model: &CpuModel, mut layer: Layer<'_, '_>) -> Result<()> {
        let split = self.split(model, &layer);
        self.alone = self.alone.saturating_sub(1);
        let threads = split.threads();
        self.scratch.resize_with(self.scratch.len().max(threads), Scratch::default);
        if threads == 1 {
            for direction in 0..model.config.num_directions() {
                layer.whole(model, direction).run(model, &mut self.scratch[0]);
            }
            return Ok(());
        }
        let mut teams = std::mem::take(&mut self.teams);
        prepare_teams(&mut teams, model, split, layer.inputs.shape().batch);
        #[cfg(test)]
        teams.iter().take(self.stop_teams).for_each(Team::stop);
        let pool = self.pool(threads - 1)?;
        let parts = layer.reborrow().cut(model, split, &teams, &[]);
        run_parts(&pool, &mut self.places, model, parts, self.scratch.iter_mut());
        let stopped: Vec<usize> =
            teams.iter_mut().map(|team| team.stopped().unwrap_or(usize::MAX)).collect();
        if stopped.iter().any(|steps| *steps < usize::MAX) {
            let alone = Split { units: 1, ..split };
            let parts = layer.cut(model, alone, &[], &stopped);
            // The first member of each team has the states.
            run_parts(
                &pool,
                &mut self.places,
                model,
                parts,
                self.scratch.iter_mut().step_by(split.units),
            );
            self.alone = self.next_alone;
            self.next_alone = (2 * self.next_alone).min(ALONE.end);
        } else if !teams.is_empty() {
            self.next_alone = ALONE.start;
        }
        self.pool = Some(pool);
        self.teams = teams;
        Ok(())
    }

    /// The pool, with at least `helpers` threads.
    fn pool(&mut self, helpers: usize) -> Result<ThreadPool> {
        if let Some(pool) = self.pool.take().filter(|p| p.current_num_threads() >= helpers) {
            return Ok(pool);
        }
        let helpers = helpers.max(self.threads - 1);
        ThreadPoolBuilder::new()
            .num_threads(helpers)
            .thread_name(|i| format!("wgru-cpu-{}", i + 1))
            .build()
            .map_err(|e| {
                let message = format!("the CPU engine cannot start {helpers} threads: {e}");
                Error::with_source(ErrorKind::OutOfMemory, message, e)
            })
    }
}

impl<'a, 'i: 'a> Layer<'a, 'i> {
    /// The same layer for a shorter time: array views do not shorten by themselves.
    fn reborrow<'b>(&'b mut self) -> Layer<'b, 'i> {
        Layer {
            index: self.index,
            backward: self.backward,
            inputs: self.inputs,
            input: self.input.reborrow(),
            out: self.out.view_mut(),
            last: self.last.view_mut(),
        }
    }

    fn initial(&self, plane: usize) -> Option<ArrayView2<'a, f32>> {
        self.inputs.initial_state.map(|h| h.index_axis_move(Axis(0), plane).reborrow())
    }

    /// All rows and units of one direction.
    fn whole(&mut self, model: &CpuModel, direction: usize) -> Part<'_> {
        let hidden = model.config.hidden_size;
        let plane = self.index * model.config.num_directions() + direction;
        Part {
            layer: self.index,
            direction,
            input: self.input.reborrow(),
            initial: self.initial(plane).map(|h| h.reborrow()),
            lengths: self.inputs.lengths,
            mask: self.inputs.reset_mask.map(|m| m.reborrow()),
            panels: 0..model.panels,
            backward: self.backward,
            from: 0,
            member: None,
            out: self.out.slice_mut(s![.., .., direction * hidden..(direction + 1) * hidden]),
            last: self.last.index_axis_mut(Axis(0), direction),
        }
    }

    /// What each thread computes, one part after the other.
    ///
    /// `from` is, for each group of rows and direction, the number of steps that are done
    /// already; empty is none.
    fn cut(
        self,
        model: &CpuModel,
        split: Split,
        teams: &'a [Team],
        from: &[usize],
    ) -> Vec<Vec<Part<'a>>> {
        let (directions, hidden) = (model.config.num_directions(), model.config.hidden_size);
        let bounds = row_bounds(self.inputs, split.rows);
        let panels = panel_ranges(model, split.units);
        let mut work: Vec<Vec<Part<'a>>> = (0..split.threads()).map(|_| Vec::new()).collect();
        let (mut all_out, mut all_last) = (self.out, self.last);
        for direction in 0..directions {
            let (mut out, rest) = all_out.split_at(Axis(2), hidden);
            all_out = rest;
            let (last, rest) = all_last.split_at(Axis(0), 1);
            all_last = rest;
            let mut last = last.index_axis_move(Axis(0), 0);
            let plane = self.index * directions + direction;
            let initial = self.inputs.initial_state.map(|h| h.index_axis_move(Axis(0), plane));
            for (group, rows) in bounds.iter().enumerate() {
                let (mut group_out, rest) = out.split_at(Axis(1), rows.len());
                out = rest;
                let (mut group_last, rest) = last.split_at(Axis(0), rows.len());
                last = rest;
                for (unit, panels) in panels.iter().enumerate() {
                    let units = units_of(model, panels).len();
                    let (part_out, rest) = group_out.split_at(Axis(2), units);
                    group_out = rest;
                    let (part_last, rest) = group_last.split_at(Axis(1), units);
                    group_last = rest;
                    let index = group * directions + direction;
                    let thread = (group * split.directions + direction % split.directions)
                        * split.units
                        + unit;
                    work[thread].push(Part {
                        layer: self.index,
                        direction,
                        input: rows_of(self.input, rows),
                        initial: initial.map(|h| h.slice_move(s![rows.clone(), ..]).reborrow()),
                        lengths: self.inputs.lengths.map(|l| &l[rows.clone()]),
                        mask: self
                            .inputs
                            .reset_mask
                            .map(|m| m.slice_move(s![.., rows.clone()]).reborrow()),
                        panels: panels.clone(),
                        backward: self.backward,
                        from: from.get(index).copied().unwrap_or(0),
                        member: teams.get(index).map(|team| Member::new(team, unit)),
                        out: part_out,
                        last: part_last,
                    });
                }
            }
        }
        work
    }
}

/// Runs `parts[i]` on thread i, thread 0 being the caller.
fn run_parts<'s>(
    pool: &ThreadPool,
    places: &mut Places,
    model: &CpuModel,
    parts: Vec<Vec<Part<'_>>>,
    scratch: impl Iterator<Item = &'s mut Scratch>,
) {
    let work: Vec<_> = parts.into_iter().zip(scratch).map(|task| Mutex::new(Some(task))).collect();
    let run = |index: usize| {
        let task = work[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((parts, scratch)) = task {
            for mut part in parts {
                part.run(model, scratch);
            }
        }
    };
    places.begin();
    let (run, places) = (&run, &*places);
    // The pool has a worker for every part: all run at the same time, as teams need.
    pool.in_place_scope(|scope| {
        for index in 1..work.len() {
            scope.spawn(move |_| {
                places.take(rayon_core::current_thread_index());
                run(index);
            });
        }
        places.make_way();
        run(0);
    });
}

/// Makes `buffer` hold `size` floats at least.
fn reserve(buffer: &mut Vec<f32>, size: usize) -> Result<()> {
    let more = size.saturating_sub(buffer.len());
    buffer.try_reserve_exact(more).map_err(|e| {
        let message = format!("{size} states between layers do not fit into memory");
        Error::with_source(ErrorKind::OutOfMemory, message, e)
    })?;
    buffer.resize(buffer.len() + more, 0.0);
    Ok(())
}

fn view<'a>(dim: (usize, usize, usize), data: &'a [f32]) -> ArrayView3<'a, f32> {
    ArrayView3::from_shape(dim, data).expect("the slice has the size of the shape")
}

fn rows_of<'a>(input: ArrayView3<'a, f32>, rows: &Range<usize>) -> ArrayView3<'a, f32> {
    input.slice_move(s![.., rows.clone(), ..])
}

/// Contiguous groups of rows with about the same number of steps each.
fn row_bounds(inputs: &Inputs<'_, f32>, groups: usize) -> Vec<Range<usize>> {
    let shape = inputs.shape();
    let weight = |row: usize| inputs.lengths.map_or(1, |lengths| lengths[row] + 1);
    let total: usize = (0..shape.batch).map(weight).sum();
    let mut bounds = Vec::with_capacity(groups);
    let (mut row, mut sum) = (0, 0);
    for group in 1..=groups {
        let first = row;
        // Half of a row's weight decides on which side of the border it falls.
        while row < shape.batch
            && (group == groups || 2 * sum + weight(row) <= 2 * total * group / groups)
        {
            sum += weight(row);
            row += 1;
        }
        bounds.push(first..row);
    }
    bounds
}

/// The panels of each of `members` threads; pairs stay together where the model has pairs.
fn panel_ranges(model: &CpuModel, members: usize) -> Vec<Range<usize>> {
    let granule = model.granule();
    let granules = model.panels / granule;
    (0..members)
        .map(|i| i * granules / members * granule..(i + 1) * granules / members * granule)
        .collect()
}

fn units_of(model: &CpuModel, panels: &Range<usize>) -> Range<usize> {
    let unit = |panel: usize| (panel * model.lanes).min(model.config.hidden_size);
    unit(panels.start)..unit(panels.end)
}

/// One team a group of rows and direction, where threads share units.
fn prepare_teams(teams: &mut Vec<Team>, model: &CpuModel, split: Split, batch: usize) {
    if split.units == 1 {
        teams.clear();
        return;
    }
    let units: Vec<_> =
        panel_ranges(model, split.units).iter().map(|panels| units_of(model, panels)).collect();
    let wanted = split.rows * model.config.num_directions();
    if teams.len() != wanted || teams.iter().any(|team| team.units() != units) {
        teams.clear();
        teams.resize_with(wanted, || Team::new(units.clone()));
    }
    let rows = block_rows(model, model.panels).min(batch);
    for team in teams {
        team.reserve(rows);
        team.begin();
    }
}
