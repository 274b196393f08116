"""What the training loop costs beside the same steps written out in plain torch.

    OMP_NUM_THREADS=1 python benchmarks/loop_overhead.py [--data FOLDER] [--json FILE]

Runs of the loop and of the plain steps alternate; their CPU time per step is compared, by the
medians and by the median of the ratios of runs that were neighbors. Two objectives are trained: a
bare cross-entropy, which leaves nothing but the loop, and ``unshaken.Objective`` without a
regularizer, which checks its inputs and reports its terms. On the real MNIST (in ``FOLDER`` or
``UNSHAKEN_DATA``; passed over where it is absent) each run is one epoch, and a third run writes
its checkpoints, log and weights to a folder, as ``unshaken train`` does.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken import Objective
from unshaken.data import DataError, Dataset, Split, load
from unshaken.models import mlp
from unshaken.training import TrainingConfig, train

CASES: dict[str, tuple[list[int], int, int]] = {
    # name: widths, batch size, steps of one run
    "100-100-2": ([100, 100, 2], 32, 400),
    "noise of MNIST's shape, MNIST MLP": ([784, 1200, 600, 300, 150, 10], 100, 30),
    "an epoch of MNIST, MNIST MLP": ([784, 1200, 600, 300, 150, 10], 100, 600),
}
REAL = "an epoch of MNIST, MNIST MLP"


class Bare(nn.Module):
    """The cross-entropy alone, called like an objective."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.regularizers = nn.ModuleList()
        self.alarm = None
        self.report: dict[str, Tensor] = {}

    def forward(self, x: Tensor, y: Tensor, **_: Any) -> Tensor:
        loss = F.cross_entropy(self.model(x), y)
        self.report = {"loss": loss.detach()}
        return loss

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": list(self.model.parameters()), "lr": lr}]

    def end_epoch(self) -> None:
        pass


def noise(features: int, classes: int, examples: int = 2000) -> Dataset:
    torch.manual_seed(0)
    x, y = torch.randn(examples, features), torch.randint(classes, (examples,))
    return Dataset("noise", x, y, x[:10], y[:10], classes)


def plain(model: nn.Module, dataset: Dataset, batch_size: int, steps: int) -> None:
    """The loop as a careful person writes it, loss read in each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x, y = dataset.x_train, dataset.y_train
    total, order, at = 0.0, torch.randperm(len(x)), 0
    for _ in range(steps):
        if at + batch_size > len(x):
            order, at = torch.randperm(len(x)), 0
        chosen = order[at : at + batch_size]
        at += batch_size
        loss = F.cross_entropy(model(x[chosen]), y[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.item()


def measure(runs: dict[str, Callable[[], None]], steps: int, rounds: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for turn in range(rounds):
        # Each turn begins with another one, so that none profits from its place.
        names = list(runs)[turn % len(runs) :] + list(runs)[: turn % len(runs)]
        for name in names:
            begin = time.process_time()
            runs[name]()
            times[name].append((time.process_time() - begin) / steps)
    found: dict[str, Any] = {
        f"{name} (us)": 1e6 * statistics.median(values) for name, values in times.items()
    }
    base = times["plain"]
    for name, values in list(times.items())[1:]:
        ratios = [value / plain for value, plain in zip(values, base, strict=True)]
        found[f"{name} / plain"] = found[f"{name} (us)"] / found["plain (us)"]
        found[f"{name} / plain, of neighbors"] = statistics.median(ratios)
    return found


def case(name: str, dataset: Dataset, rounds: int) -> dict[str, Any]:
    widths, batch_size, steps = CASES[name]
    every = torch.arange(len(dataset.x_train))
    split = Split(every, every, every[:0])
    config = TrainingConfig(steps=steps, batch_size=batch_size)

    def network() -> nn.Module:
        torch.manual_seed(0)
        return mlp(widths)

    def loop(objective: Any, out: str | None = None) -> None:
        train(objective, dataset, split, config, device="cpu", out=out)

    def kept() -> None:
        with tempfile.TemporaryDirectory() as folder:
            loop(Objective(network()), folder)

    runs: dict[str, Callable[[], None]] = {
        "plain": lambda: plain(network(), dataset, batch_size, steps),
        "loop": lambda: loop(Bare(network())),
        "loop+Objective": lambda: loop(Objective(network())),
    }
    if name == REAL:
        runs["loop+Objective, run folder"] = kept
    return {"steps of a run": steps, "rounds": rounds, **measure(runs, steps, rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=5, help="rounds of the real epoch")
    parser.add_argument("--data", help="folder of the published files")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "environment": {
            "torch": str(torch.__version__),
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
            "measured": "CPU time of the process per step",
        }
    }
    for name, (widths, _, _) in CASES.items():
        if name != REAL:
            found[name] = case(name, noise(widths[0], widths[-1]), arguments.rounds)
            continue
        try:
            mnist = load("mnist", root=arguments.data)
        except DataError as error:
            print(f"{name}: passed over ({error})")
            continue
        found[name] = case(name, mnist, arguments.epochs)
    for name, values in found.items():
        print(name, "  ".join(f"{k} {v:.4g}" for k, v in values.items() if isinstance(v, float)))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
