//! Convolutions, linear layers and BatchNorm.

use bn_core::network::{Conv2d, Op, Pads, Shape, Value};

use super::constant::transposed;
use super::function::at;
use super::graph::describe;
use super::proto::NodeProto;
use super::refusal::Refusal;
use super::tensor::Tensor;
use super::view::{BATCH, Meaning, View};
use super::walk::Walk;
use super::window::{Map, Window, sides};

impl Walk<'_> {
    /// The input of an operation on maps: the view, in which padding may be left, and its shape without that.
    pub(super) fn map(&mut self, node: &NodeProto) -> Result<Map, String> {
        let of = describe(node);
        let view = self.view(node, 0)?;
        let view = self.builder.settled(&view, &of)?;
        let own = self.builder.shape(view.value);
        let turned = Shape::new(own.channels, own.width, own.height);
        let refused = || format!("{of} reads {} in another order than [n, channels, height, width]", view.shown());
        match view.map().filter(|_| view.axes.len() > 2) {
            Some(shape) if shape == own => Ok(Map { view, shape, turned: false }),
            // A sequence: some write one row, some one column; both are the same numbers.
            Some(shape) if shape == turned && (own.height == 1 || own.width == 1) => {
                Ok(Map { view, shape, turned: true })
            }
            _ => Err(refused()),
        }
    }

    pub(super) fn convolution(&mut self, node: &NodeProto) -> Result<View, String> {
        let of = describe(node);
        let map = self.map(node)?;
        let (shape, rank) = (map.shape, map.view.axes.len());
        let weight = self.needed(node, 1)?;
        let (Some(&channels), Some(kernel), true) =
            (weight.shape.first(), sides(weight.shape.get(2..).unwrap_or_default(), rank), weight.shape.len() == rank)
        else {
            return Err(format!("{of} has weights of the shape {:?} for a tensor of {rank} axes", weight.shape));
        };
        let groups = node.int("group").unwrap_or(1);
        let per_group = weight.shape[1];
        let groups = match usize::try_from(groups) {
            Ok(1) if per_group == shape.channels => 1,
            Ok(groups) if groups == shape.channels && per_group == 1 => groups,
            _ => {
                return Err(format!(
                    "{of} has {groups} groups of {per_group} on {} channels; one group, or one for each channel, are supported",
                    shape.channels
                ));
            }
        };
        let Window { kernel, stride, pads, .. } = Window::of(node, &map, kernel)?;
        if let Some(padding) = &map.view.padding
            && padding.fill != 0.0
        {
            return Err(format!("{of} reads a Pad of {}; zeros are supported", padding.fill));
        }
        let conv = Conv2d { channels, kernel, stride, pads, groups, bias: true };
        let bias = self.bias(node, 2, channels, 1.0)?;
        let weight =
            if map.turned && rank == 4 { transposed(&weight, Some(&[0, 1, 3, 2]))? } else { (*weight).clone() };
        let value = self.builder.push(Op::Conv2d(conv), map.view.value, vec![weight.values, bias], &of)?;
        Ok(View { alone: true, ..map.result(value, self.builder.shape(value)) })
    }

    /// A layer's bias; one that is not there is zeros.
    fn bias(&mut self, node: &NodeProto, input: usize, outputs: usize, factor: f64) -> Result<Vec<f64>, String> {
        let Some(bias) = self.optional(node, input)? else { return Ok(vec![0.0; outputs]) };
        let inner = bias.shape.iter().rev().skip(1).all(|&length| length == 1);
        if !inner || bias.values.len() != outputs && bias.values.len() != 1 {
            return Err(format!("{} has a bias of the shape {:?} for {outputs} outputs", describe(node), bias.shape));
        }
        Ok((0..outputs).map(|output| factor * at(&bias.values, output)).collect())
    }

    pub(super) fn gemm(&mut self, node: &NodeProto) -> Result<View, String> {
        let of = describe(node);
        let (alpha, beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
        if node.int("transA").unwrap_or(0) != 0 {
            return Err(format!("{of} transposes its input; transB, alpha and beta are supported"));
        }
        let view = self.settled(node, 0)?;
        let stored = self.needed(node, 1)?;
        let weight = if node.int("transB").unwrap_or(0) == 0 { transposed(&stored, None)? } else { (*stored).clone() };
        let weight = Tensor { values: weight.values.iter().map(|&w| f64::from(alpha) * w).collect(), ..weight };
        check_matrix(&weight, &of)?;
        let bias = self.bias(node, 2, weight.shape[0], f64::from(beta))?;
        self.linear(&view, &weight, bias, &of)
    }

    pub(super) fn product(&mut self, node: &NodeProto) -> Result<View, String> {
        let of = describe(node);
        let view = self.settled(node, 0)?;
        let stored = self.needed(node, 1)?;
        check_matrix(&stored, &of)?;
        let weight = transposed(&stored, None)?;
        let bias = vec![0.0; weight.shape[0]];
        self.linear(&view, &weight, bias, &of)
    }

    /// `weight` is a matrix `[outputs, inputs]`, along the view's last axis.
    fn linear(&mut self, view: &View, weight: &Tensor, bias: Vec<f64>, of: &str) -> Result<View, String> {
        let last = view.axes.len() - 1;
        let [outputs, inputs] = [weight.shape[0], weight.shape[1]];
        let refused = || {
            format!("{of} multiplies {} by [{inputs}, {outputs}]; [n, values] by a matrix is supported", view.shown())
        };
        if last == 0 || view.length(last) != inputs || view.axes[0] != [BATCH] {
            return Err(refused());
        }
        let shape = self.builder.shape(view.value);
        let by_position = match view.meaning(last, shape) {
            Meaning::Channels(places) if !shape.is_flat() => Some(places),
            Meaning::Channels(places) | Meaning::Values(places) => {
                let input = self.builder.flat(view.value, of)?;
                let op = Op::Linear { outputs, bias: true };
                let value = self.builder.push(op, input, vec![placed(weight, &places), bias], of)?;
                // One value an output, and the axes that were there.
                let mut axes = vec![vec![]; last + 1];
                (axes[0], axes[last]) = (vec![BATCH], vec![0]);
                return Ok(View { value, axes, factors: vec![outputs], alone: true, ..view.clone() });
            }
            Meaning::Neither => None,
        };
        let places = by_position.ok_or_else(refused)?;
        // The same at each position: a convolution with one tap.
        let conv =
            Conv2d { channels: outputs, kernel: [1, 1], stride: [1, 1], pads: Pads::NONE, groups: 1, bias: true };
        let value = self.builder.push(Op::Conv2d(conv), view.value, vec![placed(weight, &places), bias], of)?;
        view.with_channels(value, outputs, shape.channels).map(|view| View { alone: true, ..view }).ok_or_else(refused)
    }

    pub(super) fn batch_norm(&mut self, node: &NodeProto) -> Result<View, Refusal> {
        let of = describe(node);
        let training = node.int("training_mode").unwrap_or(0) != 0;
        if training || node.output.iter().skip(1).any(|name| !name.is_empty()) {
            return Err(Refusal::in_training(format!("{of} is in training mode")));
        }
        if node.int("spatial").unwrap_or(1) == 0 {
            return Err(format!("{of} has statistics for each position; those for each channel are supported").into());
        }
        let view = self.settled(node, 0)?;
        let tensors = [1, 2, 3, 4].map(|input| self.needed(node, input));
        let mut by_part = Vec::with_capacity(4);
        for tensor in tensors {
            by_part.push(tensor?.values.clone());
        }
        let eps = node.float("epsilon").unwrap_or(1e-5);
        if view.axes.len() < 2 || by_part.iter().any(|values| values.len() != view.length(1)) {
            let shown = view.shown();
            return Err(format!("{of} has {} values a part for a tensor {shown}", by_part[0].len()).into());
        }
        let (value, places) = self.channels(&view, 1, &of)?;
        let by_part = by_part.iter().map(|values| scattered(values, &places)).collect();
        let value = self.builder.push(Op::BatchNorm { eps }, value, by_part, &of)?;
        Ok(View { value, alone: true, ..view })
    }

    /// The value whose channels an axis counts, and the place of each position of the axis among them.
    pub(super) fn channels(&mut self, view: &View, axis: usize, of: &str) -> Result<(Value, Vec<usize>), String> {
        match view.meaning(axis, self.builder.shape(view.value)) {
            Meaning::Channels(places) => Ok((view.value, places)),
            Meaning::Values(places) => Ok((self.builder.flat(view.value, of)?, places)),
            Meaning::Neither => Err(format!(
                "{of} has constants along axis {axis} of {}; those for each channel are supported",
                view.shown()
            )),
        }
    }
}

fn check_matrix(weight: &Tensor, of: &str) -> Result<(), String> {
    if weight.shape.len() == 2 && !weight.values.is_empty() {
        return Ok(());
    }
    Err(format!("{of} multiplies by {:?}; a matrix is supported", weight.shape))
}

/// Values by position of an axis, as values by place.
pub(super) fn scattered(values: &[f64], places: &[usize]) -> Vec<f64> {
    let mut result = vec![0.0; places.len()];
    for (&value, &place) in values.iter().zip(places) {
        result[place] = value;
    }
    result
}

/// The matrix with each row's values at their places.
fn placed(weight: &Tensor, places: &[usize]) -> Vec<f64> {
    if places.is_sorted() {
        return weight.values.clone();
    }
    weight.values.chunks_exact(places.len()).flat_map(|row| scattered(row, places)).collect()
}
