//! Arithmetic on constants: the shapes that exporters compute where a Reshape needs them, and weights that pass through
//! operations on their way to a layer.

use super::graph::describe;
use super::proto::{BOOL, EXTERNAL, INT32, INT64, NodeProto};
use super::tensor::{MOST_AXES, Tensor};

/// What constants that are computed may hold in all, besides those of the file.
const MOST_COMPUTED: usize = 1 << 16;

/// How much may still be computed: a small file must not become large in memory.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Self {
        Self(MOST_COMPUTED)
    }

    /// A tensor of the file may pass through a few operations.
    pub(super) fn grows_by(&mut self, stored: &Tensor) {
        self.0 += 4 * stored.values.len();
    }

    fn spend(&mut self, values: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(values).ok_or("more constants are computed than its tensors give reason for")?;
        Ok(())
    }
}

/// The operation on constants.
///
/// # Errors
/// If it is none that is known, or its inputs do not fit it.
pub(super) fn fold(node: &NodeProto, inputs: &[Option<&Tensor>], budget: &mut Budget) -> Result<Tensor, String> {
    let folded = operation(node, inputs, budget).and_then(|tensor| match tensor.shape.len() {
        0..=MOST_AXES => Ok(tensor),
        axes => Err(format!("it gives {axes} axes; {MOST_AXES} are supported")),
    });
    folded.map_err(|problem| format!("{}, on constants: {problem}", describe(node)))
}

fn operation(node: &NodeProto, inputs: &[Option<&Tensor>], budget: &mut Budget) -> Result<Tensor, String> {
    let input = |at: usize| inputs.get(at).copied().flatten();
    let first = input(0).ok_or("it has no input")?;
    let second = || input(1).ok_or("it has one input");
    budget.spend(first.values.len())?;
    let each = |f: fn(f64) -> f64| Tensor { values: first.values.iter().map(|&v| f(v)).collect(), ..first.clone() };
    let dims = |values: Vec<usize>| reshaped(first, values);
    Ok(match node.op_type() {
        "Identity" | "Dropout" => first.clone(),
        "Cast" => {
            let integer = matches!(node.int("to").map(|to| to as i32), Some(INT64 | INT32 | BOOL));
            Tensor { integer, ..if integer { each(f64::trunc) } else { first.clone() } }
        }
        "CastLike" => {
            let integer = second()?.integer;
            Tensor { integer, ..if integer { each(f64::trunc) } else { first.clone() } }
        }
        "Neg" => each(|v| -v),
        "Abs" => each(f64::abs),
        "Sqrt" => each(f64::sqrt),
        "Exp" => each(f64::exp),
        "Reciprocal" => each(|v| 1.0 / v),
        "Floor" => each(f64::floor),
        "Ceil" => each(f64::ceil),
        "Add" => broadcast(first, second()?, budget, |a, b| a + b)?,
        "Sub" => broadcast(first, second()?, budget, |a, b| a - b)?,
        "Mul" => broadcast(first, second()?, budget, |a, b| a * b)?,
        "Pow" => broadcast(first, second()?, budget, f64::powf)?,
        "Div" if first.integer => broadcast(first, second()?, budget, |a, b| (a / b).trunc())?,
        "Div" => broadcast(first, second()?, budget, |a, b| a / b)?,
        "Transpose" => transposed(first, node.ints("perm"))?,
        "Reshape" => dims(target(&first.shape, &second()?.integers(), node.int("allowzero") == Some(1))?)?,
        "Unsqueeze" => dims(unsqueezed(&first.shape, &axes(node, input(1))?.unwrap_or_default())?)?,
        "Squeeze" => dims(squeezed(&first.shape, axes(node, input(1))?.as_deref(), |length| length == 1)?)?,
        "Flatten" => dims(flattened(&first.shape, node.int("axis").unwrap_or(1))?)?,
        "Shape" => shape_of(node, &first.shape)?,
        "Size" => Tensor { shape: vec![], ..Tensor::row([first.values.len()]) },
        "ReduceProd" => Tensor { shape: vec![], values: vec![first.values.iter().product()], integer: first.integer },
        "Gather" => gathered(first, second()?, node.int("axis").unwrap_or(0), budget)?,
        "Slice" => sliced(node, first, &inputs[1..])?,
        "Concat" => joined(inputs, node.int("axis").unwrap_or(0), budget)?,
        "ConstantOfShape" => filled(node, first, budget)?,
        "Expand" => {
            let ones = Tensor { shape: lengths(&second()?.integers())?, values: vec![], integer: false };
            broadcast_to(first, &ones.shape, budget)?
        }
        _ => return Err("it is not supported there".into()),
    })
}

