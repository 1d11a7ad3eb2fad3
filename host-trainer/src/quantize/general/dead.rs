//! Dead channels: what has one integer value for every input leaves the network, and no bit of what stays changes.
//!
//! A channel is dead if interval arithmetic (`intervals`) leaves one value for it, at every position. A convolution or linear layer
//! takes a dead channel that it reads into its start values. Where it pads with another code than that value it cannot: what it
//! gives at a border would differ. All other steps read and write a channel together: it leaves all of them at once, or none. So a
//! channel goes if every convolution that reads its group takes it in, or has weights of zero for it; the value of an outer member
//! of the group is then asked for by nobody.
//!
//! The network's input and output keep their channels, and every tensor keeps one.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bn_core::kernels::conv::{Channel, ODD};
use bn_core::kernels::packed::Window;
use bn_core::network::Op;
use bn_core::plan::{Family, Kernel, plan_by};
use serde::Serialize;

use super::integers::{Head, Integers, Model};
use super::intervals::{Interval, one_value};
use crate::error::{Error, Result};
use crate::network::{Description, Network};

/// What was found, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadChannels {
    /// Multiply-accumulates of an inference with all channels.
    pub macs_with: usize,
    /// Of the file.
    pub macs: usize,
    /// By layer that has weights, or a scale of its own by channel.
    pub layers: Vec<DeadLayer>,
}

impl DeadChannels {
    /// Layers with dead channels, or without some that nothing read.
    pub fn layers_of_note(&self) -> Vec<DeadLayer> {
        self.layers.iter().filter(|layer| layer.dead + layer.removed > 0).cloned().collect()
    }
}

/// The dead channels of a layer's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLayer {
    /// Name of the layer.
    pub layer: String,
    /// Channels.
    pub channels: usize,
    /// How many of them have one value for every input.
    pub dead: usize,
    /// How many are not in the file: dead ones, and those that nothing reads.
    pub removed: usize,
}

/// Channels that stay, by tensor: the network's input, then each step's output.
pub(super) type Kept = Vec<Vec<usize>>;

/// A smaller network, and which channels of the whole one it has.
pub(super) struct Reduced {
    pub(super) model: Model,
    pub(super) kept: Kept,
}

/// Says which channels are dead and, of a reduced network, which are gone. `tensors` holds their intervals.
pub(super) fn found(model: &Model, tensors: &[Vec<Interval>], reduced: Option<&Reduced>) -> DeadChannels {
    let macs = |network: &Network| network.topology().macs();
    let has_channels = |&step: &usize| !matches!(model.integers[step], Integers::Alike(_));
    let layer = |step: usize| {
        let channels = &tensors[step + 1];
        DeadLayer {
            layer: model.name(step),
            channels: channels.len(),
            dead: channels.iter().filter(|&&interval| one_value(interval).is_some()).count(),
            removed: reduced.map_or(0, |reduced| channels.len() - reduced.kept[step + 1].len()),
        }
    };
    DeadChannels {
        macs_with: macs(&model.network),
        macs: macs(reduced.map_or(&model.network, |reduced| &reduced.model.network)),
        layers: (0..model.steps.len()).filter(has_channels).map(layer).collect(),
    }
}

/// The network without the channels that can go; `None` where all stay. The model's streams must have been proved; `tensors` holds
/// the intervals of their channels.
///
/// # Errors
/// [`Error::Disagreement`] if the smaller network is none.
pub(super) fn reduce(model: &Model, tensors: &[Vec<Interval>]) -> Result<Option<Reduced>> {
    let mut search = Search::new(model, tensors);
    loop {
        let kept = search.kept();
        if kept.iter().zip(tensors).all(|(kept, channels)| kept.len() == channels.len()) {
            return Ok(None);
        }
        match integers(model, tensors, &kept) {
            Ok(integers) => return Ok(Some(Reduced { model: smaller(model, integers, &kept)?, kept })),
            Err(step) => search.full[step] = true,
        }
    }
}

/// The search for channels that can go.
struct Search<'a> {
    model: &'a Model,
    tensors: &'a [Vec<Interval>],
    /// By tensor, the group of its first channel before groups were joined.
    first: Vec<usize>,
    /// Of each group the one that it was joined to, or itself.
    joined: Vec<usize>,
    /// Groups that must stay.
    stays: Vec<bool>,
    /// The convolutions that read a tensor, by tensor.
    readers: Vec<Vec<Reader<'a>>>,
    /// Steps whose start values cannot take more.
    full: Vec<bool>,
}

