"""What the training loop costs beside the same steps written out in plain torch.

    OMP_NUM_THREADS=1 python benchmarks/loop_overhead.py [--json FILE]

Runs of the loop and of the plain steps alternate; the medians of their CPU time per step are
compared. Two objectives are trained: a bare cross-entropy, which leaves nothing but the loop, and
``unshaken.Objective`` without a regularizer, which checks its inputs and reports its terms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken import Objective
from unshaken.data import Dataset, Split
from unshaken.models import mlp
from unshaken.training import TrainingConfig, train

CASES: dict[str, tuple[list[int], int, int]] = {
    # name: widths, batch size, steps of one run
    "100-100-2": ([100, 100, 2], 32, 400),
    "MNIST MLP": ([784, 1200, 600, 300, 150, 10], 100, 30),
}


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


def data(features: int, classes: int, examples: int = 2000) -> tuple[Dataset, Split]:
    torch.manual_seed(0)
    x, y = torch.randn(examples, features), torch.randint(classes, (examples,))
    every = torch.arange(examples)
    split = Split(every, every, every[:0])
    return Dataset("noise", x, y, x[:10], y[:10], classes), split


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


def measure(runs: dict[str, Callable[[], None]], steps: int, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.process_time()
            run()
            times[name].append((time.process_time() - begin) / steps)
    return {name: statistics.median(values) for name, values in times.items()}


def case(name: str, rounds: int) -> dict[str, float]:
    widths, batch_size, steps = CASES[name]
    dataset, split = data(widths[0], widths[-1])
    config = TrainingConfig(steps=steps, batch_size=batch_size)

    def network() -> nn.Module:
        torch.manual_seed(0)
        return mlp(widths)

    medians = measure(
        {
            "plain": lambda: plain(network(), dataset, batch_size, steps),
            "loop": lambda: _train(Bare(network()), dataset, split, config),
            "loop+Objective": lambda: _train(Objective(network()), dataset, split, config),
        },
        steps,
        rounds,
    )
    ratios = {f"{key} / plain": medians[key] / medians["plain"] for key in list(medians)[1:]}
    return {**{f"{key} (us)": 1e6 * value for key, value in medians.items()}, **ratios}


def _train(objective: Any, dataset: Dataset, split: Split, config: TrainingConfig) -> None:
    train(objective, dataset, split, config, device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = {name: case(name, arguments.rounds) for name in CASES}
    for name, values in found.items():
        print(name, "  ".join(f"{key} {value:.4g}" for key, value in values.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
