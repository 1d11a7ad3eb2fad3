//! A network from text.

use std::collections::HashMap;

use bn_core::batch_norm::DEFAULT_EPS;
use bn_core::network::{Activation, Conv2d, MAX_NODES, Node, Op, Pads, Pool, Shape, Topology, Value};

use super::{HARD_SIGMOID_SLOPE, LEAKY_SLOPE, Mistake};
use crate::network::{Description, Fault, NamedNode, Network, Preprocessing};

const OPERATIONS: &str = "conv2d, depthwise, linear, batch_norm, relu, relu6, leaky_relu, sigmoid, tanh, hard_sigmoid, \
                          hard_swish, avg_pool2d, max_pool2d, global_avg_pool, global_max_pool, add, flatten";

/// Reads a text.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse(text: &str) -> Result<Network, Mistake> {
    let mut reader = Reader::default();
    let mut last = 1;
    for (at, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(line, _)| line).replace('\t', " ");
        let line = line.trim();
        if !line.is_empty() {
            last = at + 1;
            if let Some(c) = line.chars().find(|c| c.is_control()) {
                return Err(Mistake {
                    line: last,
                    problem: format!("it holds the control character {}", c.escape_default()),
                });
            }
            reader.line = last;
            reader.statement(line).map_err(|problem| Mistake { line: last, problem })?;
        }
    }
    let Reader { name, input, preprocessing, classes, nodes, lines, .. } = reader;
    let Some(input) = input else {
        return Err(Mistake { line: last, problem: "there is no line `input SHAPE`".into() });
    };
    let description =
        Description { name: name.unwrap_or_else(|| "unnamed".into()), input, nodes, preprocessing, classes };
    Network::new(description).map_err(|fault| match fault {
        Fault::Node(error) => {
            let line = error.node.map_or(last, |node| lines[node]);
            Mistake { line, problem: error.problem.to_string() }
        }
        Fault::Text(problem) => Mistake { line: last, problem },
    })
}

#[derive(Default)]
struct Reader {
    line: usize,
    name: Option<String>,
    input: Option<Shape>,
    preprocessing: Preprocessing,
    classes: Vec<String>,
    nodes: Vec<NamedNode>,
    /// Line of each node.
    lines: Vec<usize>,
    /// Shape of each node's output.
    shapes: Vec<Shape>,
    names: HashMap<String, usize>,
}

impl Reader {
    fn statement(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "network" if rest.is_empty() || rest.contains(char::is_whitespace) => {
                Err("a network has a name of one word".into())
            }
            "network" => once(&mut self.name, rest.into(), word),
            "input" => once(&mut self.input, shape(rest)?, word),
            "classes" if self.classes.is_empty() => {
                self.classes = rest.split(',').map(|name| name.trim().to_owned()).collect();
                Ok(())
            }
            "preprocess" if self.preprocessing.is_none() => {
                self.preprocessing = preprocessing(rest)?;
                Ok(())
            }
            "classes" | "preprocess" => Err(format!("there are two lines `{word}`")),
            _ => line.split('|').try_for_each(|text| self.node(text)),
        }
    }

    fn node(&mut self, text: &str) -> Result<(), String> {
        let at = self.nodes.len();
        if at == MAX_NODES {
            return Err(format!("the network has more than {MAX_NODES} nodes"));
        }
        let network_input = self.input.ok_or("the line `input SHAPE` comes before the first operation")?;
        let mut words = Words::of(text);
        let word = words.next().ok_or("there is no operation between two |")?.to_owned();
        let other =
            if word == "add" { Some(self.value(words.next().ok_or("add what? give a node's name")?)?) } else { None };
        let mut arguments = Arguments::of(&mut words)?;
        let input = match arguments.take("from") {
            Some(name) => self.value(name)?,
            None if at == 0 => Value::Input,
            None => Value::Node(at - 1),
        };
        let name = arguments.take("as").map(String::from);
        let shape = if let Value::Node(at) = input { self.shapes[at] } else { network_input };
        let op = op(&word, other, &mut arguments, shape)?;
        arguments.end(&word)?;
        if let Some(name) = &name
            && self.names.insert(name.clone(), at).is_some()
        {
            return Err(format!("two nodes are called {name}"));
        }
        // A wrong size is found by the check of the whole; here it must only not overflow.
        self.shapes.push(sane(&op, shape)?);
        self.lines.push(self.line);
        // What `print` calls a node that has no name of its own.
        let name = name.filter(|name| *name != format!("_{at}"));
        self.nodes.push(NamedNode { node: Node { op, input }, name });
        Ok(())
    }

    fn value(&self, name: &str) -> Result<Value, String> {
        if name == "input" {
            return Ok(Value::Input);
        }
        self.names.get(name).map(|&at| Value::Node(at)).ok_or_else(|| format!("no node before it is called {name}"))
    }
}

