//! What folding saves: BatchNorm as a layer of its own against BatchNorm folded away, f32 and int8, per layer and whole
//! network. Every bench asserts its answer before it times. Run with `cargo bench`.
//!
//! In integers "unfolded" keeps the same integer weights and leaves BatchNorm a layer: the accumulators are dequantised,
//! normalised in f32, and quantised again for the sigmoid's table.

use std::hint::black_box;

use bn_core::arch::portable::{conv1_with, conv2_with};
use bn_core::arch::{self, BLOCK, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_QUADS, LOGIT_BLOCKS};
use bn_core::batch_norm::BatchNorm;
use bn_core::format::{WEIGHTS_BYTES, parse};
use bn_core::infer::{self, Scratch, ScratchF32};
use bn_core::lenet::{
    CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, IMAGE_SIDE, LINEAR1, LINEAR2, LeNet, POOL1_SIDE,
};
use bn_core::ops::{conv2d_f32, linear_f32, linear_int8, sigmoid_f32};
use bn_core::quant::{CONV_SHIFT, Pair, Quad, SIGMOID_LEN};
use bn_core::{Image, Model};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The shipped model, aligned as in flash.
#[repr(C, align(4))]
struct Aligned([u8; WEIGHTS_BYTES]);
static WEIGHTS: Aligned = Aligned(*include_bytes!("../../firmware-demo/assets/weights.bin"));

/// A network with every statistic in use, of a size that training would give it.
fn network() -> Box<LeNet> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut net = Box::new(LeNet::zero());
    for tensor in net.tensors_mut() {
        for value in tensor {
            *value += rng.random_range(-0.2..0.2);
        }
    }
    net
}

fn image() -> Image {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
    image.as_flattened_mut().fill_with(|| rng.random());
    image
}

fn assert_close(a: &[f32], b: &[f32]) {
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-4 + 1e-4 * b.abs(), "{a} {b}");
    }
}

