//! Operations on each number: constants, limits, and the sum of two tensors.

use std::rc::Rc;

use bn_core::network::Op;

use super::function::{Clip, Function, Numbers, Step};
use super::graph::describe;
use super::layer::scattered;
use super::proto::NodeProto;
use super::tensor::Tensor;
use super::view::{BATCH, Meaning, View};
use super::walk::Walk;

/// Limits from here on are none: exporters write the largest f32 for infinity.
const NO_LIMIT: f64 = 3e38;

impl Walk<'_> {
    pub(super) fn arithmetic(&mut self, node: &NodeProto) -> Result<View, String> {
        let of = describe(node);
        if node.op_type() == "Neg" {
            let view = self.unpadded(node, 0)?;
            return self.then(view, Step::Multiply(vec![-1.0]), &of);
        }
        let is_data = |walk: &Self, at: usize| node.given(at).is_some_and(|name| walk.data(name).is_some());
        match (node.op_type(), node.input.len(), is_data(self, 0), is_data(self, 1)) {
            ("Sum", 1, true, _) => self.view(node, 0),
            ("Add" | "Sum", 2, true, true) => self.sum(node),
            ("Mul", 2, true, true) => self.hard_swish(node),
            (_, 2, true, false) => self.with_constant(node, 0),
            (_, 2, false, true) => self.with_constant(node, 1),
            _ => Err(format!("{of} takes {} tensors; the sum of two is supported, and constants", node.input.len())),
        }
    }

    /// The sum of two tensors of one shape and order.
    fn sum(&mut self, node: &NodeProto) -> Result<View, String> {
        let of = describe(node);
        let (mut a, mut b) = (self.settled(node, 0)?, self.settled(node, 1)?);
        let same =
            a.dims() == b.dims() && (a.is_in_order() && b.is_in_order() || a.axes == b.axes && a.factors == b.factors);
        if !same {
            return Err(format!(
                "{of} adds {} and {}; tensors of one shape and order are supported",
                a.shown(),
                b.shown()
            ));
        }
        if self.builder.shape(a.value) != self.builder.shape(b.value) {
            a.value = self.builder.flat(a.value, &of)?;
            b.value = self.builder.flat(b.value, &of)?;
        }
        // A sum has no sides; the text is read most easily where a node follows the one before.
        let (first, other) = if self.builder.is_last(b.value) { (b.value, a.value) } else { (a.value, b.value) };
        let value = self.builder.push(Op::Add { other }, first, vec![], &of)?;
        Ok(View { value, alone: true, ..a })
    }

    /// `x` times its hard sigmoid, in any of the ways in which that is written out.
    fn hard_swish(&mut self, node: &NodeProto) -> Result<View, String> {
        let (a, b) = (self.unpadded(node, 0)?, self.unpadded(node, 1)?);
        let same = a.value == b.value && a.axes == b.axes && a.factors == b.factors;
        let scale = match (&a.function, &b.function) {
            (Function::Plain, Function::Clip(clip)) | (Function::Clip(clip), Function::Plain) if same => {
                clip.hard_swish()
            }
            _ => None,
        };
        let refused =
            || format!("{} multiplies two tensors; the hard swish and constants are supported", describe(node));
        let scale = scale.ok_or_else(refused)?;
        Ok(View { function: Function::HardSwish { scale }, ..a })
    }

    /// A sum, difference, product or quotient of the input at `at` and the other one, a constant.
    fn with_constant(&mut self, node: &NodeProto, at: usize) -> Result<View, String> {
        let of = describe(node);
        let constant = self.needed(node, 1 - at)?;
        let view = self.unpadded(node, at)?;
        let (view, numbers) = self.numbers(view, &constant, &of)?;
        let step = match (node.op_type(), at) {
            ("Add" | "Sum", _) => Step::Add(numbers),
            ("Sub", 0) => Step::Add(numbers.iter().map(|number| -number).collect()),
            ("Sub", _) => {
                let view = self.then(view, Step::Multiply(vec![-1.0]), &of)?;
                return self.then(view, Step::Add(numbers), &of);
            }
            ("Mul", _) => Step::Multiply(numbers),
            ("Div", 0) => {
                let shown = self.variance(node.given(1).unwrap_or_default());
                let shown = match shown {
                    Some((variance, eps)) => self.numbers(view.clone(), &variance, &of).ok().map(|(_, n)| (n, eps)),
                    None => None,
                };
                Step::Divide(numbers, shown)
            }
            _ => return Err(format!("{of} divides a constant by a tensor; tensors by constants are supported")),
        };
        self.then(view, step, &of)
    }

    /// The view with one more constant.
    fn then(&mut self, view: View, step: Step, of: &str) -> Result<View, String> {
        if let Some(function) = view.function.then(step.clone()) {
            return Ok(View { function, ..view });
        }
        let view = self.builder.settled(&view, of)?;
        Ok(View { function: Function::Affine(vec![step]), ..view })
    }

    /// A constant's numbers by channel of the view's value, which may have to become a row for them.
    fn numbers(&mut self, view: View, constant: &Tensor, of: &str) -> Result<(View, Numbers), String> {
        let (dims, shown, shape) = (view.dims(), view.shown(), &constant.shape);
        let refused =
            || format!("{of} has a constant {shape:?} for {shown}; one number, or one a channel, is supported");
        let first = dims.len().checked_sub(shape.len()).ok_or_else(refused)?;
        let many: Vec<usize> = (first..dims.len()).filter(|&axis| shape[axis - first] != 1).collect();
        if many.iter().any(|&axis| shape[axis - first] != dims[axis]) {
            return Err(refused());
        }
        if let Some(number) = constant.uniform() {
            return Ok((view, vec![number]));
        }
        let &[axis] = &many[..] else { return Err(refused()) };
        if view.axes[axis].contains(&BATCH) {
            return Err(refused());
        }
        match view.meaning(axis, self.builder.shape(view.value)) {
            Meaning::Channels(places) => Ok((view, scattered(&constant.values, &places))),
            Meaning::Values(places) => {
                let view = self.builder.settled(&view, of)?;
                let value = self.builder.flat(view.value, of)?;
                Ok((View { value, alone: false, ..view }, scattered(&constant.values, &places)))
            }
            Meaning::Neither => Err(refused()),
        }
    }

    /// The variance and the eps whose sum's root a constant is, where the graph shows that.
    fn variance(&mut self, deviation: &str) -> Option<(Rc<Tensor>, f32)> {
        let root = self.graph.maker(deviation).filter(|node| node.op_type() == "Sqrt")?;
        let sum = self.graph.maker(root.given(0)?).filter(|node| node.op_type() == "Add")?;
        let (a, b) = (self.constant(sum.given(0)?)?, self.constant(sum.given(1)?)?);
        let (variance, eps) = if b.values.len() == 1 { (a, b) } else { (b, a) };
        let eps = eps.uniform().filter(|_| eps.values.len() == 1)? as f32;
        Some((variance, eps))
    }

    pub(super) fn clip(&mut self, node: &NodeProto) -> Result<View, String> {
        let limit = |walk: &mut Self, at: usize, absent: f64| -> Result<f64, String> {
            let Some(limit) = walk.optional(node, at)? else { return Ok(absent) };
            let refused = || format!("{} has several limits; one for all channels is supported", describe(node));
            limit.uniform().ok_or_else(refused)
        };
        let (low, high) = match node.op_type() {
            "Clip" => {
                let low = node.float("min").map_or(f64::NEG_INFINITY, f64::from);
                let high = node.float("max").map_or(f64::INFINITY, f64::from);
                (limit(self, 1, low)?, limit(self, 2, high)?)
            }
            operation => {
                // Either side may be the constant.
                let data = usize::from(node.given(0).is_none_or(|name| self.data(name).is_none()));
                if node.input.len() != 2 {
                    return Err(format!(
                        "{} takes {} tensors; one and a constant are supported",
                        describe(node),
                        node.input.len()
                    ));
                }
                let limit = limit(self, 1 - data, f64::NAN)?;
                let view = self.unpadded(node, data)?;
                let (low, high) = if operation == "Max" { (limit, f64::INFINITY) } else { (f64::NEG_INFINITY, limit) };
                return self.within(view, low, high, &describe(node));
            }
        };
        self.limited(node, low, high)
    }

    pub(super) fn limited(&mut self, node: &NodeProto, low: f64, high: f64) -> Result<View, String> {
        let view = self.unpadded(node, 0)?;
        self.within(view, low, high, &describe(node))
    }

    fn within(&mut self, view: View, low: f64, high: f64, of: &str) -> Result<View, String> {
        let low = if low <= -NO_LIMIT { f64::NEG_INFINITY } else { low };
        let high = if high >= NO_LIMIT { f64::INFINITY } else { high };
        if low.is_nan() || high.is_nan() || low > high {
            return Err(format!("{of} limits to {low}..{high}"));
        }
        if let Some(function) = view.function.clipped(low, high) {
            return Ok(View { function, ..view });
        }
        let view = self.builder.settled(&view, of)?;
        let clip = Clip { slope: 1.0, offset: 0.0, low, high };
        Ok(View { function: Function::Clip(clip), ..view })
    }

    pub(super) fn hard_sigmoid(&mut self, node: &NodeProto) -> Result<View, String> {
        let view = self.settled(node, 0)?;
        let (slope, offset) = (node.float("alpha").unwrap_or(0.2), node.float("beta").unwrap_or(0.5));
        if slope.is_nan() || slope <= 0.0 {
            return Err(format!("{} has the slope {slope}; one above zero is supported", describe(node)));
        }
        let clip = Clip { slope: slope.into(), offset: offset.into(), low: 0.0, high: 1.0 };
        Ok(View { function: Function::Clip(clip), ..view })
    }
}
