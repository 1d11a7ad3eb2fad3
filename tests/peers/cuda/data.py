"""Fashion-MNIST's four files as numpy arrays."""

import gzip

import numpy

BATCH, LR, MOMENTUM, EPS, CLASSES = 256, 1.0, 0.1, 1e-5, 10


def load(folder, examples=None):
    """(train images, train labels, test images, test labels): u8 [n][28][28] and u8 [n]."""
    arrays = []
    for prefix, count in (("train", examples), ("t10k", None)):
        for kind, header, shape in (("images-idx3", 16, (-1, 28, 28)), ("labels-idx1", 8, (-1,))):
            with gzip.open(folder / f"{prefix}-{kind}-ubyte.gz") as file:
                arrays.append(numpy.frombuffer(file.read(), numpy.uint8, offset=header).reshape(shape)[:count])
    return arrays
