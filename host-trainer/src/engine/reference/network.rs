//! Any network, node by node: training-mode forward, backward, and inference.

#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;

use bn_core::network::{Node, Op, Pool, Shape, Value};
use ndarray::{Array2, Array4, ArrayView2, Ix4};

use super::activation::{activation_backward, activation_forward, reads_output};
use super::add::{add_backward, add_forward};
use super::avg_pool2d::{avg_pool2d_backward, avg_pool2d_forward};
use super::batch_norm::{Normalized, Statistics, batch_norm_backward, batch_norm_infer, batch_norm_train};
use super::conv2d::{conv2d_backward_input, conv2d_backward_parameters, conv2d_forward};
use super::flatten::{flatten_backward, flatten_forward};
use super::layer::{BatchNorm, Layer, LayerGradient};
use super::linear::{linear_backward_input, linear_backward_parameters, linear_forward};
use super::max_pool2d::{Winners, max_pool2d_backward, max_pool2d_forward};
use super::values::{Gradients, Values};
use crate::engine::steps::Tensors;
use crate::model::parameters::{Parameters, Variance};
use crate::model::real::Real;
use crate::network::Network;

/// A network with its numbers. Activations are `[n, channels, height, width]`; a vector's maps are 1x1.
#[derive(Clone, Debug, PartialEq)]
pub struct Net<T> {
    network: Arc<Network>,
    /// One flat row-major vector a tensor, in the order of [`Network::parameters`].
    pub tensors: Tensors<T>,
    /// Where each node's tensors begin.
    first: Vec<usize>,
}

/// What a training-mode forward pass leaves behind for the backward pass.
pub struct Forward<T> {
    kept: Vec<Kept<T>>,
}

/// What a node's backward pass needs.
enum Kept<T> {
    /// The gradient of the output alone.
    Nothing,
    /// The node's input, or its output where [`reads_output`] says so.
    Value(Rc<Array4<T>>),
    /// What BatchNorm found.
    Batch(Box<Normalized<T, Ix4>>),
    /// Where the largest values were.
    Winners(Winners),
}

impl<T: Real> Net<T> {
    /// Outputs `[n, outputs]` of inputs, every BatchNorm in training mode. Changes nothing.
    ///
    /// # Panics
    /// If a BatchNorm gets one value a channel: a batch of one vector.
    pub fn forward_train(&self, x: Array4<T>) -> (Array2<T>, Forward<T>) {
        let mut values = Values::new(self.network.nodes(), x);
        let mut kept = Vec::with_capacity(self.network.nodes().len());
        for (at, node) in self.network.nodes().iter().enumerate() {
            let x = values.read(node.input);
            let (y, keep) = match self.op(at) {
                Op::BatchNorm { .. } => {
                    let (y, batch) = batch_norm_train(Rc::unwrap_or_clone(x), self.batch_norm(at));
                    (Rc::new(y), Kept::Batch(Box::new(batch)))
                }
                Op::MaxPool2d(pool) => {
                    let (y, winners) = max_pool2d_forward(&x, &pool);
                    (Rc::new(y), Kept::Winners(winners))
                }
                Op::Activation(f) if reads_output(f) => {
                    let y = Rc::new(activation_forward(Rc::unwrap_or_clone(x), f));
                    (y.clone(), Kept::Value(y))
                }
                Op::Conv2d(_) | Op::Linear { .. } | Op::Activation(_) => {
                    (Rc::new(self.infer_node(at, x.clone(), &mut values)), Kept::Value(x))
                }
                _ => (Rc::new(self.infer_node(at, x, &mut values)), Kept::Nothing),
            };
            values.write(at, y);
            kept.push(keep);
        }
        (self.outputs(values.result()), Forward { kept })
    }

