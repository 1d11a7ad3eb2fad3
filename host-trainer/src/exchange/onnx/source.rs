//! What the network's input is. Its axes are known by the first operation that tells channels from rows: exporters put a
//! Transpose or Reshape in front of it.

use std::path::Path;

use bn_core::network::{MAX_VALUES, Shape, Value};

use super::graph::Graph;
use super::proto::{DimensionProto, NodeProto};
use super::refusal::Refusal;
use super::view::{BATCH, OPEN_BATCH, View};
use super::walk::Walk;

/// The first operation that knows channels lies within so many nodes.
const FARTHEST: usize = 64;

/// Begins a walk: computes the constants, then finds what the network's input is.
///
/// # Errors
/// If the file does not say what its input is.
pub(super) fn begin<'a>(path: &'a Path, graph: Graph<'a>) -> Result<Walk<'a>, Refusal> {
    let (name, kind) = (graph.input.name.as_deref().unwrap_or_default(), graph.input.kind.as_ref());
    let dims = kind.and_then(|kind| kind.tensor.as_ref()?.shape.as_ref()).map(|shape| &shape.dim[..]);
    let stored = as_stored(dims, name)?;
    let mut walk = Walk::new(path, graph, name, stored.clone());
    let Source { view, shape, note } = Source::find(&mut walk, name, stored);
    walk.builder.input = shape;
    walk.notes.extend(note);
    walk.define(name, view, name)?;
    Ok(walk)
}

/// The network's input.
struct Source {
    /// The graph's input as a view of it.
    view: View,
    shape: Shape,
    /// For the user, where the file has it in another way.
    note: Option<String>,
}

/// The graph's input as it stands.
///
/// # Errors
/// If the file does not give it two to four axes of fixed lengths, the number of examples aside.
fn as_stored(dims: Option<&[DimensionProto]>, name: &str) -> Result<View, String> {
    let lengths: Vec<_> = dims.unwrap_or_default().iter().map(|dim| dim.dim_value.unwrap_or(0)).collect();
    let shown = |length: &i64| if *length > 0 { length.to_string() } else { "?".into() };
    let refused = |what: &str| {
        let shown = lengths.iter().map(shown).collect::<Vec<_>>().join(", ");
        format!("its input {name} is [{shown}]; {what}")
    };
    let fixed = |length: &i64| usize::try_from(*length).ok().filter(|length| (1..=MAX_VALUES).contains(length));
    let Some((first, inner)) = lengths.split_first().filter(|(_, inner)| (1..=3).contains(&inner.len())) else {
        return Err(refused("supported are [n, values], [n, channels, length] and [n, channels, height, width]"));
    };
    let inner: Option<Vec<usize>> = inner.iter().map(fixed).collect();
    let inner =
        inner.ok_or_else(|| refused("export it with fixed lengths; only the number of examples may be open"))?;
    if inner.iter().try_fold(1_usize, |product, &length| product.checked_mul(length)).is_none_or(|all| all > MAX_VALUES)
    {
        return Err(refused(&format!("at most {MAX_VALUES} values are supported")));
    }
    let rank = 1 + inner.len();
    let side = |at: usize| inner.get(at).copied().unwrap_or(1);
    let batch = fixed(first).unwrap_or(OPEN_BATCH);
    Ok(View::new(Value::Input, Shape::new(side(0), side(1), side(2)), batch, rank))
}

impl Source {
    /// Looks ahead from the graph's input.
    fn find(walk: &mut Walk<'_>, name: &str, stored: View) -> Self {
        let shape = |dims: &[usize]| {
            let side = |at: usize| dims.get(at).copied().unwrap_or(1);
            Shape::new(side(1), side(2), side(3))
        };
        let dims = stored.dims();
        let as_it_is = Self { shape: shape(&dims), view: stored.clone(), note: None };
        let Some(anchor) = anchor(walk, name, stored.clone()) else { return as_it_is };
        let Some(order) = anchor.inner_order() else { return as_it_is };
        // The stored axes in the factors that the anchor has, each by its place in the anchor's order.
        let all = (0..anchor.factors.len()).collect();
        let cut = View { factors: anchor.factors.clone(), axes: vec![vec![BATCH], all], ..stored };
        let (Some(cut), 2..=4) = (cut.reshaped(&dims), anchor.axes.len()) else { return as_it_is };
        let place = |factor: &usize| match *factor {
            BATCH => Some(BATCH),
            factor => order.iter().position(|&other| other == factor),
        };
        let axes = cut.axes.iter().map(|axis| axis.iter().filter_map(place).collect()).collect();
        let factors = order.iter().map(|&factor| anchor.factors[factor]).collect();
        let found = match shape(&anchor.dims()) {
            // A sequence is a column.
            Shape { channels, height: 1, width } => Shape::new(channels, width, 1),
            found => found,
        };
        let shown = dims[1..].iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let note = if !order.is_sorted() {
            Some(format!("its input is [n, {shown}]; the network's is {found}: channel, row, column"))
        } else {
            (found != as_it_is.shape).then(|| format!("its input [n, {shown}] is taken as {found}"))
        };
        Self { shape: found, view: View { factors, axes, ..cut }, note }
    }
}

/// The input as the first operation reads it that tells channels from rows.
fn anchor(walk: &mut Walk<'_>, name: &str, mut view: View) -> Option<View> {
    let mut name = name.to_owned();
    for _ in 0..FARTHEST {
        let node: &NodeProto = walk.graph.readers(&name).first().copied()?;
        match node.op_type() {
            "Conv" | "AveragePool" | "MaxPool" | "GlobalAveragePool" | "GlobalMaxPool" | "BatchNormalization" => {
                return Some(view);
            }
            // A product at each position has its channels last.
            "MatMul" if view.axes.len() > 2 => {
                let last = view.axes.len() - 1;
                let order: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
                return Some(view.transposed(&order));
            }
            "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" => {
                view = walk.looked(node, view).ok()?;
            }
            "Identity" | "Dropout" | "Pad" | "Relu" | "Clip" | "Sigmoid" | "Tanh" | "Add" | "Sub" | "Mul" | "Div" => {}
            _ => return None,
        }
        name = node.result().to_owned();
    }
    None
}
