//! Every refusal is one line that names the node, its operation, and what is supported.

use std::path::Path;

use super::super::proto::AttributeProto;
use super::super::read;
use super::{File, float, int, ints, words};

fn says(part: &str, file: File) {
    let text = file.refused();
    assert!(text.contains(part), "{part}: {text}");
}

fn conv() -> File {
    File::new(&[0, 4, 6, 6]).counted("w", &[4, 4, 3, 3]).counted("d", &[4, 2, 3, 3]).counted("half", &[1])
}

#[test]
fn operations_that_are_none_of_ours() {
    says("node Resize.0 (Resize) is not supported; supported are Conv,", conv().node("Resize", "x -> y", &[]));
    says(
        "(Conv) has dilations [2, 2]; none are supported",
        conv().node("Conv", "x w -> y", &[ints("dilations", &[2, 2])]),
    );
    says("(Conv) has 2 groups of 2 on 4 channels; one group", conv().node("Conv", "x d -> y", &[int("group", 2)]));
    says(
        "(Gemm) transposes its input",
        File::new(&[0, 3]).counted("w", &[3, 3]).node("Gemm", "x w -> y", &[int("transA", 1)]),
    );
    says(
        "(Pad): it repeats or mirrors the map",
        conv().ints("p", &[0; 8]).node("Pad", "x p -> y", &[words("mode", "edge")]),
    );
    says("a kernel at most 15", File::new(&[0, 1, 40, 40]).counted("w", &[1, 1, 17, 17]).node("Conv", "x w -> y", &[]));
    says("limits to -1..1", conv().opset(9).node("Clip", "x -> y", &[float("min", -1.0), float("max", 1.0)]));
    says("multiplies two tensors", conv().node("Sigmoid", "x -> s", &[]).node("Mul", "x s -> y", &[]));
    says(
        "adds [n, 4, 6, 6] and [n, 4, 1, 1]",
        conv().node("GlobalMaxPool", "x -> s", &[]).node("Add", "x s -> y", &[]),
    );
    says("has a constant [4, 6, 1] for", conv().counted("c", &[4, 6, 1]).node("Add", "x c -> y", &[]));
    says("a Softmax is supported at the end", conv().node("Softmax", "x -> s", &[]).node("Relu", "s -> y", &[]));
    says(
        "only a convolution or a pool may",
        conv().ints("p", &[0, 0, 1, 1, 0, 0, 1, 1]).node("Pad", "x p -> a", &[]).node("Tanh", "a -> y", &[]),
    );
    says(
        "reads [n, 6, 6, 4] in another order",
        conv()
            .node("MaxPool", "x -> a", &[ints("kernel_shape", &[1, 1])])
            .node("Transpose", "a -> b", &[ints("perm", &[0, 2, 3, 1])])
            .node("MaxPool", "b -> y", &[ints("kernel_shape", &[1, 1])]),
    );
    says("reduces axes [3] of", conv().node("ReduceMean", "x -> y", &[ints("axes", &[3])]));
}

#[test]
fn networks_that_are_still_in_training() {
    let text = conv().node("ReduceMean", "x -> m", &[ints("axes", &[0, 2, 3])]).node("Sub", "x m -> y", &[]).refused();
    assert!(text.contains("it is a BatchNorm with the statistics of its batch; export it for inference"), "{text}");
    let norm = |more: &[AttributeProto]| {
        let file = File::new(&[0, 2, 3, 3]).floats("v", &[2], &[1.0, 2.0]);
        file.node("BatchNormalization", "x v v v v -> y", more)
    };
    assert!(norm(&[int("training_mode", 1)]).refused().contains("is in training mode; export it for inference"));
    assert!(norm(&[float("epsilon", 2.0)]).refused().contains("eps lies between 0 and 1"));
    assert!(norm(&[int("spatial", 0)]).refused().contains("statistics for each position"));
}

#[test]
fn graphs_that_are_no_network() {
    says("nothing in its graph makes \"z\"", conv().node("Relu", "z -> y", &[]));
    says(
        "runs in a circle at",
        conv().node("Add", "x b -> a", &[]).node("Add", "x a -> b", &[]).node("Relu", "b -> y", &[]),
    );
    says("hangs on no input", conv().node("Relu", "w -> y", &[]));
    says("its operators are of version 6; 7 to 23", conv().opset(6).node("Relu", "x -> y", &[]));
    says("its operators are of version 24; 7 to 23", conv().opset(24).node("Relu", "x -> y", &[]));
    says(
        "is no constant, so it cannot be a parameter",
        conv().node("Relu", "x -> r", &[]).node("Conv", "x r -> y", &[]),
    );
    says("export it with fixed lengths", File::new(&[0, 3, 0, 0]).node("Relu", "x -> y", &[]));
    says("supported are [n, values]", File::new(&[0, 3, 4, 4, 4]).node("Relu", "x -> y", &[]));
    says("the network has no node", conv().node("Identity", "x -> y", &[]));
    says(
        "holds NaN at position 1",
        File::new(&[0, 2]).floats("w", &[2, 1], &[0.0, f32::NAN]).node("MatMul", "x w -> y", &[]),
    );
    says("at most 16777216 values", File::new(&[0, 1 << 20, 1 << 20]).node("Relu", "x -> y", &[]));
}

#[test]
fn a_quantised_network_is_refused_with_the_way_that_leads_here() {
    for operation in ["QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger"] {
        let text = conv().node(operation, "x w -> y", &[]).refused();
        assert!(text.contains("is of a quantised network; give the float network: python -m tf2onnx"), "{text}");
    }
    let problem = |bytes: &[u8]| read(Path::new("x"), bytes).unwrap_err().to_string();
    assert!(problem(b"").contains("it holds no graph"));
}

#[test]
fn a_name_with_control_characters_neither_breaks_the_line_nor_commands_a_terminal() {
    let mut file = conv().node("Resize", "x -> y", &[]);
    file.graph.node[0].name = Some("a\nb\u{1b}[2J".into());
    let text = file.refused();
    assert!(text.contains(r"node a\nb\u{1b}[2J (Resize)"), "{text}");
}