/// A convolution that reads a tensor.
struct Reader<'a> {
    step: usize,
    window: Window,
    head: &'a Head,
    rows: &'a [Channel],
}

impl<'a> Search<'a> {
    fn new(model: &'a Model, tensors: &'a [Vec<Interval>]) -> Self {
        let (mut count, mut first) = (0, Vec::new());
        for channels in tensors {
            first.push(count);
            count += channels.len();
        }
        let mut search = Self {
            model,
            tensors,
            first,
            joined: (0..count).collect(),
            stays: vec![false; count],
            readers: tensors.iter().map(|_| Vec::new()).collect(),
            full: vec![false; model.steps.len()],
        };
        (0..model.steps.len()).for_each(|step| search.add(step));
        for tensor in [0, tensors.len() - 1] {
            (0..tensors[tensor].len()).for_each(|channel| search.pin(tensor, channel));
        }
        search
    }

    /// Notes a convolution as a reader; joins the groups of what any other step reads and writes together.
    fn add(&mut self, step: usize) {
        let mut reads: Vec<usize> = self.model.reads(step).collect();
        // How many channels in a row come of one.
        let run = match (self.model.layer(step).kernel, &self.model.integers[step]) {
            (kernel, Integers::Conv(head, rows)) => {
                let (window, _) = kernel.convolution().expect("these are a convolution's integers");
                // What is added behind it is read and written together.
                self.readers[reads.remove(0)].push(Reader { step, window, head, rows });
                1
            }
            (Kernel::Depthwise(shape), _) => shape.multiplier,
            (Kernel::Flatten(shape), _) => shape.height * shape.width,
            _ => 1,
        };
        for channel in 0..self.tensors[step + 1].len() {
            for &from in &reads {
                let (group, other) = (self.group(step + 1, channel), self.group(from, channel / run));
                self.joined[other] = group;
            }
        }
    }

    fn group(&self, tensor: usize, channel: usize) -> usize {
        let mut group = self.first[tensor] + channel;
        while self.joined[group] != group {
            group = self.joined[group];
        }
        group
    }

    fn pin(&mut self, tensor: usize, channel: usize) {
        let group = self.group(tensor, channel);
        self.stays[group] = true;
    }

    /// Channels that stay, at least one of each tensor.
    fn kept(&mut self) -> Kept {
        loop {
            let goes = self.goes();
            let of = |tensor: usize| {
                let stays = |&channel: &usize| !goes[self.group(tensor, channel)];
                (0..self.tensors[tensor].len()).filter(stays).collect::<Vec<usize>>()
            };
            let kept: Kept = (0..self.tensors.len()).map(of).collect();
            match kept.iter().position(Vec::is_empty) {
                None => return kept,
                Some(tensor) => self.pin(tensor, 0),
            }
        }
    }

    /// Groups that can go. What goes can free what only it read, so this looks until nothing more goes.
    fn goes(&self) -> Vec<bool> {
        let mut goes = vec![false; self.joined.len()];
        loop {
            // A group goes if no member of it must stay.
            let mut may: Vec<bool> = self.stays.iter().zip(&goes).map(|(stays, goes)| !stays && !goes).collect();
            for (tensor, channels) in self.tensors.iter().enumerate() {
                for (channel, &interval) in channels.iter().enumerate() {
                    let group = self.group(tensor, channel);
                    may[group] &=
                        self.readers[tensor].iter().all(|reader| self.spares(reader, channel, interval, &goes));
                }
            }
            let more = (0..may.len()).filter(|&group| may[group] && self.joined[group] == group).collect::<Vec<_>>();
            if more.is_empty() {
                return goes;
            }
            more.into_iter().for_each(|group| goes[group] = true);
        }
    }

