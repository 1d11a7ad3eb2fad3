//! The peers that are Rust crates, each with the folded network.

use std::path::Path;

use bn_core::lenet::{CLASSES, IMAGE_SIDE};
use bn_core::{FoldedLeNet, Image};

use crate::{Local, Peer, Result};

/// Pixels / 255, row-major.
fn pixels(image: &Image) -> Vec<f32> {
    image.as_flattened().iter().map(|&pixel| f32::from(pixel) / 255.0).collect()
}

/// tract runs the ONNX file that the Python side wrote.
pub(crate) fn tract(model: &Path) -> Result<Box<dyn Peer>> {
    use tract_onnx::prelude::*;
    let model = tract_onnx::onnx().model_for_path(model)?.into_optimized()?.into_runnable()?;
    let infer = move |image: &Image| {
        let input = Tensor::from_shape(&[1, 1, IMAGE_SIDE, IMAGE_SIDE], &pixels(image))?;
        let output = model.run(tvec!(input.into()))?;
        Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    };
    Ok(Box::new(Local { name: "tract", infer }))
}

/// burn, its flex backend.
pub(crate) fn burn(net: &FoldedLeNet) -> Box<dyn Peer> {
    use burn::tensor::activation::sigmoid;
    use burn::tensor::module::{avg_pool2d, conv2d, linear};
    use burn::tensor::ops::{AvgPoolOptions, ConvOptions};
    use burn::tensor::{Device, Tensor, TensorData};
    let device = Device::flex();
    let (weights, biases) = (weights(net), biases(net));
    let (w, wide) = weights.split_at(2);
    let conv: Vec<Tensor<4>> = w
        .iter()
        .map(|(v, s)| Tensor::from_data(TensorData::new(v.clone(), [s[0], s[1], s[2], s[3]]), &device))
        .collect();
    let dense: Vec<Tensor<2>> = wide
        .iter()
        .map(|(v, s)| Tensor::<2>::from_data(TensorData::new(v.clone(), [s[0], s[1]]), &device).transpose())
        .collect();
    let bias: Vec<Tensor<1>> =
        biases.iter().map(|v| Tensor::from_data(TensorData::new(v.clone(), [v.len()]), &device)).collect();
    let infer = move |image: &Image| {
        let mut x: Tensor<4> =
            Tensor::from_data(TensorData::new(pixels(image), [1, 1, IMAGE_SIDE, IMAGE_SIDE]), &device);
        for i in 0..2 {
            let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
            x = sigmoid(conv2d(x, conv[i].clone(), Some(bias[i].clone()), options));
            x = avg_pool2d(x, AvgPoolOptions::new([2, 2]).with_stride([2, 2]));
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        for i in 0..3 {
            x = linear(x, dense[i].clone(), Some(bias[2 + i].clone()));
            x = if i < 2 { sigmoid(x) } else { x };
        }
        x.into_data().try_to_vec::<f32>().map_err(|error| format!("{error:?}").into())
    };
    Box::new(Local { name: "burn", infer })
}

/// candle on the CPU.
pub(crate) fn candle(net: &FoldedLeNet) -> Result<Box<dyn Peer>> {
    use candle_core::{Device, Tensor};
    use candle_nn::ops::sigmoid;
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu);
    let mut weight = Vec::new();
    for (values, shape) in weights(net) {
        let tensor = tensor(&values, &shape)?;
        weight.push(if shape.len() == 2 { tensor.t()?.contiguous()? } else { tensor });
    }
    let mut bias = Vec::new();
    for (i, values) in biases(net).iter().enumerate() {
        let shape = if i < 2 { vec![1, values.len(), 1, 1] } else { vec![1, values.len()] };
        bias.push(tensor(values, &shape)?);
    }
    let infer = move |image: &Image| {
        let mut x = Tensor::from_vec(pixels(image), (1, 1, IMAGE_SIDE, IMAGE_SIDE), &Device::Cpu)?;
        for i in 0..2 {
            x = sigmoid(&x.conv2d(&weight[i], 0, 1, 1, 1)?.broadcast_add(&bias[i])?)?.avg_pool2d(2)?;
        }
        x = x.flatten_from(1)?;
        for i in 2..5 {
            x = x.matmul(&weight[i])?.broadcast_add(&bias[i])?;
            x = if i < 4 { sigmoid(&x)? } else { x };
        }
        Ok(x.reshape(CLASSES)?.to_vec1::<f32>()?)
    };
    Ok(Box::new(Local { name: "candle", infer }))
}

/// Weights and shapes, layer by layer.
fn weights(net: &FoldedLeNet) -> Vec<(Vec<f32>, Vec<usize>)> {
    vec![
        (net.conv1.flat().to_vec(), vec![6, 1, 5, 5]),
        (net.conv2.flat().to_vec(), vec![16, 6, 5, 5]),
        (net.linear1.flat().to_vec(), vec![120, 256]),
        (net.linear2.flat().to_vec(), vec![84, 120]),
        (net.linear3.flat().to_vec(), vec![10, 84]),
    ]
}

/// Biases, layer by layer.
fn biases(net: &FoldedLeNet) -> Vec<Vec<f32>> {
    vec![
        net.conv1.bias.to_vec(),
        net.conv2.bias.to_vec(),
        net.linear1.bias.to_vec(),
        net.linear2.bias.to_vec(),
        net.linear3.bias.to_vec(),
    ]
}
