"""Makes the files of tests/golden/exports again: small networks as tf2onnx and both of PyTorch's exporters write them.

    pip install tensorflow-cpu==2.21.0 tf2onnx==1.17.0 safetensors && python make_exports.py keras OUT
    pip install torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 safetensors && python make_exports.py torch OUT

Weights and inputs are drawn from a seed. OUT/NAME.onnx is a network; OUT/NAME.safetensors holds `input`, in the order channel,
row, column, and `output`, in front of any softmax, as the framework itself computes it. Other versions, and the random numbers
of another machine, give other bits.
"""

import pathlib
import sys

import numpy
from safetensors.numpy import save_file

SEED = 1
EXAMPLES = 4


def save(out, name, inputs, outputs):
    tensors = {"input": numpy.ascontiguousarray(inputs), "output": outputs.reshape(EXAMPLES, -1)}
    save_file({key: value.astype(numpy.float32) for key, value in tensors.items()}, out / f"{name}.safetensors")


def keras(out):
    import tensorflow as tf
    import tf2onnx
    from tensorflow.keras import Model, activations
    from tensorflow.keras import layers as L

    random = numpy.random.default_rng(SEED)

    def block(x, channels, kernel, stride=1, relu=True):
        x = L.BatchNormalization()(L.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x))
        return L.ReLU()(x) if relu else x

    def residual(x):
        x = block(x, 8, 3)
        y = block(block(x, 8, 3), 8, 3, relu=False)
        x = L.ReLU()(L.add([x, y]))
        y = block(block(x, 12, 3, 2), 12, 3, relu=False)
        x = L.ReLU()(L.add([L.Conv2D(12, 1, 2, padding="same")(x), y]))
        return L.Dense(10, activation="softmax")(L.Flatten()(L.AveragePooling2D(8)(x)))

    def mobile(x):
        x = L.ZeroPadding2D(((0, 1), (0, 1)))(L.Rescaling(1 / 127.5, offset=-1)(x))
        x = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(8, 3, 2, use_bias=False)(x)))
        x = L.ReLU(6.0)(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", use_bias=False)(x)))
        x = L.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2)(x)
        x = L.Activation("relu")(L.BatchNormalization()(x))
        x = L.Activation("hard_sigmoid")(L.BatchNormalization(scale=False)(L.Conv2D(12, 1)(x)))
        return L.Dense(4)(L.GlobalAveragePooling2D()(L.Dropout(0.2)(x)))

    def flattened(x):
        x = L.BatchNormalization()(L.Conv2D(5, (5, 3), padding="valid")(x))
        x = L.Flatten()(L.MaxPooling2D(2)(L.LeakyReLU(negative_slope=0.1)(x)))
        return L.Dense(3, activation="sigmoid")(L.Activation("tanh")(L.BatchNormalization()(L.Dense(20)(x))))

    def sequence(x):
        x = L.ReLU()(L.BatchNormalization()(L.Conv1D(8, 5, 2, padding="same")(x)))
        return L.Dense(3)(L.GlobalMaxPooling1D()(L.ReLU()(L.Conv1D(6, 3)(L.MaxPooling1D(2)(x)))))

    def vector(x):
        for features in (16, 8):
            x = L.ReLU()(L.BatchNormalization()(L.Dense(features)(x)))
        return L.Dense(40)(x)

    def reshaped(x):
        x = L.Conv2D(6, (10, 4), 2, padding="same")(L.Reshape((49, 10, 1))(x))
        x = L.Flatten()(L.AveragePooling2D((25, 5))(L.ReLU()(L.BatchNormalization()(x))))
        return L.Dense(5, activation="softmax")(x)

    def swish(x):
        x = L.Activation("hard_silu")(L.BatchNormalization(center=False)(L.Conv2D(4, 3, padding="same")(x)))
        x = L.MaxPooling2D(3, 2, padding="same")(L.AveragePooling2D(3, 2, padding="same")(x))
        return L.Dense(3)(L.GlobalMaxPooling2D()(x))

    def norm_first(x):
        x = L.BatchNormalization()(L.ReLU()(L.Conv2D(4, 3)(L.BatchNormalization()(x))))
        return L.Dense(3)(L.Flatten()(L.ReLU()(L.SeparableConv2D(6, 3)(x))))

    forms = [(residual, (16, 16, 3), 9, True), (mobile, (17, 15, 3), 11, False), (flattened, (12, 10, 2), 13, False),
             (sequence, (32, 3), 15, False), (vector, (40,), 18, True), (reshaped, (490,), 13, False),
             (swish, (14, 14, 1), 18, False), (norm_first, (9, 9, 3), 15, True)]  # fmt: skip
    for form, shape, opset, fixed in forms:
        source = L.Input(shape)
        model = Model(source, form(source))
        for weight in model.weights:
            positive = "variance" in weight.path or "gamma" in weight.path
            values = random.uniform(0.5, 1.5, weight.shape) if positive else random.normal(0, 0.3, weight.shape)
            weight.assign(values.astype(numpy.float32))
        inputs = random.uniform(-2, 2, (EXAMPLES, *shape)).astype(numpy.float32)
        signature = [tf.TensorSpec((EXAMPLES if fixed else None, *shape), tf.float32, name="x")]
        call = tf.function(lambda x, model=model: model(x, training=False), input_signature=signature)
        name = f"keras_{form.__name__}"
        tf2onnx.convert.from_function(call, input_signature=signature, opset=opset, output_path=str(out / f"{name}.onnx"))
        if model.layers[-1].get_config().get("activation") == "softmax":
            model.layers[-1].activation = activations.linear
        outputs = model(inputs, training=False).numpy()
        if form is reshaped:
            first = inputs.reshape(EXAMPLES, 1, 49, 10)
        else:
            first = numpy.moveaxis(inputs, -1, 1)
        save(out, name, first, outputs)