/// Shape of a node's output, where that node is sound by itself.
fn sane(op: &Op, input: Shape) -> Result<Shape, String> {
    let op = if let Op::Add { .. } = op { Op::Add { other: Value::Input } } else { *op };
    let alone = [Node { op, input: Value::Input }];
    Topology { input, nodes: &alone }.check().map_err(|error| error.problem.to_string())?;
    Ok(op.output(input))
}

fn once<T>(slot: &mut Option<T>, value: T, word: &str) -> Result<(), String> {
    if slot.replace(value).is_some() { Err(format!("there are two lines `{word}`")) } else { Ok(()) }
}

/// The words of an operation.
struct Words<'a>(std::iter::Peekable<std::str::SplitWhitespace<'a>>);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self(text.split_whitespace().peekable())
    }

    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }
}

/// Words without a key, in order, and values by key.
struct Arguments<'a> {
    plain: std::collections::VecDeque<&'a str>,
    keyed: Vec<(&'a str, &'a str)>,
}

/// Words that are followed by a value.
const KEYS: [&str; 7] = ["stride", "pad", "multiplier", "eps", "slope", "from", "as"];

impl<'a> Arguments<'a> {
    fn of(words: &mut Words<'a>) -> Result<Self, String> {
        let mut arguments = Self { plain: Default::default(), keyed: Vec::new() };
        while let Some(word) = words.next() {
            if !KEYS.contains(&word) {
                arguments.plain.push_back(word);
                continue;
            }
            let value = words.next().ok_or_else(|| format!("nothing follows {word}"))?;
            if arguments.keyed.iter().any(|(key, _)| *key == word) {
                return Err(format!("{word} is given twice"));
            }
            arguments.keyed.push((word, value));
        }
        Ok(arguments)
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.keyed.iter().position(|(k, _)| *k == key)?;
        Some(self.keyed.remove(at).1)
    }

    fn flag(&mut self, word: &str) -> bool {
        let at = self.plain.iter().position(|w| *w == word);
        at.map(|at| self.plain.remove(at)).is_some()
    }

    fn plain(&mut self, what: &str) -> Result<&'a str, String> {
        self.plain.pop_front().ok_or_else(|| format!("its {what} is missing"))
    }

    /// Nothing may be left.
    fn end(&self, operation: &str) -> Result<(), String> {
        let left = self.plain.front().or(self.keyed.first().map(|(key, _)| key));
        left.map_or(Ok(()), |word| Err(format!("{operation} does not take {word}")))
    }
}

fn op(word: &str, other: Option<Value>, arguments: &mut Arguments<'_>, input: Shape) -> Result<Op, String> {
    let plain = |activation| Ok(Op::Activation(activation));
    match word {
        "conv2d" | "depthwise" => convolution(word == "depthwise", arguments, input).map(Op::Conv2d),
        "linear" => {
            Ok(Op::Linear { outputs: number(arguments.plain("number of outputs")?)?, bias: !arguments.flag("no_bias") })
        }
        "batch_norm" => Ok(Op::BatchNorm { eps: arguments.take("eps").map_or(Ok(DEFAULT_EPS), float)? }),
        "relu" => plain(Activation::Relu),
        "relu6" => plain(Activation::Relu6),
        "sigmoid" => plain(Activation::Sigmoid),
        "tanh" => plain(Activation::Tanh),
        "hard_swish" => plain(Activation::HardSwish),
        "leaky_relu" => plain(Activation::LeakyRelu { slope: slope(arguments, LEAKY_SLOPE)? }),
        "hard_sigmoid" => plain(Activation::HardSigmoid { slope: slope(arguments, HARD_SIGMOID_SLOPE)? }),
        "avg_pool2d" => {
            let count_pad = !arguments.flag("exclude_pad");
            Ok(Op::AvgPool2d { pool: pool(arguments)?, count_pad })
        }
        "max_pool2d" => pool(arguments).map(Op::MaxPool2d),
        "global_avg_pool" => Ok(Op::GlobalAvgPool),
        "global_max_pool" => Ok(Op::GlobalMaxPool),
        "flatten" => Ok(Op::Flatten),
        "add" => Ok(Op::Add { other: other.ok_or("add what? give a node's name")? }),
        _ => Err(format!("{word} is no operation; there are {OPERATIONS}")),
    }
}

