"""Makes the golden files of the 20 steps again, from init.safetensors and batches_u32le.bin beside this script.

    pip install torch==2.15.0 safetensors numpy
    python make.py FASHION_MNIST_DIR [OUT]

Without OUT nothing is written: the run is compared with the files that are here. Everything is computed on the CPU in
f64, with one thread, so that sums are added in one order.
"""

import gzip
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn

HERE = pathlib.Path(__file__).parent
STEPS, BATCH, LR = 20, 256, 1.0


class ScratchBatchNorm(nn.Module):
    """d2l 8.5's own layer in the same words; the weight of the new batch is 0.1, the tracked variance is biased."""

    def __init__(self, channels, dims):
        super().__init__()
        shape = (1, channels) if dims == 2 else (1, channels, 1, 1)
        self.axes = (0,) if dims == 2 else (0, 2, 3)
        self.gamma = nn.Parameter(torch.ones(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.register_buffer("moving_mean", torch.zeros(shape))
        self.register_buffer("moving_var", torch.ones(shape))

    def forward(self, x):
        if self.training:
            mean = x.mean(dim=self.axes, keepdim=True)
            var = ((x - mean) ** 2).mean(dim=self.axes, keepdim=True)
            self.moving_mean = 0.9 * self.moving_mean + 0.1 * mean.detach()
            self.moving_var = 0.9 * self.moving_var + 0.1 * var.detach()
        else:
            mean, var = self.moving_mean, self.moving_var
        return self.gamma * (x - mean) / torch.sqrt(var + 1e-5) + self.beta


def network(run):
    if run == "scratch":
        norm2d, norm1d = (lambda c: ScratchBatchNorm(c, 4)), (lambda c: ScratchBatchNorm(c, 2))
    else:
        norm2d, norm1d = nn.BatchNorm2d, nn.BatchNorm1d
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5), norm2d(6), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), norm2d(16), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Flatten(), nn.Linear(256, 120), norm1d(120), nn.Sigmoid(),
        nn.Linear(120, 84), norm1d(84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    # BatchNorm starts as it is built; the other layers start from the file.
    weights = {name: value for name, value in load_file(HERE / "init.safetensors").items() if "num_batches" not in name}
    own = net.state_dict()
    net.load_state_dict({name: weights[name] if name in weights and weights[name].shape == value.shape else value
                         for name, value in own.items()})
    return net.double()


def idx(path, header):
    return torch.frombuffer(bytearray(gzip.decompress(path.read_bytes())[header:]), dtype=torch.uint8)


def split(directory, prefix):
    images = idx(directory / f"{prefix}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    return images, idx(directory / f"{prefix}-labels-idx1-ubyte.gz", 8).long()


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def train(run, data, batches):
    """All that the golden files hold of one run: losses and hits, and tensors by file name."""
    (images, labels), (test_images, test_labels) = data
    net, files, losses, hits = network(run), {}, [], []
    for step, batch in enumerate(batches, start=1):
        logits = net(images[batch].double() / 255)
        loss = nn.functional.cross_entropy(logits, labels[batch])
        net.zero_grad()
        loss.backward()
        losses.append(loss.item())
        hits.append(int((logits.argmax(1) == labels[batch]).sum()))
        if step == 1 and run == "scratch":
            files["step1_logits_f64"] = {"logits": logits.detach().clone()}
            files["scratch_step1_grads_f64"] = {name: p.grad.clone() for name, p in net.named_parameters()}
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= LR * parameter.grad
        if step in (1, STEPS):
            files[f"{run}_after_step{step}_f64"] = state(net)
    net.eval()
    with torch.no_grad():
        right = sum(int((net(x.double() / 255).argmax(1) == y).sum())
                    for x, y in zip(test_images.split(500), test_labels.split(500)))
    return {"losses": losses, "train_correct": hits, "test_acc_after20": right / len(test_labels)}, files


def compare(results, files):
    """Prints how far this run is from the files that are here."""
    golden = json.loads((HERE / "losses_f64.json").read_text())
    for run, result in results.items():
        off = max(abs(a / b - 1) for a, b in zip(result["losses"], golden[run]["losses"]))
        same = all(result[key] == golden[run][key] for key in ("train_correct", "test_acc_after20"))
        print(f"{run}: losses within {off:.1e} (relative); hits and test accuracy {'the same' if same else 'DIFFER'}")
    for name, tensors in files.items():
        golden = load_file(HERE / f"{name}.safetensors")
        off = max(float((tensors[key] - golden[key]).abs().max()) for key in golden)
        print(f"{name}: values within {off:.1e} (absolute)")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    directory = pathlib.Path(sys.argv[1])
    data = split(directory, "train"), split(directory, "t10k")
    order = torch.frombuffer(bytearray((HERE / "batches_u32le.bin").read_bytes()), dtype=torch.int32).long()
    results, files = {}, {}
    for run in ("scratch", "concise"):
        results[run], made = train(run, data, order.reshape(STEPS, BATCH))
        files |= made
    if len(sys.argv) > 2:
        out = pathlib.Path(sys.argv[2])
        out.mkdir(parents=True, exist_ok=True)
        (out / "losses_f64.json").write_text(json.dumps(results, indent=1) + "\n")
        for name, tensors in files.items():
            save_file(tensors, out / f"{name}.safetensors")
    else:
        compare(results, files)


if __name__ == "__main__":
    main()
