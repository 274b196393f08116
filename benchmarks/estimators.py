"""Estimators of a mask's gradient on one problem: bias, variance and cost.

    OMP_NUM_THREADS=1 python benchmarks/estimators.py

The problem is xVAT's: ``f(z) = KL[p(x) || p(x * z)]`` of a small classifier trained on digits,
``log alpha ~ N(0, 1)``, once with a mask entry for each of 9 blocks of 3 x 3 pixels, where the
exact gradient comes from all 512 masks, and once for each of the 64 pixels, where the reference is
a mean of many estimates by REINFORCE (leave-one-out) that the compared ones do not share. The
hard concrete distribution is judged like the others, as an estimator for binary masks with
``P(z = 1) = sigmoid(log alpha)``.

In the result all is relative to the gradient g's length, in the mean over examples: ``bias`` is
``|mean - g| / |g|`` with what chance adds taken off, and ``bias noise`` what chance alone makes;
``variance`` the sum over entries of the variance of one draw over ``|g|^2``; ``cost`` the CPU time
of a draw over that of one evaluation of f; ``error`` the root mean square error over ``|g|`` of as
many draws as cost 10 and 1000 evaluations. The table goes to ``results/estimators.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unshaken.comparison.environment import environment
from unshaken.comparison.folder import write_json
from unshaken.comparison.protocol import named
from unshaken.comparison.single import prepare
from unshaken.divergences import KL
from unshaken.estimators import (
    Estimator,
    GumbelSoftmax,
    HardConcretePath,
    Rebar,
    Reinforce,
    Relax,
    StraightThrough,
    exact,
    fit,
)
from unshaken.training import train

RESULT = Path(__file__).parent / "results" / "estimators.json"
EXAMPLES, COPIES, DRAWS = 16, 128, 4
BUDGETS = (10, 1000)


class Problem:
    """f for some examples, each repeated as rows that are estimated independently.

    Args:
        model: a classifier of images.
        x: its inputs ``(E, 1, 8, 8)``.
        block: pixels that one mask entry covers along each axis.
    """

    def __init__(self, model: nn.Module, x: Tensor, block: int) -> None:
        self.model, self.x, self.block = model, x, block
        side = -(-x.shape[-1] // block)
        self.log_alpha = torch.randn(len(x), side, side, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            self.target = KL().target(model(x), None)

    def f(self, z: Tensor) -> Tensor:
        """``(E · copies,)`` of masks ``(E · copies, side, side)``, copies of an example apart."""
        wide = z.repeat_interleave(self.block, 1).repeat_interleave(self.block, 2)
        copies = len(z) // len(self.x)
        x = self.x.repeat(copies, 1, 1, 1)
        wide = wide[:, None, : x.shape[2], : x.shape[3]]
        value: Tensor = KL()(self.model(x * wide), self.target.repeat(copies, 1))
        return value

    def rows(self, copies: int) -> Tensor:
        """``log α`` for so many copies of each example."""
        return self.log_alpha.repeat(copies, 1, 1)


class Surrogate(nn.Module):
    """RELAX's free part: a small network of the noisy ``log α`` and the image."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.x = problem.x.flatten(1)
        entries = problem.log_alpha[0].numel()
        self.layers = nn.Sequential(
            nn.Linear(entries + self.x.shape[1], 64), nn.Tanh(), nn.Linear(64, 1)
        )

    def forward(self, w: Tensor) -> Tensor:
        x = self.x.repeat(len(w) // len(self.x), 1)
        out: Tensor = self.layers(torch.cat([w.flatten(1).tanh(), x], 1))
        return out.squeeze(1)


def contenders(problem: Problem) -> dict[str, tuple[Estimator, int]]:
    """Each estimator, and how many draws it takes at once."""
    torch.manual_seed(1)
    found: dict[str, tuple[Estimator, int]] = {
        "REINFORCE": (Reinforce("none"), 1),
        "REINFORCE, leave-one-out of 4": (Reinforce(), DRAWS),
        "REBAR": (Rebar(), 1),
        "REBAR, fitted": (Rebar(), 1),
        "RELAX, fitted": (Relax(Surrogate(problem)), 1),
        "RELAX, surrogate alone, fitted": (Relax(Surrogate(problem), relaxed=False), 1),
        "Gumbel-softmax, 2/3": (GumbelSoftmax(), 1),
        "Gumbel-softmax, 0.1": (GumbelSoftmax(0.1), 1),
        "straight-through": (StraightThrough(), 1),
        "hard concrete": (HardConcretePath(), 1),
    }
    for name, (estimator, _) in found.items():
        if name.endswith("fitted"):
            fit(estimator, problem.f, problem.rows(32), steps=300)
    return found


def moments(
    estimator: Estimator, problem: Problem, draws: int, rounds: int
) -> tuple[Tensor, Tensor, int]:
    """Mean and variance of an estimate for each example and entry, and of how many estimates."""
    total, squares = torch.zeros(2, *problem.log_alpha.shape, dtype=torch.float64)
    for _ in range(rounds):
        found = estimator(problem.f, problem.rows(COPIES), draws).double()
        each = found.reshape(COPIES, *problem.log_alpha.shape)
        total += each.sum(0)
        squares += each.square().sum(0)
    count = rounds * COPIES
    mean = total / count
    return mean, (squares / count - mean.square()) * (count / (count - 1)), count


def seconds(work: Callable[[], object], repeats: int = 15) -> float:
    """Median CPU time."""
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return statistics.median(found)


def measure(problem: Problem, rounds: int) -> dict[str, Any]:
    """Every estimator on one problem."""
    torch.manual_seed(2)
    if problem.log_alpha[0].numel() <= 9:
        truth, noise = exact(problem.f, problem.log_alpha).double(), None
    else:
        truth, variance, count = moments(Reinforce(), problem, DRAWS, 8 * rounds)
        noise = variance.sum((1, 2)) / count
    size = truth.square().sum((1, 2))
    rows = problem.rows(COPIES)
    ones = torch.ones_like(rows)

    def evaluation() -> None:
        with torch.no_grad():
            problem.f(ones)

    table = []
    for name, (estimator, draws) in contenders(problem).items():
        torch.manual_seed(3)
        mean, variance, count = moments(estimator, problem, draws, rounds)
        spread = variance.sum((1, 2))
        # What the squared distance would be if there were no bias.
        chance = spread / count + (0 if noise is None else noise)
        gap = ((mean - truth).square().sum((1, 2)) - chance) / size
        bias = float(gap.mean().clamp_min(0).sqrt())
        paired = [
            (seconds(lambda e=estimator, d=draws: e(problem.f, rows, d), 1), seconds(evaluation, 1))
            for _ in range(15)
        ]
        cost = statistics.median(own / one for own, one in paired) / draws
        one = draws * float((spread / size).mean())
        table.append(
            {
                "estimator": name,
                "unbiased": estimator.unbiased,
                "bias": bias,
                "bias noise": float((chance / size).mean().sqrt()),
                "variance": one,
                "cost": cost,
                "error": {str(b): (bias**2 + one * cost / b) ** 0.5 for b in BUDGETS},
                "settings": repr(estimator).splitlines()[0].rstrip("("),
            }
        )
        print(table[-1], flush=True)
    return {
        "entries": problem.log_alpha[0].numel(),
        "reference": "enumeration"
        if noise is None
        else f"{8 * rounds * COPIES} estimates by REINFORCE, leave-one-out of {DRAWS}",
        "reference noise": 0.0 if noise is None else float((noise / size).mean().sqrt()),
        "estimates": rounds * COPIES,
        "rows": table,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    protocol = named("digits")
    prepared = prepare(protocol, "baseline", 0, {})
    result = train(
        prepared.objective, prepared.dataset, prepared.chosen, protocol.config(0), device="cpu"
    )
    model = result.model.eval().requires_grad_(False)
    x = prepared.dataset.x_test[:EXAMPLES]
    problems = {name: Problem(model, x, block) for name, block in (("blocks", 3), ("pixels", 1))}
    found = {name: measure(problem, options.rounds) for name, problem in problems.items()}
    setting = {"data": "digits", "examples": EXAMPLES, "network": dict(protocol.network)}
    write_json(RESULT, {"setting": setting, **found, "environment": environment(1, 1)})


if __name__ == "__main__":
    main()
