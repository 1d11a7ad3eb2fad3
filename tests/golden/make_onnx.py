"""Makes the ONNX files of tests/golden/onnx again: trained.safetensors through both of PyTorch's exporters.

    pip install torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 safetensors numpy
    python make_onnx.py OUT

torch 2.15.0 gives these files byte for byte. The exporters also store where each node stands in their own source; those
texts, which name directories of the machine, are taken out again.
"""

import pathlib
import sys

import onnx
import torch
from safetensors.torch import load_file
from torch import nn

HERE = pathlib.Path(__file__).parent


def network():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Flatten(), nn.Linear(256, 120), nn.BatchNorm1d(120), nn.Sigmoid(),
        nn.Linear(120, 84), nn.BatchNorm1d(84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip


def main():
    net = network()
    net.load_state_dict(load_file(HERE / "trained.safetensors"))
    net.eval()
    image = (torch.zeros(2, 1, 28, 28),)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    batch = ({0: torch.export.Dim("batch")},)
    # The default of today: everything folded, numbers in a second file.
    torch.onnx.export(net, image, out / "dynamo.onnx", dynamo=True)
    # The same exporter's graph before its optimiser: BatchNorm nodes, and a Reshape whose shape is computed.
    torch.onnx.export(net, image, out / "dynamo_plain.onnx", dynamo=True, optimize=False, external_data=False,
                      dynamic_shapes=batch)
    # The default of yesterday: convolutions folded, linear layers not.
    torch.onnx.export(net, image, out / "torchscript.onnx", dynamo=False)
    for path in out.glob("*.onnx"):
        model = onnx.load(path, load_external_data=False)
        for part in [model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer,
                     *model.graph.value_info]:
            part.doc_string = ""
            if hasattr(part, "metadata_props"):
                del part.metadata_props[:]
        path.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
