//! A network on a device, ready to run.

use std::sync::Arc;

use ndarray::{Array3, ArrayView3};
use wgpu::SubmissionIndex; // interop

use crate::cache::Cache;
use crate::cpu::{CpuModel, CpuSession};
use crate::device::{Device, DeviceKind};
use crate::error::{Error, ErrorKind, Result};
use crate::gpu::{BufferIo, DeviceTimes, GpuSession, PreparedRun};
use crate::model::Gru;
use crate::operands;
use crate::plan::{KernelFamily, Plan, PlanOptions, human_bytes};
use crate::precision::Precision;
use crate::reference::{self, Arithmetic, Verification};
use crate::sequence::{Inputs, Output, OutputViews, zeroed};
use crate::shape::SequenceShape;
use crate::tune::{self, Tuning};

/// A network on a device with every buffer that runs of up to one shape need.
///
/// Made by [`Gru::session`]. One thread at a time runs a session; any number of sessions share a
/// [`Gru`]. Runs of shapes that were seen before allocate no GPU object.
#[derive(Debug)]
pub struct Session {
    pub(crate) gru: Gru,
    shape: SequenceShape,
    precision: Precision,
    device: Device,
    tuning: Option<Tuning>,
    pub(crate) engine: Engine,
}

#[derive(Debug)]
pub(crate) enum Engine {
    Gpu(Box<GpuSession>),
    Cpu(Arc<CpuModel>, Box<CpuSession>),
    Reference,
}

impl Gru {
    /// This network on `device`, for runs of up to `shape`, with default options.
    ///
    /// # Errors
    /// Those of [`session_with`](Self::session_with).
    pub fn session(&self, device: &Device, shape: SequenceShape) -> Result<Session> {
        self.session_with(device, shape, &PlanOptions::default())
    }

    /// This network on `device`, for runs of up to `shape`.
    ///
    /// # Errors
    /// Those of [`Plan::new`]; [`ErrorKind::OutOfMemory`] where the device cannot hold it;
    /// [`ErrorKind::InvalidWeights`] for a weight that overflows f16;
    /// [`ErrorKind::InvalidRequest`] for a zero option, and for f16, a memory budget, a kernel
    /// family, a wavefront or tuning on a device that is no GPU (chunks and tiles change no result
    /// and are ignored there).
    pub fn session_with(
        &self,
        device: &Device,
        shape: SequenceShape,
        options: &PlanOptions,
    ) -> Result<Session> {
        if device.is_auto() {
            let choice = device.choose(self, shape, options)?;
            return self.session_with(&choice.device, shape, options);
        }
        options.validate()?;
        if device.gpu_context().is_none()
            && let Some(what) = options.of_gpus()
        {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("{what} needs a GPU, the device is the {device}"),
            ));
        }
        let mut tuning = None;
        let engine = match &device.kind {
            DeviceKind::Gpu(context) => {
                let session = match options.tune {
                    Some(limit) => {
                        // Tests neither read nor leave measurements in the user's cache.
                        let cache = if cfg!(test) { Cache::off() } else { Cache::open() };
                        let tuned = tune::session(context, self, shape, options, limit, &cache)?;
                        tuning = tuned.1;
                        tuned.0
                    }
                    None => GpuSession::new(context, self, shape, options)?,
                };
                Engine::Gpu(Box::new(session))
            }
            DeviceKind::Cpu { threads } => {
                let model = Arc::new(CpuModel::new(self)?);
                let session = CpuSession::new(Arc::clone(&model), *threads);
                Engine::Cpu(model, Box::new(session))
            }
            DeviceKind::Reference => Engine::Reference,
        };
        Ok(Session {
            gru: self.clone(),
            shape,
            precision: options.precision,
            device: device.clone(),
            tuning,
            engine,
        })
    }
}

