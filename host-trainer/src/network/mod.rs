//! A network as the host keeps it: bn-core's description with memory of its own, names, and what is derived from it at
//! hand.
//!
//! | file | what it holds |
//! |---|---|
//! | `text` | the text form, `.net`: one line a block |
//! | `shipped` | the networks that come with the program |

pub mod shipped;
pub mod text;

use std::borrow::Cow;
use std::sync::Arc;

use bn_core::file::{Texts, WeightsFile};
use bn_core::network::{self, NetworkError, Node, Op, Parameter, Shape, Topology, Value};

/// How a raw value becomes what the first node reads, see [`bn_core::network::Preprocessing`].
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// Factor of a raw value.
    pub multiply: f32,
    /// Divisor of a raw value.
    pub divide: f32,
    /// What is taken off: one a channel, or one for all; none is zero.
    pub mean: Vec<f32>,
    /// What is divided by after that: one a channel, or one for all; none is one.
    pub std: Vec<f32>,
}

impl Default for Preprocessing {
    fn default() -> Self {
        Self { multiply: 1.0, divide: 1.0, mean: Vec::new(), std: Vec::new() }
    }
}

impl Preprocessing {
    /// Whether raw values reach the first node as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The affine map of a channel in f64: `(scale, shift)` with `x = scale * raw + shift`.
    pub fn affine(&self, channel: usize) -> (f64, f64) {
        let (mean, std) = self.mean_and_std(channel);
        let (mean, std) = (f64::from(mean), f64::from(std));
        (f64::from(self.multiply) / f64::from(self.divide) / std, -mean / std)
    }

    /// Mean and standard deviation of a channel.
    pub fn mean_and_std(&self, channel: usize) -> (f32, f32) {
        let at = |values: &[f32], otherwise| match *values {
            [] => otherwise,
            [one] => one,
            ref each => each[channel],
        };
        (at(&self.mean, 0.0), at(&self.std, 1.0))
    }

    /// For people: `raw * 1/255, mean 0.1307, std 0.3081`.
    pub fn describe(&self) -> String {
        if self.is_none() { "none".into() } else { text::preprocessing(self) }
    }
}

/// What a description says of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedNode {
    /// The node.
    pub node: Node,
    /// Its name; a node without one is known by its position.
    pub name: Option<String>,
}

/// Everything that a description says.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Name of the network, for people.
    pub name: String,
    /// Shape of one example.
    pub input: Shape,
    /// Nodes in an order in which they can be computed.
    pub nodes: Vec<NamedNode>,
    /// How raw values are taken.
    pub preprocessing: Preprocessing,
    /// Names of the outputs; none for a network without classes.
    pub classes: Vec<String>,
}

/// A description that was checked, with its shapes and tensors at hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    name: String,
    input: Shape,
    nodes: Vec<Node>,
    names: Vec<Option<String>>,
    preprocessing: Preprocessing,
    classes: String,
    shapes: Vec<Shape>,
    parameters: Vec<Parameter>,
}

impl Network {
    /// Checks a description.
    ///
    /// # Errors
    /// The first node at fault, from [`Topology::check`]; or what is wrong with names, classes or preprocessing.
    pub fn new(description: Description) -> Result<Self, Fault> {
        let Description { name, input, nodes, preprocessing, classes } = description;
        let (nodes, names): (Vec<_>, Vec<_>) = nodes.into_iter().map(|NamedNode { node, name }| (node, name)).unzip();
        let topology = Topology { input, nodes: &nodes };
        topology.check().map_err(Fault::Node)?;
        // One after another: a chain of a thousand nodes would be walked half a million times from each node's start.
        let mut shapes: Vec<Shape> = Vec::with_capacity(nodes.len());
        let of = |shapes: &[Shape], value| if let Value::Node(at) = value { shapes[at] } else { input };
        for node in &nodes {
            shapes.push(node.op.output(of(&shapes, node.input)));
        }
        let parameters = topology.parameters().collect();
        check_names(&names).map_err(Fault::Text)?;
        check_preprocessing(&preprocessing, input).map_err(Fault::Text)?;
        check_classes(&classes, topology.output()).map_err(Fault::Text)?;
        Ok(Self { name, input, nodes, names, preprocessing, classes: classes.join("\n"), shapes, parameters })
    }

