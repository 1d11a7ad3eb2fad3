//! Windows of convolutions and pools: strides and padding as ONNX writes them, and pools.

use bn_core::network::{Op, Pads, Pool, Shape, Value};

use super::constant::axes;
use super::function::{Function, Step};
use super::graph::describe;
use super::proto::NodeProto;
use super::refusal::Refusal;
use super::view::{BATCH, View};
use super::walk::Walk;

/// What an operation on maps reads.
pub(super) struct Map {
    pub(super) view: View,
    /// As the file has it.
    pub(super) shape: Shape,
    /// Whether height and width of the value are the file's width and height.
    pub(super) turned: bool,
}

impl Map {
    /// A value that is another map, seen as the file sees this one.
    pub(super) fn result(&self, value: Value, shape: Shape) -> View {
        let mut view = View::new(value, shape, self.view.batch, 4);
        if self.turned {
            view.axes.swap(2, 3);
        }
        view.axes.truncate(self.view.axes.len());
        view
    }
}

/// Numbers below this are taken for minus infinity, as what a Pad puts around a maximum.
const LOWEST: f64 = -1e30;

/// Where windows lie.
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) pads: Pads,
    /// Whether the operation itself pads.
    own_pads: bool,
    /// Whether windows reach behind the padding, where their number is rounded up.
    reaches_out: bool,
}

/// Height and width of a list for an operation on a tensor of `rank` axes; a sequence has width 1.
pub(super) fn sides(list: &[usize], rank: usize) -> Option<[usize; 2]> {
    match (rank, list) {
        (3, &[length]) => Some([length, 1]),
        (4, &[height, width]) => Some([height, width]),
        _ => None,
    }
}

impl Window {
    /// Windows of `kernel`, as the file has it, over a map, which the view may pad.
    ///
    /// # Errors
    /// Holes between the taps, or attributes that do not fit the tensor.
    pub(super) fn of(node: &NodeProto, map: &Map, mut kernel: [usize; 2]) -> Result<Self, String> {
        let Map { view, shape, turned } = map;
        let mut stride = stride(node, view.axes.len(), kernel)?;
        let around = around(node, view)?;
        let lengths = [0, 1].map(|side| [shape.height, shape.width][side] + around[side][0] + around[side][1]);
        let own = own_pads(node, view.axes.len(), kernel, stride, lengths)?;
        let mut all = [0, 1].map(|side| [0, 1].map(|end| own[side][end] + around[side][end]));
        let mut reaches_out = false;
        if node.int("ceil_mode").unwrap_or(0) != 0 {
            for side in 0..2 {
                let more = more(lengths[side], own[side], kernel[side], stride[side]);
                all[side][1] += more;
                reaches_out |= more > 0;
            }
        }
        if *turned {
            all.swap(0, 1);
            kernel.swap(0, 1);
            stride.swap(0, 1);
        }
        let [[top, bottom], [left, right]] = all;
        Ok(Self { kernel, stride, pads: Pads { top, left, bottom, right }, own_pads: own != [[0; 2]; 2], reaches_out })
    }
}

/// Steps of the windows, which have no holes.
fn stride(node: &NodeProto, rank: usize, kernel: [usize; 2]) -> Result<[usize; 2], String> {
    let of = describe(node);
    let pair = |name: &str| {
        let Some(given) = node.ints(name) else { return Ok(None) };
        let lengths: Option<Vec<usize>> = given.iter().map(|&v| u32::try_from(v).ok().map(|v| v as usize)).collect();
        let pair = lengths.and_then(|lengths| sides(&lengths, rank));
        pair.map(Some).ok_or_else(|| format!("{of} has {name} {given:?}"))
    };
    let dilations = pair("dilations")?.unwrap_or([1, 1]);
    if (0..2).any(|side| dilations[side] != 1 && kernel[side] != 1) {
        return Err(format!("{of} has dilations {dilations:?}; none are supported"));
    }
    if let Some(given) = pair("kernel_shape")?.filter(|&given| given != kernel) {
        return Err(format!("{of} has the kernel_shape {given:?} and weights of {kernel:?}"));
    }
    let stride = pair("strides")?.unwrap_or([1, 1]);
    if stride.contains(&0) { Err(format!("{of} has strides {stride:?}")) } else { Ok(stride) }
}

