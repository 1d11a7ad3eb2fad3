"""The networks of the zoo as other exporters write them, for tests/zoo.rs.

    pip install torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 numpy
    python zoo_forms.py ZOO OUT [NAME...]

Each NETWORK.onnx of the folder ZOO, or those named, becomes a PyTorch module with the same numbers, in two styles: `plain`, with the layers of
torch.nn, and `written`, with padding, products, sums and means written out. Both of PyTorch's exporters write each style at
several opsets, BatchNorm folded and not, any number of examples and a fixed one: OUT/NETWORK.STYLE.EXPORTER.OPSET.FORM.onnx.
A form that an exporter itself refuses is named on standard error.
"""

import pathlib
import sys
import warnings

import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

OPSETS = [11, 13, 17, 18, 21]
# The older exporter knows operators up to this version.
NEWEST_OF_TORCHSCRIPT = 20


class Network(nn.Module):
    """A graph of the zoo, node by node."""

    def __init__(self, graph, written):
        super().__init__()
        self.written = written
        self.stored = {t.name: torch.tensor(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.steps = [(node, self.module(node)) for node in graph.node]
        self.modules_of_steps = nn.ModuleList([module for _, module in self.steps if module is not None])
        self.source = next(i.name for i in graph.input if i.name not in self.stored)
        self.result = graph.output[0].name

    def module(self, node):
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        tensors = [self.stored.get(name) for name in node.input]
        if node.op_type == "Conv":
            top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
            weight, even = tensors[1], (top, left) == (bottom, right) and not self.written
            groups = attributes.get("group", 1)
            conv = nn.Conv2d(weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), groups=groups,
                             stride=tuple(attributes.get("strides", [1, 1])), padding=(top, left) if even else 0,
                             bias=len(tensors) > 2)
            self.load(conv, weight, *tensors[2:])
            return conv if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)
        if node.op_type == "BatchNormalization":
            gamma, beta, mean, variance = tensors[1:]
            norm = (nn.BatchNorm2d if self.rank_of(node) == 4 else nn.BatchNorm1d)(len(gamma), attributes["epsilon"])
            self.load(norm, gamma, beta)
            norm.running_mean, norm.running_var = mean, variance
            return norm
        if node.op_type == "Gemm":
            weight = tensors[1] if attributes.get("transB", 0) else tensors[1].T.contiguous()
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            self.load(linear, weight, *tensors[2:])
            return linear
        if node.op_type == "AveragePool":
            return nn.AvgPool2d(tuple(attributes["kernel_shape"]), tuple(attributes["strides"]))
        if node.op_type == "GlobalAveragePool":
            return nn.AdaptiveAvgPool2d(1)
        simple = {"Relu": nn.ReLU, "Flatten": nn.Flatten, "Softmax": lambda: nn.Softmax(1), "LogSoftmax": lambda: nn.LogSoftmax(1)}
        return simple[node.op_type]() if node.op_type in simple else None

    def rank_of(self, node):
        # A BatchNorm behind a linear layer is one of rows.
        makers = {name: other for other in self.graph_nodes for name in other.output}
        while node.input[0] in makers:
            node = makers[node.input[0]]
            if node.op_type in ("Gemm", "Flatten", "Conv"):
                return 4 if node.op_type == "Conv" else 2
        return 2

    @staticmethod
    def load(module, weight, bias=None):
        module.weight.data = weight
        if bias is not None:
            module.bias.data = bias
        elif module.bias is not None:
            module.bias.data.zero_()

    def forward(self, x):
        values = {self.source: x}
        for node, module in self.steps:
            inputs = [values[name] for name in node.input if name in values]
            if node.op_type == "Add":
                y = inputs[0] + inputs[1]
            elif self.written and node.op_type == "Gemm":
                y = torch.matmul(inputs[0], module.weight.T) + module.bias
            elif self.written and node.op_type in ("AveragePool", "GlobalAveragePool"):
                y = inputs[0].mean((2, 3), keepdim=True)
            elif self.written and node.op_type == "Flatten":
                y = inputs[0].reshape(inputs[0].shape[0], -1)
            elif self.written and node.op_type == "Relu":
                y = functional.relu(inputs[0])
            else:
                y = module(inputs[0])
            values[node.output[0]] = y
        return values[self.result]


def forms(network, shape, stem):
    """Every way to write a network: what to call, and the file."""
    example = (torch.zeros(2, *shape),)
    for opset in OPSETS:
        for folded in (True, False):
            form = "folded" if folded else "unfolded"
            if opset <= NEWEST_OF_TORCHSCRIPT:
                mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
                options = dict(opset_version=opset, training=mode, do_constant_folding=folded, dynamo=False, input_names=["x"],
                               dynamic_axes={"x": {0: "n"}} if folded else None)
                yield example, options, f"{stem}.torchscript.{opset}.{form}.onnx"
            dynamic = ({0: torch.export.Dim("n")},) if folded else None
            options = dict(opset_version=opset, dynamo=True, optimize=folded, external_data=False, dynamic_shapes=dynamic)
            yield example, options, f"{stem}.dynamo.{opset}.{form}.onnx"


def main():
    zoo, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    warnings.simplefilter("ignore")
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(zoo.glob("*.onnx")):
        if sys.argv[3:] and path.stem not in sys.argv[3:]:
            continue
        graph = onnx.load(path).graph
        shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][1:]
        for style in ("plain", "written"):
            Network.graph_nodes = list(graph.node)
            network = Network(graph, style == "written").eval()
            for example, options, name in forms(network, shape, f"{path.stem}.{style}"):
                try:
                    torch.onnx.export(network, example, str(out / name), verbose=False, **options)
                except Exception as error:  # noqa: BLE001: whatever an exporter raises is its refusal
                    print(f"{name}: {type(error).__name__}", file=sys.stderr)


if __name__ == "__main__":
    main()
