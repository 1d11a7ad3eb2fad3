"""What ONNX Runtime computes of an ONNX file, for tests/onnx_runtime.rs.

    python onnx_runtime.py INPUTS MODEL

INPUTS holds little-endian f32, as many examples as there are of the shape of the model's input, whose first axis is open. The
output goes to MODEL.outputs, little-endian f32.
"""

import sys

import numpy
import onnxruntime

inputs, model = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
source = session.get_inputs()[0]
examples = numpy.fromfile(inputs, dtype="<f4").reshape(-1, *source.shape[1:])
batches = [session.run(None, {source.name: examples[i : i + 500]})[0] for i in range(0, len(examples), 500)]
numpy.concatenate(batches).astype("<f4").tofile(model + ".outputs")
