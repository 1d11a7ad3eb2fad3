"""Logits of ONNX files by ONNX Runtime, for tests/exchange.rs.

    python onnx_runtime.py IMAGES MODEL...

IMAGES holds `[n][28][28]` bytes. The logits of each MODEL go to MODEL.logits, `[n][10]` little-endian f32.
"""

import sys

import numpy
import onnxruntime

images = numpy.fromfile(sys.argv[1], dtype=numpy.uint8).reshape(-1, 1, 28, 28).astype(numpy.float32) / numpy.float32(255)
for model in sys.argv[2:]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    batches = [session.run(None, {name: images[i : i + 500]})[0] for i in range(0, len(images), 500)]
    numpy.concatenate(batches).astype("<f4").tofile(model + ".logits")
