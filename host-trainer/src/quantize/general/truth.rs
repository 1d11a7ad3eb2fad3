//! The network in f32 on the calibration inputs.

use std::collections::HashMap;

use bn_core::network::Value;
use bn_core::plan::{Family, Layer, Step};

use crate::cores::cores;
use crate::data::Inputs;
use crate::engine::reference::network::Net;
use crate::model::inference::samples;
use crate::model::input::gather;
use crate::model::parameters::Parameters;

/// Examples of one pass.
const BATCH: usize = 16;

/// Of each step what stands before its activation: one example after another, channel, row, column.
pub(super) struct Truth {
    values: HashMap<usize, Vec<f32>>,
    inputs: Vec<f32>,
}

impl Truth {
    /// Runs the network.
    pub(super) fn new(parameters: &Parameters, steps: &[Step], inputs: &Inputs) -> Self {
        let network = &parameters.network;
        let wanted: Vec<Value> = steps
            .iter()
            .filter_map(|step| {
                let layer = Family::of_number(step.family)?.layer(&network.topology(), step.first.into())?;
                Some(layer.before_activation())
            })
            .collect();
        let net = Net::<f32>::from_parameters(parameters);
        let batches: Vec<usize> = (0..inputs.len()).step_by(BATCH).collect();
        let share = batches.len().div_ceil(cores());
        let run = |batches: &[usize]| {
            let mut truth = Self { values: HashMap::new(), inputs: Vec::new() };
            for &at in batches {
                let x = gather(network, inputs, samples(at..inputs.len().min(at + BATCH)));
                net.observe(x, |value, values| {
                    let to = match value {
                        _ if !wanted.contains(&value) => return,
                        Value::Input => &mut truth.inputs,
                        Value::Node(node) => truth.values.entry(node).or_default(),
                    };
                    to.extend(values);
                });
            }
            truth
        };
        let run = &run;
        std::thread::scope(|scope| {
            let threads: Vec<_> = batches.chunks(share).map(|share| scope.spawn(move || run(share))).collect();
            let parts = threads.into_iter().map(|thread| thread.join().expect("inference does not panic"));
            parts.reduce(Self::with).expect("there is an input")
        })
    }

    /// One part behind the other.
    fn with(mut self, other: Self) -> Self {
        self.inputs.extend(other.inputs);
        for (node, values) in other.values {
            self.values.entry(node).or_default().extend(values);
        }
        self
    }

    /// What stands before a layer's activation.
    pub(super) fn of(&self, layer: &Layer) -> &[f32] {
        match layer.before_activation() {
            Value::Input => &self.inputs,
            Value::Node(node) => &self.values[&node],
        }
    }
}
