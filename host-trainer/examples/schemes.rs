//! The curve that chose the integer arithmetic: candidate schemes against images classified differently from f32.
//!
//! `cargo run -p host-trainer --example schemes -- CHECKPOINT...` quantises each model by each scheme, with bias
//! correction from training images, and runs all test images through a simulation of its integers. The simulation uses
//! floats that hold what the integers hold; the scheme that won is `bn_core::quant`. Reads the data set,
//! writes stdout.

use std::path::Path;

use bn_core::lenet::{KERNEL, POOL};
use bn_core::ops::winograd::{DATA, INVERSE, POINTS, TILE, WINDOW, transform_weights};
use bn_core::quant::{PIXEL_ONE, POOLED_ONE};
use bn_core::{FoldedLeNet, Image};
use host_trainer::Result;
use host_trainer::data::{self, Request};
use host_trainer::export::{CALIBRATION_IMAGES, Networks};
use host_trainer::model::inference;
use host_trainer::quantize::Calibration;
use host_trainer::train::checkpoint::Checkpoint;

/// How a convolution's weights are rounded.
#[derive(Clone, Copy)]
enum Weights {
    /// Symmetric per channel, largest magnitude `max`.
    Direct { max: f64 },
    /// Two weights and two inputs in one long multiplication, a table of 2,048 entries a channel.
    Packed,
    /// Transformed for tiles of four outputs, then rounded per channel to `max`.
    WinogradChannel { max: f64 },
    /// Transformed, then rounded with one scale for the layer: a step of the table is `2^shift` units.
    WinogradLayer { shift: i32 },
}

struct Scheme {
    name: &'static str,
    conv: [Weights; 2],
    /// Largest magnitude of a linear weight.
    linear_max: f64,
    /// Entries of a sigmoid table that spans +-6.4.
    table: usize,
    /// Levels of an activation, less one.
    levels: f64,
    /// Whether the second pool is rounded to the levels of an activation.
    round_pool2: bool,
    /// Instructions on a Cortex-M4, in thousands: measured for what was built, otherwise the sum of its stages' prototypes.
    instructions: &'static str,
}

const CONV_12: Weights = Weights::Direct { max: 2047.0 };
const CONV_8: Weights = Weights::Direct { max: 127.0 };
/// What was built: `bn_core::quant::CONV_SHIFT`.
const OURS: [Weights; 2] = [Weights::WinogradLayer { shift: 13 }, Weights::WinogradLayer { shift: 17 }];

/// By how many bits a packed accumulator is finer than its table.
const PACKED_SHIFT: u32 = 9;
/// As built, but for a packed first convolution.
const PACKED: [Weights; 2] = [Weights::Packed, OURS[1]];

const fn scheme(name: &'static str, conv: [Weights; 2], instructions: &'static str) -> Scheme {
    Scheme { name, conv, linear_max: 127.0, table: 1024, levels: 255.0, round_pool2: false, instructions }
}

fn schemes() -> Vec<Scheme> {
    let lanes = Weights::WinogradChannel { max: 2047.0 };
    let layer = |shift| Weights::WinogradLayer { shift };
    let ours =
        |name, conv, instructions| Scheme { levels: 254.0, round_pool2: true, ..scheme(name, conv, instructions) };
    let wide = |scheme| Scheme { linear_max: 32_767.0, ..scheme };
    vec![
        scheme("8-bit convolutions by SMLAD", [CONV_8, CONV_8], "~248"),
        scheme("12-bit convolutions by SMLAD", [CONV_12, CONV_12], "~248"),
        scheme("conv1 packed, conv2 12 bits by SMLAD", [Weights::Packed, CONV_12], "~217"),
        scheme("Winograd, 12-bit lanes, a scale a channel", [lanes, lanes], "~159"),
        scheme("Winograd, a scale a layer, pool not rounded", OURS, "~165"),
        ours("the same, centred 8-bit linear inputs: built", OURS, "149"),
        ours("built, shifts 12 and 16", [layer(12), layer(16)], "149"),
        ours("built, shifts 14 and 17", [layer(14), layer(17)], "149"),
        ours("conv1 packed", PACKED, "142"),
        Scheme { table: 256, ..ours("built, tables of 256", OURS, "149") },
        Scheme { table: 512, ..ours("built, tables of 512", OURS, "149") },
        Scheme { table: 2048, ..ours("built, tables of 2,048", OURS, "149") },
        wide(ours("built, 16-bit linear weights (40 KB more)", OURS, "~139")),
        wide(ours("conv1 packed, 16-bit linear weights", PACKED, "~132")),
    ]
}

/// A convolution as it acts on a tile of four outputs: `[out][in][ky][window][output]`, and a bias.
struct Conv {
    kernel: Vec<[[f32; TILE]; WINDOW]>,
    bias: Vec<f32>,
    /// Distance of the entries of each channel's table, if it has one of its own.
    steps: Vec<Option<f32>>,
    ins: usize,
}