    /// That of a `weights.bin`.
    ///
    /// # Errors
    /// What is wrong with names, classes or preprocessing: a forger's file may hold such.
    pub fn of_weights(file: &WeightsFile) -> Result<Self, Fault> {
        let (view, texts) = (file.network(), file.texts());
        let network::Preprocessing { multiply, divide, mean, std } = view.preprocessing;
        let named = |(&node, name): (&Node, &Option<String>)| NamedNode { node, name: name.clone() };
        Self::new(Description {
            name: texts.network.clone(),
            input: view.topology.input,
            nodes: view.topology.nodes.iter().zip(&texts.nodes).map(named).collect(),
            preprocessing: Preprocessing { multiply, divide, mean: mean.to_vec(), std: std.to_vec() },
            classes: view.class_names().map(String::from).collect(),
        })
    }

    /// Names as a `weights.bin` holds them.
    pub fn texts(&self) -> Texts {
        Texts { network: self.name.clone(), nodes: self.names.clone(), classes: self.classes.clone() }
    }

    /// What it was made of.
    pub fn description(&self) -> Description {
        let named = |(&node, name): (&Node, &Option<String>)| NamedNode { node, name: name.clone() };
        Description {
            name: self.name.clone(),
            input: self.input,
            nodes: self.nodes.iter().zip(&self.names).map(named).collect(),
            preprocessing: self.preprocessing.clone(),
            classes: self.class_names().map(String::from).collect(),
        }
    }

    /// Name of the network, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shape of one example.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Shape of the output.
    pub fn output(&self) -> Shape {
        *self.shapes.last().expect("a network has a node")
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Shape of a value.
    pub fn shape(&self, value: Value) -> Shape {
        if let Value::Node(at) = value { self.shapes[at] } else { self.input }
    }

    /// Shape of what a node reads.
    pub fn input_of(&self, node: usize) -> Shape {
        self.shape(self.nodes[node].input)
    }

    /// Nodes and input shape.
    pub fn topology(&self) -> Topology<'_> {
        Topology { input: self.input, nodes: &self.nodes }
    }

