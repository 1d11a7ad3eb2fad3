//! Folding of any network: BatchNorm into its neighbours, preprocessing into the first layer. In f64, rounded to f32 once.
//!
//! A BatchNorm is an affine map a channel, so it goes
//!
//! 1. back into a convolution or linear layer that nothing else reads, else
//! 2. forward into a linear layer or a convolution without padding that alone reads it, with nothing between but flatten and
//!    means over whole windows, else
//! 3. it stays.
//!
//! Preprocessing goes forward likewise. A first convolution that pads must then pad with what stands for zero: the input is
//! padded beforehand with that value.

use std::sync::Arc;

use bn_core::network::{Conv2d, Node, Op, Pads, Shape, Value};

use super::parameters::Parameters;
use crate::network::{Description, NamedNode, Network, Preprocessing};

/// A model that takes raw values.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// Without BatchNorm and preprocessing, as far as they fold. Its input is the padded one.
    pub parameters: Parameters,
    /// What is put around the input first.
    pub padding: Option<InputPadding>,
}

/// Padding of the raw input, in place of the first convolution's.
#[derive(Clone, Debug, PartialEq)]
pub struct InputPadding {
    /// Rows and columns by side.
    pub pads: Pads,
    /// The raw value that stands for zero, one a channel.
    pub values: Vec<f32>,
    /// What is left in the first layer's output, at most, where a raw value must be a whole number from 0 to 255.
    pub rounding: f64,
}

/// Folds every BatchNorm that can be. Says of each node that is left at which position it was.
pub fn fold_batch_norm(parameters: &Parameters) -> (Parameters, Vec<usize>) {
    let mut graph = Graph::of(parameters);
    graph.fold_batch_norms();
    let origins = std::mem::take(&mut graph.origins);
    (graph.into_parameters(parameters), origins)
}

/// Folds every BatchNorm that can be, and the preprocessing.
pub fn fold(parameters: &Parameters) -> Folded {
    let mut graph = Graph::of(parameters);
    graph.fold_batch_norms();
    let padding = graph.fold_preprocessing();
    Folded { parameters: graph.into_parameters(parameters), padding }
}

/// A per-channel affine map: `scale * x + shift`.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

/// A network that is being changed.
struct Graph {
    description: Description,
    /// Shape that each node reads; kept while nodes go.
    inputs: Vec<Shape>,
    /// Position that each node had.
    origins: Vec<usize>,
    /// Each node's tensors.
    tensors: Vec<Vec<Vec<f64>>>,
}

impl Graph {
    fn of(parameters: &Parameters) -> Self {
        let network = &parameters.network;
        let nodes = 0..network.nodes().len();
        Self {
            description: network.description(),
            inputs: nodes.clone().map(|at| network.input_of(at)).collect(),
            origins: nodes.clone().collect(),
            tensors: nodes.map(|at| parameters.of(at).to_vec()).collect(),
        }
    }

    /// Rounds every tensor to f32.
    fn into_parameters(self, from: &Parameters) -> Parameters {
        let network = Network::new(self.description).expect("folding keeps a network sound");
        let round = |values: Vec<f64>| values.into_iter().map(|v| f64::from(v as f32)).collect();
        let tensors = self.tensors.into_iter().flatten().map(round).collect();
        Parameters { network: Arc::new(network), tensors, variance: from.variance }
    }

    fn node(&self, at: usize) -> Node {
        self.description.nodes[at].node
    }

    fn readers(&self, value: Value) -> Vec<usize> {
        let reads = |node: &Node| node.input == value || matches!(node.op, Op::Add { other } if other == value);
        (0..self.description.nodes.len()).filter(|&at| reads(&self.node(at))).collect()
    }

    fn fold_batch_norms(&mut self) {
        let mut at = 0;
        while at < self.description.nodes.len() {
            match self.node(at).op {
                Op::BatchNorm { eps } if self.fold_back(at, eps) || self.fold_forward(at, eps) => self.remove(at),
                _ => at += 1,
            }
        }
    }

