//! What folding saves: BatchNorm as a layer of its own against BatchNorm folded away, f32 and int8, per layer and whole
//! network. Every bench asserts its answer before it times. Run with `cargo bench`.
//!
//! In integers "unfolded" keeps the same integer weights and leaves BatchNorm a layer: the accumulators are dequantised,
//! normalised in f32, and quantised again for the sigmoid's table.

use std::hint::black_box;

use bn_core::arch;
use bn_core::batch_norm::BatchNorm;
use bn_core::format::{WEIGHTS_BYTES, parse};
use bn_core::infer::{self, Scratch, ScratchF32};
use bn_core::lenet::{
    CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, IMAGE_SIDE, LINEAR1, LINEAR2, LeNet, POOL1_SIDE,
    POOL2_SIDE,
};
use bn_core::ops::{conv2d_f32, conv2d_int8, linear_f32, linear_int8, sigmoid_f32, sum_pool2d_int8};
use bn_core::quant::{SIGMOID_LEN, SIGMOID_RANGE, SIGMOID_STEP};
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

/// A layer's bias and multiplier taken apart again: the scale that dequantises its accumulators, and a BatchNorm that then
/// does what folding had put into the integers.
struct Unfolded<const C: usize> {
    scale: [f32; C],
    bn: BatchNorm<C>,
}

impl<const C: usize> Unfolded<C> {
    fn new(bias: &[i32; C], multiplier: &[i32; C]) -> Self {
        let scale = multiplier.map(|m| f64::from(m) / 2_f64.powi(32) * SIGMOID_STEP);
        let beta = std::array::from_fn(|c| (f64::from(bias[c]) * scale[c] - SIGMOID_RANGE) as f32);
        Self { scale: scale.map(|s| s as f32), bn: BatchNorm { beta, ..BatchNorm::identity() } }
    }

    /// Normalises dequantised accumulators and takes each back to a table entry.
    fn finish(&self, table: &[u8; SIGMOID_LEN], values: &mut [f32], output: &mut [u8]) {
        self.bn.infer(values);
        for (to, value) in output.iter_mut().zip(values) {
            let index = (f64::from(*value) + SIGMOID_RANGE) / SIGMOID_STEP + 0.5;
            *to = table[(index as i32).clamp(0, SIGMOID_LEN as i32 - 1) as usize];
        }
    }
}