/// What a Pad puts around height and width.
fn around(node: &NodeProto, view: &View) -> Result<[[usize; 2]; 2], String> {
    let sides = view.padding.as_ref().map_or(&[][..], |padding| &padding.sides);
    let around = |axis: usize| sides.get(axis).copied().unwrap_or([0, 0]);
    if around(1) != [0, 0] {
        return Err(format!("{} reads a Pad that adds channels", describe(node)));
    }
    Ok([around(2), around(3)])
}

/// Before and behind, of height and width.
fn own_pads(
    node: &NodeProto,
    rank: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    lengths: [usize; 2],
) -> Result<[[usize; 2]; 2], String> {
    let of = describe(node);
    let upper = match node.text("auto_pad") {
        None | Some(b"NOTSET" | b"") => {
            let Some(given) = node.ints("pads") else { return Ok([[0; 2]; 2]) };
            let pads: Option<Vec<usize>> = given.iter().map(|&v| u32::try_from(v).ok().map(|v| v as usize)).collect();
            return match (rank, pads.as_deref()) {
                (3, Some(&[before, behind])) => Ok([[before, behind], [0, 0]]),
                (4, Some(&[top, left, bottom, right])) => Ok([[top, bottom], [left, right]]),
                _ => Err(format!("{of} has pads {given:?}")),
            };
        }
        Some(b"VALID") => return Ok([[0; 2]; 2]),
        Some(b"SAME_UPPER") => true,
        Some(b"SAME_LOWER") => false,
        Some(other) => return Err(format!("{of} pads by {}", String::from_utf8_lossy(other))),
    };
    Ok([0, 1].map(|side| {
        let windows = lengths[side].div_ceil(stride[side]);
        let needed = ((windows.max(1) - 1) * stride[side] + kernel[side]).saturating_sub(lengths[side]);
        let (less, more) = (needed / 2, needed - needed / 2);
        if upper { [less, more] } else { [more, less] }
    }))
}

/// What the last window needs behind the padding, where the number of windows is rounded up. A window that would begin there
/// is left out.
fn more(length: usize, [before, behind]: [usize; 2], kernel: usize, stride: usize) -> usize {
    let padded = length + before + behind;
    let Some(last) = padded.checked_sub(kernel).map(|room| room.div_ceil(stride)) else { return 0 };
    let last = if last * stride >= length + before { last.saturating_sub(1) } else { last };
    (last * stride + kernel).saturating_sub(padded)
}