impl Session {
    /// Runs sequences `[T, B, I]` from a zero state.
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with).
    pub fn run(&mut self, input: ArrayView3<'_, f32>) -> Result<Output> {
        self.run_with(&Inputs::new(input))
    }

    /// Runs `inputs` and waits for the result.
    ///
    /// # Errors
    /// Those of [`Inputs::validate`]; [`ErrorKind::InvalidShape`] where the run is longer or
    /// wider than the session; [`ErrorKind::InvalidRequest`] for a finite input that is read, or
    /// a finite initial state, that overflows f16 where the kernels are
    /// [`KernelFamily::Matrix`]; [`ErrorKind::DeviceLost`] or [`ErrorKind::OutOfMemory`] where the
    /// device fails.
    pub fn run_with(&mut self, inputs: &Inputs<'_, f32>) -> Result<Output> {
        let shape = self.check(inputs)?;
        let mut output = Output::zeros(self.gru.config(), shape, inputs.batch_first)?;
        let mut views = output.views(inputs.batch_first);
        self.run_views(inputs, &mut views)?;
        Ok(output)
    }

    /// [`run_with`](Self::run_with) into the arrays of an earlier run, which saves making them, and
    /// clearing them unless the run has lengths; arrays of other shapes than the run's are replaced. After
    /// an error their values are of no use.
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with).
    pub fn run_into(&mut self, inputs: &Inputs<'_, f32>, output: &mut Output) -> Result<()> {
        let shape = self.check(inputs)?;
        if output.is_for(self.gru.config(), shape, inputs.batch_first) {
            // A run of whole rows writes every value.
            if inputs.lengths.is_some() || shape.steps == 0 || shape.batch == 0 {
                output.hidden_states.fill(0.0);
                output.final_state.fill(0.0);
            }
        } else {
            *output = Output::zeros(self.gru.config(), shape, inputs.batch_first)?;
        }
        self.run_views(inputs, &mut output.views(inputs.batch_first))
    }

    /// [`run_with`](Self::run_with) as a future. On a GPU it runs under any executor and does
    /// not block it: waiting happens on a thread of the device's context. The CPU engine and the
    /// reference compute on the polling thread. Dropping the future abandons the run; the
    /// session stays usable.
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with).
    pub async fn run_async(&mut self, inputs: &Inputs<'_, f32>) -> Result<Output> {
        let shape = self.check(inputs)?;
        let mut output = Output::zeros(self.gru.config(), shape, inputs.batch_first)?;
        let mut views = output.views(inputs.batch_first);
        match &mut self.engine {
            Engine::Gpu(gpu) if shape.steps > 0 && shape.batch > 0 => {
                gpu.run_async(&inputs.time_major(), &mut views).await?;
            }
            _ => self.run_views(inputs, &mut views)?,
        }
        drop(views);
        Ok(output)
    }

    /// [`run_with`](Self::run_with), timed by the device's own clock: `None` where the device has
    /// none or is no GPU. The results are the same; reading the clock takes time and creates GPU
    /// objects.
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with).
    pub fn run_timed(&mut self, inputs: &Inputs<'_, f32>) -> Result<(Output, Option<DeviceTimes>)> {
        let shape = self.check(inputs)?;
        let mut output = Output::zeros(self.gru.config(), shape, inputs.batch_first)?;
        let mut views = output.views(inputs.batch_first);
        let times = match &mut self.engine {
            Engine::Gpu(gpu) if shape.steps > 0 && shape.batch > 0 => {
                gpu.run_timed(&inputs.time_major(), &mut views)?
            }
            _ => {
                self.run_views(inputs, &mut views)?;
                None
            }
        };
        drop(views);
        Ok((output, times))
    }

    /// Runs `inputs` and also returns the states of every layer, one `[T, B, D*H]` a layer,
    /// time-major: what [`verify`](reference::verify) wants.
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with).
    pub fn run_layers(&mut self, inputs: &Inputs<'_, f32>) -> Result<(Output, Vec<Array3<f32>>)> {
        let shape = self.check(inputs)?;
        let config = self.gru.config();
        let mut output = Output::zeros(config, shape, inputs.batch_first)?;
        let dim = [shape.steps, shape.batch, config.output_size()];
        let layers = (0..config.num_layers).map(|_| zeroed("the states of a layer", dim));
        let mut layers: Vec<Array3<f32>> = layers.collect::<Result<_>>()?;
        let mut views = output.views(inputs.batch_first);
        views.layers = layers.iter_mut().map(|l| l.view_mut()).collect();
        self.run_views(inputs, &mut views)?;
        drop(views);
        Ok((output, layers))
    }

    /// Runs `inputs` and checks every step of every layer against the f64 reference, restarted
    /// from this device's own previous state, within a bound derived from the operands.
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with). A mismatch is no error: see
    /// [`Verification::passed`].
    pub fn verify(&mut self, inputs: &Inputs<'_, f32>) -> Result<Verification> {
        let (output, layers) = self.run_layers(inputs)?;
        let layers: Vec<_> = layers.iter().map(|l| l.view()).collect();
        let (config, weights) = (self.gru.config(), self.gru.weights());
        let arithmetic = self.arithmetic();
        reference::verify(config, weights, inputs, &layers, output.final_state.view(), &arithmetic)
    }

    /// How the device rounds: what [`reference::verify`] wants to know of a run.
    pub fn arithmetic(&self) -> Arithmetic {
        match self.precision {
            Precision::F32 => Arithmetic::f32(),
            Precision::F16 if self.has_half_operands() => Arithmetic::f16_operands(),
            Precision::F16 => Arithmetic::f16_weights(),
        }
    }

    /// Whether what is multiplied with weights is rounded to f16.
    pub(crate) fn has_half_operands(&self) -> bool {
        self.plan().is_some_and(|plan| plan.family() == KernelFamily::Matrix)
    }

    /// The largest shape that the session runs.
    pub fn shape(&self) -> SequenceShape {
        self.shape
    }

    /// The precision of stored weights.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The network.
    pub fn gru(&self) -> &Gru {
        &self.gru
    }

    /// The plan of the last run (before the first: of the largest shape), where the device is a
    /// GPU.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.engine {
            Engine::Gpu(gpu) => Some(gpu.plan()),
            _ => None,
        }
    }

    /// How the session came to its kernels, where [`PlanOptions::tune`] asked for measurements; `None`
    /// also where its largest shape is empty, so that nothing can be measured.
    pub fn tuning(&self) -> Option<&Tuning> {
        self.tuning.as_ref()
    }

    /// Bytes of device memory that the session holds, its copy of the weights included; 0 where
    /// the device is no GPU.
    pub fn device_bytes(&self) -> u64 {
        match &self.engine {
            Engine::Gpu(gpu) => gpu.device_bytes(),
            _ => 0,
        }
    }

    /// What runs the network, in a line: the adapter; or the instruction set, threads and packed
    /// weights of the CPU engine.
    pub fn engine(&self) -> String {
        match &self.engine {
            Engine::Gpu(_) | Engine::Reference => self.device.to_string(),
            Engine::Cpu(model, cpu) => format!(
                "CPU engine: {}, up to {} threads, {} of packed weights",
                model.instruction_set(),
                cpu.threads(),
                human_bytes(model.weight_bytes() as u64)
            ),
        }
    }

    /// Prepares a run on arrays in the caller's buffers: checks and plans it, and makes every
    /// object of it, so that [`PreparedRun::encode`] only records. Lengths and resets are copied
    /// now, the arrays are read when the commands run. The device is not waited for.
    ///
    /// Nobody looks at the values: where the kernels are [`KernelFamily::Matrix`], finite inputs and
    /// states from 65520 on are infinities in the products.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where the session's device is not one that was made by
    /// [`Device::from_wgpu`], and for a buffer without the usage STORAGE, of another device of
    /// the same wgpu instance (another instance's cannot be told apart: do not pass them), at a
    /// misaligned offset, or that overlaps another;
    /// [`ErrorKind::InvalidShape`] for a slice that is too small, lengths or a mask that do not
    /// fit, and a run that is longer or wider than the session; [`ErrorKind::ExceedsLimits`] for
    /// an array that exceeds the device's largest binding, and where the session keeps sequences
    /// between layers in host memory (see [`PlanOptions::on_device`]).
    pub fn prepare(&self, io: &BufferIo<'_>) -> Result<PreparedRun> {
        self.check_size(io.shape())?;
        match &self.engine {
            Engine::Gpu(gpu) => gpu.prepare_buffers(io),
            _ => Err(self.no_buffers()),
        }
    }

    /// Runs on arrays in the caller's buffers: prepares the run and submits it, in pieces as host
    /// runs are, after what the caller has submitted to the queue. Returns without waiting for the
    /// end, which is that of the submission returned.
    ///
    /// # Errors
    /// Those of [`prepare`](Self::prepare); [`ErrorKind::DeviceLost`] or
    /// [`ErrorKind::OutOfMemory`] where the device fails.
    pub fn run_buffers(&mut self, io: &BufferIo<'_>) -> Result<SubmissionIndex> {
        self.check_size(io.shape())?;
        match &mut self.engine {
            Engine::Gpu(gpu) => gpu.run_buffers(io),
            _ => Err(self.no_buffers()),
        }
    }

    fn no_buffers(&self) -> Error {
        Error::new(
            ErrorKind::InvalidRequest,
            format!("runs on a caller's buffers need a GPU, the device is the {}", self.device),
        )
    }

    /// The shape of the run, after every check that needs no device.
    pub(crate) fn check(&self, inputs: &Inputs<'_, f32>) -> Result<SequenceShape> {
        let shape = inputs.validate(self.gru.config())?;
        self.check_size(shape)?;
        if self.has_half_operands() {
            operands::check_inputs(inputs)?;
        }
        Ok(shape)
    }

    /// Checks that the session was made for runs of `shape`.
    pub(crate) fn check_size(&self, shape: SequenceShape) -> Result<()> {
        if shape.steps > self.shape.steps || shape.batch > self.shape.batch {
            return Err(Error::new(
                ErrorKind::InvalidShape,
                format!("the session was made for up to {}, the run has {shape}", self.shape),
            ));
        }
        Ok(())
    }

    /// Runs checked inputs on the engine.
    fn run_views(
        &mut self,
        inputs: &Inputs<'_, f32>,
        out: &mut OutputViews<'_, f32>,
    ) -> Result<()> {
        let inputs = inputs.time_major();
        let SequenceShape { steps, batch } = inputs.shape();
        if steps == 0 || batch == 0 {
            if let Some(state) = &inputs.initial_state {
                out.final_state.assign(state);
            }
            return Ok(());
        }
        match &mut self.engine {
            Engine::Gpu(gpu) => gpu.run(&inputs, out),
            Engine::Cpu(_, cpu) => cpu.run(&inputs, out),
            Engine::Reference => run_reference(&self.gru, &inputs, out),
        }
    }
}

/// The f64 reference on f32 inputs, its results rounded to f32.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the contract")]
fn run_reference(
    gru: &Gru,
    inputs: &Inputs<'_, f32>,
    out: &mut OutputViews<'_, f32>,
) -> Result<()> {
    let input = inputs.input.mapv(f64::from);
    let state = inputs.initial_state.map(|s| s.mapv(f64::from));
    let inputs = Inputs {
        input: input.view(),
        initial_state: state.as_ref().map(|s| s.view()),
        lengths: inputs.lengths,
        reset_mask: inputs.reset_mask,
        batch_first: false,
    };
    let (output, layers) = reference::forward_layers(gru.config(), gru.weights(), &inputs)?;
    out.hidden_states.assign(&output.hidden_states.mapv(|v| v as f32));
    out.final_state.assign(&output.final_state.mapv(|v| v as f32));
    for (to, from) in out.layers.iter_mut().zip(layers) {
        to.assign(&from.mapv(|v| v as f32));
    }
    Ok(())
}
