"""The Python side of `networks`: one network trained by PyTorch, driven line by line over stdin.

    networks.py DIR THREADS

DIR holds network.json (nodes, the shape of an example, the size of a batch), parameters.f32, inputs.f32 and labels.u8. It answers
`losses 0 N` with the losses of the first N steps, and `time WHAT N` with the seconds of N steps, where WHAT is `eager`, `compiled`,
`eager-last` or `compiled-last`: the latter two in the memory format `channels_last`. Every answer is one line of JSON.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn

LR = 0.01


class Graph(nn.Module):
    """Nodes in their order, each of what it reads; -1 is the input."""

    def __init__(self, nodes):
        super().__init__()
        self.nodes = nodes
        self.layers = nn.ModuleList(layer(node) for node in nodes)

    def forward(self, x):
        values = []
        for node, module in zip(self.nodes, self.layers):
            read = [x if at < 0 else values[at] for at in node["reads"]]
            values.append(read[0] + read[1] if node["op"] == "add" else module(read[0]))
        return values[-1]


def layer(node):
    op = node["op"]
    if op == "conv2d":
        top, left, bottom, right = node["pads"]
        even = (top, left) == (bottom, right)
        conv = nn.Conv2d(
            node["inputs"], node["outputs"], node["kernel"], node["stride"], (top, left) if even else 0, groups=node["groups"], bias=node["bias"]
        )
        return conv if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)
    if op == "batch_norm":
        return nn.BatchNorm2d(node["outputs"], eps=node["eps"])
    return {
        "linear": lambda: nn.Linear(node["inputs"], node["outputs"], bias=node["bias"]),
        "relu": nn.ReLU,
        "max_pool2d": lambda: nn.MaxPool2d(node["kernel"], node["stride"]),
        "global_avg_pool": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "flatten": nn.Flatten,
        "add": nn.Identity,
    }[op]()


def main(directory, threads):
    torch.set_num_threads(int(threads))
    with open(f"{directory}/network.json") as file:
        described = json.load(file)
    batch = described["batch"]
    parameters = torch.from_numpy(np.fromfile(f"{directory}/parameters.f32", dtype=np.float32))
    inputs = torch.from_numpy(np.fromfile(f"{directory}/inputs.f32", dtype=np.float32)).reshape(-1, *described["input"])
    labels = torch.from_numpy(np.fromfile(f"{directory}/labels.u8", dtype=np.uint8).astype(np.int64))
    batches = len(labels) // batch

    def trainer(compiled, memory_format):
        net = Graph(described["nodes"])
        nn.utils.vector_to_parameters(parameters, net.parameters())
        net = net.to(memory_format=memory_format)
        pixels = inputs.contiguous(memory_format=memory_format)
        optimizer = torch.optim.SGD(net.parameters(), lr=LR)
        loss_of = lambda x, y: nn.functional.cross_entropy(net(x), y)  # noqa: E731
        loss_of = torch.compile(loss_of) if compiled else loss_of

        def run(steps):
            losses = []
            for step in range(steps):
                rows = slice(step % batches * batch, (step % batches + 1) * batch)
                optimizer.zero_grad()
                loss = loss_of(pixels[rows], labels[rows])
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            return losses

        return run

    contiguous, last = torch.contiguous_format, torch.channels_last
    trainers = {
        "eager": trainer(False, contiguous),
        "compiled": trainer(True, contiguous),
        "eager-last": trainer(False, last),
        "compiled-last": trainer(True, last),
    }
    first = [float(loss) for loss in trainer(False, contiguous)(5)]
    for run in trainers.values():
        run(5)

    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        what, name, count = line.split()
        if what == "losses":
            answer = first[: int(count)]
        else:
            start = time.perf_counter()
            trainers[name](int(count))
            answer = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