    /// Rule 1.
    fn fold_back(&mut self, at: usize, eps: f32) -> bool {
        let Value::Node(layer) = self.node(at).input else { return false };
        if !is_layer(&self.node(layer).op) || self.readers(Value::Node(layer)).len() != 1 {
            return false;
        }
        let Affine { scale, shift } = batch_norm(&self.tensors[at], eps);
        self.give_bias(layer);
        let [weight, bias] = &mut self.tensors[layer][..] else { unreachable!("a layer with a bias has two tensors") };
        let run = weight.len() / bias.len();
        for (c, weights) in weight.chunks_exact_mut(run).enumerate() {
            weights.iter_mut().for_each(|w| *w *= scale[c]);
            bias[c] = bias[c] * scale[c] + shift[c];
        }
        true
    }

    /// Rule 2.
    fn fold_forward(&mut self, at: usize, eps: f32) -> bool {
        let affine = batch_norm(&self.tensors[at], eps);
        match self.taker(Value::Node(at)) {
            Some(layer) if self.pads(layer).is_none() => {
                self.fold_into(layer, &affine);
                true
            }
            _ => false,
        }
    }

    /// The layer that alone takes a value, behind nothing but what a per-channel affine map passes unchanged.
    fn taker(&self, value: Value) -> Option<usize> {
        let [reader] = self.readers(value)[..] else { return None };
        match self.node(reader).op {
            Op::Conv2d(_) | Op::Linear { .. } => Some(reader),
            Op::Flatten | Op::GlobalAvgPool => self.taker(Value::Node(reader)),
            Op::AvgPool2d { pool, count_pad } if pool.pads.is_none() || !count_pad => self.taker(Value::Node(reader)),
            _ => None,
        }
    }

    fn pads(&self, layer: usize) -> Pads {
        if let Op::Conv2d(conv) = self.node(layer).op { conv.pads } else { Pads::NONE }
    }

    /// Lets a layer take `x` where it took `scale * x + shift`.
    fn fold_into(&mut self, layer: usize, affine: &Affine) {
        self.give_bias(layer);
        let op = self.node(layer).op;
        let [weight, bias] = &mut self.tensors[layer][..] else { unreachable!("a layer with a bias has two tensors") };
        let run = weight.len() / bias.len();
        for (out, weights) in weight.chunks_exact_mut(run).enumerate() {
            for (k, weight) in weights.iter_mut().enumerate() {
                let c = channel(&op, affine.scale.len(), run, out, bias.len(), k);
                bias[out] += *weight * affine.shift[c];
                *weight *= affine.scale[c];
            }
        }
    }

    /// A layer's bias is there from now on.
    fn give_bias(&mut self, layer: usize) {
        let Node { op, .. } = &mut self.description.nodes[layer].node;
        let (has, outputs) = match op {
            Op::Conv2d(Conv2d { bias, channels, .. }) => (bias, *channels),
            Op::Linear { bias, outputs } => (bias, *outputs),
            _ => unreachable!("a layer is a convolution or linear"),
        };
        if !std::mem::replace(has, true) {
            self.tensors[layer].push(vec![0.0; outputs]);
        }
    }

    /// Takes a node out; who read it reads what it read.
    fn remove(&mut self, at: usize) {
        let NamedNode { node: Node { input, .. }, .. } = self.description.nodes.remove(at);
        self.inputs.remove(at);
        self.origins.remove(at);
        self.tensors.remove(at);
        let moved = |value: Value| match value {
            Value::Node(node) if node == at => input,
            Value::Node(node) if node > at => Value::Node(node - 1),
            other => other,
        };
        for NamedNode { node, .. } in &mut self.description.nodes {
            node.input = moved(node.input);
            if let Op::Add { other } = &mut node.op {
                *other = moved(*other);
            }
        }
    }

