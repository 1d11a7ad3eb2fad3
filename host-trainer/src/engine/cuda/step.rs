//! A training step and a pass of inference as lists of launches, and the memory between them. Which kernel takes what, and
//! in which shape, stands in the headers of `kernels/*.cu`.

use bn_core::lenet::{
    CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, LINEAR1, LINEAR2, POOL1_SIDE,
};
use cudarc::driver::CudaSlice;

use super::launch::{Argument, Device, Launch};
use super::shapes::{
    BN_CHANNELS, CONV_WEIGHTS, CONV1_BACKWARD_THREADS, CONV1_THREADS, CONV2_BACKWARD_THREADS, CONV2_THREADS,
    EXAMPLES_PER_BLOCK, LANES, LINEAR_THREADS, PARAMETERS, SETTING_COUNT, SUM_THREADS, TOTAL_COUNT, treatments,
};
use super::split::DeviceSplit;
use crate::engine::Optimizer;
use crate::error::Result;

/// What outlives a batch.
pub(super) struct Model {
    /// All tensors, flat, in the order of `TENSORS`.
    pub(super) parameters: CudaSlice<f32>,
    /// Their gradients, in the same places; zero where nothing is trained, and for biases before a BatchNorm.
    pub(super) gradients: CudaSlice<f32>,
    pub(super) batch_mean: CudaSlice<f32>,
    pub(super) batch_var: CudaSlice<f32>,
    /// AdamW's running means of gradients and of their squares.
    pub(super) moments: [CudaSlice<f32>; 2],
    pub(super) treatments: CudaSlice<u8>,
    /// `eps`, unbiased, label smoothing, a teacher's weight and temperature.
    pub(super) settings: CudaSlice<f32>,
    /// `rate`, `decay` and `root` of each step of the call.
    pub(super) coefficients: CudaSlice<f32>,
    /// Sums of the call.
    pub(super) totals: CudaSlice<f64>,
    /// Which batch of the order comes next.
    pub(super) step: CudaSlice<u32>,
    /// Indices of the call's examples.
    pub(super) order: CudaSlice<u32>,
    /// A teacher's logits of them; one that is never read without a teacher.
    pub(super) teacher: CudaSlice<f32>,
}

impl Model {
    pub(super) fn new(device: &Device) -> Result<Self> {
        Ok(Self {
            parameters: device.zeros(PARAMETERS)?,
            gradients: device.zeros(PARAMETERS)?,
            batch_mean: device.zeros(BN_CHANNELS)?,
            batch_var: device.zeros(BN_CHANNELS)?,
            moments: [device.zeros(PARAMETERS)?, device.zeros(PARAMETERS)?],
            treatments: device.upload(&treatments())?,
            settings: device.zeros(SETTING_COUNT)?,
            coefficients: device.zeros(1)?,
            totals: device.zeros(TOTAL_COUNT)?,
            step: device.zeros(1)?,
            order: device.zeros(1)?,
            teacher: device.zeros(1)?,
        })
    }
}

/// Activations and gradients of a batch of `n`, as the forward and backward passes leave them.
pub(super) struct Batch {
    pub(super) n: usize,
    y1: CudaSlice<f32>,
    slot_mean1: CudaSlice<f32>,
    slot_m2_1: CudaSlice<f32>,
    pool1: CudaSlice<f32>,
    y2: CudaSlice<f32>,
    slot_mean2: CudaSlice<f32>,
    slot_m2_2: CudaSlice<f32>,
    flat: CudaSlice<f32>,
    x_hat3: CudaSlice<f32>,
    y3: CudaSlice<f32>,
    x_hat4: CudaSlice<f32>,
    y4: CudaSlice<f32>,
    pub(super) logits: CudaSlice<f32>,
    d_logits: CudaSlice<f32>,
    loss_slots: CudaSlice<f64>,
    d_y4: CudaSlice<f32>,
    d_y3: CudaSlice<f32>,
    d_flat: CudaSlice<f32>,
    slot_d_y2: CudaSlice<f32>,
    slot_d_y2_x_hat: CudaSlice<f32>,
    d_pool1: CudaSlice<f32>,
    slot_d_y1: CudaSlice<f32>,
    slot_d_y1_x_hat: CudaSlice<f32>,
    conv_slots: CudaSlice<f32>,
}

