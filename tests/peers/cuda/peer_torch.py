"""PyTorch: eager, a whole step in a CUDA graph, through torch.compile, and compiled inside a CUDA graph of the whole step."""

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
        # One kernel for all tensors.
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=LR, foreach=True)
        self.batch = torch.zeros(BATCH, dtype=torch.long, device=device)
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.long, device=device)
        graphs = "max-autotune" if self.device.type == "cuda" else "default"
        # Inside our own CUDA graph the compiler makes none.
        no_graphs = "max-autotune-no-cudagraphs" if self.device.type == "cuda" else "default"
        steps = {
            "torch-eager": lambda: self.eager,
            "torch-graph": self.captured,
            "torch-compile": lambda: self.compiled(graphs),
            "torch-compile-graph": lambda: self.compiled(no_graphs) and self.captured(),
        }
        self.step = steps[name]()

    def forward(self, images, labels, batch):
        """Loss and hits. It changes nothing but the network's buffers, so that what is compiled of it may become a CUDA graph."""
        x = images[batch].unsqueeze(1).float() / 255
        y = labels[batch].long()
        logits = self.net(x)
        return self.loss_of(logits, y), (logits.argmax(1) == y).sum()

    def eager(self):
        self.sgd.zero_grad(set_to_none=True)
        loss, correct = self.forward(self.images, self.labels, self.batch)
        loss.backward()
        self.loss += loss.detach() * BATCH
        self.correct += correct
        self.sgd.step()

    def compiled(self, mode):
        import torch._dynamo

        # The compiler's own CUDA graphs would copy the data set every time.
        for static in (self.images, self.labels, self.batch):
            torch._dynamo.mark_static_address(static)
        self.forward = torch.compile(self.forward, mode=mode)
        self.sgd.step = torch.compile(self.sgd.step)
        return self.eager

    def captured(self):
        state = {name: value.clone() for name, value in self.net.state_dict().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.eager()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Captured without gradients, the backward pass writes them and adds to nothing: no replay has to zero them.
        self.sgd.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.eager()
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