    /// Gradients of all parameters, from those of the outputs: [`forward_train`](Self::forward_train) read upwards. Those of the
    /// moving statistics are zero.
    pub fn backward(&self, forward: &Forward<T>, d_y: Array2<T>) -> Tensors<T> {
        let mut gradients: Tensors<T> = self.tensors.iter().map(|tensor| vec![T::zero(); tensor.len()]).collect();
        let (n, [c, h, w]) = (d_y.nrows(), self.network.output().dims());
        let d_y = d_y.into_shape_with_order((n, c, h, w)).expect("gradients are row-major");
        let mut d_values = Gradients::new(self.network.nodes().len(), d_y);
        for (at, node) in self.network.nodes().iter().enumerate().rev() {
            let d = d_values.take(at);
            let shape = self.network.shape(node.input);
            let map = [shape.height, shape.width];
            // Nobody asks for the gradient of the network's input.
            let is_asked = node.input != Value::Input;
            let d_x = match (self.op(at), &forward.kept[at]) {
                (Op::Conv2d(conv), Kept::Value(x)) => {
                    self.set_layer(&mut gradients, at, conv2d_backward_parameters(x, &d, &conv));
                    is_asked.then(|| conv2d_backward_input(&d, &conv, self.layer(at), map))
                }
                (Op::Linear { bias, .. }, Kept::Value(x)) => {
                    self.set_layer(&mut gradients, at, linear_backward_parameters(rows(x), rows(&d), bias));
                    is_asked.then(|| maps(linear_backward_input(rows(&d), self.layer(at))))
                }
                (Op::BatchNorm { .. }, Kept::Batch(batch)) => {
                    let (d_x, d_gamma, d_beta) = batch_norm_backward(d, batch, self.batch_norm(at).gamma);
                    gradients[self.first[at]] = d_gamma.to_vec();
                    gradients[self.first[at] + 1] = d_beta.to_vec();
                    Some(d_x)
                }
                (Op::Activation(f), Kept::Value(kept)) => Some(activation_backward(d, kept, f)),
                (Op::AvgPool2d { pool, count_pad }, _) => Some(avg_pool2d_backward(&d, &pool, count_pad, map)),
                (Op::MaxPool2d(_), Kept::Winners(winners)) => Some(max_pool2d_backward(&d, winners, map)),
                (Op::Add { other }, _) => {
                    let [d_x, d_other] = add_backward(d);
                    d_values.add(other, d_other);
                    Some(d_x)
                }
                (Op::Flatten, _) => Some(flatten_backward(d, shape.dims())),
                (op, _) => unreachable!("the forward pass keeps what {op:?} needs"),
            };
            if let Some(d_x) = d_x {
                d_values.add(node.input, d_x);
            }
        }
        gradients
    }

    /// Lets the moving statistics of every BatchNorm follow the batch of a forward pass.
    pub fn update_statistics(&mut self, forward: &Forward<T>, momentum: T, variance: Variance) {
        for (at, kept) in forward.kept.iter().enumerate() {
            if let Kept::Batch(batch) = kept {
                self.statistics(at, variance).follow(batch, momentum);
            }
        }
    }

    /// Outputs `[n, outputs]` of inputs, every BatchNorm in inference mode. An example's outputs do not depend on the others.
    pub fn infer(&self, x: Array4<T>) -> Array2<T> {
        self.outputs(self.value(x, self.network.topology().result()))
    }

    /// Any value of the network, every BatchNorm in inference mode; what lies behind it is not computed.
    pub fn value(&self, x: Array4<T>, value: Value) -> Array4<T> {
        let nodes = match value {
            Value::Input => &[],
            Value::Node(at) => &self.network.nodes()[..=at],
        };
        let mut values = Values::new(nodes, x);
        for (at, node) in nodes.iter().enumerate() {
            let x = values.read(node.input);
            let y = self.infer_node(at, x, &mut values);
            values.write(at, Rc::new(y));
        }
        values.result()
    }

    /// Shows the input and then each node's output, every BatchNorm in inference mode.
    pub fn observe(&self, x: Array4<T>, mut see: impl FnMut(Value, &Array4<T>)) {
        see(Value::Input, &x);
        let nodes = self.network.nodes();
        let mut values = Values::new(nodes, x);
        for (at, node) in nodes.iter().enumerate() {
            let x = values.read(node.input);
            let y = self.infer_node(at, x, &mut values);
            see(Value::Node(at), &y);
            values.write(at, Rc::new(y));
        }
    }

    fn outputs(&self, y: Array4<T>) -> Array2<T> {
        let shape = (y.dim().0, self.network.output().len());
        y.into_shape_with_order(shape).expect("activations are row-major")
    }