impl Batch {
    pub(super) fn new(device: &Device, n: usize) -> Result<Self> {
        let floats = |each: usize| device.zeros(each * n);
        Ok(Self {
            n,
            y1: floats(CONV1_CHANNELS * CONV1_SIDE * CONV1_SIDE)?,
            slot_mean1: floats(CONV1_CHANNELS)?,
            slot_m2_1: floats(CONV1_CHANNELS)?,
            pool1: floats(CONV1_CHANNELS * POOL1_SIDE * POOL1_SIDE)?,
            y2: floats(CONV2_CHANNELS * CONV2_SIDE * CONV2_SIDE)?,
            slot_mean2: floats(CONV2_CHANNELS)?,
            slot_m2_2: floats(CONV2_CHANNELS)?,
            flat: floats(FLAT)?,
            x_hat3: floats(LINEAR1)?,
            y3: floats(LINEAR1)?,
            x_hat4: floats(LINEAR2)?,
            y4: floats(LINEAR2)?,
            logits: floats(CLASSES)?,
            d_logits: floats(CLASSES)?,
            loss_slots: device.zeros(2 * n.div_ceil(LANES))?,
            d_y4: floats(LINEAR2)?,
            d_y3: floats(LINEAR1)?,
            d_flat: floats(FLAT)?,
            slot_d_y2: device.zeros(FLAT)?,
            slot_d_y2_x_hat: device.zeros(FLAT)?,
            d_pool1: floats(CONV1_CHANNELS * POOL1_SIDE * POOL1_SIDE)?,
            slot_d_y1: floats(CONV1_CHANNELS)?,
            slot_d_y1_x_hat: floats(CONV1_CHANNELS)?,
            conv_slots: device.zeros(CONV_WEIGHTS * n.div_ceil(EXAMPLES_PER_BLOCK))?,
        })
    }
}

