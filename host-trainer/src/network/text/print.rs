//! A network as text. What is printed parses to the same network.

use std::fmt::Write;

use bn_core::batch_norm::DEFAULT_EPS;
use bn_core::network::{Activation, Conv2d, Op, Pads, Pool, Value};

use super::{HARD_SIGMOID_SLOPE, LEAKY_SLOPE};
use crate::network::{Network, Preprocessing};

/// The whole text.
pub fn print(network: &Network) -> String {
    let mut text = format!("network {}\ninput {}\n", network.name(), network.input());
    if !network.preprocessing().is_none() {
        let _ = writeln!(text, "preprocess {}", preprocessing(network.preprocessing()));
    }
    if network.has_classes() {
        let _ = writeln!(text, "classes {}", network.class_names().collect::<Vec<_>>().join(", "));
    }
    for at in 0..network.nodes().len() {
        text += if at == 0 || begins_a_line(network, at) { "\n" } else { " | " };
        text += &node(network, at);
    }
    text.push('\n');
    text
}

/// A block begins with a layer, or with the flatten before it, or where the flow branches.
fn begins_a_line(network: &Network, at: usize) -> bool {
    let nodes = network.nodes();
    let is_layer = |at: usize| matches!(nodes[at].op, Op::Conv2d(_) | Op::Linear { .. });
    let is_gather = |at: usize| matches!(nodes[at].op, Op::Flatten | Op::GlobalAvgPool | Op::GlobalMaxPool);
    let reads_the_one_before = nodes[at].input == Value::Node(at.wrapping_sub(1));
    let gathers = is_gather(at) && (at + 1..nodes.len()).find(|&next| !is_gather(next)).is_some_and(is_layer);
    !reads_the_one_before || gathers && !is_gather(at - 1) || is_layer(at) && !is_gather(at - 1)
}

fn node(network: &Network, at: usize) -> String {
    let node = network.nodes()[at];
    let mut text = op(&node.op, network.input_of(at).channels, |value| name(network, value));
    let before = if at == 0 { Value::Input } else { Value::Node(at - 1) };
    if node.input != before {
        let _ = write!(text, " from {}", name(network, node.input));
    }
    if let Some(name) = network.name_of(at) {
        let _ = write!(text, " as {name}");
    } else if is_referred_to(network, at) {
        let _ = write!(text, " as {}", name(network, Value::Node(at)));
    }
    text
}

/// Whether the text needs a name for a node.
fn is_referred_to(network: &Network, at: usize) -> bool {
    let value = Value::Node(at);
    network.nodes().iter().enumerate().any(|(i, node)| {
        let adds = matches!(node.op, Op::Add { other } if other == value);
        adds || (node.input == value && i != at + 1)
    })
}

/// A value's name: the node's own, or its position behind an underscore.
fn name(network: &Network, value: Value) -> String {
    match value {
        Value::Input => "input".into(),
        Value::Node(at) => network.name_of(at).map_or_else(|| format!("_{at}"), String::from),
    }
}

/// An operation that reads so many channels.
pub fn op(op: &Op, channels: usize, name: impl Fn(Value) -> String) -> String {
    match *op {
        Op::Conv2d(conv) => convolution(&conv, channels),
        Op::Linear { outputs, bias } => format!("linear {outputs}{}", no_bias(bias)),
        Op::BatchNorm { eps } if eps == DEFAULT_EPS => "batch_norm".into(),
        Op::BatchNorm { eps } => format!("batch_norm eps {eps}"),
        Op::Activation(activation) => self::activation(activation),
        Op::AvgPool2d { pool, count_pad } => {
            let exclude = if count_pad { "" } else { " exclude_pad" };
            format!("avg_pool2d {}{exclude}", windows(&pool))
        }
        Op::MaxPool2d(pool) => format!("max_pool2d {}", windows(&pool)),
        Op::GlobalAvgPool => "global_avg_pool".into(),
        Op::GlobalMaxPool => "global_max_pool".into(),
        Op::Add { other } => format!("add {}", name(other)),
        Op::Flatten => "flatten".into(),
        other => format!("{other:?}"),
    }
}

fn convolution(conv: &Conv2d, channels: usize) -> String {
    // With one input channel both are the same; then the plain form is printed.
    let mut text = if conv.groups > 1 {
        let multiplier = conv.channels / channels;
        let multiplied = if multiplier > 1 { format!(" multiplier {multiplier}") } else { String::new() };
        format!("depthwise {}{multiplied}", pair(conv.kernel))
    } else {
        format!("conv2d {} {}", conv.channels, pair(conv.kernel))
    };
    if conv.stride != [1, 1] {
        let _ = write!(text, " stride {}", stride(conv.stride));
    }
    text + &pads(conv.pads) + no_bias(conv.bias)
}

fn windows(pool: &Pool) -> String {
    let stride = if pool.stride == pool.kernel { String::new() } else { format!(" stride {}", stride(pool.stride)) };
    format!("{}{stride}{}", pair(pool.kernel), pads(pool.pads))
}

fn activation(activation: Activation) -> String {
    let sloped = |name: &str, slope: f32, usual: f32| {
        if slope == usual { name.into() } else { format!("{name} slope {slope}") }
    };
    match activation {
        Activation::Relu => "relu".into(),
        Activation::Relu6 => "relu6".into(),
        Activation::LeakyRelu { slope } => sloped("leaky_relu", slope, LEAKY_SLOPE),
        Activation::Sigmoid => "sigmoid".into(),
        Activation::Tanh => "tanh".into(),
        Activation::HardSigmoid { slope } => sloped("hard_sigmoid", slope, HARD_SIGMOID_SLOPE),
        Activation::HardSwish => "hard_swish".into(),
        other => format!("{other:?}"),
    }
}

fn pair([height, width]: [usize; 2]) -> String {
    format!("{height}x{width}")
}

fn stride(stride: [usize; 2]) -> String {
    if stride[0] == stride[1] { stride[0].to_string() } else { pair(stride) }
}

fn pads(pads: Pads) -> String {
    let Pads { top, left, bottom, right } = pads;
    match pads {
        Pads::NONE => String::new(),
        _ if pads == Pads::all(top) => format!(" pad {top}"),
        _ => format!(" pad {top},{left},{bottom},{right}"),
    }
}

fn no_bias(bias: bool) -> &'static str {
    if bias { "" } else { " no_bias" }
}

/// The arguments of `preprocess`.
pub(in crate::network) fn preprocessing(preprocessing: &Preprocessing) -> String {
    let Preprocessing { multiply, divide, mean, std } = preprocessing;
    let mut parts = Vec::new();
    match (*multiply, *divide) {
        (1.0, 1.0) => {}
        (multiply, 1.0) => parts.push(format!("scale {multiply}")),
        (multiply, divide) => parts.push(format!("scale {multiply}/{divide}")),
    }
    for (what, values) in [("mean", mean), ("std", std)] {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(f32::to_string).collect();
            parts.push(format!("{what} {}", values.join(",")));
        }
    }
    parts.join(" ")
}