fn lengths(values: &[i64]) -> Result<Vec<usize>, String> {
    if values.len() > MOST_AXES {
        return Err(format!("{} axes; {MOST_AXES} are supported", values.len()));
    }
    values.iter().map(|&v| usize::try_from(v).map_err(|_| format!("a dimension of {v}"))).collect()
}

/// Number of values; `None` where even the lengths that are not 0 make too many.
fn count(shape: &[usize]) -> Option<usize> {
    let most = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length.max(1)))?;
    Some(if shape.contains(&0) { 0 } else { most })
}

fn reshaped(tensor: &Tensor, shape: Vec<usize>) -> Result<Tensor, String> {
    if count(&shape) != Some(tensor.values.len()) {
        return Err(format!("{:?} does not become {shape:?}", tensor.shape));
    }
    Ok(Tensor { shape, ..tensor.clone() })
}

/// The dimensions that a Reshape makes of `from`: 0 keeps one, -1 is what is left.
pub(super) fn target(from: &[usize], wanted: &[i64], zero_is_zero: bool) -> Result<Vec<usize>, String> {
    let damaged = || format!("it does not become {wanted:?}");
    let kept = |(at, &length): (usize, &i64)| match length {
        0 if !zero_is_zero => from.get(at).map(|&length| Some(length)).ok_or_else(damaged),
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| damaged()),
    };
    let dims: Vec<Option<usize>> = wanted.iter().enumerate().map(kept).collect::<Result<_, _>>()?;
    let known = count(&dims.iter().flatten().copied().collect::<Vec<_>>()).ok_or_else(damaged)?;
    let open = dims.iter().filter(|dim| dim.is_none()).count();
    let total = count(from).ok_or_else(damaged)?;
    let sound = if open == 0 { known == total } else { open == 1 && known != 0 && total % known == 0 };
    if !sound {
        return Err(damaged());
    }
    Ok(dims.into_iter().map(|dim| dim.unwrap_or_else(|| total / known)).collect())
}

/// The axes of an operation: an attribute, since version 13 an input.
pub(super) fn axes(node: &NodeProto, input: Option<&Tensor>) -> Result<Option<Vec<i64>>, String> {
    Ok(node.ints("axes").map(<[i64]>::to_vec).or_else(|| input.map(Tensor::integers)))
}

fn position(axis: i64, rank: usize) -> Result<usize, String> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(at).ok().filter(|&at| at < rank).ok_or_else(|| format!("an axis {axis} of {rank}"))
}

/// The dimensions with ones at those axes of the result.
pub(super) fn unsqueezed(from: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let rank = from.len() + axes.len();
    if rank > MOST_AXES {
        return Err(format!("{rank} axes; {MOST_AXES} are supported"));
    }
    let new: Vec<usize> = axes.iter().map(|&axis| position(axis, rank)).collect::<Result<_, _>>()?;
    let mut old = from.iter();
    let dims = (0..rank).map(|at| if new.contains(&at) { Some(1) } else { old.next().copied() });
    dims.collect::<Option<Vec<_>>>().filter(|_| old.next().is_none()).ok_or_else(|| format!("axes {axes:?}"))
}

/// The dimensions without those axes, or without all that `is_one`.
pub(super) fn squeezed(
    from: &[usize],
    axes: Option<&[i64]>,
    is_one: impl Fn(usize) -> bool,
) -> Result<Vec<usize>, String> {
    let Some(axes) = axes else { return Ok(from.iter().copied().filter(|&length| !is_one(length)).collect()) };
    let gone: Vec<usize> = axes.iter().map(|&axis| position(axis, from.len())).collect::<Result<_, _>>()?;
    if gone.iter().any(|&at| from[at] != 1) {
        return Err(format!("{from:?} is squeezed at {axes:?}, where it has more than one value"));
    }
    Ok(from.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, &length)| length).collect())
}

/// Two dimensions, cut at that axis.
pub(super) fn flattened(from: &[usize], axis: i64) -> Result<Vec<usize>, String> {
    let at = if axis == from.len() as i64 { from.len() } else { position(axis, from.len())? };
    let product = |part: &[usize]| count(part).ok_or_else(|| format!("{from:?} is too large"));
    Ok(vec![product(&from[..at])?, product(&from[at..])?])
}

/// The dimensions themselves, or some of them.
pub(super) fn shape_of(node: &NodeProto, dims: &[usize]) -> Result<Tensor, String> {
    let bound =
        |axis: i64| (if axis < 0 { axis.saturating_add(dims.len() as i64) } else { axis }).clamp(0, dims.len() as i64);
    let start = bound(node.int("start").unwrap_or(0)) as usize;
    let end = bound(node.int("end").unwrap_or(i64::MAX)) as usize;
    Ok(Tensor::row(dims.get(start..end).unwrap_or_default().iter().copied()))
}

fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// Values at all positions of a shape, each `step` along an axis apart in the source.
fn walked(tensor: &Tensor, shape: Vec<usize>, steps: &[usize]) -> Tensor {
    let mut places = vec![0];
    for (&length, &step) in shape.iter().zip(steps) {
        places = places.iter().flat_map(|&at| (0..length).map(move |i| at + i * step)).collect();
    }
    Tensor { values: places.iter().map(|&at| tensor.values[at]).collect(), shape, integer: tensor.integer }
}

pub(super) fn transposed(tensor: &Tensor, order: Option<&[i64]>) -> Result<Tensor, String> {
    let rank = tensor.shape.len();
    let order = match order {
        Some(order) => permutation(order, rank).ok_or_else(|| format!("perm {order:?} of {rank} axes"))?,
        None => (0..rank).rev().collect(),
    };
    let old = strides(&tensor.shape);
    let steps: Vec<_> = order.iter().map(|&axis| old[axis]).collect();
    Ok(walked(tensor, order.iter().map(|&axis| tensor.shape[axis]).collect(), &steps))
}

/// An order of all axes; `None` where it is none.
pub(super) fn permutation(order: &[i64], rank: usize) -> Option<Vec<usize>> {
    let order: Vec<usize> = order.iter().map(|&axis| position(axis, rank).ok()).collect::<Option<_>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    (sorted.len() == rank && sorted.iter().copied().eq(0..rank)).then_some(order)
}

fn broadcast_to(tensor: &Tensor, shape: &[usize], budget: &mut Budget) -> Result<Tensor, String> {
    let rank = shape.len().max(tensor.shape.len());
    let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
    let (own, wanted) = (padded(&tensor.shape), padded(shape));
    let fits = own.iter().zip(&wanted).all(|(&a, &b)| a == b || a == 1 || b == 1);
    let result: Vec<usize> = own.iter().zip(&wanted).map(|(&a, &b)| if a == 1 { b } else { a }).collect();
    let total = count(&result).filter(|_| fits).ok_or_else(|| format!("{:?} and {shape:?}", tensor.shape))?;
    budget.spend(total)?;
    let steps: Vec<_> =
        own.iter().zip(strides(&own)).map(|(&length, step)| if length == 1 { 0 } else { step }).collect();
    Ok(walked(tensor, result, &steps))
}

fn broadcast(a: &Tensor, b: &Tensor, budget: &mut Budget, f: impl Fn(f64, f64) -> f64) -> Result<Tensor, String> {
    let (a, b) = (broadcast_to(a, &b.shape, budget)?, broadcast_to(b, &a.shape, budget)?);
    let values = a.values.iter().zip(&b.values).map(|(&a, &b)| f(a, b)).collect();
    Ok(Tensor { shape: a.shape, values, integer: a.integer && b.integer })
}

fn gathered(tensor: &Tensor, indices: &Tensor, axis: i64, budget: &mut Budget) -> Result<Tensor, String> {
    let axis = position(axis, tensor.shape.len())?;
    let length = tensor.shape[axis];
    let at: Vec<usize> = indices.integers().iter().map(|&i| position(i, length)).collect::<Result<_, _>>()?;
    let (outer, inner) =
        (tensor.shape[..axis].iter().product::<usize>(), tensor.shape[axis + 1..].iter().product::<usize>());
    budget.spend(outer.saturating_mul(inner).saturating_mul(at.len()))?;
    let start = |o: usize, i: usize| (o * length + i) * inner;
    let values = (0..outer).flat_map(|o| at.iter().flat_map(move |&i| start(o, i)..start(o, i) + inner));
    let values = values.map(|place| tensor.values[place]).collect();
    let shape = [&tensor.shape[..axis], &indices.shape, &tensor.shape[axis + 1..]].concat();
    Ok(Tensor { shape, values, integer: tensor.integer })
}

/// Some positions of each axis, forwards or backwards.
fn sliced(node: &NodeProto, tensor: &Tensor, bounds: &[Option<&Tensor>]) -> Result<Tensor, String> {
    let given = |name: &str, at: usize| {
        let attribute = node.ints(name).map(<[i64]>::to_vec);
        attribute.or_else(|| bounds.get(at).copied().flatten().map(Tensor::integers))
    };
    let (Some(starts), Some(ends)) = (given("starts", 0), given("ends", 1)) else { return Err("no bounds".into()) };
    let axes = given("axes", 2).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = given("steps", 3).unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || starts.len() > MOST_AXES {
        return Err("bounds that do not fit".into());
    }
    let mut result = tensor.clone();
    for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let axis = position(axis, result.shape.len())?;
        let taken = taken(result.shape[axis], start, end, step).ok_or("a step of 0")?;
        let inner: usize = result.shape[axis + 1..].iter().product();
        let outer = result.values.len() / (result.shape[axis] * inner).max(1);
        let first = |o: usize, at: usize| (o * result.shape[axis] + at) * inner;
        let places = (0..outer).flat_map(|o| taken.iter().flat_map(move |&at| first(o, at)..first(o, at) + inner));
        let values = places.map(|place| result.values[place]).collect();
        let mut shape = result.shape.clone();
        shape[axis] = taken.len();
        result = Tensor { shape, values, integer: tensor.integer };
    }
    Ok(result)
}