impl Batch {
    /// What the passes left, by the names of the kernels' headers.
    pub(super) fn tensors(&self) -> [(&'static str, &CudaSlice<f32>); 14] {
        [
            ("y1", &self.y1),
            ("pool1", &self.pool1),
            ("y2", &self.y2),
            ("flat", &self.flat),
            ("x_hat3", &self.x_hat3),
            ("y3", &self.y3),
            ("x_hat4", &self.x_hat4),
            ("y4", &self.y4),
            ("logits", &self.logits),
            ("d_logits", &self.d_logits),
            ("d_y4", &self.d_y4),
            ("d_y3", &self.d_y3),
            ("d_flat", &self.d_flat),
            ("d_pool1", &self.d_pool1),
        ]
    }
}

/// A launch with its arguments written as a list of buffers and counts.
macro_rules! launch {
    ($device:expr, $kernel:ident, $blocks:expr, $threads:expr, $($argument:expr),+ $(,)?) => {
        $device.launch(&Launch {
            kernel: stringify!($kernel),
            blocks: $blocks,
            threads: $threads,
            arguments: &[$(Argument::from($argument)),+],
        })?
    };
}

/// Forward in training mode: activations, logits, their gradients and the batch's losses.
#[rustfmt::skip] // the arguments as the kernels' declarations group them
pub(super) fn forward(device: &Device, m: &Model, b: &Batch, split: &DeviceSplit) -> Result<()> {
    launch!(device, conv2d_1_forward, b.n, CONV1_THREADS,
        &split.images, &m.order, &m.step, &m.parameters, &b.y1, &b.slot_mean1, &b.slot_m2_1, b.n);
    launch!(device, conv2d_2_forward, b.n, CONV2_THREADS,
        &b.y1, &b.slot_mean1, &b.slot_m2_1, &m.parameters, &m.settings, &m.batch_mean, &m.batch_var,
        &b.pool1, &b.y2, &b.slot_mean2, &b.slot_m2_2, b.n);
    launch!(device, avg_pool2d_2_forward, b.n, FLAT,
        &b.y2, &b.slot_mean2, &b.slot_m2_2, &m.parameters, &m.settings, &m.batch_mean, &m.batch_var, &b.flat, b.n);
    launch!(device, linear_1_forward, LINEAR1, LINEAR_THREADS,
        &b.flat, &m.parameters, &m.settings, &m.batch_mean, &m.batch_var, &b.x_hat3, &b.y3, b.n);
    launch!(device, linear_2_forward, LINEAR2, LINEAR_THREADS,
        &b.y3, &m.parameters, &m.settings, &m.batch_mean, &m.batch_var, &b.x_hat4, &b.y4, b.n);
    launch!(device, cross_entropy_forward, b.n.div_ceil(LANES), LANES,
        &b.y4, &split.labels, &m.order, &m.step, &m.teacher, &m.parameters, &m.settings, &b.logits, &b.d_logits, &b.loss_slots, b.n);
    Ok(())
}

/// Backward: the gradients of all parameters. Adds the batch to the totals, and moves on to the next.
#[rustfmt::skip] // the arguments as the kernels' declarations group them
pub(super) fn backward(device: &Device, m: &Model, b: &Batch, split: &DeviceSplit) -> Result<()> {
    launch!(device, linear_2_backward, LINEAR2 + CLASSES + 1, LINEAR_THREADS,
        &b.d_logits, &b.x_hat4, &b.y4, &b.y3, &m.batch_mean, &m.batch_var, &m.parameters, &m.settings,
        &b.loss_slots, &m.totals, &b.d_y4, &m.gradients, b.n);
    launch!(device, linear_1_backward, LINEAR1, LINEAR_THREADS,
        &b.d_y4, &b.x_hat3, &b.y3, &b.flat, &m.batch_mean, &m.batch_var, &m.parameters, &m.settings,
        &b.d_y3, &m.gradients, b.n);
    launch!(device, avg_pool2d_2_backward, FLAT, LINEAR_THREADS,
        &b.d_y3, &b.y2, &m.batch_mean, &m.batch_var, &m.parameters, &m.settings,
        &b.d_flat, &b.slot_d_y2, &b.slot_d_y2_x_hat, b.n);
    let blocks = b.n.div_ceil(EXAMPLES_PER_BLOCK);
    launch!(device, conv2d_2_backward, blocks, CONV2_BACKWARD_THREADS,
        &b.d_flat, &b.slot_d_y2, &b.slot_d_y2_x_hat, &b.y1, &b.pool1, &b.y2, &m.batch_mean, &m.batch_var,
        &m.parameters, &m.settings, &b.d_pool1, &b.slot_d_y1, &b.slot_d_y1_x_hat, &b.conv_slots, &m.gradients, b.n);
    launch!(device, conv2d_1_backward, blocks, CONV1_BACKWARD_THREADS,
        &split.images, &m.order, &m.step, &b.d_pool1, &b.slot_d_y1, &b.slot_d_y1_x_hat, &b.y1,
        &m.batch_mean, &m.batch_var, &m.parameters, &m.settings, &b.conv_slots, &m.gradients, b.n);
    launch!(device, conv2d_backward_sum, CONV_WEIGHTS.div_ceil(LANES), SUM_THREADS,
        &b.conv_slots, blocks, &m.gradients, &m.step);
    Ok(())
}

/// The optimiser, and the moving statistics.
#[rustfmt::skip] // the arguments as the kernels' declarations group them
pub(super) fn update(device: &Device, m: &Model, b: &Batch, optimizer: Optimizer) -> Result<()> {
    let blocks = PARAMETERS.div_ceil(SUM_THREADS);
    match optimizer {
        Optimizer::Sgd => launch!(device, sgd_step, blocks, SUM_THREADS,
            &m.parameters, &m.gradients, &m.batch_mean, &m.batch_var, &m.settings, &m.totals, &m.coefficients, &m.step, b.n),
        Optimizer::Momentum | Optimizer::Adamw => launch!(device, adamw_step, blocks, SUM_THREADS,
            &m.parameters, &m.gradients, &m.batch_mean, &m.batch_var, &m.settings, &m.totals, &m.coefficients, &m.step,
            &m.treatments, &m.moments[0], &m.moments[1], b.n),
    }
    Ok(())
}

/// Inference mode over a whole split, added to the totals. `loss_slots` takes two doubles an example.
pub(super) fn infer(device: &Device, m: &Model, split: &DeviceSplit, loss_slots: &CudaSlice<f64>) -> Result<()> {
    launch!(
        device,
        infer,
        split.examples,
        CONV2_THREADS,
        &split.images,
        &split.labels,
        &m.parameters,
        &m.settings,
        loss_slots
    );
    launch!(device, infer_totals, 1, SUM_THREADS, loss_slots, &m.totals, split.examples);
    Ok(())
}
