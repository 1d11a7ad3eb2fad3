//! What the quantiser writes parses, uses the range, and survives dead, large and impossible weights.

use super::*;
use bn_core::kernels::linear::BLOCK;
use bn_core::lenet::LeNet;

fn net() -> FoldedLeNet {
    let mut net = Box::new(LeNet::zero());
    for (seed, tensor) in net.tensors_mut().into_iter().enumerate() {
        for (i, value) in tensor.iter_mut().enumerate() {
            *value += (((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0) * 0.3;
        }
    }
    net.fold()
}

/// Quantises as if every input were 0: no correction.
fn none() -> Calibration {
    Calibration::new(&net(), &[])
}

#[test]
fn what_is_written_parses() {
    let (file, reports) = quantize(&net(), &none()).unwrap();
    file.write(&Network::lenet()).unwrap();
    assert_eq!(reports.len(), 5);
    assert!(reports[0].weight_snr_db > 25.0 && reports[2].weight_snr_db > 35.0, "{reports:?}");
    assert!(reports[1].weight_snr_db > 35.0, "{reports:?}");
}

#[test]
fn the_largest_weight_of_each_channel_uses_the_whole_range() {
    let (file, _) = quantize(&net(), &none()).unwrap();
    for block in &file.streams.linear2_weight {
        for output in 0..BLOCK {
            let weights = block.iter().flat_map(|outputs| bn_core::quant::unpack_weights(outputs[output]));
            assert_eq!(weights.map(|w| w.abs()).max(), Some(127));
        }
    }
}

#[test]
fn a_dead_channel_is_floored_not_overflowed() {
    let mut net = net();
    net.conv1.weight[2] = [[[1e-30; 5]; 5]];
    net.conv1.bias[2] = 3.0;
    net.linear1.weight[7].fill(0.0);
    net.linear1.bias[7] = 0.0;
    let (file, reports) = quantize(&net, &none()).unwrap();
    file.write(&Network::lenet()).unwrap();
    assert_eq!(reports[2].floored_channels, 1);
    // Its output is still the sigmoid of its bias.
    let index = bn_core::quant::conv_index(file.streams.conv1_bias[2], CONV_SHIFT[0]);
    assert!((index as f64 * SIGMOID_STEP - SIGMOID_RANGE - 3.0).abs() <= SIGMOID_STEP);
}

#[test]
fn large_weights_get_a_table_of_larger_steps() {
    let mut net = net();
    net.conv1.weight[1][0][0][0] = 300.0;
    net.conv2.bias[3] = -500.0;
    let (file, _) = quantize(&net, &none()).unwrap();
    file.write(&Network::lenet()).unwrap();
    assert!(file.streams.conv1_sigmoid != sigmoid_table_uncentred(SIGMOID_STEP));
    assert!(file.streams.conv2_sigmoid != sigmoid_table(SIGMOID_STEP));
}

#[test]
fn what_cannot_be_scaled_is_refused() {
    for (value, words) in [(1e9, "too large"), (f32::NAN, "not finite"), (f32::INFINITY, "not finite")] {
        let mut net = net();
        net.linear2.weight[3][5] = value;
        let error = quantize(&net, &none()).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains(words), "{error}");
    }
}
