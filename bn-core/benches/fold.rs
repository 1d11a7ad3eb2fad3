//! What folding saves: BatchNorm as a layer of its own against BatchNorm folded away, f32 and int8, per layer and whole
//! network. Every bench asserts its answer before it times. Run with `cargo bench`.
//!
//! In integers "unfolded" keeps the same integer weights and leaves BatchNorm a layer: the accumulators are dequantised,
//! normalised in f32, and quantised again for the sigmoid's table.

use std::hint::black_box;

use bn_core::batch_norm::BatchNorm;
use bn_core::file::WeightsFile;
use bn_core::infer::{self, ScratchF32};
use bn_core::kernels::linear::portable::{accumulate, logits_of, sigmoid_of};
use bn_core::kernels::linear::{BLOCK, Layer};
use bn_core::kernels::winograd5::portable::{self, image_with, maps_with};
use bn_core::kernels::winograd5::{Flat, ImageStream, Maps, MapsStream, Window};
use bn_core::lenet::{
    CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, IMAGE_SIDE, Image, LINEAR1, LINEAR1_BLOCKS,
    LINEAR1_QUADS, LINEAR2, LINEAR2_BLOCKS, LINEAR2_QUADS, LOGIT_BLOCKS, LeNet, POOL1_SIDE, Streams,
};
use bn_core::ops::{conv2d_f32, linear_f32, sigmoid_f32};
use bn_core::quant::{CONV_SHIFT, Pair, Quad, SIGMOID_LEN};
use chacha20::ChaCha8Rng;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};

/// The shipped model.
static WEIGHTS: &[u8] = include_bytes!("../../firmware-demo/assets/weights.bin");

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

/// LeNet's integers, by layer.
struct Int8<'a> {
    image: ImageStream,
    maps: MapsStream,
    linear: [Layer<'a>; 3],
    f: &'a Streams,
}

impl<'a> Int8<'a> {
    fn new(f: &'a Streams, file: &'a WeightsFile) -> Self {
        let layer = |step, quads, blocks| Layer::new(file.stream(step), quads, blocks).expect("a layer of LeNet");
        Self {
            image: ImageStream { bias: f.conv1_bias, lanes: f.conv1_lanes },
            maps: MapsStream { bias: f.conv2_bias, lanes: f.conv2_lanes },
            linear: [
                layer(2, FLAT / 4, LINEAR1_BLOCKS),
                layer(3, LINEAR1_QUADS, LINEAR2_BLOCKS),
                layer(4, LINEAR2_QUADS, LOGIT_BLOCKS),
            ],
            f,
        }
    }
}

/// The memory of an inference.
struct Memory {
    window: Window,
    maps: Maps,
    flat: Flat,
    linear1: [Quad; LINEAR1_QUADS],
    linear2: [Quad; LINEAR2_QUADS],
    logits: [[i32; BLOCK]; LOGIT_BLOCKS],
}

impl Memory {
    fn new() -> Box<Self> {
        Box::new(Self {
            window: [Pair::default(); 384],
            maps: [[[Pair::default(); POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS / 2],
            flat: [Quad::default(); FLAT / 4],
            linear1: [Quad::default(); LINEAR1_QUADS],
            linear2: [Quad::default(); LINEAR2_QUADS],
            logits: [[0; BLOCK]; LOGIT_BLOCKS],
        })
    }
}

/// BatchNorm folded away.
impl Int8<'_> {
    fn image(&self, image: &Image, m: &mut Memory) {
        portable::image(&self.image, &self.f.conv1_sigmoid, image, &mut m.window, &mut m.maps);
    }

    fn maps(&self, m: &mut Memory) {
        portable::maps(&self.maps, &self.f.conv2_sigmoid, &m.maps, &mut m.window, &mut m.flat);
    }

    fn linear1(&self, m: &mut Memory) {
        sigmoid_of(self.linear[0], &self.f.linear_sigmoid, &m.flat, &mut m.linear1);
    }

    fn linear2(&self, m: &mut Memory) {
        sigmoid_of(self.linear[1], &self.f.linear_sigmoid, &m.linear1, &mut m.linear2);
    }

    fn linear3(&self, m: &mut Memory) {
        logits_of(self.linear[2], &m.linear2, &mut m.logits);
    }

    fn predict(&self, image: &Image, m: &mut Memory) {
        self.image(image, m);
        self.maps(m);
        self.linear1(m);
        self.linear2(m);
        self.linear3(m);
    }
}

/// The same with BatchNorm left as a layer.
struct Int8Unfolded<'a> {
    net: &'a Int8<'a>,
    layers: (Unfolded<CONV1_CHANNELS>, Unfolded<CONV2_CHANNELS>, Unfolded<LINEAR1>, Unfolded<LINEAR2>),
}

