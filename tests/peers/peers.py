"""The Python side of the comparison: ONNX Runtime, TFLite and PyTorch, driven line by line over stdin by `peers`.

    peers.py infer DIR     builds the models in DIR from trained.safetensors, then answers
                           `logits NAME N` and `time NAME N` for the first N test images, one image at a time
    peers.py train DIR T   on T threads answers `time eager N` and `time compiled N`: seconds of N steps of 256
    peers.py onnx DIR      writes DIR/folded.onnx and nothing else

DIR holds trained.safetensors, test_images.u8, train_images.u8, train_labels.u8. Every answer is one line of JSON.
"""

import json
import os
import sys
import time

import numpy as np
from safetensors.numpy import load_file

SIZES = {"0": (6, 1, 5, 5), "4": (16, 6, 5, 5), "9": (120, 256), "12": (84, 120), "15": (10, 84)}
NORMS = {"0": "1", "4": "5", "9": "10", "12": "13"}


def folded(directory):
    """Weights and biases by module, every BatchNorm folded in f64."""
    tensors = {name: value.astype(np.float64) for name, value in load_file(f"{directory}/trained.safetensors").items()}
    layers = {}
    for module, shape in SIZES.items():
        weight, bias = tensors[f"{module}.weight"], tensors[f"{module}.bias"]
        if module in NORMS:
            norm = NORMS[module]
            scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + 1e-5)
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
            bias = (bias - tensors[f"{norm}.running_mean"]) * scale + tensors[f"{norm}.bias"]
        assert weight.shape == shape
        layers[module] = (weight.astype(np.float32), bias.astype(np.float32))
    return layers


def images(directory, split, count):
    """Pixels / 255, [count, 1, 28, 28]."""
    pixels = np.fromfile(f"{directory}/{split}_images.u8", dtype=np.uint8, count=count * 784)
    return (pixels.astype(np.float32) / np.float32(255)).reshape(-1, 1, 28, 28)


def write_onnx(directory):
    """The folded network as ONNX, batch 1."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    layers, nodes, weights = folded(directory), [], []
    for module, (weight, bias) in layers.items():
        weights += [numpy_helper.from_array(weight, f"w{module}"), numpy_helper.from_array(bias, f"b{module}")]
    x = "x"
    for module in ("0", "4"):
        nodes.append(helper.make_node("Conv", [x, f"w{module}", f"b{module}"], [f"c{module}"], kernel_shape=[5, 5]))
        nodes.append(helper.make_node("Sigmoid", [f"c{module}"], [f"s{module}"]))
        nodes.append(helper.make_node("AveragePool", [f"s{module}"], [f"p{module}"], kernel_shape=[2, 2], strides=[2, 2]))
        x = f"p{module}"
    nodes.append(helper.make_node("Flatten", [x], ["flat"]))
    x = "flat"
    for module in ("9", "12", "15"):
        out = "logits" if module == "15" else f"l{module}"
        nodes.append(helper.make_node("Gemm", [x, f"w{module}", f"b{module}"], [out], transB=1))
        if module != "15":
            nodes.append(helper.make_node("Sigmoid", [out], [f"s{module}"]))
            x = f"s{module}"
    graph = helper.make_graph(
        nodes,
        "lenet",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, f"{directory}/folded.onnx")


def write_onnx_int8(directory):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"x": image[None]} for image in images(directory, "train", 1000)])

        def get_next(self):
            return next(self.batches, None)

    quantize_static(
        f"{directory}/folded.onnx",
        f"{directory}/int8.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def write_tflite(directory):
    """The folded network as TFLite, f32 and int8, channels last as TensorFlow wants them."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    layers = folded(directory)
    w9 = layers["9"][0].reshape(120, 16, 4, 4).transpose(2, 3, 1, 0).reshape(256, 120)

    @tf.function(input_signature=[tf.TensorSpec([1, 28, 28, 1], tf.float32)])
    def network(x):
        for module in ("0", "4"):
            weight, bias = layers[module]
            x = tf.sigmoid(tf.nn.conv2d(x, weight.transpose(2, 3, 1, 0), 1, "VALID") + bias)
            x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        x = tf.reshape(x, [1, 256])
        x = tf.sigmoid(tf.matmul(x, w9) + layers["9"][1])
        x = tf.sigmoid(tf.matmul(x, layers["12"][0].T) + layers["12"][1])
        return tf.matmul(x, layers["15"][0].T) + layers["15"][1]

    def convert(int8):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], network)
        if int8:
            samples = images(directory, "train", 1000).reshape(-1, 1, 28, 28, 1)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        with open(f"{directory}/{'int8' if int8 else 'folded'}.tflite", "wb") as file:
            file.write(converter.convert())

    convert(False)
    convert(True)