/// A convolution to quantise.
struct Source<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    /// What 1.0 is at its input.
    one: f64,
    /// By input channel.
    means: &'a [f64],
}

impl Source<'_> {
    /// `step` is the distance of the sigmoid table's entries.
    fn quantize(&self, how: Weights, step: f64) -> Conv {
        let ins = self.means.len();
        let mut conv = Conv { kernel: vec![], bias: vec![], steps: vec![], ins };
        for (weight, &bias) in self.weight.chunks_exact(ins * KERNEL * KERNEL).zip(self.bias) {
            let rows: Vec<[f64; KERNEL]> = weight.as_chunks().0.iter().map(|row| row.map(f64::from)).collect();
            let scale = self.scale(&rows, how, step);
            let mut shift = 0.0;
            for (r, row) in rows.iter().enumerate() {
                let taps = rounded_taps(row, how, scale);
                for n in 0..WINDOW {
                    for k in 0..TILE {
                        let truth = n.checked_sub(k).and_then(|j| row.get(j)).copied().unwrap_or(0.0);
                        shift += (taps[n][k] - truth) * self.means[r / KERNEL] / TILE as f64;
                    }
                }
                conv.kernel.push(taps.map(|taps| taps.map(|tap| tap as f32)));
            }
            conv.bias.push((f64::from(bias) - shift) as f32);
            let unit = f64::from(1_u16 << PACKED_SHIFT) / self.one;
            conv.steps.push(matches!(how, Weights::Packed).then_some((scale * unit) as f32));
        }
        conv
    }

    fn scale(&self, rows: &[[f64; KERNEL]], how: Weights, step: f64) -> f64 {
        let magnitudes = || rows.as_flattened().iter().map(|w| w.abs());
        let max = magnitudes().fold(0.0, f64::max);
        let lane_max = rows.iter().flat_map(|row| transform_weights(*row)).fold(0.0, |m, lane| f64::max(m, lane.abs()));
        match how {
            Weights::Direct { max: integer } => max / integer,
            Weights::Packed => {
                let odd = || rows.iter().flat_map(|row| [row[1].abs(), row[3].abs()]);
                let largest = odd().fold(0.0, f64::max) / 511.0;
                (magnitudes().sum::<f64>() / 4112.0).max(odd().sum::<f64>() / 2056.0).max(largest)
            }
            Weights::WinogradChannel { max } => lane_max / max,
            Weights::WinogradLayer { shift } => (self.one * step / 2_f64.powi(shift)).max(lane_max / 32_767.0),
        }
    }
}

/// The factor of each input in each output of a tile, once the weights are rounded.
fn rounded_taps(row: &[f64; KERNEL], how: Weights, scale: f64) -> [[f64; TILE]; WINDOW] {
    let rounded = |value: f64| (value / scale).round() * scale;
    let lanes = transform_weights(*row).map(rounded);
    std::array::from_fn(|n| {
        std::array::from_fn(|k| match how {
            Weights::Direct { .. } | Weights::Packed => {
                n.checked_sub(k).and_then(|j| row.get(j)).map_or(0.0, |&w| rounded(w))
            }
            _ => (0..POINTS).map(|p| f64::from(DATA[p][n] * INVERSE[p][k]) * lanes[p]).sum(),
        })
    })
}

struct Linear {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

fn quantize_linear(weight: &[f32], bias: &[f32], max: f64, means: &[f64]) -> Linear {
    let mut linear = Linear { weight: vec![], bias: vec![] };
    for (weight, &bias) in weight.chunks_exact(means.len()).zip(bias) {
        let scale = weight.iter().fold(0.0, |m: f64, &w| m.max(f64::from(w).abs())) / max;
        let rounded = weight.iter().map(|&w| (f64::from(w) / scale).round() * scale);
        let shift: f64 = rounded.clone().zip(weight).zip(means).map(|((q, &w), m)| (q - f64::from(w)) * m).sum();
        linear.weight.extend(rounded.map(|q| q as f32));
        linear.bias.push((f64::from(bias) - shift) as f32);
    }
    linear
}

struct Net<'a> {
    scheme: &'a Scheme,
    table: Vec<f32>,
    conv: [Conv; 2],
    linear: [Linear; 3],
}