def pytorch(out):
    import onnx
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(SEED)

    class Residual(nn.Module):
        """Padding, a mean, a product and a sum written out; limits and hard activations; rounded-up pools."""

        def __init__(self):
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8)
            self.depthwise, self.norm2 = nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(16)
            self.pointwise, self.norm3 = nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8)
            self.weight, self.bias = nn.Parameter(torch.randn(8, 5)), nn.Parameter(torch.randn(5))

        def forward(self, x):
            x = functional.hardswish(self.norm(self.stem(functional.pad(x, (0, 1, 0, 1)))))
            y = self.norm3(self.pointwise(functional.relu6(self.norm2(self.depthwise(x)))))
            x = functional.max_pool2d(functional.relu(x + y), 3, 2, padding=1, ceil_mode=True)
            x = functional.avg_pool2d(functional.hardsigmoid(x), 2, 1, padding=1)
            return torch.matmul(functional.leaky_relu(x, 0.1).mean((2, 3)), self.weight) + self.bias

    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv1d(3, 6, 5, 2, padding=2), nn.BatchNorm1d(6)
            self.second, self.last, self.norm2 = nn.Conv1d(6, 4, 3), nn.Linear(4 * 6, 5), nn.BatchNorm1d(5)

        def logits(self, x):
            x = functional.max_pool1d(functional.relu(self.norm(self.first(x))), 2)
            x = torch.tanh(self.second(x)).reshape(x.shape[0], -1)
            return self.norm2(self.last(x))

        def forward(self, x):
            return functional.log_softmax(self.logits(x), 1)

    for kind, shape in [(Residual, (3, 13, 11)), (Sequence, (3, 32))]:
        network = kind().eval()
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
        inputs = torch.rand(EXAMPLES, *shape) * 4 - 2
        outputs = getattr(network, "logits", network)(inputs).detach().numpy()
        preserve = torch.onnx.TrainingMode.PRESERVE
        dynamic = ({0: torch.export.Dim("n")},)
        forms = {
            "torchscript_11": dict(dynamo=False, opset_version=11),
            "torchscript_17": dict(dynamo=False, opset_version=17, training=preserve, do_constant_folding=False,
                                   input_names=["x"], dynamic_axes={"x": {0: "n"}}),
            "dynamo_18": dict(dynamo=True, opset_version=18, external_data=False, dynamic_shapes=dynamic),
            "dynamo_21": dict(dynamo=True, opset_version=21, external_data=False, optimize=False),
        }  # fmt: skip
        for form, options in forms.items():
            name = f"torch_{kind.__name__.lower()}_{form}"
            path = out / f"{name}.onnx"
            torch.onnx.export(network, (inputs,), str(path), verbose=False, **options)
            model = onnx.load(path)
            for part in [model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer,
                         *model.graph.value_info]:  # fmt: skip
                # Names of directories of the machine.
                part.doc_string = ""
                if hasattr(part, "metadata_props"):
                    del part.metadata_props[:]
            path.write_bytes(model.SerializeToString(deterministic=True))
            save(out, name, inputs.numpy(), outputs)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    {"keras": keras, "torch": pytorch}[sys.argv[1]](place)