    fn fold_preprocessing(&mut self) -> Option<InputPadding> {
        let (channels, preprocessing) = (self.description.input.channels, &self.description.preprocessing);
        if preprocessing.is_none() {
            return None;
        }
        let (scale, shift) = (0..channels).map(|c| preprocessing.affine(c)).unzip();
        let affine = Affine { scale, shift };
        let layer = self.taker(Value::Input)?;
        let (pads, is_first) = (self.pads(layer), self.node(layer).input == Value::Input);
        let is_shifted = affine.shift.iter().any(|&s| s != 0.0);
        if !pads.is_none() && is_shifted && !is_first {
            return None;
        }
        self.fold_into(layer, &affine);
        self.description.preprocessing = Preprocessing::default();
        if pads.is_none() || !is_shifted {
            return None;
        }
        let zeros: Vec<f64> = affine.scale.iter().zip(&affine.shift).map(|(scale, shift)| -shift / scale).collect();
        let rounding = self.rounding(layer, &zeros);
        let Shape { height, width, .. } = self.description.input;
        self.description.input = Shape::new(channels, height + pads.top + pads.bottom, width + pads.left + pads.right);
        if let Op::Conv2d(conv) = &mut self.description.nodes[layer].node.op {
            conv.pads = Pads::NONE;
        }
        Some(InputPadding { pads, values: zeros.iter().map(|&z| z as f32).collect(), rounding })
    }

    /// The largest change of the first layer's output if padding is rounded to whole numbers from 0 to 255.
    fn rounding(&self, layer: usize, zeros: &[f64]) -> f64 {
        let Op::Conv2d(conv) = self.node(layer).op else { return 0.0 };
        let off: Vec<f64> = zeros.iter().map(|z| z.round().clamp(0.0, 255.0) - z).collect();
        let (input, output) = (self.inputs[layer], self.node(layer).op.output(self.inputs[layer]));
        let weight = &self.tensors[layer][0];
        let run = weight.len() / conv.channels;
        let area = conv.kernel[0] * conv.kernel[1];
        let outside = |at: usize, tap: usize, stride: usize, pad: usize, length: usize| {
            !(pad..pad + length).contains(&(at * stride + tap))
        };
        let mut largest = 0.0_f64;
        // Far from the border nothing is padded.
        let near = |n: usize| (0..n).filter(move |&i| i < 16 || i + 16 >= n);
        for (y, x) in near(output.height).flat_map(|y| near(output.width).map(move |x| (y, x))) {
            for (out, weights) in weight.chunks_exact(run).enumerate() {
                let mut change = 0.0;
                for (k, w) in weights.iter().enumerate() {
                    let (row, column) = (k % area / conv.kernel[1], k % conv.kernel[1]);
                    let is_padding = outside(y, row, conv.stride[0], conv.pads.top, input.height)
                        || outside(x, column, conv.stride[1], conv.pads.left, input.width);
                    if is_padding {
                        let c = channel(&Op::Conv2d(conv), zeros.len(), run, out, conv.channels, k);
                        change += w * off[c];
                    }
                }
                largest = largest.max(change.abs());
            }
        }
        largest
    }
}

fn is_layer(op: &Op) -> bool {
    matches!(op, Op::Conv2d(_) | Op::Linear { .. })
}

/// Channel that weight `k` of `run` of output `out` meets, of so many channels in front of the layer.
fn channel(op: &Op, channels: usize, run: usize, out: usize, outputs: usize, k: usize) -> usize {
    match op {
        Op::Conv2d(conv) if conv.groups > 1 => out / (outputs / conv.groups),
        // A row of a linear layer behind flatten: channel, row, column.
        _ => k / (run / channels),
    }
}