    /// As bn-core has it.
    pub fn view(&self) -> network::Network<'_> {
        let Preprocessing { multiply, divide, mean, std } = &self.preprocessing;
        let preprocessing = network::Preprocessing { multiply: *multiply, divide: *divide, mean, std };
        network::Network { topology: self.topology(), preprocessing, classes: &self.classes }
    }

    /// How raw values are taken.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Names of the outputs, by label; none for a network without classes.
    pub fn class_names(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        let names: Vec<&str> = self.classes.lines().collect();
        names.into_iter()
    }

    /// Whether its outputs are scores of classes.
    pub fn has_classes(&self) -> bool {
        !self.classes.is_empty()
    }

    /// Every tensor, in the order of PyTorch's `state_dict`.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Name of a node, as PyTorch's modules have it: its own, or its position.
    pub fn module(&self, node: usize) -> Cow<'_, str> {
        match &self.names[node] {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(node.to_string()),
        }
    }

    /// A node's own name, where it has one.
    pub fn name_of(&self, node: usize) -> Option<&str> {
        self.names[node].as_deref()
    }

    /// Name of a tensor: `0.weight`, `stem.running_var`.
    pub fn tensor_name(&self, parameter: &Parameter) -> String {
        format!("{}.{}", self.module(parameter.node), parameter.role.name())
    }

    /// Names of all tensors, in order.
    pub fn tensor_names(&self) -> Vec<String> {
        self.parameters.iter().map(|parameter| self.tensor_name(parameter)).collect()
    }

    /// Position among [`parameters`](Self::parameters) of a tensor's name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| self.tensor_name(parameter) == name)
    }

    /// Position among [`parameters`](Self::parameters) of a node's first tensor.
    pub fn first_parameter(&self, node: usize) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.node == node)
    }

    /// Positions of the BatchNorm nodes.
    pub fn batch_norms(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().enumerate().filter(|(_, node)| matches!(node.op, Op::BatchNorm { .. })).map(|(at, _)| at)
    }

    /// A BatchNorm's eps.
    ///
    /// # Panics
    /// If the node is none.
    pub fn eps(&self, node: usize) -> f32 {
        match self.nodes[node].op {
            Op::BatchNorm { eps } => eps,
            other => panic!("node {node} is {other:?}, no BatchNorm"),
        }
    }

    /// The eps of all BatchNorm layers, where they have one in common; PyTorch's default where there is none.
    pub fn common_eps(&self) -> Option<f32> {
        let mut all = self.batch_norms().map(|node| self.eps(node));
        let first = all.next().unwrap_or(bn_core::batch_norm::DEFAULT_EPS);
        all.all(|eps| eps == first).then_some(first)
    }

    /// The same network with another eps in every BatchNorm.
    ///
    /// # Errors
    /// If it does not lie between 0 and 1.
    pub fn with_eps(&self, eps: f32) -> Result<Self, Fault> {
        let mut description = self.description();
        for NamedNode { node, .. } in &mut description.nodes {
            if let Op::BatchNorm { eps: old } = &mut node.op {
                *old = eps;
            }
        }
        Self::new(description)
    }

    /// The same network with a bias in those convolutions and linear layers.
    pub fn with_biases(&self, nodes: &[usize]) -> Self {
        let mut description = self.description();
        for &at in nodes {
            match &mut description.nodes[at].node.op {
                Op::Conv2d(conv) => conv.bias = true,
                Op::Linear { bias, .. } => *bias = true,
                _ => {}
            }
        }
        Self::new(description).expect("a bias keeps a network sound")
    }

    /// The same network with other classes.
    ///
    /// # Errors
    /// If their number is not that of the outputs.
    pub fn with_classes(&self, classes: Vec<String>) -> Result<Self, Fault> {
        Self::new(Description { classes, ..self.description() })
    }

    /// The same network for other classes: where it ends in a linear layer, with an output for each.
    ///
    /// # Errors
    /// If it ends in anything else and their number is not that of the outputs.
    pub fn for_classes(&self, classes: Vec<String>) -> Result<Self, Fault> {
        let mut description = Description { classes, ..self.description() };
        let outputs = description.classes.len();
        if let Some(NamedNode { node: Node { op: Op::Linear { outputs: old, .. }, .. }, .. }) =
            description.nodes.last_mut()
        {
            *old = outputs;
        }
        Self::new(description)
    }

    /// The same network that takes its input in another way.
    ///
    /// # Errors
    /// If it does not fit the input's channels.
    pub fn with_preprocessing(&self, preprocessing: Preprocessing) -> Result<Self, Fault> {
        Self::new(Description { preprocessing, ..self.description() })
    }

    /// d2l's BatchNorm LeNet on Fashion-MNIST.
    pub fn lenet() -> Arc<Self> {
        shipped::get("lenet").expect("lenet is shipped")
    }
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A node.
    Node(NetworkError),
    /// Anything else, in words.
    Text(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Node(error) => error.fmt(f),
            Fault::Text(text) => f.write_str(text),
        }
    }
}

fn check_names(names: &[Option<String>]) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for name in names.iter().flatten() {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
        if name.is_empty() || !name.chars().all(sound) || name.chars().all(|c| c.is_ascii_digit()) || name == "input" {
            return Err(format!("{name:?} is no name: use letters, digits and _ . - /, not digits alone, not `input`"));
        }
        if !seen.insert(name) {
            return Err(format!("two nodes are called {name}"));
        }
    }
    Ok(())
}

fn check_preprocessing(preprocessing: &Preprocessing, input: Shape) -> Result<(), String> {
    let Preprocessing { multiply, divide, mean, std } = preprocessing;
    let usable = |v: &f32| v.is_finite() && *v != 0.0;
    if !usable(multiply) || !usable(divide) || !std.iter().all(usable) || !mean.iter().all(|v| v.is_finite()) {
        return Err("scale and std must be finite and not 0, mean finite".into());
    }
    for (what, values) in [("mean", mean), ("std", std)] {
        if values.len() > 1 && values.len() != input.channels {
            return Err(format!("{what} has {} values for {} channels", values.len(), input.channels));
        }
    }
    Ok(())
}

/// Whether the text form can hold it as a class's name.
pub(crate) fn is_class_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.contains([',', '#']) && !name.contains(char::is_control)
}

fn check_classes(classes: &[String], output: Shape) -> Result<(), String> {
    if !classes.is_empty() && classes.len() != output.len() {
        return Err(format!("{} classes are named, the network has {} outputs", classes.len(), output.len()));
    }
    if !classes.iter().all(|name| is_class_name(name)) {
        return Err("a class name is empty, or has a comma, a # or a control character".into());
    }
    Ok(())
}