    /// Whether a convolution gives the same without a channel that it reads.
    fn spares(&self, reader: &Reader<'_>, channel: usize, interval: Interval, goes: &[bool]) -> bool {
        let Reader { step, window, head, rows } = reader;
        let is_the_same_everywhere = |value| !window.is_padded() || value == head.zero(window, channel);
        if !self.full[*step] && one_value(interval).is_some_and(is_the_same_everywhere) {
            return true;
        }
        let mut stay = rows.iter().enumerate().filter(|(row, _)| !goes[self.group(step + 1, *row)]);
        stay.all(|(_, row)| taps(window, &row.weights, channel).iter().all(|&weight| weight == 0))
    }
}

/// A channel's weights for one that it reads.
fn taps<'a>(window: &Window, weights: &'a [i16], channel: usize) -> &'a [i16] {
    let taps = window.taps();
    &weights[channel * taps..][..taps]
}

/// The integers of the channels that stay, or the step whose start values cannot take what goes.
fn integers(model: &Model, tensors: &[Vec<Interval>], kept: &Kept) -> std::result::Result<Vec<Integers>, usize> {
    let of = |step: usize| {
        let stay = &kept[step + 1];
        let layer = model.layer(step);
        match (&model.integers[step], layer.kernel) {
            (Integers::Conv(head, rows), kernel) => {
                let (window, _) = kernel.convolution().expect("these are a convolution's integers");
                let (from, unit) = (model.tensor(layer.reads), layer.kernel.unit().into());
                let rows = stay.iter().map(|&row| without(&window, unit, &rows[row], &tensors[from], &kept[from]));
                Some(Integers::Conv(head.clone(), rows.collect::<Option<_>>()?))
            }
            (Integers::Depthwise(head, rows), _) => {
                Some(Integers::Depthwise(head.clone(), stay.iter().map(|&row| rows[row].clone()).collect()))
            }
            (alike, _) => Some(alike.clone()),
        }
    };
    (0..model.steps.len()).map(|step| of(step).ok_or(step)).collect()
}

/// A row of a convolution that reads fewer channels: the values of the others in its start value. `None` where that is too much for
/// it, with all that the packing of weights may add.
fn without(window: &Window, unit: i64, row: &Channel, channels: &[Interval], kept: &[usize]) -> Option<Channel> {
    let (mut start, mut weights) = (i64::from(row.start), Vec::new());
    for (channel, &interval) in channels.iter().enumerate() {
        let taps = taps(window, &row.weights, channel);
        if kept.binary_search(&channel).is_ok() {
            weights.extend_from_slice(taps);
        } else {
            let sum: i64 = taps.iter().map(|&weight| i64::from(weight)).sum();
            // What has several values has weights of zero.
            start += unit * sum * one_value(interval).map_or(0, i64::from);
        }
    }
    let odd: i64 = weights.iter().map(|&weight| i64::from(weight).abs()).sum();
    let fits = start == i64::from(row.start) || start.abs() + odd * i64::from(ODD) <= i64::from(i32::MAX);
    fits.then_some(Channel { start: start as i32, multiplier: row.multiplier, adds: row.adds, weights })
}

/// The network with the channels that stay, planned anew by the same families.
fn smaller(model: &Model, integers: Vec<Integers>, kept: &Kept) -> Result<Model> {
    let bug = |what: String| Error::Disagreement { problem: format!("without its dead channels the network {what}") };
    let mut description: Description = model.network.description();
    for step in 0..model.steps.len() {
        let layer = model.layer(step);
        let [reads, gives] = [model.tensor(layer.reads), step + 1].map(|tensor| kept[tensor].len());
        let Some(node) = layer.node else { continue };
        match &mut description.nodes[node].node.op {
            Op::Conv2d(conv) => {
                conv.channels = gives;
                if matches!(layer.kernel, Kernel::Depthwise(_) | Kernel::Depthwise3(_)) {
                    conv.groups = reads;
                }
            }
            Op::Linear { outputs, .. } => *outputs = gives,
            _ => {}
        }
    }
    let network = Network::new(description).map_err(|fault| bug(format!("is none: {fault}")))?;
    let families: Vec<Family> = (0..model.steps.len()).map(|step| model.family(step)).collect();
    let steps = plan_by(&network.topology(), &families)
        .map_err(|node| bug(format!("has no kernel for node {}", network.module(node))))?;
    let (tables, scales) = (model.tables.clone(), model.scales.clone());
    Ok(Model { network: Arc::new(network), steps, integers, tables, scales })
}