fn convolution(depthwise: bool, arguments: &mut Arguments<'_>, input: Shape) -> Result<Conv2d, String> {
    let bias = !arguments.flag("no_bias");
    let (channels, groups) = if depthwise {
        let multiplier = arguments.take("multiplier").map_or(Ok(1), number)?;
        (input.channels.saturating_mul(multiplier), input.channels)
    } else {
        (number(arguments.plain("number of channels")?)?, 1)
    };
    let kernel = pair(arguments.plain("kernel")?)?;
    Ok(Conv2d { channels, kernel, stride: stride(arguments, [1, 1])?, pads: pads(arguments)?, groups, bias })
}

fn pool(arguments: &mut Arguments<'_>) -> Result<Pool, String> {
    let kernel = pair(arguments.plain("kernel")?)?;
    Ok(Pool { kernel, stride: stride(arguments, kernel)?, pads: pads(arguments)? })
}

fn stride(arguments: &mut Arguments<'_>, otherwise: [usize; 2]) -> Result<[usize; 2], String> {
    arguments.take("stride").map_or(Ok(otherwise), pair)
}

fn pads(arguments: &mut Arguments<'_>) -> Result<Pads, String> {
    let Some(text) = arguments.take("pad") else { return Ok(Pads::NONE) };
    let sides = text.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
    match sides[..] {
        [all] => Ok(Pads::all(all)),
        [top, left, bottom, right] => Ok(Pads { top, left, bottom, right }),
        _ => Err(format!("pad {text}: give one number, or top,left,bottom,right")),
    }
}

fn slope(arguments: &mut Arguments<'_>, usual: f32) -> Result<f32, String> {
    arguments.take("slope").map_or(Ok(usual), float)
}

fn number(text: &str) -> Result<usize, String> {
    let bounded = text.parse::<u32>().map(|n| n as usize);
    bounded.map_err(|_| format!("{text} is no whole number from 0 to {}", u32::MAX))
}

fn float(text: &str) -> Result<f32, String> {
    let value = text.parse::<f32>().ok().filter(|value| value.is_finite());
    value.ok_or_else(|| format!("{text} is no number"))
}

/// `3`, or `3x5`: height and width.
fn pair(text: &str) -> Result<[usize; 2], String> {
    match text.split_once('x') {
        Some((height, width)) => Ok([number(height)?, number(width)?]),
        None => number(text).map(|n| [n, n]),
    }
}

fn shape(text: &str) -> Result<Shape, String> {
    let sides = text.split('x').map(number).collect::<Result<Vec<_>, _>>()?;
    match sides[..] {
        [values] => Ok(Shape::flat(values)),
        [channels, length] => Ok(Shape::new(channels, length, 1)),
        [channels, height, width] => Ok(Shape::new(channels, height, width)),
        _ => Err(format!("input {text}: give channels x height x width, channels x length, or a number of values")),
    }
}

/// `scale 1/255 mean 0.5 std 0.25,0.5,0.25`.
fn preprocessing(text: &str) -> Result<Preprocessing, String> {
    let mut result = Preprocessing::default();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("nothing follows {word}"))?;
        match word {
            "scale" => (result.multiply, result.divide) = ratio(value)?,
            "mean" => result.mean = floats(value)?,
            "std" => result.std = floats(value)?,
            _ => return Err(format!("{word} is none of scale, mean, std")),
        }
    }
    Ok(result)
}

/// `1/255` or `0.5`.
pub(crate) fn ratio(text: &str) -> Result<(f32, f32), String> {
    match text.split_once('/') {
        Some((multiply, divide)) => Ok((float(multiply)?, float(divide)?)),
        None => Ok((float(text)?, 1.0)),
    }
}

/// Numbers between commas. Whether there are as many as channels is checked with the whole.
fn floats(text: &str) -> Result<Vec<f32>, String> {
    text.split(',').map(float).collect()
}
