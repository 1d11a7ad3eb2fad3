//! Descriptions by hand, and every mistake by its name.

use super::*;

fn topology(nodes: &[Node]) -> Topology<'_> {
    Topology { input: Shape::new(3, 8, 6), nodes }
}

fn problem(nodes: &[Node]) -> (Option<usize>, Problem) {
    let NetworkError { node, problem } = topology(nodes).check().unwrap_err();
    (node, problem)
}

#[test]
fn shapes_and_macs_by_hand() {
    // A Keras stride of two: 8x6 with one row below and one column to the right.
    let pads = Pads { bottom: 1, right: 1, ..Pads::NONE };
    let conv = Conv2d { stride: [2, 2], pads, ..Conv2d::new(4, 3) };
    let depthwise = Conv2d { kernel: [1, 3], ..Conv2d::new(8, 1).depthwise(4) };
    let nodes = chain([
        Op::Conv2d(conv),
        Op::BatchNorm { eps: 1e-3 },
        Op::Conv2d(depthwise),
        Op::MaxPool2d(Pool { stride: [1, 1], ..Pool::new(1) }),
        Op::Flatten,
        Op::Linear { outputs: 5, bias: false },
    ]);
    let net = topology(&nodes);
    net.check().unwrap();
    let shapes = [0, 2, 4, 5].map(|at| net.shape(Value::Node(at)));
    assert_eq!(shapes, [Shape::new(4, 4, 3), Shape::new(8, 4, 1), Shape::flat(32), Shape::flat(5)]);
    assert_eq!(net.macs(), 48 * 27 + 32 * 3 + 160);
    let dims = net.parameters().map(|p| (p.node, p.role, p.dims));
    for (at, (node, role, dims)) in dims.enumerate() {
        assert_eq!(net.parameter(at), Some(Parameter { node, role, dims }));
    }
    assert_eq!(net.parameter(0).unwrap().dims.as_slice(), [4, 3, 3, 3]);
    assert_eq!(net.parameter(6).unwrap().dims.as_slice(), [8, 1, 1, 3]);
    assert_eq!(net.parameter(8).unwrap().dims.as_slice(), [5, 32]);
    assert_eq!(net.parameter(9), None);
    assert_eq!(net.trained_parameters(), 108 + 4 + 8 + 24 + 8 + 160);
}

#[test]
fn a_mistake_is_named_by_its_node() {
    let conv = Conv2d::new(4, 3);
    assert_eq!(problem(&[]), (None, Problem::Empty));
    let node = |op| Node { op, input: Value::Input };
    assert_eq!(problem(&[node(Op::Conv2d(Conv2d::new(4, 0)))]), (Some(0), Problem::Kernel));
    assert_eq!(problem(&[node(Op::Conv2d(Conv2d::new(4, 16).pad(9)))]), (Some(0), Problem::Kernel));
    assert_eq!(problem(&[node(Op::Conv2d(Conv2d::new(4, 7)))]), (Some(0), Problem::TooSmall(Shape::new(3, 8, 6))));
    let groups = Problem::Groups { groups: 2, channels: 3 };
    assert_eq!(problem(&[node(Op::Conv2d(conv.depthwise(2)))]), (Some(0), groups));
    assert_eq!(problem(&chain([Op::Flatten, Op::Linear { outputs: 0, bias: true }])), (Some(1), Problem::Kernel));
    let linear = Op::Linear { outputs: 1, bias: true };
    assert_eq!(problem(&[node(linear)]), (Some(0), Problem::NotFlat(Shape::new(3, 8, 6))));
    assert_eq!(problem(&[node(Op::BatchNorm { eps: f32::NAN })]), (Some(0), Problem::Eps));
    let late = Node { op: Op::Flatten, input: Value::Node(0) };
    assert_eq!(problem(&[late]), (Some(0), Problem::Order));
    assert_eq!(problem(&[node(Op::Flatten), node(Op::GlobalAvgPool)]), (Some(0), Problem::Unread));
    let add = chain([Op::Conv2d(conv), Op::Add { other: Value::Input }]);
    assert_eq!(problem(&add), (Some(1), Problem::Shapes(Shape::new(4, 6, 4), Shape::new(3, 8, 6))));
    let pool = Pool { pads: Pads::all(2), ..Pool::new(2) };
    assert_eq!(problem(&[node(Op::MaxPool2d(pool))]), (Some(0), Problem::Padding));
    let wide = chain([Op::Flatten, Op::Linear { outputs: usize::MAX, bias: true }]);
    assert_eq!(problem(&wide), (Some(1), Problem::Size));
    assert_eq!(problem(&[node(Op::Conv2d(conv.stride(0)))]), (Some(0), Problem::Kernel));
}

#[test]
fn digests_tell_networks_apart_and_not_their_eps() {
    let digest =
        |eps, channels| topology(&chain([Op::Conv2d(Conv2d::new(channels, 3)), Op::BatchNorm { eps }])).digest();
    assert_eq!(digest(1e-3, 4), digest(1e-5, 4));
    assert_ne!(digest(1e-3, 4), digest(1e-3, 5));
    let nodes = chain([Op::Flatten]);
    let net = |classes| Network { topology: topology(&nodes), preprocessing: Preprocessing::NONE, classes };
    assert_ne!(net("a\nb").identity(), net("a\nc").identity());
    assert_eq!(net("a\nb").class_names().collect::<std::vec::Vec<_>>(), ["a", "b"]);
    let scaled = Network { preprocessing: Preprocessing { divide: 255.0, ..Preprocessing::NONE }, ..net("a\nb") };
    assert_ne!(scaled.identity(), net("a\nb").identity());
}
