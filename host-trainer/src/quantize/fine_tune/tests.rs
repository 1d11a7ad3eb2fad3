//! The forward pass is the device's to the bit, the slopes are the sigmoid's, and fine-tuning brings back what was lost.

use bn_core::kernels::linear::{Stream, portable::accumulate};
use bn_core::quant::{LINEAR_UNIT, Quad};
use bn_core::{Image, LeNet};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::quantize::{Calibration, quantize};

fn images(count: usize, seed: u64) -> Vec<Image> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut images = vec![[[0; 28]; 28]; count];
    images.iter_mut().for_each(|image| rng.fill_bytes(image.as_flattened_mut()));
    images
}

fn split(count: usize, seed: u64) -> Split {
    Split::of_images(images(count, seed), vec![0; count])
}

fn net(seed: u64) -> FoldedLeNet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut net = Box::new(LeNet::zero());
    for tensor in net.tensors_mut() {
        tensor.iter_mut().for_each(|value| *value += rng.random_range(-0.3..0.3));
    }
    net.fold()
}

fn quantized(net: &FoldedLeNet, split: &Split) -> Quantized {
    quantize(net, &Calibration::new(net, split.images())).unwrap().0
}

/// Every weight of the linear layers moved by up to two steps.
fn disturbed(start: &Quantized, net: &FoldedLeNet) -> Quantized {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut layers = Layers::new(start, net);
    layers.layers.iter_mut().for_each(|layer| layer.disturb(|| rng.random_range(-2.0..2.0)));
    layers.quantized(start)
}

#[test]
fn the_forward_pass_is_the_devices_to_the_bit() {
    for seed in 0..3 {
        let (net, images) = (net(seed), images(300, seed));
        let integers = disturbed(&quantized(&net, &split(40, 9)), &net);
        let file = integers.write(&Network::lenet()).unwrap();
        let layers = Layers::new(&integers, &net);
        let flat = inference::flat(&file, &images).into_iter().flat_map(|row| row.map(f32::from)).collect();
        let logits = layers.forward(Array2::from_shape_vec((images.len(), FLAT), flat).unwrap()).logits;
        let mut arena = bn_core::file::Arena::default();
        for (image, logits) in images.iter().zip(logits.outer_iter()) {
            assert_eq!(file.run(image.as_flattened(), &mut arena, |_, _| ()), logits.as_slice().unwrap());
        }
    }
}

/// Sums at the edge of what f32 holds exactly: the largest weights and inputs of either sign.
#[test]
fn the_largest_sums_are_exact() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let edge = |rng: &mut ChaCha8Rng| if rng.random() { 127 } else { [-127_i8, 126][rng.random_range(0..2)] };
    for all_alike in [true, false] {
        let mut draw = |len: usize| (0..len).map(|_| if all_alike { 127 } else { edge(&mut rng) }).collect::<Vec<i8>>();
        let (weight, input) = (draw(FLAT * LINEAR1), draw(FLAT));
        let bias: Vec<i32> = (0..LINEAR1 as i32).map(|o| o * 1_000_003 - 60_000_000).collect();
        let integers = Integers { weight, bias, multiplier: vec![1_000_000; LINEAR1] };
        let layer = Layer::new(&integers, &vec![0.0; FLAT * LINEAR1], SIGMOID_STEP);
        assert_eq!(layer.integers(), integers);
        let mut file: Box<Streams> = bytemuck::zeroed_box();
        integers.store(&mut file.linear1_weight, &mut file.linear1_bias, &mut file.linear1_multiplier);
        let (weight, bias, multiplier) = (&file.linear1_weight, &file.linear1_bias, &file.linear1_multiplier);
        let device = Stream { weight, bias, multiplier };
        assert_eq!(Integers::load(weight, bias, multiplier, [FLAT, LINEAR1]), integers);
        let quads: [Quad; FLAT / 4] = std::array::from_fn(|q| Quad::new(input.as_chunks().0[q]));
        let pass = layer.forward(Array2::from_shape_vec((1, FLAT), input.iter().map(|&v| v.into()).collect()).unwrap());
        for (block, (bias, _, weight)) in device.layer().blocks().enumerate() {
            for (o, accumulator) in accumulate(*bias, weight, &quads).into_iter().enumerate() {
                assert_eq!(pass.accumulators[(0, 4 * block + o)], accumulator);
            }
        }
    }
}

/// Against the differences of the integers themselves over a wide stretch.
#[test]
fn slopes_are_those_of_the_table() {
    let integers = Integers { weight: vec![1; 41], bias: vec![0; 41], multiplier: vec![1 << 22; 41] };
    let table = bn_core::quant::sigmoid_table(SIGMOID_STEP);
    let layer = |moved: i32| {
        let entries = |o: i32| (25 * o + moved) * 1024; // of the table, as an accumulator
        Layer::new(&Integers { bias: (0..41).map(entries).collect(), ..integers.clone() }, &[0.0; 41], SIGMOID_STEP)
    };
    let pass = |layer: &Layer| layer.forward(Array2::zeros((1, 1)));
    let [low, here, high] = [-20, 0, 20].map(layer);
    let slopes = here.sigmoid_slopes(&pass(&here));
    let rise = high.activations(&pass(&high), &table) - low.activations(&pass(&low), &table);
    for o in 1..40 {
        let expected = rise[(0, o)] / (40 * 1024 / LINEAR_UNIT) as f32;
        assert!((slopes[(0, o)] - expected).abs() < 0.01, "{o}: {} {expected}", slopes[(0, o)]);
    }
}

#[test]
fn no_epoch_leaves_the_file_as_it_is() {
    let (net, train) = (net(1), split(60, 1));
    let file = quantized(&net, &train);
    let (same, found) = fine_tune(&file, &net, &train, FineTuning { epochs: 0, seed: 0 });
    assert_eq!(same, file);
    assert_eq!((found.kept, found.weights_changed, found.held_out), (0, [0; 3], 10));
    assert_eq!(Layers::new(&file, &net).quantized(&file), file);
}

#[test]
fn it_brings_back_what_a_disturbance_took_and_repeats_itself() {
    let (net, train) = (net(2), split(1200, 2));
    let file = disturbed(&quantized(&net, &train), &net);
    let request = FineTuning { epochs: 20, seed: 3 };
    let (tuned, found) = fine_tune(&file, &net, &train, request);
    let (before, after) = (found.agreement[0], found.agreement[found.kept]);
    assert!(after.divergence < 0.5 * before.divergence, "{before:?} {after:?}");
    assert!(found.kept > 0 && found.weights_changed.iter().all(|&changed| changed > 0), "{found:?}");
    tuned.write(&Network::lenet()).unwrap();
    let (again, found_again) = fine_tune(&file, &net, &train, request);
    assert_eq!((again, found_again), (tuned, found));
}
