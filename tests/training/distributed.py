"""What several processes do; started by torchrun, and in one process by the tests.

    torchrun --nproc-per-node 2 tests/training/distributed.py FOLDER

Every process writes what it found to FOLDER/found-RANK.pt.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

import unshaken.objective
from tests.commands import unshaken as program
from tests.training.helpers import accuracy, config, network, noise, objective
from unshaken import AT, VMT, XAT, XVAT, EntropyMinimization, Objective, fields, masks
from unshaken.data import Dataset, Split, augment
from unshaken.methods import catalog
from unshaken.models import mlp
from unshaken.training import Interrupted, NonFiniteError, train

# The networks are small; what large ones do is what they are to show, as in the tests.
unshaken.objective.FEW = 0


def signals() -> tuple[Dataset, Split]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, 1, 8, generator=generator)
    y = (x.sum((1, 2)) > 0).long()
    every = torch.arange(40)
    return Dataset("signals", x, y, x[:8], y[:8], 2), Split(every[:12], every, every[:0])


def without_draws() -> Objective:
    """Every kind of inner gradient, and nothing that draws a random number."""
    torch.manual_seed(4)
    model = mlp([8, 16, 2], batch_norm=False, activation="tanh")
    return Objective(
        model, AT(radius=0.3), VMT(fields.Shift()), EntropyMinimization(0.1), alarm=False
    )


def exact(folder: Path | None = None) -> dict[str, Any]:
    """A run whose result must not depend on the number of processes."""
    settings = config(
        precision="64", accumulate=2, ema=0.9, clip=0.5, schedule="linear:0.5", weight_decay=0.01
    )
    result = train(without_draws(), *signals(), settings, device="cpu", out=folder)
    return {"weights": dict(result.model.state_dict()), "history": result.history}


def masked() -> dict[str, Any]:
    """Learned adversaries, of which one has no gradient in some batches."""
    torch.manual_seed(4)
    terms = XVAT(masks.Generator(channels=1, dimensions=1)), XAT(masks.Table(40, (8,)))
    target = Objective(mlp([8, 16, 2]), *terms, AT(radius=0.3), alarm=False)
    train(target, *signals(), config(), device="cpu")
    return dict(target.state_dict())


APART = ("ladder", "gan-fm", "catgan", "concrete-dropout")
"""They normalize by each process's share of the batch, or draw in the network."""
METHODS = [
    *(name for name in catalog.CATALOG if name not in APART),
    "vat+entropy+balance",
    "vat+vmt-shift",
    "at-l2+xvat",
]


def images() -> tuple[Dataset, Split]:
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(24, 1, 6, 6, generator=generator)
    y = (x.sum((1, 2, 3)) > 0).long()
    every = torch.arange(24)
    return Dataset("images", x, y, x[:8], y[:8], 2), Split(every[:12], every, every[:0])


def method(name: str) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """A short run of a method on a network that draws nothing and normalizes nothing."""
    data, chosen = images()
    torch.manual_seed(8)
    settings = catalog.settings_for(name, {})
    model = mlp([36, 12, 2], batch_norm=False, activation="tanh")
    shape = catalog.Shape(data.channels, data.size, len(data.x_all), data.classes)
    model = catalog.adapt(model, shape, settings)
    shape = dataclasses.replace(shape, network=model)
    target = Objective(model, *catalog.build(name, shape, settings), alarm=False)
    given = config(precision="64", steps=4, evaluate_every=2, accumulate=2)
    result = train(target, data, chosen, given, device="cpu", augment=augment)
    return dict(target.state_dict()), result.history


class Stopping(nn.Module):
    """A network that sends its process a signal, or breaks, in one of its training passes."""

    def __init__(self, at: int, *, breaks: bool = False) -> None:
        super().__init__()
        self.body, self.left, self.breaks = network(), at, breaks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= self.training
        if self.left == 0 and not self.breaks:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.body(x) / float(self.left != 0 or not self.breaks)


def resumed(folder: Path, rank: int) -> dict[str, Any]:
    data, split = noise()
    options: dict[str, Any] = {"device": "cpu", "evaluate": accuracy}
    whole = train(Objective(Stopping(-1), alarm=False), data, split, config(), **options)
    options["out"] = folder / "parts"
    # The signal comes to the last process only; all stop after the same step.
    stopping = Objective(Stopping(7 if rank else -1), alarm=False)
    try:
        train(stopping, data, split, config(), **options)
    except Interrupted as error:
        step = error.step
    again = Objective(Stopping(-1), alarm=False)
    parts = train(again, data, split, config(), resume=True, **options)
    return {
        "step": step,
        "whole": (dict(whole.model.state_dict()), whole.history),
        "parts": (dict(parts.model.state_dict()), parts.history),
    }


def broken(folder: Path, rank: int) -> dict[str, Any]:
    target = Objective(Stopping(7 if rank else -1, breaks=True), alarm=False)
    try:
        train(target, *noise(), config(unlabeled_batch_size=0), device="cpu", out=folder / "broken")
    except NonFiniteError as error:
        return {"step": error.step, "terms": error.terms, "labeled": error.labeled}
    return {}


def refused(folder: Path) -> list[str]:
    """The same error in every process, so that none waits for another."""
    sentences = []
    for changes, options in (
        ({"batch_size": 3}, {}),
        ({}, {"out": folder / "parts"}),
        ({}, {"out": folder / "found-0.pt" / "below"}),
    ):
        (folder / "found-0.pt").touch()
        try:
            train(objective(), *noise(), config(**changes), device="cpu", **options)
        except (ValueError, RuntimeError) as error:
            sentences.append(str(error))
    return sentences


def commanded(folder: Path) -> tuple[int, str, str]:
    """What the program says of a short run."""
    words = ["train", "--data", "moons", "--method", "at-l2", "--steps", 4, "--quiet", "--json"]
    training = ["--training.batch_size", 8, "--training.evaluate_every", 2]
    said = program(*words, *training, "--out", folder)
    return said.code, said.out, said.err


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*find_unused_parameters.*")
    found = {
        "exact": exact(folder / "exact"),
        "masked": masked(),
        "methods": {name: method(name) for name in METHODS},
        "apart": {name: method(name)[0] for name in APART},
        "resumed": resumed(folder, rank),
        "broken": broken(folder, rank),
        "refused": refused(folder),
        "commanded": commanded(folder / "commanded"),
    }
    torch.save(found, folder / f"found-{rank}.pt")


if __name__ == "__main__":
    main()
