//! The CUDA engine: the kernels of `kernels/`, training steps in one persistent kernel or captured in CUDA graphs.
//!
//! The data set lies on the device as bytes, the order of the examples is uploaded with each call, and gathering,
//! normalising, statistics, losses and hits stay there: a call ends with one read of its totals and of the parameters.
//! Every sum has a fixed order, so that one seed gives one set of bits on a device.

mod launch;
mod persistent;
mod ptx;
mod shapes;
mod split;
mod step;

use std::sync::Arc;

use bn_core::lenet::CLASSES;
use cudarc::driver::{CudaGraph, CudaSlice};

use self::launch::Device;
use self::persistent::{Form, Largest};
use self::shapes::{COEFFICIENT_COUNT, PARAMETERS, TOTAL_CORRECT, TOTAL_COUNT, TOTAL_EXAMPLES, TOTAL_LOSS};
use self::split::{DeviceSplit, DeviceSplits};
use self::step::{Batch, Model};
use super::distill::Soft;
use super::steps::{Coefficients, Tensors};
use super::{Engine, Moments, Optimizer, Steps, Totals, initial_parameters};
use crate::data::Split;
use crate::data::augment;
use crate::error::Result;
use crate::model::parameters::{Parameters, Variance};
use crate::network::Network;

pub use persistent::Level;
pub use shapes::definitions;

/// Whether there is a CUDA driver to try. Opening the device may still fail.
pub fn is_present() -> bool {
    launch::is_present()
}

/// The CUDA engine, in f32 on the first device.
pub struct Cuda {
    // Fields are dropped in this order: graphs before the kernels and the memory that they hold on to, which the device has.
    graphs: Option<Graphs>,
    batch: Option<Batch>,
    workspace: Option<persistent::Workspace>,
    splits: DeviceSplits,
    model: Model,
    device: Device,
    level: Level,
    /// The largest batches of the persistent kernel on this device.
    largest: Largest,
    /// The model, as it was set or as the last call left it.
    parameters: Vec<f32>,
    /// Likewise what AdamW remembers, once it has taken a step.
    moments: Option<Moments<f32>>,
    /// LeNet, with the names and the eps of the model.
    network: Arc<Network>,
    variance: Variance,
    /// Whether `parameters` and `moments` still have to go to the device.
    changed: bool,
}

/// What a call's losses are taken against, besides the labels.
#[derive(Default)]
struct Targets<'a> {
    label_smoothing: f64,
    soft: Option<Soft<'a>>,
}

/// Steps of the larger graph. A graph starts some microseconds after the one before it has ended, whatever it holds.
const STEPS_PER_GRAPH: usize = 16;

/// Captured training steps, and what they were captured with: the addresses in them.
struct Graphs {
    one: CudaGraph,
    many: CudaGraph,
    split: u64,
    n: usize,
    optimizer: Optimizer,
}

impl Cuda {
    /// An untrained network: [`initial_parameters`] of that seed.
    ///
    /// # Errors
    /// [`Error::Missing`](crate::Error::Missing) without a driver or a device; [`Error::Tool`](crate::Error::Tool) when the
    /// driver refuses.
    pub fn new(seed: u64, variance: Variance, level: Level) -> Result<Self> {
        let device = Device::open(level.kernels())?;
        let largest = Largest::on(&device)?;
        let model = Model::new(&device)?;
        let mut engine = Self {
            device,
            model,
            splits: DeviceSplits::default(),
            batch: None,
            graphs: None,
            level,
            largest,
            workspace: None,
            parameters: Vec::new(),
            moments: None,
            network: Network::lenet(),
            variance,
            changed: true,
        };
        engine.set_parameters(&initial_parameters(&Network::lenet(), seed, variance));
        Ok(engine)
    }

    /// What the last batch left on the device, by the names and in the shapes of the kernels' headers; nothing before the
    /// first batch. For tests that compare one operation at a time.
    ///
    /// # Errors
    /// [`Error::Tool`](crate::Error::Tool) when the driver refuses.
    pub fn activations(&self) -> Result<Vec<(&'static str, Vec<f32>)>> {
        let tensors = self.batch.iter().flat_map(Batch::tensors);
        tensors.map(|(name, tensor)| self.device.read(tensor).map(|values| (name, values))).collect()
    }

    /// Queues work on a split, `queue`, from the model as it was before the call.
    ///
    /// Whether the split on the device is still what the caller holds is found out while the device works; in the rare case that
    /// it is not, the work is done again.
    fn run_on(&mut self, split: &Split, targets: &Targets<'_>, queue: impl Fn(&mut Self) -> Result<()>) -> Result<()> {
        loop {
            let certain = self.splits.find(&self.device, split)?;
            self.prepare(targets)?;
            queue(self)?;
            if certain || self.splits.newest_is(split) {
                return Ok(());
            }
            self.splits.forget_newest();
            self.changed = true;
        }
    }