impl Walk<'_> {
    pub(super) fn pool(&mut self, node: &NodeProto) -> Result<View, String> {
        let of = describe(node);
        let map = self.map(node)?;
        let (view, shape, rank) = (&map.view, map.shape, map.view.axes.len());
        let given: Option<Vec<usize>> = node
            .ints("kernel_shape")
            .unwrap_or_default()
            .iter()
            .map(|&k| u32::try_from(k).ok().map(|k| k as usize))
            .collect();
        let kernel =
            given.and_then(|given| sides(&given, rank)).ok_or_else(|| format!("{of} has no kernel_shape that fits"))?;
        let whole = kernel == [shape.height, shape.width];
        let window = Window::of(node, &map, kernel)?;
        let Window { kernel, stride, pads, .. } = window;
        let pool = Pool { kernel, stride, pads };
        let whole = whole && pads.is_none();
        let is_max = node.op_type() == "MaxPool";
        let op = match (whole, is_max) {
            (true, true) => Op::GlobalMaxPool,
            (true, false) => Op::GlobalAvgPool,
            (false, true) => {
                self.check_fill(view, &of)?;
                Op::MaxPool2d(pool)
            }
            (false, false) => Op::AvgPool2d { pool, count_pad: counts_padding(node, view, &window)? },
        };
        let value = self.builder.push(op, view.value, vec![], &of)?;
        Ok(map.result(value, self.builder.shape(value)))
    }

    /// A maximum takes no padded position here; what a Pad puts there must not win either.
    fn check_fill(&self, view: &View, of: &str) -> Result<(), String> {
        let Some(padding) = &view.padding else { return Ok(()) };
        if padding.fill <= LOWEST || padding.fill == 0.0 && self.is_positive(view.value) {
            return Ok(());
        }
        Err(format!(
            "{of} reads a Pad of {}, which may be the largest; zeros behind a Relu are supported",
            padding.fill
        ))
    }

    pub(super) fn global_pool(&mut self, node: &NodeProto, op: Op) -> Result<View, String> {
        let of = describe(node);
        let map = self.map(node)?;
        if map.view.padding.is_some() {
            return Err(format!("{of} reads what a Pad gives; only a convolution or a pool with windows may"));
        }
        let value = self.builder.push(op, map.view.value, vec![], &of)?;
        Ok(map.result(value, self.builder.shape(value)))
    }

    /// The mean, sum or maximum of each channel's map.
    pub(super) fn reduction(&mut self, node: &NodeProto) -> Result<View, Refusal> {
        let of = describe(node);
        let view = self.settled(node, 0)?;
        let axes = axes(node, self.optional(node, 1)?.as_deref())?.filter(|axes| !axes.is_empty());
        if axes.is_none() && node.int("noop_with_empty_axes").unwrap_or(0) != 0 {
            return Ok(view);
        }
        let axes: Option<Vec<usize>> = match axes {
            Some(axes) => axes.iter().map(|&axis| view.axis(axis)).collect(),
            None => Some((0..view.axes.len()).collect()),
        };
        let axes = axes.ok_or_else(|| format!("{of} has axes that its input lacks"))?;
        if axes.iter().any(|&axis| view.axes[axis].contains(&BATCH)) {
            return Err(Refusal::in_training(format!(
                "{of} computes over the examples of a batch: it is a BatchNorm with the statistics of its batch"
            )));
        }
        let shape = self.builder.shape(view.value);
        let keeps = node.int("keepdims").unwrap_or(1) != 0;
        let reduced = view.without(&axes, keeps, shape.channels);
        let refused = || format!("{of} reduces axes {axes:?} of {}; a channel's whole map is supported", view.shown());
        let reduced = reduced.ok_or_else(refused)?;
        if shape.is_flat() {
            return Ok(reduced);
        }
        let op = if node.op_type() == "ReduceMax" { Op::GlobalMaxPool } else { Op::GlobalAvgPool };
        let value = self.builder.push(op, view.value, vec![], &of)?;
        let area = (shape.height * shape.width) as f64;
        let is_sum = node.op_type() == "ReduceSum";
        let function = if is_sum { Function::Affine(vec![Step::Multiply(vec![area])]) } else { Function::Plain };
        Ok(View { value, function, alone: true, ..reduced })
    }
}

/// Whether an average counts its padding: as the file says, and always for what a Pad puts there.
fn counts_padding(node: &NodeProto, view: &View, window: &Window) -> Result<bool, String> {
    let of = describe(node);
    let counts = node.int("count_include_pad").unwrap_or(0) != 0;
    let padded = view.padding.is_some();
    if padded && view.padding.as_ref().is_some_and(|padding| padding.fill != 0.0) {
        return Err(format!("{of} reads a Pad that is not of zeros"));
    }
    if (counts && window.own_pads || padded) && window.reaches_out || padded && window.own_pads && !counts {
        return Err(format!("{of} counts some of its padding and some not; all or none is supported"));
    }
    // Without padding both are the same; the usual form is the one that counts.
    Ok(counts && !window.reaches_out || padded || window.pads.is_none())
}
