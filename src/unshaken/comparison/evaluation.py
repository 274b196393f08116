"""What is measured of a classifier while it trains."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken.divergences import CrossEntropy
from unshaken.passes import CleanPass
from unshaken.perturbations import Movement
from unshaken.perturbations.fields import Rotation, Scale, Shift

_MOVED = 512
"""Examples that the rates R are averaged over: enough for two digits, cheap at every evaluation."""


def error_and_loss(
    model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, batch: int = 1000
) -> tuple[float, float]:
    """Share of wrong answers in per cent, and the mean cross-entropy."""
    wrong, loss = 0, 0.0
    with torch.no_grad():
        for inputs, labels in zip(x.split(batch), y.split(batch), strict=True):
            logits = model(inputs)
            wrong += int((logits.argmax(1) != labels).sum())
            loss += float(F.cross_entropy(logits.float(), labels, reduction="sum"))
    return 100 * wrong / len(x), loss / len(x)


def rates(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Mean R of shift, rotation and scale: how fast the loss changes as inputs move, per pixel.

    ``R = √(sᵀ G⁻¹ s)`` with the raw gradient (VMT eq. 8-15), as the papers' figures 2b and 3 show
    over training; the fields that inputs of this shape have.
    """
    found: dict[str, float] = {}
    for inputs, labels in zip(x.split(_MOVED), y.split(_MOVED), strict=True):
        g = CleanPass(model, inputs, labels).input_gradient(CrossEntropy())
        for family in (Shift(), Rotation(), Scale()):
            if len(inputs.shape[2:]) >= (2 if isinstance(family, Rotation) else 1):
                movement = Movement(family)
                rate = movement.rate(inputs, movement.pull_back(inputs, g))
                name = f"r_{type(family).__name__.lower()}"
                found[name] = found.get(name, 0.0) + float(rate.sum())
    return {name: total / len(x) for name, total in found.items()}


class Evaluation:
    """Called as ``evaluate(model, step)`` while a run trains; gives metrics by name.

    ``test_error`` and ``train_error`` in per cent, ``test_loss`` and ``train_loss``, their
    difference ``gap`` (VMT eq. 22), and the rates on the first test examples.
    """

    def __init__(
        self, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], judge: str = "test"
    ) -> None:
        # Judging the training error on more examples than there are to test buys nothing.
        self.train = (train[0][: len(test[0])], train[1][: len(test[0])])
        self.test = test
        self.judge = judge
        self.snapshots: list[Callable[[nn.Module, int], None]] = []

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        device, dtype = _where(model)
        x, y = self.test[0].to(device, dtype), self.test[1].to(device)
        test_error, test_loss = error_and_loss(model, x, y)
        train_error, train_loss = error_and_loss(
            model, self.train[0].to(device, dtype), self.train[1].to(device)
        )
        for snapshot in self.snapshots:
            snapshot(model, step)
        return {
            f"{self.judge}_error": test_error,
            f"{self.judge}_loss": test_loss,
            "train_error": train_error,
            "train_loss": train_loss,
            "gap": test_loss - train_loss,
            **(rates(model, x[:_MOVED], y[:_MOVED]) if x.dim() > 2 else {}),
        }


def _where(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    first = next(model.parameters(), torch.zeros(()))
    return first.device, first.dtype
