//! The walks over whole networks: gradients by central differences, and what inference promises.

use super::super::batch::Target;
use super::super::gradient_check::{check, random};
use super::*;
use crate::engine::initial_parameters;
use crate::engine::steps::{Treatment, treatments};
use crate::network::{shipped, text};
use ndarray::{Array1, Axis, concatenate, s};

/// Every operation, a value that two nodes read, one that a node reads twice.
const EVERYTHING: &str = "network everything
input 3x7x6

conv2d 4 3x3 pad 1 no_bias | batch_norm | hard_swish as stem
depthwise 3x2 multiplier 2 stride 2 pad 1,0,1,1 | batch_norm | relu6 | conv2d 4 1x1 | leaky_relu slope -0.5 as left
conv2d 4 1x1 stride 2 from stem | add left | tanh | avg_pool2d 2x2 stride 1 pad 1 exclude_pad
max_pool2d 3x2 stride 2 pad 1,0,1,1 | batch_norm eps 0.001 | sigmoid as last | add last | relu as doubled
global_avg_pool | tanh as mean
global_max_pool from doubled | add mean as pooled
flatten from doubled | linear 4 no_bias | hard_sigmoid slope 0.2 | add pooled | linear 3
";

fn net<T: Real>(network: Network) -> Net<T> {
    Net::from_parameters(&initial_parameters(&Arc::new(network), 1, Variance::Biased))
}

#[test]
fn gradients_of_every_operation_in_one_network() {
    let net: Net<f64> = net(text::parse(EVERYTHING).unwrap());
    let x = random(2, (3, 3, 7, 6)) * 2.0;
    let target = Target::Labels(vec![2, 0, 1]);
    let loss = |net: &Net<f64>| target.loss(net.forward_train(x.clone()).0, 0.0).0.mean_loss();

    let (y, forward) = net.forward_train(x.clone());
    let gradients = net.backward(&forward, target.loss(y, 0.0).1);
    let treatments = treatments(net.network());
    for (at, spec) in net.network().parameters().iter().enumerate() {
        let (name, gradient) = (net.network().tensor_name(spec), Array1::from(gradients[at].clone()));
        if !spec.role.is_trained() || treatments[at] == Treatment::Keep {
            assert!(gradient.iter().all(|d| d.abs() < 1e-12), "{name}: {gradient}");
            continue;
        }
        check(&name, &gradient, &Array1::from(net.tensors[at].clone()), |tensor| {
            let mut moved = net.clone();
            moved.tensors[at] = tensor.to_vec();
            loss(&moved)
        });
    }
}

#[test]
fn outputs_do_not_depend_on_the_examples_beside() {
    for network in shipped::all() {
        let net: Net<f32> = net((**network).clone());
        let [c, h, w] = network.input().dims();
        let x = random(3, (7, c, h, w)).mapv(|v| v as f32);
        let whole = net.infer(x.clone());
        for chunk in [1, 2, 3, 5] {
            let parts: Vec<_> = x.axis_chunks_iter(Axis(0), chunk).map(|x| net.infer(x.to_owned())).collect();
            let parts: Vec<_> = parts.iter().map(|part| part.view()).collect();
            assert_eq!(concatenate(Axis(0), &parts).unwrap(), whole, "{} by {chunk}", network.name());
        }
    }
}

#[test]
fn a_value_in_the_middle_is_what_the_nodes_before_give() {
    let net: Net<f64> = net(text::parse(EVERYTHING).unwrap());
    let x = random(4, (2, 3, 7, 6));
    assert_eq!(net.value(x.clone(), Value::Input), x);
    let stem = net.value(x.clone(), Value::Node(2));
    let by_hand = batch_norm_infer(conv2d_forward(&x, &conv(&net, 0), net.layer(0)), net.batch_norm(1));
    assert_eq!(stem, activation_forward(by_hand, bn_core::network::Activation::HardSwish));
    let result = net.value(x.clone(), net.network().topology().result());
    assert_eq!(result.slice(s![.., .., 0, 0]), net.infer(x));
}

fn conv(net: &Net<f64>, at: usize) -> bn_core::network::Conv2d {
    let Op::Conv2d(conv) = net.network().nodes()[at].op else { panic!("node {at} is no convolution") };
    conv
}

#[test]
fn statistics_follow_their_own_batch_norm() {
    let mut net: Net<f64> =
        net(text::parse("network n\ninput 2\n\nbatch_norm | linear 2 no_bias | batch_norm").unwrap());
    net.tensors[4] = vec![2.0, 0.0, 0.0, -1.0];
    let x = Array4::from_shape_vec((2, 2, 1, 1), vec![1.0, 10.0, 3.0, 30.0]).unwrap();
    let (_, forward) = net.forward_train(x);
    net.update_statistics(&forward, 1.0, Variance::Unbiased);
    assert_eq!(net.tensors[2..4], [vec![2.0, 20.0], vec![2.0, 200.0]]);
    // Normalised columns of -1 and 1, doubled and turned round.
    let [mean, var] = [&net.tensors[7], &net.tensors[8]];
    assert!(mean.iter().all(|m| m.abs() < 1e-12));
    assert!((var[0] - 8.0).abs() < 1e-3 && (var[1] - 2.0).abs() < 1e-3, "{var:?}");
}