    /// Brings what a call needs to the device: the model if it was set anew, the settings, zeroed totals.
    fn prepare(&mut self, targets: &Targets<'_>) -> Result<()> {
        if self.changed {
            self.device.write(&self.parameters, &mut self.model.parameters)?;
            let Moments { first, second } = self.moments.clone().unwrap_or_else(|| Moments::zero(&self.network));
            for (values, to) in [first, second].iter().zip(&mut self.model.moments) {
                self.device.write(&values.concat(), to)?;
            }
            self.changed = false;
        }
        let unbiased = if self.variance == Variance::Unbiased { 1.0 } else { 0.0 };
        let eps = self.network.common_eps().expect("one eps for all layers");
        let (weight, temperature) = targets.soft.map_or((0.0, 1.0), |soft| (soft.weight, soft.temperature));
        let of_loss = [targets.label_smoothing, weight, temperature].map(|number| number as f32);
        self.device.write(&[&[eps, unbiased], of_loss.as_slice()].concat(), &mut self.model.settings)?;
        if let Some(soft) = targets.soft {
            if self.model.teacher.len() < soft.logits.len() {
                self.graphs = None;
                self.model.teacher = self.device.zeros(soft.logits.len())?;
            }
            self.device.write(soft.logits, &mut self.model.teacher)?;
        }
        self.device.write(&[0.0; TOTAL_COUNT], &mut self.model.totals)
    }

    /// Brings the order of the examples to the device, and makes room for batches of `n`. Whatever moves in memory takes
    /// the captured graph with it.
    fn prepare_batches(&mut self, order: &[u32], n: usize) -> Result<()> {
        if self.model.order.len() < order.len() {
            self.graphs = None;
            self.model.order = self.device.zeros(order.len())?;
        }
        self.device.write(order, &mut self.model.order)?;
        self.device.write(&[0], &mut self.model.step)?;
        if self.batch.as_ref().is_none_or(|batch| batch.n != n) {
            self.graphs = None;
            self.batch = None;
            self.batch = Some(Batch::new(&self.device, n)?);
        }
        Ok(())
    }

    /// Brings the numbers of each step to the device.
    fn prepare_steps(&mut self, steps: &Steps<'_>) -> Result<()> {
        let of_step = |i| {
            let Coefficients { rate, decay, root } = steps.coefficients(i);
            [rate, decay, root].map(|number| number as f32)
        };
        let coefficients: Vec<[f32; COEFFICIENT_COUNT]> = (0..steps.lrs.len()).map(of_step).collect();
        let coefficients = coefficients.as_flattened();
        if self.model.coefficients.len() < coefficients.len() {
            self.graphs = None;
            self.model.coefficients = self.device.zeros(coefficients.len())?;
        }
        self.device.write(coefficients, &mut self.model.coefficients)
    }

    /// Queues steps over the order, captured once and then replayed.
    fn queue_steps(&mut self, steps: usize, optimizer: Optimizer) -> Result<()> {
        let Self { device, model, splits, batch, graphs, .. } = self;
        let (batch, split) = (batch.as_ref().expect("the caller has made one"), splits.newest());
        let of_these = |graphs: &Graphs| (graphs.split, graphs.n, graphs.optimizer) == (split.id, batch.n, optimizer);
        let graphs = match graphs.take().filter(of_these) {
            Some(current) => graphs.insert(current),
            None => graphs.insert(Graphs::capture(device, model, batch, (split, optimizer))?),
        };
        (0..steps / STEPS_PER_GRAPH).try_for_each(|_| device.replay(&graphs.many))?;
        (0..steps % STEPS_PER_GRAPH).try_for_each(|_| device.replay(&graphs.one))
    }

    /// Queues steps over the order that lies on the device.
    fn queue(&mut self, steps: &Steps<'_>) -> Result<()> {
        let Steps { batch_size: n, optimizer, .. } = *steps;
        let Some(form) = self.largest.form(self.level, n) else {
            return self.queue_steps(steps.lrs.len(), optimizer);
        };
        let Self { device, model, splits, workspace, .. } = self;
        let steps = persistent::Steps { count: steps.lrs.len(), n, optimizer, form };
        persistent::train(device, model, splits.newest(), workspace, &steps)
    }

    /// Values in the places of the parameters, tensor by tensor.
    fn read_tensors(&self, from: &CudaSlice<f32>) -> Result<Tensors<f32>> {
        let mut rest = self.device.read(from)?.into_iter();
        Ok(self.network.parameters().iter().map(|p| rest.by_ref().take(p.dims.len()).collect()).collect())
    }

    fn totals(&self) -> Result<Totals> {
        let totals = self.device.read(&self.model.totals)?;
        Ok(Totals {
            examples: totals[TOTAL_EXAMPLES] as usize,
            loss: totals[TOTAL_LOSS],
            correct: totals[TOTAL_CORRECT] as usize,
        })
    }
}