/// The positions from a start to an end by a step; `None` where that is 0.
fn taken(length: usize, start: i64, end: i64, step: i64) -> Option<Vec<usize>> {
    let last = length as i64;
    let bound = |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(last) } else { at }).clamp(low, high);
    let step_by = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    match step {
        0 => None,
        1.. => {
            let (start, end) = (bound(start, 0, last) as usize, bound(end, 0, last) as usize);
            Some((start..end).step_by(step_by).collect())
        }
        _ => {
            // Backwards from the start, down to but without the end, which may lie before the first.
            let (start, end) = (bound(start, -1, last - 1), bound(end, -1, last - 1));
            Some(((end + 1) as usize..(start + 1) as usize).rev().step_by(step_by).collect())
        }
    }
}

fn joined(inputs: &[Option<&Tensor>], axis: i64, budget: &mut Budget) -> Result<Tensor, String> {
    let parts: Vec<&Tensor> = inputs.iter().copied().flatten().collect();
    let integer = parts.iter().all(|part| part.integer);
    if parts.iter().any(|part| part.shape.len() != 1) || !matches!(axis, 0 | -1) {
        return Err("rows are supported".into());
    }
    budget.spend(parts.iter().map(|part| part.values.len()).sum())?;
    let values = parts.iter().flat_map(|part| part.values.iter().copied()).collect::<Vec<_>>();
    Ok(Tensor { shape: vec![values.len()], values, integer })
}

fn filled(node: &NodeProto, shape: &Tensor, budget: &mut Budget) -> Result<Tensor, String> {
    let shape = lengths(&shape.integers())?;
    let total = count(&shape).ok_or_else(|| format!("{shape:?} is too large"))?;
    budget.spend(total)?;
    let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref());
    let value = value.filter(|value| value.data_location != Some(EXTERNAL));
    let value = value.map(|t| Tensor::unpack(std::path::Path::new(""), t)).transpose()?;
    let integer = value.as_ref().is_some_and(|value| value.integer);
    let value = value.and_then(|value| value.values.first().copied()).unwrap_or(0.0);
    Ok(Tensor { values: vec![value; total], shape, integer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_takes_what_onnx_says() {
        let last = i64::MAX;
        assert_eq!(taken(5, 1, 4, 1), Some(vec![1, 2, 3]));
        assert_eq!(taken(5, -2, last, 1), Some(vec![3, 4]));
        assert_eq!(taken(5, 0, last, 2), Some(vec![0, 2, 4]));
        assert_eq!(taken(5, -1, i64::MIN + 1, -1), Some(vec![4, 3, 2, 1, 0]));
        assert_eq!(taken(5, last, 1, -2), Some(vec![4, 2]));
        assert_eq!(taken(0, -1, i64::MIN, -1), Some(vec![]));
        assert_eq!(taken(5, 4, 1, 1), Some(vec![]));
        assert_eq!(taken(5, 0, 5, 0), None);
    }

    /// The pads of PyTorch's older exporter: pairs from the last axis to the first become all befores, then all behinds.
    #[test]
    fn the_pads_that_pytorch_computes() {
        let node = |operation: &str| NodeProto { op_type: Some(operation.into()), ..NodeProto::default() };
        let row = |values: &[f64]| Tensor { shape: vec![values.len()], values: values.to_vec(), integer: true };
        let mut budget = Budget::new();
        let mut run = |operation: &str, inputs: &[&Tensor]| {
            fold(&node(operation), &inputs.iter().copied().map(Some).collect::<Vec<_>>(), &mut budget).unwrap()
        };
        let pairs = run("Concat", &[&row(&[0.0, 1.0, 2.0, 3.0]), &row(&[0.0; 4])]);
        let pairs = run("Reshape", &[&pairs, &row(&[-1.0, 2.0])]);
        let turned = run("Slice", &[&pairs, &row(&[-1.0]), &row(&[i64::MIN as f64]), &row(&[0.0]), &row(&[-1.0])]);
        let turned = run("Transpose", &[&turned]);
        assert_eq!(run("Reshape", &[&turned, &row(&[-1.0])]).values, [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 1.0]);
    }
}