impl<'a> Net<'a> {
    fn new(scheme: &'a Scheme, net: &FoldedLeNet, calibration: &Calibration) -> Self {
        let step = 12.8 / scheme.table as f64;
        // A centred table (an even number of levels) is rounded from its middle.
        let table = (0..scheme.table).map(|i| {
            let sigmoid = 1.0 / (1.0 + (-(i as f64 * step - 6.4)).exp());
            ((sigmoid * scheme.levels).round() / scheme.levels) as f32
        });
        let m = &calibration.input_means;
        let source = |weight, bias, one, means| Source { weight, bias, one, means };
        let conv = [
            source(net.conv1.flat(), &net.conv1.bias, PIXEL_ONE.into(), &m[0]).quantize(scheme.conv[0], step),
            source(net.conv2.flat(), &net.conv2.bias, POOLED_ONE.into(), &m[1]).quantize(scheme.conv[1], step),
        ];
        let linear = [
            quantize_linear(net.linear1.flat(), &net.linear1.bias, scheme.linear_max, &m[2]),
            quantize_linear(net.linear2.flat(), &net.linear2.bias, scheme.linear_max, &m[3]),
            quantize_linear(net.linear3.flat(), &net.linear3.bias, scheme.linear_max, &m[4]),
        ];
        Self { scheme, table: table.collect(), conv, linear }
    }

    fn sigmoid(&self, x: f32) -> f32 {
        let step = 12.8 / self.scheme.table as f32;
        // Rounded to the nearest entry, as an offset in the bias arranges.
        let index = ((x + 6.4) / step).round().clamp(0.0, (self.scheme.table - 1) as f32);
        self.table[index as usize]
    }

    fn conv(&self, conv: &Conv, input: &[f32], side: usize) -> Vec<f32> {
        let (out, pooled) = (side - KERNEL + 1, (side - KERNEL + 1) / POOL);
        let outs = conv.bias.len();
        let mut result = vec![0.0; outs * pooled * pooled];
        for o in 0..outs {
            for y in 0..out {
                for x in (0..out).step_by(TILE) {
                    let mut acc = [conv.bias[o]; TILE];
                    for i in 0..conv.ins {
                        for ky in 0..KERNEL {
                            let taps = &conv.kernel[(o * conv.ins + i) * KERNEL + ky];
                            let row = &input[(i * side + y + ky) * side + x..][..WINDOW];
                            for n in 0..WINDOW {
                                for k in 0..TILE {
                                    acc[k] += taps[n][k] * row[n];
                                }
                            }
                        }
                    }
                    for (k, acc) in acc.into_iter().enumerate() {
                        let acc = conv.steps[o].map_or(acc, |step| ((acc / step).floor() + 0.5) * step);
                        result[(o * pooled + y / 2) * pooled + (x + k) / 2] += self.sigmoid(acc) / 4.0;
                    }
                }
            }
        }
        result
    }

    fn linear(&self, layer: &Linear, input: &[f32]) -> Vec<f32> {
        let rows = layer.weight.chunks_exact(input.len()).zip(&layer.bias);
        rows.map(|(w, b)| b + w.iter().zip(input).map(|(w, x)| w * x).sum::<f32>()).collect()
    }

    fn predict(&self, image: &Image) -> usize {
        let pixels: Vec<f32> = image.as_flattened().iter().map(|&p| f32::from(p) / 255.0).collect();
        let pooled1 = self.conv(&self.conv[0], &pixels, 28);
        let mut flat = self.conv(&self.conv[1], &pooled1, 12);
        if self.scheme.round_pool2 {
            let l = self.scheme.levels as f32;
            flat.iter_mut().for_each(|v| *v = (*v * l).round() / l);
        }
        let mut hidden = flat;
        for layer in &self.linear[..2] {
            hidden = self.linear(layer, &hidden).into_iter().map(|x| self.sigmoid(x)).collect();
        }
        bn_core::infer::argmax(&self.linear(&self.linear[2], &hidden))
    }
}

fn main() -> Result<()> {
    let dataset = data::load(&Request { download: false, ..Request::default() })?;
    let (test, labels) = (dataset.test.images(), &dataset.test.labels);
    for file in std::env::args().skip(1) {
        let net = Networks::new(&Checkpoint::read(Path::new(&file))?.parameters)?.folded;
        let truth = inference::classes(&inference::folded(&net, test));
        let calibration = Calibration::new(&net, &dataset.train.images()[..CALIBRATION_IMAGES]);
        println!("{file}: {:.2} % correct in f32", 100.0 * inference::accuracy(&truth, labels));
        println!("{:46} {:>12} {:>10} {:>10}", "scheme", "instructions", "correct", "differ");
        for scheme in &schemes() {
            let net = Net::new(scheme, &net, &calibration);
            let (first, second) = test.split_at(test.len() / 2);
            let predict = |images: &[Image]| images.iter().map(|image| net.predict(image)).collect::<Vec<_>>();
            let classes = std::thread::scope(|scope| {
                let other = scope.spawn(|| predict(second));
                [predict(first), other.join().expect("the simulation does not panic")].concat()
            });
            let (correct, differ) = (inference::accuracy(&classes, labels), inference::disagreement(&classes, &truth));
            let (name, instructions) = (scheme.name, scheme.instructions);
            println!("{name:46} {instructions:>12} {:>8.2} % {:>8.2} %", 100.0 * correct, 100.0 * differ);
        }
    }
    Ok(())
}