impl Engine for Cuda {
    fn name(&self) -> &'static str {
        match self.level {
            Level::Auto => "cuda",
            Level::Graph => "cuda-graph",
            Level::Persistent => "cuda-persistent",
            Level::Cluster => "cuda-cluster",
        }
    }

    fn device(&self, batch_size: usize) -> String {
        let name = self.device.name();
        match (self.largest.form(self.level, batch_size), self.level) {
            (Some(Form::Clusters), _) => format!("{name}, persistent CUDA kernel in clusters, f32"),
            (Some(Form::Blocks), _) => format!("{name}, persistent CUDA kernel, f32"),
            (None, Level::Graph) => format!("{name}, CUDA graph, f32"),
            (None, level) => format!("{name}, CUDA graph, as {}, f32", self.largest.limit(level)),
        }
    }

    fn parameters(&self) -> Parameters {
        let mut rest = self.parameters.iter().map(|&value| f64::from(value));
        let tensors = self.network.parameters().iter().map(|p| rest.by_ref().take(p.dims.len()).collect()).collect();
        Parameters { network: self.network.clone(), tensors, variance: self.variance }
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        self.parameters = parameters.tensors.iter().flatten().map(|&value| value as f32).collect();
        assert_eq!(self.parameters.len(), PARAMETERS, "parameters have their shapes");
        self.network = parameters.network.clone();
        self.variance = parameters.variance;
        self.moments = None;
        self.changed = true;
    }

    fn moments(&self) -> Option<Moments<f64>> {
        self.moments.as_ref().map(|moments| moments.map(f64::from))
    }

    fn set_moments(&mut self, moments: &Moments<f64>) {
        self.moments = Some(moments.map(|value| value as f32));
        self.changed = true;
    }

    fn train_steps(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Result<Totals> {
        steps.check(order);
        check_indices(split, order);
        assert!(
            steps.trains_batch_norm_as_usual(),
            "the kernels train it as usual; `Recipe::check_engine` refuses else"
        );
        if order.is_empty() {
            return Ok(Totals::default());
        }
        let persistent = self.largest.form(self.level, steps.batch_size).is_some();
        if !persistent && matches!(self.level, Level::Persistent | Level::Cluster) {
            return Err(self.largest.too_small(self.level));
        }
        self.run_on(split, &Targets { label_smoothing: steps.label_smoothing, soft: steps.soft }, |engine| {
            engine.prepare_batches(order, steps.batch_size)?;
            engine.prepare_steps(steps)?;
            engine.queue(steps)
        })?;
        let read = self.device.read(&self.model.parameters);
        self.parameters = if persistent { read.map_err(persistent::broken) } else { read }?;
        if steps.optimizer.has_moments() {
            let [first, second] = &self.model.moments;
            self.moments = Some(Moments { first: self.read_tensors(first)?, second: self.read_tensors(second)? });
        }
        self.totals()
    }

    /// An epoch takes milliseconds, and every call ends with a wait for the device.
    fn steps_per_call(&self) -> usize {
        usize::MAX
    }

    fn evaluate(&mut self, split: &Split) -> Result<Totals> {
        if split.is_empty() {
            return Ok(Totals::default());
        }
        let loss_slots = self.device.zeros(2 * split.len())?;
        self.run_on(split, &Targets::default(), |engine| {
            step::infer(&engine.device, &engine.model, engine.splits.newest(), &loss_slots)
        })?;
        self.totals()
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> Result<(Vec<f64>, Parameters)> {
        let n = batch.len();
        assert!(n > 1, "BatchNorm cannot train on a batch of {n}; use two examples or more");
        check_indices(split, batch);
        self.run_on(split, &Targets::default(), |engine| {
            engine.prepare_batches(batch, n)?;
            let Self { device, model, splits, batch, .. } = engine;
            let batch = batch.as_ref().expect("made above");
            step::forward(device, model, batch, splits.newest())?;
            step::backward(device, model, batch, splits.newest())
        })?;
        let buffers = self.batch.as_ref().expect("made above");
        let logits = self.device.read(&buffers.logits)?;
        let logits = (0..n * CLASSES).map(|i| f64::from(logits[i % CLASSES * n + i / CLASSES])).collect();
        let gradients = self.read_tensors(&self.model.gradients)?;
        let tensors = gradients.into_iter().map(|t| t.into_iter().map(f64::from).collect()).collect();
        Ok((logits, Parameters { network: self.network.clone(), tensors, variance: self.variance }))
    }
}

impl Graphs {
    fn capture(
        device: &Device,
        model: &Model,
        batch: &Batch,
        (split, optimizer): (&DeviceSplit, Optimizer),
    ) -> Result<Self> {
        let capture = |steps| {
            device.capture(|| {
                (0..steps).try_for_each(|_| {
                    step::forward(device, model, batch, split)?;
                    step::backward(device, model, batch, split)?;
                    step::update(device, model, batch, optimizer)
                })
            })
        };
        Ok(Self { one: capture(1)?, many: capture(STEPS_PER_GRAPH)?, split: split.id, n: batch.n, optimizer })
    }
}

/// A kernel would read past the data in silence.
fn check_indices(split: &Split, order: &[u32]) {
    let largest = order.iter().map(|&sample| augment::example(sample)).max().unwrap_or(0);
    assert!(order.is_empty() || largest < split.len(), "example {largest} of a split of {}", split.len());
}
