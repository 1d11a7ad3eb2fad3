"""Trains the network of bn-core/src/lenet.rs with PyTorch, JAX and this project on one GPU, in alternation.

    python tests/peers/cuda/compare.py FASHION_MNIST_DIR [--trainer target/release/host-trainer] [--rounds 5] [--epochs 10]
                                       [--peers torch-eager,ours-persistent,...] [--out results.json]

Every peer has the data set on the GPU as bytes, gathers and normalises there, and trains with the same schedule: SGD, lr
1.0, batch 256, a new order each epoch, the last partial batch dropped, biased statistics, momentum 0.1, mean cross-entropy.
Matrix products may use TF32 in the frameworks; ours are f32, in CUDA graphs and in the persistent kernel, without clusters and with.
Each run is a process of its own, and the peers take turns, so that a warm or busy GPU hits all of them alike.

Two figures a peer, each the median over the rounds:
- steady: examples/s of the fastest epoch after the first (evaluation left out), when compiling and warming up are over;
- end to end: seconds from the start of the process to the trained model, imports, compiling, reading the files included.

Only what was measured is printed, and written after every run: whoever ends the script early has what was measured until then. Lines with
figures begin with `= `. A peer that is not installed, fails or takes longer than --limit is named with its last words. `--device cpu` runs
the same code on a CPU: for trying the script, not for its figures; so are the options of our trainer in TRAIN.
"""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
# In the order in which they are worth most, should time run out; what has to be compiled takes longest.
PEERS = [
    "ours-persistent", "ours-cluster", "ours-graph", "torch-graph", "jax-scan", "torch-eager", "torch-compile-graph",
    "jax-scan-unrolled", "torch-compile",
]  # fmt: skip


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--trainer", type=pathlib.Path, default=pathlib.Path("target/release/host-trainer"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--examples", type=int, help="train on the first so many examples, for trying the script")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--limit", type=float, default=120, help="seconds that a run may take")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_peer(args):
    """In a process of its own: trains one peer, prints one JSON object."""
    import data

    if args.run.startswith("torch"):
        import peer_torch as peer
    else:
        import peer_jax as peer
    splits = data.load(args.data, args.examples)
    print(json.dumps(peer.train(args.run, splits, args.epochs, args.seed, args.device)))


def ended(command, limit):
    try:
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no end after {limit:.0f} s") from None


def run_ours(args, name, seed):
    """The trainer's own timing: examples/s of each epoch stands in the run's metrics."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        engine = name.replace("ours", "cuda") if args.device == "cuda" else "reference"
        command = [args.trainer, "train", "--engine", engine, "--seed", str(seed), "--quiet"]
        more = shlex.split(os.environ.get("TRAIN", ""))
        command += [] if "--data-dir" in more else ["--data-dir", args.data]
        command += ["--epochs", str(args.epochs), "--out", run, "--json", *more]
        result = ended(command, args.limit)
        if result.returncode != 0:
            raise RuntimeError(words(result.stderr))
        report = json.loads(result.stdout)
        lines = pathlib.Path(report["metrics"]).read_text().splitlines()
        speeds = [json.loads(line)["examples_per_second"] for line in lines]
    keep = ["train_loss", "train_accuracy", "test_accuracy", "device"]
    return {"epoch_examples_per_second": speeds, **{key: report[key] for key in keep}}


def run_other(args, name, seed):
    command = [sys.executable, __file__, args.data, "--run", name, "--epochs", args.epochs, "--seed", seed]
    command += ["--device", args.device] + (["--examples", args.examples] if args.examples else [])
    result = ended(command, args.limit)
    if result.returncode != 0:
        raise RuntimeError(words(result.stderr))
    return json.loads(result.stdout.splitlines()[-1])


def words(text):
    """What an error says: its own line, or the last one."""
    lines = text.strip().splitlines() or ["no words"]
    return next((line for line in lines if line.startswith("error: ")), lines[-1])


def measure(args):
    peers, runs, failures = args.peers.split(","), {}, {}
    for number in range(args.rounds):
        for name in peers:
            if name in failures:
                continue
            start = time.monotonic()
            try:
                seed = args.seed + number
                figures = run_ours(args, name, seed) if name.startswith("ours") else run_other(args, name, seed)
            except (RuntimeError, OSError) as error:
                failures[name] = str(error)
                print(f"= round {number + 1}: {name}: did not run: {error}", flush=True)
                write(args, runs, failures)
                continue
            figures["end_to_end_seconds"] = time.monotonic() - start
            runs.setdefault(name, []).append(figures)
            seconds = figures["end_to_end_seconds"]
            print(f"= round {number + 1}: {name}: {steady(figures):,.0f} examples/s, {seconds:.2f} s end to end", flush=True)
            write(args, runs, failures)
    return runs, failures


def write(args, runs, failures):
    if args.out:
        args.out.write_text(json.dumps({"arguments": sys.argv[1:], "runs": runs, "failures": failures}, indent=1))


def steady(figures):
    speeds = figures["epoch_examples_per_second"]
    return max(speeds[1:] or speeds)


def report(runs, failures):
    medians = {name: statistics.median(map(steady, some)) for name, some in runs.items()}
    ours = max((speed for name, speed in medians.items() if name.startswith("ours")), default=None)
    best = max((speed for name, speed in medians.items() if not name.startswith("ours")), default=None)
    print(f"= {'':20}{'examples/s':>14}{'end to end':>12}{'train loss':>12}{'test acc':>10}{'ours is':>10}  runs, device")
    for name, some in runs.items():
        seconds = statistics.median(figures["end_to_end_seconds"] for figures in some)
        loss = statistics.mean(figures["train_loss"] for figures in some)
        accuracy = statistics.mean(figures["test_accuracy"] for figures in some)
        ratio = f"{ours / medians[name]:.1f}x" if ours else ""
        print(f"= {name:20}{medians[name]:14,.0f}{seconds:10.2f} s{loss:12.3f}{accuracy:10.4f}{ratio:>10}  {len(some)}, {some[0]['device']}")
    for name, words in failures.items():
        print(f"= {name:20}did not run: {words}")
    if best and ours:
        print(f"= the faster of ours against the fastest of the others: {ours / best:.2f}x")


def main():
    args = arguments()
    if args.run:
        return run_peer(args)
    runs, failures = measure(args)
    report(runs, failures)
    return 0 if runs else 1


if __name__ == "__main__":
    sys.exit(main())
