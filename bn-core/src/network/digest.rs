//! Digests of a description: CRC-32 of a canonical text of bytes.

use super::{Activation, Network, Op, Pads, Pool, Topology, Value};
use crate::format::CRC;

/// Words in, digest out.
struct Words<'a>(&'a mut dyn FnMut(&[u8]));

impl Words<'_> {
    fn put<const N: usize>(&mut self, words: [usize; N]) {
        for word in words {
            (self.0)(&(word as u32).to_le_bytes());
        }
    }

    fn float(&mut self, value: f32) {
        (self.0)(&value.to_le_bytes());
    }

    fn value(&mut self, value: Value) {
        let word = match value {
            Value::Input => 0,
            Value::Node(at) => at + 1,
        };
        self.put([word]);
    }

    fn window(&mut self, kernel: [usize; 2], stride: [usize; 2], Pads { top, left, bottom, right }: Pads) {
        self.put(kernel);
        self.put(stride);
        self.put([top, left, bottom, right]);
    }

    fn op(&mut self, op: &Op) {
        match *op {
            Op::Conv2d(conv) => {
                self.put([1, conv.channels, conv.groups, conv.bias as usize]);
                self.window(conv.kernel, conv.stride, conv.pads);
            }
            Op::Linear { outputs, bias } => self.put([2, outputs, bias as usize]),
            // Every engine takes every eps.
            Op::BatchNorm { .. } => self.put([3]),
            Op::Activation(activation) => self.activation(activation),
            Op::AvgPool2d { pool: Pool { kernel, stride, pads }, count_pad } => {
                self.put([5, count_pad as usize]);
                self.window(kernel, stride, pads);
            }
            Op::MaxPool2d(Pool { kernel, stride, pads }) => {
                self.put([6]);
                self.window(kernel, stride, pads);
            }
            Op::GlobalAvgPool => self.put([7]),
            Op::GlobalMaxPool => self.put([8]),
            Op::Add { other } => {
                self.put([9]);
                self.value(other);
            }
            Op::Flatten => self.put([10]),
        }
    }

    fn activation(&mut self, activation: Activation) {
        match activation {
            Activation::Relu => self.put([4, 1]),
            Activation::Relu6 => self.put([4, 2]),
            Activation::LeakyRelu { slope } => {
                self.put([4, 3]);
                self.float(slope);
            }
            Activation::Sigmoid => self.put([4, 4]),
            Activation::Tanh => self.put([4, 5]),
            Activation::HardSigmoid { slope } => {
                self.put([4, 6]);
                self.float(slope);
            }
            Activation::HardSwish => self.put([4, 7]),
        }
    }

    fn topology(&mut self, topology: &Topology<'_>) {
        self.put(topology.input.dims());
        for node in topology.nodes {
            self.value(node.input);
            self.op(&node.op);
        }
    }
}

fn crc(write: impl FnOnce(&mut Words<'_>)) -> u32 {
    let mut digest = CRC.digest();
    write(&mut Words(&mut |bytes| digest.update(bytes)));
    digest.finalize()
}

impl Topology<'_> {
    /// Digest of nodes and shapes: engines and kernels are chosen by it. Every `eps` has the same.
    pub fn digest(&self) -> u32 {
        crc(|words| words.topology(self))
    }
}

impl Network<'_> {
    /// Digest of topology, preprocessing and class names: what a file of parameters belongs to.
    pub fn identity(&self) -> u32 {
        crc(|words| {
            words.topology(&self.topology);
            let preprocessing = &self.preprocessing;
            words.float(preprocessing.multiply);
            words.float(preprocessing.divide);
            for values in [preprocessing.mean, preprocessing.std] {
                words.put([values.len()]);
                values.iter().for_each(|&value| words.float(value));
            }
            (words.0)(self.classes.as_bytes());
        })
    }
}