/// The integer network with BatchNorm left as a layer, and the memory that takes.
struct Int8Unfolded<'a> {
    model: Model<'a>,
    layers: (Unfolded<CONV1_CHANNELS>, Unfolded<CONV2_CHANNELS>, Unfolded<LINEAR1>, Unfolded<LINEAR2>),
    values1: [[[f32; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS],
    map1: [[[u8; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS],
    pooled1: [[[u16; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS],
    values2: [[[f32; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS],
    map2: [[[u8; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS],
    pooled2: [[[u16; POOL2_SIDE]; POOL2_SIDE]; CONV2_CHANNELS],
    values: [f32; LINEAR1],
    linear1: [u8; LINEAR1],
    linear2: [u8; LINEAR2],
}

impl<'a> Int8Unfolded<'a> {
    fn new(model: Model<'a>) -> Self {
        let (c1, c2, l1, l2) = (model.conv1(), model.conv2(), model.linear1(), model.linear2());
        Self {
            model,
            layers: (
                Unfolded::new(c1.bias, c1.multiplier),
                Unfolded::new(c2.bias, c2.multiplier),
                Unfolded::new(l1.bias, l1.multiplier),
                Unfolded::new(l2.bias, l2.multiplier),
            ),
            values1: [[[0.0; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS],
            map1: [[[0; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS],
            pooled1: [[[0; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS],
            values2: [[[0.0; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS],
            map2: [[[0; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS],
            pooled2: [[[0; POOL2_SIDE]; POOL2_SIDE]; CONV2_CHANNELS],
            values: [0.0; LINEAR1],
            linear1: [0; LINEAR1],
            linear2: [0; LINEAR2],
        }
    }

    fn conv1(&mut self, image: &Image) {
        let (mut layer, u) = (self.model.conv1(), &self.layers.0);
        layer.bias = &[0; CONV1_CHANNELS];
        conv2d_int8(std::array::from_ref(image), &layer, |o, y, x, acc| {
            self.values1[o][y][x] = acc as f32 * u.scale[o];
        });
        let (values, map) =
            (self.values1.as_flattened_mut().as_flattened_mut(), self.map1.as_flattened_mut().as_flattened_mut());
        u.finish(self.model.sigmoid(), values, map);
        sum_pool2d_int8(&self.map1, &mut self.pooled1);
    }

    fn conv2(&mut self) {
        let (mut layer, u) = (self.model.conv2(), &self.layers.1);
        layer.bias = &[0; CONV2_CHANNELS];
        conv2d_int8(&self.pooled1, &layer, |o, y, x, acc| self.values2[o][y][x] = acc as f32 * u.scale[o]);
        let (values, map) =
            (self.values2.as_flattened_mut().as_flattened_mut(), self.map2.as_flattened_mut().as_flattened_mut());
        u.finish(self.model.sigmoid(), values, map);
        sum_pool2d_int8(&self.map2, &mut self.pooled2);
    }

    fn linear1(&mut self) {
        let (mut layer, u) = (self.model.linear1(), &self.layers.2);
        layer.bias = &[0; LINEAR1];
        let flat: &[u16; FLAT] = bytemuck::must_cast_ref(&self.pooled2);
        linear_int8(flat, &layer, |o, acc| self.values[o] = acc as f32 * u.scale[o]);
        u.finish(self.model.sigmoid(), &mut self.values, &mut self.linear1);
    }

    fn linear2(&mut self) {
        let (mut layer, u) = (self.model.linear2(), &self.layers.3);
        layer.bias = &[0; LINEAR2];
        linear_int8(&self.linear1, &layer, |o, acc| self.values[o] = acc as f32 * u.scale[o]);
        u.finish(self.model.sigmoid(), &mut self.values[..LINEAR2], &mut self.linear2);
    }

    fn predict(&mut self, image: &Image) -> [i32; 10] {
        self.conv1(image);
        self.conv2();
        self.linear1();
        self.linear2();
        let mut logits = [0; 10];
        arch::linear3(&self.model, &self.linear2, &mut logits);
        logits
    }
}

fn int8_layers(c: &mut Criterion) {
    let model = parse(&WEIGHTS.0).expect("the shipped weights are good");
    let image = image();
    let mut scratch = Box::new(Scratch::new());
    let expected = bn_core::predict(&model, &image, &mut scratch);
    let mut u = Box::new(Int8Unfolded::new(model));
    // f32 rounding may move an index by one entry, which moves an activation by at most one.
    let logits = u.predict(&image);
    let ([pooled1, pooled2], [linear1, linear2]) = scratch.stages();
    let near = |a: u16, b: u16, most: u16| assert!(a.abs_diff(b) <= most, "{a} {b}");
    u.pooled1.as_flattened().as_flattened().iter().zip(pooled1).for_each(|(&a, &b)| near(a, b, 4));
    u.pooled2.as_flattened().as_flattened().iter().zip(pooled2).for_each(|(&a, &b)| near(a, b, 8));
    u.linear1.iter().zip(linear1).for_each(|(&a, &b)| near(a.into(), b.into(), 4));
    u.linear2.iter().zip(linear2).for_each(|(&a, &b)| near(a.into(), b.into(), 4));
    assert_eq!(infer::argmax(&logits), expected.class);

    let mut map1 = [[[0; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS];
    let mut pooled1 = [[[0; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS];
    let mut map2 = [[[0; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS];
    let mut pooled2 = [[[0; POOL2_SIDE]; POOL2_SIDE]; CONV2_CHANNELS];
    let (mut linear1, mut linear2) = ([0; LINEAR1], [0; LINEAR2]);

    macro_rules! bench {
        ($name:literal, $unfolded:expr, $folded:expr) => {
            let mut group = c.benchmark_group(concat!("int8/", $name));
            group.bench_function("unfolded", |b| b.iter(|| $unfolded));
            group.bench_function("folded", |b| b.iter(|| $folded));
            group.finish();
        };
    }
    bench!("conv1", u.conv1(black_box(&image)), arch::conv1(&model, black_box(&image), &mut map1, &mut pooled1));
    bench!("conv2", u.conv2(), arch::conv2(&model, black_box(&pooled1), &mut map2, &mut pooled2));
    let flat: &[u16; FLAT] = bytemuck::must_cast_ref(&pooled2);
    bench!("linear1", u.linear1(), arch::linear1(&model, black_box(flat), &mut linear1));
    bench!("linear2", u.linear2(), arch::linear2(&model, black_box(&linear1), &mut linear2));
    bench!("network", u.predict(black_box(&image)), bn_core::predict(&model, black_box(&image), &mut scratch));
}

criterion_group!(benches, f32_layers, int8_layers);
criterion_main!(benches);