    /// What a node makes of `x` in inference mode; [`Op::Add`] reads its other term from `values`.
    fn infer_node(&self, at: usize, x: Rc<Array4<T>>, values: &mut Values<T>) -> Array4<T> {
        match self.op(at) {
            Op::Conv2d(conv) => conv2d_forward(&x, &conv, self.layer(at)),
            Op::Linear { .. } => maps(linear_forward(rows(&x), self.layer(at))),
            Op::BatchNorm { .. } => batch_norm_infer(Rc::unwrap_or_clone(x), self.batch_norm(at)),
            Op::Activation(f) => activation_forward(Rc::unwrap_or_clone(x), f),
            Op::AvgPool2d { pool, count_pad } => avg_pool2d_forward(&x, &pool, count_pad),
            Op::MaxPool2d(pool) => max_pool2d_forward(&x, &pool).0,
            Op::Add { other } => add_forward(Rc::unwrap_or_clone(x), &values.read(other)),
            Op::Flatten => flatten_forward(Rc::unwrap_or_clone(x)),
            op => unreachable!("bn-core has no operation {op:?}"),
        }
    }

    /// A node's operation. A global pool is the pool whose window is the whole map.
    fn op(&self, at: usize) -> Op {
        let Shape { height, width, .. } = self.network.input_of(at);
        let whole = Pool { kernel: [height, width], ..Pool::new(1) };
        match self.network.nodes()[at].op {
            Op::GlobalAvgPool => Op::AvgPool2d { pool: whole, count_pad: false },
            Op::GlobalMaxPool => Op::MaxPool2d(whole),
            op => op,
        }
    }

    fn layer(&self, at: usize) -> Layer<'_, T> {
        let tensors = self.tensors_of(at);
        Layer { weight: &tensors[0], bias: tensors.get(1).map(Vec::as_slice) }
    }

    fn batch_norm(&self, at: usize) -> BatchNorm<'_, T> {
        let [gamma, beta, running_mean, running_var] = self.tensors_of(at) else {
            unreachable!("a BatchNorm has four tensors")
        };
        BatchNorm { gamma, beta, running_mean, running_var, eps: T::of(self.network.eps(at).into()) }
    }

    fn statistics(&mut self, at: usize, variance: Variance) -> Statistics<'_, T> {
        let [_, _, mean, var] = &mut self.tensors[self.first[at]..self.first[at] + 4] else {
            unreachable!("a BatchNorm has four tensors")
        };
        Statistics { mean, var, variance }
    }

    fn tensors_of(&self, at: usize) -> &[Vec<T>] {
        &self.tensors[self.first[at]..][..self.network.nodes()[at].op.roles().len()]
    }

    fn set_layer(&self, gradients: &mut [Vec<T>], at: usize, gradient: LayerGradient<T>) {
        gradients[self.first[at]] = gradient.weight;
        if let Some(bias) = gradient.bias {
            gradients[self.first[at] + 1] = bias;
        }
    }

    /// The network of these parameters, every value rounded to `T`.
    pub fn from_parameters(parameters: &Parameters) -> Self {
        let network = parameters.network.clone();
        let round = |tensor: &Vec<f64>| tensor.iter().map(|&value| T::of(value)).collect();
        let tensors = parameters.tensors.iter().map(round).collect();
        let mut next = 0;
        let mut begin = |node: &Node| {
            let first = next;
            next += node.op.roles().len();
            first
        };
        let first = network.nodes().iter().map(&mut begin).collect();
        Self { network, tensors, first }
    }

    /// The description.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Tensors like this network's, its own or gradients, as parameters: exact.
    pub fn to_parameters(&self, tensors: &[Vec<T>], variance: Variance) -> Parameters {
        let exact = |tensor: &Vec<T>| tensor.iter().map(|value| value.as_f64()).collect();
        Parameters { network: self.network.clone(), tensors: tensors.iter().map(exact).collect(), variance }
    }
}

/// `[n, values]` of `[n, channels, height, width]`.
pub fn rows<T: Real>(x: &Array4<T>) -> ArrayView2<'_, T> {
    let n = x.dim().0;
    x.view().into_shape_with_order((n, x.len() / n)).expect("activations are row-major")
}

/// `[n, values, 1, 1]` of `[n, values]`.
fn maps<T: Real>(x: Array2<T>) -> Array4<T> {
    let (n, values) = x.dim();
    x.into_shape_with_order((n, values, 1, 1)).expect("activations are row-major")
}