def onnx_runtime(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"x": image})[0][0]


def tflite(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    x, y = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image):
        interpreter.set_tensor(x, image.reshape(1, 28, 28, 1))
        interpreter.invoke()
        return interpreter.get_tensor(y)[0]

    return run


def torch_network(torch, layers=None):
    nn = torch.nn
    norm2, norm1 = (nn.BatchNorm2d, nn.BatchNorm1d) if layers is None else (lambda _: nn.Identity(),) * 2
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5), norm2(6), nn.Sigmoid(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), norm2(16), nn.Sigmoid(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 120), norm1(120), nn.Sigmoid(), nn.Linear(120, 84), norm1(84),
        nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    for module, (weight, bias) in (layers or {}).items():
        net[int(module)].load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return net


def pytorch(directory):
    import torch

    torch.set_num_threads(1)
    net = torch_network(torch, folded(directory)).eval()

    def run(image):
        with torch.inference_mode():
            return net(torch.from_numpy(image))[0].numpy()

    return run


def answer(handle):
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(handle(*line.split())), flush=True)


def infer(directory):
    write_onnx(directory)
    write_onnx_int8(directory)
    write_tflite(directory)
    test = [image[None] for image in images(directory, "test", 2000)]
    peers = {
        "onnxruntime-f32": onnx_runtime(f"{directory}/folded.onnx"),
        "tflite-f32": tflite(f"{directory}/folded.tflite"),
        "pytorch-f32": pytorch(directory),
        "onnxruntime-int8": onnx_runtime(f"{directory}/int8.onnx"),
        "tflite-int8": tflite(f"{directory}/int8.tflite"),
    }

    def handle(what, name, count):
        run, batch = peers[name], test[: int(count)]
        if what == "logits":
            return [[float(v) for v in run(image)] for image in batch]
        start = time.perf_counter()
        for image in batch:
            run(image)
        return time.perf_counter() - start

    answer(handle)


def train(directory, threads):
    import torch

    torch.set_num_threads(int(threads))
    count = 256 * 100
    pixels = torch.from_numpy(images(directory, "train", count)).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(np.fromfile(f"{directory}/train_labels.u8", dtype=np.uint8, count=count).astype(np.int64))

    def trainer(compiled):
        torch.manual_seed(0)
        net = torch_network(torch).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        loss_of = lambda x, y: torch.nn.functional.cross_entropy(net(x), y)  # noqa: E731
        loss_of = torch.compile(loss_of) if compiled else loss_of

        def run(steps):
            for step in range(steps):
                rows = slice(step % 100 * 256, step % 100 * 256 + 256)
                optimizer.zero_grad()
                loss_of(pixels[rows], labels[rows]).backward()
                optimizer.step()

        run(5)
        return run

    trainers = {"eager": trainer(False), "compiled": trainer(True)}

    def handle(_, name, steps):
        start = time.perf_counter()
        trainers[name](int(steps))
        return time.perf_counter() - start

    answer(handle)


if __name__ == "__main__":
    {"infer": infer, "train": train, "onnx": write_onnx}[sys.argv[1]](*sys.argv[2:])
