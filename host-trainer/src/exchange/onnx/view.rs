//! How a tensor of an ONNX graph lies in relation to the value of ours that holds its numbers. Reshape, Transpose, Squeeze and
//! their like only look at a value in another way: they become no node, and the layer behind them gets its weights in the
//! order that the view demands.
//!
//! A value of ours is `[channels, height, width]`, row-major: its factors. Each axis of a tensor is a product of factors, and
//! one factor is the batch.

use bn_core::network::{Shape, Value};

use super::function::Function;
use super::tensor::MOST_AXES;

/// The factor that counts examples.
pub(super) const BATCH: usize = usize::MAX;

/// Stands for a number of examples that the file leaves open: a prime that no other length has.
pub(super) const OPEN_BATCH: usize = 7919;

/// A tensor of the graph.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Ours, before the function.
    pub(super) value: Value,
    /// What is still to be done with each number.
    pub(super) function: Function,
    /// Zeros, or other numbers, that a `Pad` puts around it.
    pub(super) padding: Option<Padding>,
    /// Examples in a batch.
    pub(super) batch: usize,
    /// Sizes whose product is the value's number of values, outermost first.
    pub(super) factors: Vec<usize>,
    /// The factors of each axis; those of size one may be left out.
    pub(super) axes: Vec<Vec<usize>>,
    /// Whether nothing else reads the value.
    pub(super) alone: bool,
    /// The softmax that was left out in front of it.
    pub(super) behind_softmax: Option<String>,
}

/// What a `Pad` does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Padding {
    /// Positions before and behind, by axis.
    pub(super) sides: Vec<[usize; 2]>,
    /// The number that stands there.
    pub(super) fill: f64,
}

impl View {
    /// A value of that shape as `[batch, ...]`, with so many axes behind the first: `[n, c]`, `[n, c, h]`, `[n, c, h, w]`.
    pub(super) fn new(value: Value, shape: Shape, batch: usize, rank: usize) -> Self {
        let factors = shape.dims().to_vec();
        let axes = std::iter::once(vec![BATCH]).chain((0..rank - 1).map(|axis| vec![axis])).collect();
        let function = Function::Plain;
        Self { value, function, padding: None, batch, factors, axes, alone: false, behind_softmax: None }
    }

    /// Size of a factor.
    fn size(&self, factor: usize) -> usize {
        if factor == BATCH { self.batch } else { self.factors[factor] }
    }

    /// Length of an axis.
    pub(super) fn length(&self, axis: usize) -> usize {
        let inner: usize = self.axes[axis].iter().map(|&factor| self.size(factor)).product();
        inner + self.padding.as_ref().map_or(0, |padding| padding.sides[axis].iter().sum())
    }

    /// Lengths of all axes.
    pub(super) fn dims(&self) -> Vec<usize> {
        (0..self.axes.len()).map(|axis| self.length(axis)).collect()
    }

    /// Its lengths for messages.
    pub(super) fn shown(&self) -> String {
        self.lengths(&self.dims())
    }

    /// Lengths for messages: the number of examples is `n` where the file leaves it open.
    pub(super) fn lengths(&self, dims: &[usize]) -> String {
        let open = |&length: &usize| length == OPEN_BATCH && self.batch == OPEN_BATCH;
        let length = |length: &usize| if open(length) { "n".into() } else { length.to_string() };
        format!("[{}]", dims.iter().map(length).collect::<Vec<_>>().join(", "))
    }

