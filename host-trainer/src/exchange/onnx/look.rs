//! Operations that look at a tensor in another way and compute nothing: they change the view, and become no node.

use super::constant::{axes, flattened, permutation, squeezed, target, unsqueezed};
use super::function::Function;
use super::graph::describe;
use super::proto::{BFLOAT16, DOUBLE, FLOAT, FLOAT16, NodeProto};
use super::refusal::Refusal;
use super::view::{BATCH, Padding, View};
use super::walk::Walk;

impl Walk<'_> {
    /// What such a node gives. Behind a softmax, too: a name or an axis more changes no output.
    pub(super) fn look(&mut self, node: &NodeProto) -> Result<View, Refusal> {
        let view = self.data(node.given(0).unwrap_or_default()).cloned();
        let view = view.ok_or_else(|| format!("{}: its first input is a constant", describe(node)))?;
        if node.op_type() == "Dropout"
            && self.optional(node, 2)?.is_some_and(|training| training.uniform() != Some(0.0))
        {
            return Err(Refusal::in_training(format!("{} is in training mode", describe(node))));
        }
        if node.op_type() == "Pad" {
            return Ok(self.padded(node, view)?);
        }
        self.transposes += usize::from(node.op_type() == "Transpose");
        Ok(self.looked(node, view)?)
    }

    /// The view behind one of these nodes, `Pad` aside.
    pub(super) fn looked(&mut self, node: &NodeProto, view: View) -> Result<View, String> {
        let shown = view.shown();
        let about = |problem: String| format!("{} of {shown}: {problem}", describe(node));
        let dims = view.dims();
        let axes_input = |walk: &mut Self| -> Result<_, String> { axes(node, walk.optional(node, 1)?.as_deref()) };
        let dims = match node.op_type() {
            "Cast" => match node.int("to").map(|to| to as i32) {
                Some(FLOAT | DOUBLE | FLOAT16 | BFLOAT16) => return Ok(view),
                _ => return Err(about("numbers become whole ones; only a Cast to floats is supported".into())),
            },
            "CastLike" if self.optional(node, 1).is_ok_and(|like| like.is_some_and(|like| like.integer)) => {
                return Err(about("numbers become whole ones; only a cast to floats is supported".into()));
            }
            "Transpose" => {
                let reversed: Vec<i64> = (0..dims.len() as i64).rev().collect();
                let order = node.ints("perm").unwrap_or(&reversed);
                let order = permutation(order, dims.len());
                return order
                    .map(|order| view.transposed(&order))
                    .ok_or_else(|| about("it has no order of axes".into()));
            }
            "Reshape" => {
                let wanted = self.needed(node, 1)?.integers();
                target(&dims, &wanted, node.int("allowzero") == Some(1)).map_err(about)?
            }
            "Flatten" => flattened(&dims, node.int("axis").unwrap_or(1)).map_err(about)?,
            "Unsqueeze" => unsqueezed(&dims, &axes_input(self)?.unwrap_or_default()).map_err(about)?,
            "Squeeze" => {
                // The axis of examples has any length.
                let axes = axes_input(self)?.unwrap_or_else(|| {
                    let one = |axis: &usize| dims[*axis] == 1 && !view.axes[*axis].contains(&BATCH);
                    (0..dims.len()).filter(one).map(|axis| axis as i64).collect()
                });
                squeezed(&dims, Some(&axes), |_| false).map_err(about)?
            }
            _ => return Ok(view),
        };
        let wanted = view.lengths(&dims);
        let refused =
            || about(format!("it becomes {wanted}; values are supported as [n, ...], in an order of whole axes"));
        view.reshaped(&dims).ok_or_else(refused)
    }

    fn padded(&mut self, node: &NodeProto, view: View) -> Result<View, String> {
        let refused = |problem: &str| format!("{}: {problem}; zeros around a map are supported", describe(node));
        if !matches!(node.text("mode"), None | Some(b"constant" | b"")) {
            return Err(refused("it repeats or mirrors the map"));
        }
        let pads = match node.ints("pads").or_else(|| node.ints("paddings")) {
            Some(pads) => pads.to_vec(),
            None => self.needed(node, 1)?.integers(),
        };
        let fill = self.optional(node, 2)?.and_then(|fill| fill.uniform());
        let fill = fill.unwrap_or_else(|| f64::from(node.float("value").unwrap_or(0.0)));
        let given = self.optional(node, 3)?.map(|axes| axes.integers());
        let axes = given.unwrap_or_else(|| (0..view.axes.len() as i64).collect());
        if pads.iter().all(|&pad| pad == 0) {
            return Ok(view);
        }
        if pads.len() != 2 * axes.len() || view.behind_softmax.is_some() || axes.len() > view.axes.len() {
            return Err(refused("its sides do not fit its input"));
        }
        let mut view = self.builder.settled(&view, &describe(node))?;
        let mut padding = view.padding.take().unwrap_or_else(|| Padding { sides: vec![[0; 2]; view.axes.len()], fill });
        for (i, &axis) in axes.iter().enumerate() {
            let axis = view.axis(axis).ok_or_else(|| refused("it has an axis that its input lacks"))?;
            let sides = [pads[i], pads[axes.len() + i]].map(|pad| u32::try_from(pad).ok().map(|pad| pad as usize));
            let [Some(before), Some(behind)] = sides else { return Err(refused("it cuts the map")) };
            if before + behind > 0 && view.axes[axis].contains(&BATCH) {
                return Err(refused("it adds examples"));
            }
            padding.sides[axis] = [padding.sides[axis][0] + before, padding.sides[axis][1] + behind];
        }
        if padding.fill != fill {
            return Err(refused("it follows a Pad with another number"));
        }
        Ok(View { padding: Some(padding), function: Function::Plain, ..view })
    }
}
