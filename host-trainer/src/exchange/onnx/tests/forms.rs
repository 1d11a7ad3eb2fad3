//! The ways in which exporters write one and the same layer.

use super::{File, float, int, ints, words};

/// A convolution of 3 channels to 2 on 4x4, with more behind it.
fn conv(input: &[i64]) -> File {
    File::new(input).counted("w", &[2, 3, 1, 1]).floats("b", &[2], &[7.0, 8.0])
}

#[test]
fn a_missing_bias_is_zeros_and_a_constant_behind_the_layer_is_its_bias() {
    let (net, tensors) = conv(&[0, 3, 4, 4]).node("Conv", "x w -> y", &[]).net();
    assert_eq!((net.as_str(), &tensors[1][..]), ("input 3x4x4 / conv2d 2 1x1", &[0.0, 0.0][..]));
    for names in ["c b2 -> y", "b2 c -> y"] {
        let file = conv(&[1, 3, 4, 4]).floats("b2", &[2, 1, 1], &[1.0, 2.0]);
        let (net, tensors) = file.node("Conv", "x w b -> c", &[]).node("Add", names, &[]).net();
        assert_eq!((net.as_str(), &tensors[1][..]), ("input 3x4x4 / conv2d 2 1x1", &[8.0, 10.0][..]));
    }
    // What something else reads without the constant stays as it is.
    let file = conv(&[0, 3, 4, 4]).floats("b2", &[2, 1, 1], &[1.0, 2.0]).node("Conv", "x w -> c", &[]);
    let (net, _) = file.node("Add", "c b2 -> d", &[]).node("Add", "c d -> y", &[]).net();
    assert_eq!(net, "input 3x4x4 / conv2d 2 1x1 as _0 | batch_norm | add _0");
}