impl<'a> Int8Unfolded<'a> {
    fn new(net: &'a Int8<'a>) -> Self {
        let mut layers = (
            Unfolded::conv(CONV_SHIFT[0]),
            Unfolded::conv(CONV_SHIFT[1]),
            Unfolded::linear(net.linear[0].multiplier),
            Unfolded::linear(net.linear[1].multiplier),
        );
        // The identity but for an eps, which a variance of one less cancels.
        layers.0.bn.running_var = layers.0.bn.running_var.map(|_| 1.0 - layers.0.bn.eps);
        layers.1.bn.running_var = layers.1.bn.running_var.map(|_| 1.0 - layers.1.bn.eps);
        layers.2.bn.running_var = layers.2.bn.running_var.map(|_| 1.0 - layers.2.bn.eps);
        layers.3.bn.running_var = layers.3.bn.running_var.map(|_| 1.0 - layers.3.bn.eps);
        Self { net, layers }
    }

    fn image(&self, image: &Image, m: &mut Memory) {
        let (table, u) = (&self.net.f.conv1_sigmoid, &self.layers.0);
        image_with(&self.net.image, image, &mut m.window, &mut m.maps, |c, acc| table[u.index(c, acc, 0.0)]);
    }

    fn maps(&self, m: &mut Memory) {
        let (table, u) = (&self.net.f.conv2_sigmoid, &self.layers.1);
        maps_with(&self.net.maps, &m.maps, &mut m.window, &mut m.flat, |c, acc| table[u.index(c, acc, 0.0)]);
    }

    fn linear1(&self, m: &mut Memory) {
        let (table, u) = (&self.net.f.linear_sigmoid, &self.layers.2);
        for ((block, (bias, _, weight)), quad) in self.net.linear[0].blocks().enumerate().zip(&mut m.linear1) {
            let acc = accumulate(*bias, weight, &m.flat);
            *quad = Quad::new(std::array::from_fn(|o| table[u.index(BLOCK * block + o, acc[o], 0.5)]));
        }
    }

    fn linear2(&self, m: &mut Memory) {
        let (table, u) = (&self.net.f.linear_sigmoid, &self.layers.3);
        for ((block, (bias, _, weight)), quad) in self.net.linear[1].blocks().enumerate().zip(&mut m.linear2) {
            let acc = accumulate(*bias, weight, &m.linear1);
            *quad = Quad::new(std::array::from_fn(|o| table[u.index(BLOCK * block + o, acc[o], 0.5)]));
        }
    }

    fn predict(&self, image: &Image, m: &mut Memory) {
        self.image(image, m);
        self.maps(m);
        self.linear1(m);
        self.linear2(m);
        self.net.linear3(m);
    }
}

fn int8_layers(c: &mut Criterion) {
    let file = WeightsFile::read(WEIGHTS).expect("the shipped weights are good");
    let streams = Streams::of(&file).expect("they are LeNet's");
    let (folded, image) = (Int8::new(streams, &file), image());
    let (mut m, mut n) = (Memory::new(), Memory::new());
    folded.predict(&image, &mut m);
    let unfolded = Int8Unfolded::new(&folded);
    // f32 rounding may move an index by one entry, which moves an activation by at most one.
    unfolded.predict(&image, &mut n);
    let near = |a: &[Quad], b: &[Quad], most: i32| {
        for (a, b) in a.iter().flat_map(|q| q.values()).zip(b.iter().flat_map(|q| q.values())) {
            assert!((i32::from(a) - i32::from(b)).abs() <= most, "{a} {b}");
        }
    };
    near(&n.flat, &m.flat, 4);
    near(&n.linear1, &m.linear1, 4);
    near(&n.linear2, &m.linear2, 4);
    let class = |m: &Memory| infer::argmax(&m.logits.as_flattened()[..10]);
    assert_eq!(class(&n), class(&m));

    macro_rules! bench {
        ($name:literal, $unfolded:expr, $folded:expr) => {
            let mut group = c.benchmark_group(concat!("int8/", $name));
            group.bench_function("unfolded", |b| b.iter(|| $unfolded));
            group.bench_function("folded", |b| b.iter(|| $folded));
            group.finish();
        };
    }
    bench!("conv1", unfolded.image(black_box(&image), &mut n), folded.image(black_box(&image), &mut m));
    bench!("conv2", unfolded.maps(black_box(&mut n)), folded.maps(black_box(&mut m)));
    bench!("linear1", unfolded.linear1(black_box(&mut n)), folded.linear1(black_box(&mut m)));
    bench!("linear2", unfolded.linear2(black_box(&mut n)), folded.linear2(black_box(&mut m)));
    bench!("network", unfolded.predict(black_box(&image), &mut n), folded.predict(black_box(&image), &mut m));
}

criterion_group!(benches, f32_layers, int8_layers);
criterion_main!(benches);