/// A BatchNorm's affine map.
fn batch_norm(tensors: &[Vec<f64>], eps: f32) -> Affine {
    let [gamma, beta, mean, var] = tensors else { unreachable!("a BatchNorm has four tensors") };
    let scale: Vec<f64> = gamma.iter().zip(var).map(|(gamma, var)| gamma / (var + f64::from(eps)).sqrt()).collect();
    let shift = (0..gamma.len()).map(|c| beta[c] - scale[c] * mean[c]).collect();
    Affine { scale, shift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::initial_parameters;
    use crate::model::lenet::to_lenet;
    use crate::model::parameters::Variance;
    use crate::network::{shipped, text};

    fn ops(parameters: &Parameters) -> Vec<String> {
        text::print(&parameters.network).lines().skip_while(|line| !line.is_empty()).skip(1).map(String::from).collect()
    }

    fn folded(nodes: &str) -> Folded {
        let network = Arc::new(text::parse(&format!("input 2x6x6\npreprocess mean 3,5 std 2\n{nodes}")).unwrap());
        fold(&initial_parameters(&network, 1, Variance::Biased))
    }

    #[test]
    fn lenet_folds_to_the_bits_of_bn_core() {
        let mut parameters = initial_parameters(&Network::lenet(), 5, Variance::Biased);
        parameters.get_mut("5.running_var").fill(3.25);
        parameters.get_mut("10.running_mean").fill(f64::from(0.1_f32));
        let expected = to_lenet(&parameters).unwrap().fold();
        let (folded, origins) = fold_batch_norm(&parameters);
        assert_eq!(origins, [0, 2, 3, 4, 6, 7, 8, 9, 11, 12, 14, 15]);
        assert_eq!(to_lenet(&folded).unwrap().fold(), expected);
        assert_eq!(ops(&folded), ops(&Parameters::zero(&shipped::get("lenet_plain").unwrap(), Variance::Biased)));
    }

    #[test]
    fn a_batch_norm_goes_back_or_forward_or_stays() {
        let ops = |nodes| ops(&folded(nodes).parameters).join("\n");
        assert_eq!(ops("conv2d 4 3x3 no_bias | batch_norm | relu\n"), "conv2d 4 3x3 | relu");
        assert_eq!(ops("relu | batch_norm | flatten | linear 3"), "relu\nflatten | linear 3");
        assert_eq!(ops("relu | batch_norm | avg_pool2d 2x2 | conv2d 3 1x1"), "relu | avg_pool2d 2x2\nconv2d 3 1x1");
        for stays in [
            "relu | batch_norm\nconv2d 3 3x3 pad 1",
            "relu | batch_norm | max_pool2d 2x2\nconv2d 3 1x1",
            "conv2d 2 1x1 as a | batch_norm | add a",
            "relu | batch_norm | relu",
        ] {
            assert_eq!(ops(stays), stays);
        }
    }

    #[test]
    fn preprocessing_goes_into_the_first_layer_and_its_padding() {
        let Folded { parameters, padding } = folded("conv2d 4 3x3 pad 0,0,1,1 stride 2");
        assert_eq!(parameters.network.input(), Shape::new(2, 7, 7));
        let padding = padding.unwrap();
        assert_eq!((padding.values, padding.rounding), (vec![3.0, 5.0], 0.0));
        assert!(parameters.network.preprocessing().is_none());
        // A fully padded corner tap of a mean that is no whole number.
        let network = text::parse("input 1x4x4\npreprocess mean 2.25\nconv2d 1 1x1 pad 1\n").unwrap();
        let mut parameters = Parameters::zero(&Arc::new(network), Variance::Biased);
        parameters.tensors[0][0] = 4.0;
        assert_eq!(fold(&parameters).padding.unwrap().rounding, 1.0);
        // Without a layer to take it, it stays.
        assert!(!folded("relu | conv2d 2 1x1").parameters.network.preprocessing().is_none());
        assert!(folded("flatten | linear 2").parameters.network.preprocessing().is_none());
    }
}
