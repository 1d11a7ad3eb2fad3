"""PyTorch: eager, a whole step in a CUDA graph, and a whole step through torch.compile."""

import time

import torch
from torch import nn

from data import BATCH, EPS, LR, MOMENTUM


def network():
    # Weights as the project draws them: Xavier uniform; biases are PyTorch's own.
    def init(module):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)

    def norm(layer, channels):
        return layer(channels, eps=EPS, momentum=MOMENTUM)

    net = nn.Sequential(
        nn.Conv2d(1, 6, 5), norm(nn.BatchNorm2d, 6), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), norm(nn.BatchNorm2d, 16), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Flatten(), nn.Linear(256, 120), norm(nn.BatchNorm1d, 120), nn.Sigmoid(),
        nn.Linear(120, 84), norm(nn.BatchNorm1d, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    return net.apply(init)


class Trainer:
    """One step on the batch whose indices stand in `self.batch`; loss and hits are summed on the device."""

    def __init__(self, name, splits, device):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        self.device = torch.device(device)
        self.images, self.labels, self.test_images, self.test_labels = (torch.from_numpy(a.copy()).to(device) for a in splits)
        self.net = network().to(device)
        self.loss_of = nn.CrossEntropyLoss()
        # One kernel for all tensors; the gradients' memory stays, as a graph needs it.
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=LR, foreach=True)
        self.batch = torch.zeros(BATCH, dtype=torch.long, device=device)
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.long, device=device)
        step = {"torch-eager": lambda: self.eager, "torch-graph": self.captured, "torch-compile": self.compiled}[name]
        self.step = step()

    def forward_backward(self, batch):
        x = self.images[batch].unsqueeze(1).float() / 255
        y = self.labels[batch].long()
        logits = self.net(x)
        loss = self.loss_of(logits, y)
        loss.backward()
        self.loss += loss.detach() * BATCH
        self.correct += (logits.argmax(1) == y).sum()

    def eager(self):
        self.sgd.zero_grad(set_to_none=True)
        self.forward_backward(self.batch)
        self.sgd.step()

    def compiled(self):
        step = torch.compile(self.forward_backward, mode="max-autotune" if self.device.type == "cuda" else "default")
        update = torch.compile(self.sgd.step)

        def run():
            self.sgd.zero_grad(set_to_none=True)
            step(self.batch)
            update()

        return run

    def captured(self):
        state = {name: value.clone() for name, value in self.net.state_dict().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.eager()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self.sgd.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.forward_backward(self.batch)
            self.sgd.step()
            for parameter in self.net.parameters():
                parameter.grad.zero_()
        self.net.load_state_dict(state)
        return graph.replay

    def epoch(self):
        """Seconds, examples, mean loss and accuracy of one epoch."""
        self.net.train()
        self.loss.zero_(), self.correct.zero_()
        self.wait()
        start = time.perf_counter()
        order = torch.randperm(len(self.labels), device=self.device)
        steps = len(self.labels) // BATCH
        for step in range(steps):
            self.batch.copy_(order[step * BATCH : (step + 1) * BATCH])
            self.step()
        loss, correct = self.loss.item(), self.correct.item()
        seconds = time.perf_counter() - start
        return seconds, steps * BATCH, loss / (steps * BATCH), correct / (steps * BATCH)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @torch.no_grad()
    def test(self):
        self.net.eval()
        parts = zip(self.test_images.split(1000), self.test_labels.split(1000))
        return sum((self.net(x.unsqueeze(1).float() / 255).argmax(1) == y).sum().item() for x, y in parts) / len(self.test_labels)


def train(name, splits, epochs, seed, device):
    torch.manual_seed(seed)
    trainer = Trainer(name, splits, device)
    speeds = []
    for _ in range(epochs):
        seconds, examples, loss, accuracy = trainer.epoch()
        speeds.append(examples / seconds)
    kind = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {
        "epoch_examples_per_second": speeds,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "test_accuracy": trainer.test(),
        "device": f"{kind}, PyTorch {torch.__version__}",
    }
