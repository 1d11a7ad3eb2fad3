//! A description as words, and back: what `weights.bin` holds of it. Digests are CRC-32 of such words.

use super::{Activation, Network, Op, Pads, Pool, Preprocessing, Topology, Value};
use crate::format::CRC;

/// A sink of words.
struct Words<'a> {
    sink: &'a mut dyn FnMut(&[u8]),
    /// Whether each BatchNorm's `eps` is among them.
    eps: bool,
}

impl Words<'_> {
    fn put<const N: usize>(&mut self, words: [usize; N]) {
        for word in words {
            (self.sink)(&(word as u32).to_le_bytes());
        }
    }

    fn float(&mut self, value: f32) {
        (self.sink)(&value.to_le_bytes());
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
            Op::BatchNorm { eps } => {
                self.put([3]);
                if self.eps {
                    self.float(eps);
                }
            }
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

    fn preprocessing(&mut self, preprocessing: &Preprocessing<'_>) {
        self.float(preprocessing.multiply);
        self.float(preprocessing.divide);
        for values in [preprocessing.mean, preprocessing.std] {
            self.put([values.len()]);
            values.iter().for_each(|&value| self.float(value));
        }
    }
}

fn crc(write: impl FnOnce(&mut Words<'_>)) -> u32 {
    let mut digest = CRC.digest();
    write(&mut Words { sink: &mut |bytes| digest.update(bytes), eps: false });
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
            words.preprocessing(&self.preprocessing);
            (words.sink)(self.classes.as_bytes());
        })
    }

    /// Hands the description, but for class names, to `sink` as little-endian words: the number of nodes, the topology with each
    /// BatchNorm's `eps`, the preprocessing.
    pub fn encode(&self, sink: &mut dyn FnMut(&[u8])) {
        let mut words = Words { sink, eps: true };
        words.put([self.topology.nodes.len()]);
        words.topology(&self.topology);
        words.preprocessing(&self.preprocessing);
    }
}

#[cfg(feature = "build")]
pub use decode::{Decoded, decode};

#[cfg(feature = "build")]
mod decode {
    use std::vec::Vec;

    use super::super::{Activation, Conv2d, MAX_NODES, Node, Op, Pads, Pool, Shape, Value};

    /// A description as it was encoded: not checked yet.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Decoded {
        /// Shape of one example.
        pub input: Shape,
        /// The nodes.
        pub nodes: Vec<Node>,
        /// Factor and divisor of a raw value.
        pub scale: [f32; 2],
        /// What is taken off, and divided by after that.
        pub mean_std: [Vec<f32>; 2],
    }

    /// The description that [`encode`](super::Network::encode) gave as words. `None` for any other words; whether the network is
    /// sound is for its `check`.
    pub fn decode(words: &[u32]) -> Option<Decoded> {
        let mut reader = Reader(words);
        let count = reader.number()?;
        if count > MAX_NODES {
            return None;
        }
        let [channels, height, width] = reader.numbers()?;
        let input = Shape { channels, height, width };
        let nodes =
            (0..count).map(|_| Some(Node { input: reader.value()?, op: reader.op()? })).collect::<Option<_>>()?;
        let scale = [reader.float()?, reader.float()?];
        let mean_std = [reader.floats(channels)?, reader.floats(channels)?];
        reader.0.is_empty().then_some(Decoded { input, nodes, scale, mean_std })
    }

    struct Reader<'a>(&'a [u32]);

    impl Reader<'_> {
        fn number(&mut self) -> Option<usize> {
            let (&first, rest) = self.0.split_first()?;
            self.0 = rest;
            Some(first as usize)
        }

        fn numbers<const N: usize>(&mut self) -> Option<[usize; N]> {
            let mut numbers = [0; N];
            for number in &mut numbers {
                *number = self.number()?;
            }
            Some(numbers)
        }

        fn float(&mut self) -> Option<f32> {
            Some(f32::from_bits(self.number()? as u32)).filter(|value| value.is_finite())
        }

        fn floats(&mut self, most: usize) -> Option<Vec<f32>> {
            let count = self.number()?;
            if count > most || count > self.0.len() {
                return None;
            }
            (0..count).map(|_| self.float()).collect()
        }

        fn flag(&mut self) -> Option<bool> {
            match self.number()? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            }
        }

        fn value(&mut self) -> Option<Value> {
            Some(self.number()?.checked_sub(1).map_or(Value::Input, Value::Node))
        }

        fn pool(&mut self) -> Option<Pool> {
            let [h, w, sy, sx, top, left, bottom, right] = self.numbers()?;
            Some(Pool { kernel: [h, w], stride: [sy, sx], pads: Pads { top, left, bottom, right } })
        }

        fn op(&mut self) -> Option<Op> {
            Some(match self.number()? {
                1 => {
                    let [channels, groups] = self.numbers()?;
                    let bias = self.flag()?;
                    let Pool { kernel, stride, pads } = self.pool()?;
                    Op::Conv2d(Conv2d { channels, kernel, stride, pads, groups, bias })
                }
                2 => Op::Linear { outputs: self.number()?, bias: self.flag()? },
                3 => Op::BatchNorm { eps: self.float()? },
                4 => Op::Activation(self.activation()?),
                5 => {
                    let count_pad = self.flag()?;
                    Op::AvgPool2d { pool: self.pool()?, count_pad }
                }
                6 => Op::MaxPool2d(self.pool()?),
                7 => Op::GlobalAvgPool,
                8 => Op::GlobalMaxPool,
                9 => Op::Add { other: self.value()? },
                10 => Op::Flatten,
                _ => return None,
            })
        }

        fn activation(&mut self) -> Option<Activation> {
            Some(match self.number()? {
                1 => Activation::Relu,
                2 => Activation::Relu6,
                3 => Activation::LeakyRelu { slope: self.float()? },
                4 => Activation::Sigmoid,
                5 => Activation::Tanh,
                6 => Activation::HardSigmoid { slope: self.float()? },
                7 => Activation::HardSwish,
                _ => return None,
            })
        }
    }
}