fn f32_layers(c: &mut Criterion) {
    let (net, image) = (network(), image());
    let folded = net.fold();
    let mut scratch = Box::new(ScratchF32::new());
    infer::unfolded(&net, &image, &mut scratch);
    let pixels: [[[f32; IMAGE_SIDE]; IMAGE_SIDE]; 1] = [image.map(|row| row.map(|pixel| f32::from(pixel) / 255.0))];
    let [pooled1, pooled2, linear1, _] = scratch.stages();
    let pooled1: &[[[f32; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS] =
        bytemuck::from_bytes(bytemuck::cast_slice(pooled1));
    let (flat, linear1) = (pooled2.first_chunk::<FLAT>().unwrap(), linear1.first_chunk::<LINEAR1>().unwrap());

    macro_rules! bench {
        ($name:literal, $forward:ident, $input:expr, $layer:ident, $bn:ident, $zero:expr, $flat:ident) => {
            let (mut a, mut b) = ($zero, $zero);
            let unfolded = |out: &mut _| {
                $forward(black_box($input), &net.$layer, out);
                net.$bn.infer($flat!(out));
                sigmoid_f32($flat!(out));
            };
            let folded = |out: &mut _| {
                $forward(black_box($input), &folded.$layer, out);
                sigmoid_f32($flat!(out));
            };
            unfolded(&mut a);
            folded(&mut b);
            assert_close($flat!(&mut a), $flat!(&mut b));
            let mut group = c.benchmark_group(concat!("f32/", $name));
            group.bench_function("unfolded", |bench| bench.iter(|| unfolded(black_box(&mut a))));
            group.bench_function("folded", |bench| bench.iter(|| folded(black_box(&mut b))));
            group.finish();
        };
    }
    macro_rules! map {
        ($map:expr) => {
            $map.as_flattened_mut().as_flattened_mut()
        };
    }
    macro_rules! row {
        ($row:expr) => {
            &mut $row[..]
        };
    }
    bench!("conv1", conv2d_f32, &pixels, conv1, bn1, [[[0.0; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS], map);
    bench!("conv2", conv2d_f32, pooled1, conv2, bn2, [[[0.0; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS], map);
    bench!("linear1", linear_f32, flat, linear1, bn3, [0.0; LINEAR1], row);
    bench!("linear2", linear_f32, linear1, linear2, bn4, [0.0; LINEAR2], row);

    let (expected, actual) =
        (infer::unfolded(&net, &image, &mut scratch), infer::folded(&folded, &image, &mut scratch));
    assert_close(&actual, &expected);
    let mut group = c.benchmark_group("f32/network");
    group.bench_function("unfolded", |b| b.iter(|| infer::unfolded(&net, black_box(&image), &mut scratch)));
    group.bench_function("folded", |b| b.iter(|| infer::folded(&folded, black_box(&image), &mut scratch)));
    group.finish();
}

/// BatchNorm as a layer behind integer accumulators: they are dequantised, normalised in f32, and taken back to a table
/// entry. In units of the table, so that any scale of the layer's own cancels.
struct Unfolded<const C: usize> {
    scale: [f32; C],
    bn: BatchNorm<C>,
}

impl<const C: usize> Unfolded<C> {
    fn new(scale: [f64; C]) -> Self {
        Self { scale: scale.map(|scale| scale as f32), bn: BatchNorm::identity() }
    }

    /// Of a convolution: one scale a layer.
    fn conv(shift: u32) -> Self {
        Self::new([f64::from(shift).exp2().recip(); C])
    }

    /// Of a linear layer.
    fn linear(multiplier: &[[i32; BLOCK]]) -> Self {
        let mut multipliers = multiplier.as_flattened().iter();
        Self::new(std::array::from_fn(|_| f64::from(*multipliers.next().unwrap()) / 2_f64.powi(32)))
    }

    /// Normalises an accumulator and finds its table entry.
    #[inline(always)]
    fn index(&self, channel: usize, accumulator: i32, half: f32) -> usize {
        let bn = &self.bn;
        let value = accumulator as f32 * self.scale[channel];
        let inverse_deviation = 1.0 / (bn.running_var[channel] + bn.eps).sqrt();
        let value =
            (value - bn.running_mean[channel]) * inverse_deviation * bn.gamma[channel] + bn.beta[channel] + half;
        (value.floor() as i32).clamp(0, SIGMOID_LEN as i32 - 1) as usize
    }
}

/// The integer network with BatchNorm left as a layer, and the memory that takes.
struct Int8Unfolded<'a> {
    model: Model<'a>,
    layers: (Unfolded<CONV1_CHANNELS>, Unfolded<CONV2_CHANNELS>, Unfolded<LINEAR1>, Unfolded<LINEAR2>),
    window: arch::Window,
    pooled1: arch::Pooled1,
    flat: [Quad; FLAT_QUADS],
    linear1: [Quad; LINEAR1_QUADS],
    linear2: [Quad; LINEAR2_QUADS],
}

impl<'a> Int8Unfolded<'a> {
    fn new(model: Model<'a>, scratch: &Scratch) -> Self {
        let (pooled1, _) = scratch.stages();
        let mut layers = (
            Unfolded::conv(CONV_SHIFT[0]),
            Unfolded::conv(CONV_SHIFT[1]),
            Unfolded::linear(model.linear1().multiplier),
            Unfolded::linear(model.linear2().multiplier),
        );
        // The identity but for an eps, which a variance of one less cancels.
        layers.0.bn.running_var = layers.0.bn.running_var.map(|_| 1.0 - layers.0.bn.eps);
        layers.1.bn.running_var = layers.1.bn.running_var.map(|_| 1.0 - layers.1.bn.eps);
        layers.2.bn.running_var = layers.2.bn.running_var.map(|_| 1.0 - layers.2.bn.eps);
        layers.3.bn.running_var = layers.3.bn.running_var.map(|_| 1.0 - layers.3.bn.eps);
        Self {
            model,
            layers,
            window: [Pair::default(); 384],
            pooled1: *pooled1,
            flat: [Quad::default(); FLAT_QUADS],
            linear1: [Quad::default(); LINEAR1_QUADS],
            linear2: [Quad::default(); LINEAR2_QUADS],
        }
    }

    fn conv1(&mut self, image: &Image) {
        let (table, u) = (self.model.conv1().sigmoid, &self.layers.0);
        conv1_with(&self.model, image, &mut self.window, &mut self.pooled1, |c, acc| table[u.index(c, acc, 0.0)]);
    }

    fn conv2(&mut self) {
        let (table, u) = (self.model.conv2().sigmoid, &self.layers.1);
        conv2_with(&self.model, &self.pooled1, &mut self.window, &mut self.flat, |c, acc| table[u.index(c, acc, 0.0)]);
    }

    fn linear1(&mut self) {
        let (table, u) = (self.model.sigmoid(), &self.layers.2);
        linear_int8(&self.flat, &self.model.linear1(), |block, acc| {
            let value = |o: usize| table[u.index(BLOCK * block + o, acc[o], 0.5)];
            self.linear1[block] = Quad::new(std::array::from_fn(value));
        });
    }

    fn linear2(&mut self) {
        let (table, u) = (self.model.sigmoid(), &self.layers.3);
        linear_int8(&self.linear1, &self.model.linear2(), |block, acc| {
            let value = |o: usize| table[u.index(BLOCK * block + o, acc[o], 0.5)];
            self.linear2[block] = Quad::new(std::array::from_fn(value));
        });
    }

    fn predict(&mut self, image: &Image) -> [i32; 10] {
        self.conv1(image);
        self.conv2();
        self.linear1();
        self.linear2();
        let mut logits = [[0; BLOCK]; LOGIT_BLOCKS];
        arch::linear3(&self.model, &self.linear2, &mut logits);
        std::array::from_fn(|class| logits.as_flattened()[class])
    }
}

fn int8_layers(c: &mut Criterion) {
    let model = parse(&WEIGHTS.0).expect("the shipped weights are good");
    let image = image();
    let mut scratch = Box::new(Scratch::new());
    let expected = bn_core::predict(&model, &image, &mut scratch);
    let mut u = Box::new(Int8Unfolded::new(model, &scratch));
    // f32 rounding may move an index by one entry, which moves an activation by at most one.
    let logits = u.predict(&image);
    let (_, [flat, linear1, linear2]) = scratch.stages();
    let near = |a: &[Quad], b: &[Quad], most: i32| {
        for (a, b) in a.iter().flat_map(|q| q.values()).zip(b.iter().flat_map(|q| q.values())) {
            assert!((i32::from(a) - i32::from(b)).abs() <= most, "{a} {b}");
        }
    };
    near(&u.flat, flat, 4);
    near(&u.linear1, linear1, 4);
    near(&u.linear2, linear2, 4);
    assert_eq!(infer::argmax(&logits), expected.class);

    let (mut window, mut pooled1) = ([Pair::default(); 384], u.pooled1);
    let (mut flat, mut linear1, mut linear2) = (u.flat, u.linear1, u.linear2);

    macro_rules! bench {
        ($name:literal, $unfolded:expr, $folded:expr) => {
            let mut group = c.benchmark_group(concat!("int8/", $name));
            group.bench_function("unfolded", |b| b.iter(|| $unfolded));
            group.bench_function("folded", |b| b.iter(|| $folded));
            group.finish();
        };
    }
    bench!("conv1", u.conv1(black_box(&image)), arch::conv1(&model, black_box(&image), &mut window, &mut pooled1));
    bench!("conv2", u.conv2(), arch::conv2(&model, black_box(&pooled1), &mut window, &mut flat));
    bench!("linear1", u.linear1(), arch::linear1(&model, black_box(&flat), &mut linear1));
    bench!("linear2", u.linear2(), arch::linear2(&model, black_box(&linear1), &mut linear2));
    bench!("network", u.predict(black_box(&image)), bn_core::predict(&model, black_box(&image), &mut scratch));
}

criterion_group!(benches, f32_layers, int8_layers);
criterion_main!(benches);