#[test]
fn a_linear_layer_is_a_gemm_or_a_product_and_a_sum() {
    let file = || File::new(&[0, 3]).floats("b", &[2], &[7.0, 8.0]);
    let expected = ("input 3 / linear 2".to_owned(), vec![vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], vec![7.0, 8.0]]);
    let rows = |file: File| file.counted("w", &[2, 3]);
    let columns = |file: File| file.floats("w", &[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(rows(file()).node("Gemm", "x w b -> y", &[int("transB", 1)]).net(), expected);
    assert_eq!(columns(file()).node("Gemm", "x w b -> y", &[]).net(), expected);
    assert_eq!(columns(file()).node("MatMul", "x w -> p", &[]).node("Add", "p b -> y", &[]).net(), expected);
    let turned = rows(file()).node("Transpose", "w -> v", &[ints("perm", &[1, 0])]).node("Identity", "v -> u", &[]);
    assert_eq!(turned.node("MatMul", "x u -> p", &[]).node("Add", "b p -> y", &[]).net(), expected);
    let scaled = [int("transB", 1), float("alpha", 0.5), float("beta", 2.0)];
    let (_, tensors) = rows(file()).node("Gemm", "x w b -> y", &scaled).net();
    assert_eq!((tensors[0][5], tensors[1][0]), (2.5, 14.0));
}

#[test]
fn a_flatten_has_many_names() {
    let linear = |file: File| file.counted("w", &[8, 1]).node("MatMul", "f w -> y", &[]).net();
    let expected = "input 2x2x2 / flatten | linear 1";
    let file = || File::new(&[0, 2, 2, 2]).ints("zero", &[0]).ints("minus", &[-1]);
    assert_eq!(linear(file().node("Flatten", "x -> f", &[])).0, expected);
    assert_eq!(linear(file().ints("s", &[-1, 8]).node("Reshape", "x s -> f", &[])).0, expected);
    assert_eq!(linear(file().ints("s", &[0, -1]).node("Reshape", "x s -> f", &[])).0, expected);
    let computed = file()
        .node("Shape", "x -> a", &[])
        .node("Gather", "a zero -> b", &[int("axis", 0)])
        .node("Concat", "b minus -> c", &[int("axis", 0)])
        .node("Dropout", "x -> d mask", &[])
        .node("Reshape", "d c -> f", &[]);
    assert_eq!(linear(computed).0, expected);
}

#[test]
fn a_branch_of_which_only_the_shape_is_read_is_left_out() {
    let file = File::new(&[0, 2, 2, 2]).ints("zero", &[0]).ints("minus", &[-1]).node("Tanh", "x -> t", &[]);
    let file = file.node("Shape", "t -> a", &[]).node("Gather", "a zero -> b", &[]).node("Concat", "b minus -> c", &[]);
    assert_eq!(
        file.node("Relu", "x -> r", &[]).node("Reshape", "r c -> y", &[]).net().0,
        "input 2x2x2 / relu | flatten"
    );
}

#[test]
fn what_reads_a_shape_or_a_type_is_no_reader() {
    let file = conv(&[0, 3, 4, 4]).ints("one", &[1]).ints("six", &[6]).node("Conv", "x w -> c", &[]);
    let file = file.node("Shape", "w -> s", &[int("start", 0), int("end", 1)]).node("CastLike", "six c -> six.f", &[]);
    let file =
        file.node("Expand", "six.f s -> b2", &[]).ints("ones", &[-1, 1, 1]).node("Reshape", "b2 ones -> b3", &[]);
    let (net, tensors) = file.node("Add", "c b3 -> y", &[]).net();
    assert_eq!((net.as_str(), &tensors[1][..]), ("input 3x4x4 / conv2d 2 1x1", &[6.0, 6.0][..]));
}

#[test]
fn transposes_around_a_convolution_order_the_weights_behind_it() {
    // Channels last: 2x1 positions of two channels, then a row in that order.
    let file = File::new(&[0, 2, 1, 3]).counted("w", &[2, 3, 1, 1]).counted("v", &[4, 1]).ints("s", &[-1, 4]);
    let file = file.node("Transpose", "x -> a", &[ints("perm", &[0, 3, 1, 2])]).node("Conv", "a w -> b", &[]);
    let file = file.node("Transpose", "b -> c", &[ints("perm", &[0, 2, 3, 1])]).node("Reshape", "c s -> f", &[]);
    let read = file.node("MatMul", "f v -> y", &[]).read().unwrap();
    assert_eq!((read.description.input.dims(), read.description.nodes.len()), ([3, 2, 1], 3));
    // The row's order is position, channel; ours is channel, position.
    assert_eq!(read.tensors[2], [0.0, 2.0, 1.0, 3.0]);
    assert!(read.notes[0].contains("its input is [n, 2, 1, 3]; the network's is 3x2"), "{:?}", read.notes);
    assert!(read.notes[1].contains("2 Transpose left out"), "{:?}", read.notes);
}

#[test]
fn a_row_that_becomes_a_map_is_one() {
    let file = conv(&[0, 48]).ints("s", &[-1, 3, 4, 4]).node("Reshape", "x s -> a", &[]).node("Conv", "a w -> y", &[]);
    let read = file.read().unwrap();
    assert_eq!(read.description.input.dims(), [3, 4, 4]);
    assert!(read.notes[0].contains("its input [n, 48] is taken as 3x4x4"), "{:?}", read.notes);
}

#[test]
fn a_product_at_each_step_is_a_convolution() {
    let file = File::new(&[0, 9, 3]).counted("w", &[3, 2]).node("MatMul", "x w -> a", &[]).node("Relu", "a -> b", &[]);
    let file = file.node("ReduceMean", "b -> y", &[ints("axes", &[1]), int("keepdims", 0)]);
    let (net, tensors) = file.net();
    assert_eq!(net, "input 3x9 / conv2d 2 1x1 | relu | global_avg_pool");
    assert_eq!(tensors[0], [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
}

#[test]
fn sequences_have_one_column() {
    let file = File::new(&[0, 3, 9]).counted("w", &[2, 3, 3]);
    let file = file.node("Conv", "x w -> a", &[ints("strides", &[2]), ints("pads", &[1, 0])]);
    let file = file.node("MaxPool", "a -> b", &[ints("kernel_shape", &[2]), ints("strides", &[2])]);
    let (net, _) = file.node("GlobalAveragePool", "b -> c", &[]).node("Flatten", "c -> y", &[]).net();
    assert_eq!(net, "input 3x9 / conv2d 2 3x1 stride 2x1 pad 1,0,0,0 | max_pool2d 2x1 | global_avg_pool");
}

#[test]
fn a_sequence_of_one_row_is_one_column() {
    let file = File::new(&[0, 8, 3]).counted("w", &[2, 3, 1, 2]).ints("two", &[2]);
    let file = file.node("Transpose", "x -> a", &[ints("perm", &[0, 2, 1])]).node("Unsqueeze", "a two -> b", &[]);
    let file = file.node("Conv", "b w -> c", &[ints("strides", &[1, 2])]).node("Squeeze", "c two -> d", &[]);
    let (net, tensors) = file.node("GlobalMaxPool", "d -> y", &[]).net();
    assert_eq!(net, "input 3x8 / conv2d 2 2x1 stride 2x1 | global_max_pool");
    assert_eq!(tensors[0], (0..12).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn a_pad_goes_into_the_layer_behind_it() {
    let file = File::new(&[0, 3, 4, 4]).counted("w", &[2, 3, 3, 3]).ints("p", &[0, 0, 0, 1, 0, 0, 1, 0]);
    let file = file.node("Pad", "x p -> a", &[]).node("Conv", "a w -> y", &[ints("pads", &[1, 1, 1, 1])]);
    assert_eq!(file.net().0, "input 3x4x4 / conv2d 2 3x3 pad 1,2,2,1");
}

#[test]
fn padding_by_name_is_that_of_the_sizes() {
    let file = |pad: &str| {
        let file = File::new(&[0, 3, 5, 4]).counted("w", &[2, 3, 3, 3]);
        file.node("Conv", "x w -> y", &[words("auto_pad", pad), ints("strides", &[2, 2])]).net().0
    };
    assert_eq!(file("SAME_UPPER"), "input 3x5x4 / conv2d 2 3x3 stride 2 pad 1,0,1,1");
    assert_eq!(file("SAME_LOWER"), "input 3x5x4 / conv2d 2 3x3 stride 2 pad 1,1,1,0");
    assert_eq!(file("VALID"), "input 3x5x4 / conv2d 2 3x3 stride 2");
}

#[test]
fn pools_round_up_and_count_as_the_file_says() {
    let pool = |operation: &str, more: &[super::AttributeProto]| {
        let attributes = [&[ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])][..], more].concat();
        File::new(&[0, 3, 6, 6]).node(operation, "x -> y", &attributes)
    };
    let up = int("ceil_mode", 1);
    let pads = ints("pads", &[1, 1, 1, 1]);
    let counts = int("count_include_pad", 1);
    let net =
        |operation: &str, more: &[super::AttributeProto]| pool(operation, more).net().0.replace("input 3x6x6 / ", "");
    assert_eq!(net("MaxPool", &[]), "max_pool2d 3x3 stride 2");
    assert_eq!(net("MaxPool", std::slice::from_ref(&up)), "max_pool2d 3x3 stride 2 pad 0,0,1,1");
    assert_eq!(net("AveragePool", &[]), "avg_pool2d 3x3 stride 2");
    assert_eq!(net("AveragePool", &[up.clone(), counts.clone()]), "avg_pool2d 3x3 stride 2 pad 0,0,1,1 exclude_pad");
    assert_eq!(net("AveragePool", std::slice::from_ref(&pads)), "avg_pool2d 3x3 stride 2 pad 1 exclude_pad");
    assert_eq!(net("AveragePool", &[pads.clone(), counts.clone()]), "avg_pool2d 3x3 stride 2 pad 1");
    let text = pool("AveragePool", &[pads, counts, up]).refused();
    assert!(text.contains("counts some of its padding and some not"), "{text}");
    // The whole map is a global pool, in whatever way it is written.
    let whole = File::new(&[0, 3, 6, 6]).node("AveragePool", "x -> y", &[ints("kernel_shape", &[6, 6])]);
    assert_eq!(whole.net().0, "input 3x6x6 / global_avg_pool");
    let mean = File::new(&[0, 3, 6, 6]).node("ReduceMean", "x -> y", &[ints("axes", &[2, 3]), int("keepdims", 0)]);
    assert_eq!(mean.net().0, "input 3x6x6 / global_avg_pool");
    let last = File::new(&[0, 6, 6, 3]).ints("a", &[1, 2]).node("Transpose", "x -> t", &[ints("perm", &[0, 3, 1, 2])]);
    let last = last.node("MaxPool", "t -> p", &[ints("kernel_shape", &[2, 2])]);
    let last = last.node("Transpose", "p -> q", &[ints("perm", &[0, 2, 3, 1])]);
    assert_eq!(
        last.node("ReduceMean", "q a -> y", &[]).net().0,
        "input 3x6x6 / max_pool2d 2x2 stride 1 | global_avg_pool"
    );
}

#[test]
fn a_pad_in_front_of_a_maximum_must_not_win() {
    let file = || File::new(&[0, 3, 4, 4]).ints("p", &[0, 0, 1, 1, 0, 0, 1, 1]);
    let pool = [ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])];
    let behind = file().node("Relu", "x -> r", &[]).node("Pad", "r p -> q", &[]).node("MaxPool", "q -> y", &pool);
    assert_eq!(behind.net().0, "input 3x4x4 / relu | max_pool2d 3x3 stride 2 pad 1");
    let text = file().node("Pad", "x p -> q", &[]).node("MaxPool", "q -> y", &pool).refused();
    assert!(text.contains("which may be the largest"), "{text}");
    let low = file().floats("low", &[], &[f32::MIN]).node("Pad", "x p low -> q", &[]).node("MaxPool", "q -> y", &pool);
    assert_eq!(low.net().0, "input 3x4x4 / max_pool2d 3x3 stride 2 pad 1");
}

/// What the chapter's own layer does, with the deviation computed in the graph or before.
#[test]
fn a_batch_norm_that_was_taken_apart_is_one_again() {
    let parts = |file: File| {
        file.floats("m", &[1, 2, 1, 1], &[0.5, -0.5])
            .floats("g", &[1, 2, 1, 1], &[2.0, 3.0])
            .floats("s", &[1, 2, 1, 1], &[4.0, 5.0])
            .node("Conv", "x w b -> c", &[])
            .node("Sub", "c m -> d", &[])
            .node("Div", "d e -> f", &[])
            .node("Mul", "g f -> h", &[])
            .node("Add", "h s -> y", &[])
    };
    let shown = conv(&[0, 3, 4, 4]).floats("v", &[1, 2, 1, 1], &[0.25, 2.25]).floats("eps", &[], &[0.001]);
    let shown = shown.node("Add", "v eps -> i", &[]).node("Sqrt", "i -> e", &[]);
    let (net, tensors) = parts(shown).net();
    assert_eq!(net, "input 3x4x4 / conv2d 2 1x1 | batch_norm eps 0.001");
    assert_eq!(tensors[2..], [[2.0, 3.0], [4.0, 5.0], [0.5, -0.5], [0.25, 2.25]]);
    let (net, tensors) = parts(conv(&[0, 3, 4, 4]).floats("e", &[1, 2, 1, 1], &[0.5, 1.5])).net();
    assert_eq!(net, "input 3x4x4 / conv2d 2 1x1 | batch_norm");
    assert!((tensors[5][0] - 0.24999).abs() < 1e-7 && tensors[4] == [0.5, -0.5], "{tensors:?}");
}

#[test]
fn constants_for_each_channel_are_a_batch_norm_that_divides_by_one() {
    let file = File::new(&[0, 2, 3, 3]).floats("a", &[2, 1, 1], &[2.0, 3.0]).floats("b", &[2, 1, 1], &[4.0, 5.0]);
    let (net, tensors) = file.node("Mul", "x a -> p", &[]).node("Add", "p b -> y", &[]).net();
    assert_eq!(net, "input 2x3x3 / batch_norm");
    assert_eq!(tensors, [[2.0, 3.0], [4.0, 5.0], [0.0, 0.0], [f64::from(1.0 - 1e-5_f32); 2]]);
}

#[test]
fn hard_activations_are_found_however_they_are_written() {
    let scalars = |file: File| {
        let file = file.floats("three", &[], &[3.0]).floats("six", &[], &[6.0]).floats("zero", &[], &[0.0]);
        file.floats("sixth", &[], &[1.0 / 6.0]).floats("half", &[], &[0.5]).floats("one", &[], &[1.0])
    };
    let file = || scalars(File::new(&[0, 2, 3, 3]));
    let net = |file: File| file.net().0.replace("input 2x3x3 / ", "");
    assert_eq!(net(file().node("Clip", "x zero six -> y", &[])), "relu6");
    assert_eq!(net(file().opset(9).node("Clip", "x -> y", &[float("min", 0.0), float("max", 6.0)])), "relu6");
    assert_eq!(net(file().node("Relu", "x -> r", &[]).node("Min", "six r -> y", &[])), "relu6");
    assert_eq!(net(file().node("Max", "x zero -> y", &[])), "relu");
    assert_eq!(net(file().node("HardSigmoid", "x -> y", &[])), "hard_sigmoid slope 0.2");
    let plus3 = || file().node("Add", "x three -> a", &[]).node("Clip", "a zero six -> b", &[]);
    assert_eq!(net(plus3().node("Div", "b six -> y", &[])), "hard_sigmoid");
    assert_eq!(net(plus3().node("Div", "b six -> c", &[]).node("Mul", "x c -> y", &[])), "hard_swish");
    assert_eq!(net(plus3().node("Mul", "x b -> c", &[]).node("Div", "c six -> y", &[])), "hard_swish");
    assert_eq!(net(plus3().node("Mul", "b x -> c", &[]).node("Mul", "sixth c -> y", &[])), "hard_swish");
    let slope = file().node("Mul", "x sixth -> a", &[]).node("Add", "a half -> b", &[]);
    assert_eq!(net(slope.node("Clip", "b zero one -> y", &[])), "hard_sigmoid");
    let attributes = [float("alpha", 1.0 / 6.0), float("beta", 0.5)];
    assert_eq!(net(file().node("HardSigmoid", "x -> s", &attributes).node("Mul", "x s -> y", &[])), "hard_swish");
    assert_eq!(net(file().node("PRelu", "x half -> y", &[])), "leaky_relu slope 0.5");
    assert_eq!(net(file().node("Clip", "x zero one -> y", &[])), "batch_norm | relu6 | batch_norm");
}

#[test]
fn a_softmax_at_the_end_is_left_out_and_said() {
    let file = File::new(&[0, 3]).counted("w", &[3, 2]).node("MatMul", "x w -> a", &[]);
    let read = file.node("Softmax", "a -> b", &[]).node("Identity", "b -> y", &[]).read().unwrap();
    assert_eq!(read.description.nodes.len(), 1);
    assert!(read.notes[0].contains("Softmax.1 (Softmax) is left out"), "{:?}", read.notes);
}