    /// The position of an axis that may be counted from the end.
    pub(super) fn axis(&self, axis: i64) -> Option<usize> {
        let rank = self.axes.len() as i64;
        usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|&axis| axis < rank as usize)
    }

    /// The axes in another order.
    pub(super) fn transposed(mut self, order: &[usize]) -> Self {
        self.axes = order.iter().map(|&axis| self.axes[axis].clone()).collect();
        if let Some(padding) = &mut self.padding {
            padding.sides = order.iter().map(|&axis| padding.sides[axis]).collect();
        }
        self
    }

    /// The same numbers under other dimensions, row-major as before; `None` where an axis would have to be cut in a way that
    /// no view of the value has.
    pub(super) fn reshaped(mut self, dims: &[usize]) -> Option<Self> {
        if self.padding.is_some() || dims.len() > MOST_AXES {
            return None;
        }
        // Each pass that does not end cuts one factor; there cannot be more cuts than dimensions.
        for _ in 0..=dims.len() {
            match self.grouped(dims)? {
                Grouping::Axes(axes) => return Some(Self { axes, ..self }),
                Grouping::Cut { factor, outer } => self.cut(factor, outer),
            }
        }
        None
    }

    fn grouped(&self, dims: &[usize]) -> Option<Grouping> {
        let counts = |factor: &usize| *factor == BATCH || self.factors[*factor] != 1;
        let mut left = self.axes.iter().flatten().copied().filter(counts).peekable();
        let mut axes = Vec::with_capacity(dims.len());
        for &wanted in dims {
            let (mut axis, mut length) = (Vec::new(), 1);
            while let Some(&factor) = left.peek() {
                let size = self.size(factor);
                // A batch of one belongs to the first dimension that has room for it alone.
                if length == wanted && !(factor == BATCH && size == 1 && wanted == 1 && axis.is_empty()) {
                    break;
                }
                if wanted % (length * size) == 0 {
                    length *= size;
                    axis.push(factor);
                    left.next();
                } else {
                    let outer = wanted / length;
                    let cuts = factor != BATCH && wanted % length == 0 && outer > 1 && size.is_multiple_of(outer);
                    return cuts.then_some(Grouping::Cut { factor, outer });
                }
            }
            if length != wanted {
                return None;
            }
            axes.push(axis);
        }
        left.next().is_none().then_some(Grouping::Axes(axes))
    }

    /// Makes two factors of one.
    fn cut(&mut self, factor: usize, outer: usize) {
        let inner = self.factors[factor] / outer;
        self.factors[factor] = outer;
        self.factors.insert(factor + 1, inner);
        for axis in &mut self.axes {
            let cut = |&old: &usize| match old {
                BATCH => vec![BATCH],
                old if old == factor => vec![factor, factor + 1],
                old if old > factor => vec![old + 1],
                old => vec![old],
            };
            *axis = axis.iter().flat_map(cut).collect();
        }
    }

    /// The factors of more than one value, in the order of the axes behind the first; `None` where the first is not the batch
    /// alone.
    pub(super) fn inner_order(&self) -> Option<Vec<usize>> {
        let (first, rest) = self.axes.split_first()?;
        let is_batch = |factor: &usize| *factor == BATCH || self.factors[*factor] == 1;
        let inner: Vec<usize> = rest.iter().flatten().copied().collect();
        let alone = first.contains(&BATCH) && first.iter().all(is_batch) && !inner.contains(&BATCH);
        alone.then(|| inner.into_iter().filter(|&factor| self.factors[factor] != 1).collect())
    }

    /// Whether the values of an example lie in the order of ours.
    pub(super) fn is_in_order(&self) -> bool {
        self.inner_order().is_some_and(|order| order.is_sorted())
    }

    /// Channels and, where the tensor has them, height and width, if it is `[n, c]`, `[n, c, length]` or `[n, c, h, w]` in
    /// the order of ours.
    pub(super) fn map(&self) -> Option<Shape> {
        if !self.is_in_order() {
            return None;
        }
        // Without padding: that is the layer's.
        let plain = Self { padding: None, ..self.clone() };
        match plain.dims()[1..] {
            [channels] => Some(Shape::flat(channels)),
            [channels, length] => Some(Shape::new(channels, length, 1)),
            [channels, height, width] => Some(Shape::new(channels, height, width)),
            _ => None,
        }
    }

    /// For each position along an axis, where it lies among the positions of `factors` in the value: `[0, 2, 1, 3]`.
    fn positions(&self, axis: usize, factors: &[usize]) -> Vec<usize> {
        let stride = |factor: usize| -> usize {
            let behind = factors.iter().filter(|&&other| other > factor);
            behind.map(|&other| self.factors[other]).product()
        };
        let mut positions = vec![0];
        for &factor in self.axes[axis].iter().filter(|factor| factors.contains(factor)) {
            let (size, stride) = (self.factors[factor], stride(factor));
            positions = positions.iter().flat_map(|&at| (0..size).map(move |i| at + i * stride)).collect();
        }
        positions
    }

    /// What an axis is to a value of that shape: all its values, its channels, or neither.
    pub(super) fn meaning(&self, axis: usize, shape: Shape) -> Meaning {
        let counts = |factor: &usize| *factor != BATCH && self.factors[*factor] != 1;
        let mut own: Vec<usize> = self.axes[axis].iter().copied().filter(counts).collect();
        let has_batch = self.axes[axis].contains(&BATCH);
        own.sort_unstable();
        let all: Vec<usize> = (0..self.factors.len()).filter(counts).collect();
        let channels = self.channel_factors(shape.channels);
        if has_batch {
            Meaning::Neither
        } else if channels.as_ref() == Some(&own) {
            Meaning::Channels(self.positions(axis, &own))
        } else if own == all {
            Meaning::Values(self.positions(axis, &own))
        } else {
            Meaning::Neither
        }
    }

    /// The view of a value with other channels at the same positions: `new` instead of `old`.
    pub(super) fn with_channels(&self, value: Value, new: usize, old: usize) -> Option<Self> {
        let old = self.channel_factors(old)?;
        let (&first, more) = old.split_first()?;
        let mut view = Self { value, ..self.clone() };
        view.factors[first] = new;
        more.iter().for_each(|&factor| view.factors[factor] = 1);
        Some(view)
    }

    /// The view without the map, where the axes make up all of it; they stay with one position each, or go.
    pub(super) fn without(&self, axes: &[usize], stay: bool, channels: usize) -> Option<Self> {
        let counts = |factor: &usize| *factor != BATCH && self.factors[*factor] != 1;
        let others = self.axes.iter().enumerate().filter(|(at, _)| !axes.contains(at));
        let mut left: Vec<usize> = others.flat_map(|(_, axis)| axis).copied().filter(counts).collect();
        left.sort_unstable();
        if self.channel_factors(channels)? != left {
            return None;
        }
        let mut view = self.clone();
        let map = view.factors.iter_mut().enumerate().filter(|(factor, _)| !left.contains(factor));
        map.for_each(|(_, size)| *size = 1);
        axes.iter().for_each(|&axis| view.axes[axis].clear());
        let mut at = 0..;
        view.axes.retain(|_| stay || at.next().is_some_and(|at| !axes.contains(&at)));
        Some(view)
    }

    /// The factors that make up so many channels.
    pub(super) fn channel_factors(&self, channels: usize) -> Option<Vec<usize>> {
        let (mut product, mut taken) = (1, Vec::new());
        for (factor, &size) in self.factors.iter().enumerate().filter(|(_, size)| **size != 1) {
            if product == channels {
                break;
            }
            product *= size;
            taken.push(factor);
        }
        (product == channels).then_some(taken)
    }
}

/// What [`View::meaning`] finds, with the place in the value of each position of the axis.
pub(super) enum Meaning {
    /// The axis counts channels.
    Channels(Vec<usize>),
    /// The axis counts all values of an example, of a map.
    Values(Vec<usize>),
    /// Anything else.
    Neither,
}

enum Grouping {
    Axes(Vec<Vec<usize>>),
    /// A factor must become two, the first of that size.
    Cut {
        factor: usize,
        outer: usize,
    },
}
