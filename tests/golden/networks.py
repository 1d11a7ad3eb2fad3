"""Makes the golden files of networks/: 20 steps of PyTorch in f64 on networks of other kinds than LeNet.

    pip install torch==2.15.0 safetensors numpy
    python networks.py [OUT]

Without OUT nothing is written: the run is compared with the files that are here. Each network is written down here a second
time, as an nn.Sequential whose positions are those of the .net file's nodes. Data, weights and batches are drawn from the
seed; everything is computed on the CPU with one thread.
"""

import pathlib
import sys

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent / "networks"
SEED, EXAMPLES, STEPS, BATCH, LR = 5, 48, 20, 16, 0.1


def f32(value):
    """The f32 next to a decimal, as a description holds it."""
    return float(np.float32(value))


class KerasConv2d(nn.Conv2d):
    """A convolution with one row of padding below and one column to the right."""

    def forward(self, x):
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Add(nn.Module):
    """The place of a sum; `Residual` does it."""


class Residual(nn.Sequential):
    """Adds what node `source` gave where an Add stands."""

    def __init__(self, source, *modules):
        super().__init__(*modules)
        self.source = source

    def forward(self, x):
        for at, module in enumerate(self):
            x = x + kept if isinstance(module, Add) else module(x)
            if at == self.source:
                kept = x
        return x


class GlobalAvgPool(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


def norm(channels, eps=1e-5, kind=nn.BatchNorm2d):
    return kind(channels, eps=f32(eps))


def padded():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), norm(8), nn.ReLU6(), nn.MaxPool2d(3, 2, 1),
        KerasConv2d(8, 12, 3, stride=2), norm(12, 1e-3), nn.ReLU6(),
        nn.Flatten(), nn.Linear(48, 4),
    )  # fmt: skip


def depthwise():
    return Residual(
        2,
        nn.Conv2d(5, 13, 1), norm(13), nn.Hardswish(),
        nn.Conv2d(13, 13, 3, padding=1, groups=13), norm(13), nn.Hardswish(),
        nn.Conv2d(13, 13, 1, bias=False), norm(13), Add(), nn.Hardswish(),
        nn.Conv2d(13, 26, 3, stride=2, padding=1, groups=13, bias=False), norm(26), nn.Hardswish(),
        GlobalAvgPool(), nn.Linear(26, 5),
    )  # fmt: skip


def pointwise():
    return nn.Sequential(
        nn.Conv2d(6, 16, 1), norm(16), nn.ReLU(),
        nn.Conv2d(16, 12, 1, bias=False), norm(12), nn.LeakyReLU(f32(0.01)),
        GlobalAvgPool(), nn.Linear(12, 3),
    )  # fmt: skip


def strided():
    return nn.Sequential(
        nn.Conv1d(4, 8, 5, stride=2, padding=2), norm(8, kind=nn.BatchNorm1d), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 12, 3, stride=2), norm(12, kind=nn.BatchNorm1d), nn.ReLU(),
        nn.Flatten(), nn.Linear(36, 6),
    )  # fmt: skip


def reconstruction():
    return nn.Sequential(
        nn.Linear(12, 8), norm(8, kind=nn.BatchNorm1d), nn.ReLU(),
        nn.Linear(8, 3, bias=False), norm(3, kind=nn.BatchNorm1d), nn.Sigmoid(), nn.Linear(3, 12),
    )  # fmt: skip


def as_they_are(x):
    return x


def pixels(x):
    channels = lambda values: torch.tensor([f32(value) for value in values], dtype=torch.float64).reshape(1, 3, 1, 1)
    return (x / 255 - channels([0.5, 0.4, 0.3])) / channels([0.2, 0.25, 0.3])


# Network, shape of an example, preprocessing, classes; no classes: the target is the input.
RUNS = {
    "padded": (padded, (3, 10, 9), pixels, 4),
    "depthwise": (depthwise, (5, 8, 8), as_they_are, 5),
    "pointwise": (pointwise, (6, 6, 5), as_they_are, 3),
    "strided": (strided, (4, 32), as_they_are, 6),
    "reconstruction": (reconstruction, (12,), as_they_are, None),
}


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items() if "num_batches" not in name}


def drawn(shape, preprocessing, classes):
    """Inputs, labels and the examples of every batch."""
    if preprocessing is pixels:
        inputs = torch.randint(0, 256, (EXAMPLES, *shape), dtype=torch.uint8)
    else:
        inputs = torch.randn((EXAMPLES, *shape), dtype=torch.float32)
    labels = torch.randint(0, classes or 1, (EXAMPLES,), dtype=torch.uint8)
    order = torch.cat([torch.randperm(EXAMPLES)[:BATCH] for _ in range(STEPS)])
    return inputs, labels, order.to(torch.int32)


def train(build, shape, preprocessing, classes):
    """One run as the tensors of its file."""
    torch.manual_seed(SEED)
    inputs, labels, order = drawn(shape, preprocessing, classes)
    net = build()
    for module in net:
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            # Wide enough that ReLU6 and hard-swish meet all their pieces.
            nn.init.uniform_(module.weight, 0.5, 4.0)
            nn.init.uniform_(module.bias, -1.0, 1.0)
    file = {f"init.{name}": value for name, value in state(net).items()}
    net, losses = net.double(), []
    for batch in order.long().reshape(STEPS, BATCH):
        x = preprocessing(inputs[batch].double())
        y = net(x)
        loss = F.mse_loss(y, x) if classes is None else F.cross_entropy(y, labels[batch].long())
        net.zero_grad()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= LR * parameter.grad
    file |= {f"after.{name}": value for name, value in state(net).items()}
    file |= {"inputs": inputs, "order": order, "losses": torch.tensor(losses, dtype=torch.float64)}
    return file if classes is None else file | {"labels": labels}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, run in RUNS.items():
        file = train(*run)
        if len(sys.argv) > 1:
            out = pathlib.Path(sys.argv[1])
            out.mkdir(parents=True, exist_ok=True)
            made_by = {"torch": torch.__version__, "seed": str(SEED), "lr": str(LR), "batch": str(BATCH)}
            save_file(file, out / f"{name}.safetensors", made_by)
        else:
            golden = load_file(HERE / f"{name}.safetensors")
            off = max(float((file[key].double() - golden[key].double()).abs().max()) for key in golden)
            with safe_open(HERE / f"{name}.safetensors", "pt") as stored:
                print(f"{name}: values within {off:.1e} (absolute) of those made by {stored.metadata()}")


if __name__ == "__main__":
    main()
