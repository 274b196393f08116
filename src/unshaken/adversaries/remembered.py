"""Adversaries that remember: each example's last worst perturbation, refreshed on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from unshaken import checks, draws
from unshaken.adversaries.base import Adversary, Penalty, Problem
from unshaken.autograd import flat, per_example
from unshaken.divergences import Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask
from unshaken.ramps import Ramp


class Remembered(Adversary):
    """``a_i`` of this visit is the steepest step along the gradient of the last one.

    The network sees ``P(x, a)`` with the remembered a in its only pass, and the gradient in a
    that the same backward pass gives makes the next a: ``a ← argmax ⟨∂D/∂a, a'⟩`` over
    ``‖a'‖ ≤ radius``. A step costs one forward and one backward pass, as a plain one, and P. The
    term stands in for the supervised loss: there is no clean pass, running statistics move in this
    one. An example that was not seen yet starts from a random perturbation of the same size.

    The gradient is that of an older network, at a perturbed input. What is remembered belongs to
    the example as it is stored: random augmentation moves it about.

    Args:
        radius: size of the perturbation; for a mask the share of entries erased.
        examples: number of training examples; calls need ``index=``, the rows of the batch.
        parameters: the shape of one example's a, which is ``perturbation.shape(x)[1:]``. The
            memory taken is ``examples`` times that; checkpoints hold it, and
            DistributedDataParallel sends it with the buffers in each step.
    """

    searches = False
    replaces = True

    table: Tensor

    def __init__(self, radius: float | Ramp, examples: int, parameters: Sequence[int]) -> None:
        super().__init__()
        self.take_radius(radius)
        size = [checks.integer(d, "parameters") for d in parameters]
        self.register_buffer("table", torch.zeros(checks.integer(examples, "examples"), *size))

    @classmethod
    def of(
        cls, perturbation: Perturbation, radius: float | Ramp, shape: Sequence[int]
    ) -> Remembered:
        """For training inputs of ``shape``, as ``x_train.shape``."""
        if not isinstance(shape, Sequence) or len(shape) < 2:
            raise ValueError(
                f"remember must be the shape of all training inputs, as x_train.shape, got {shape}"
            )
        sizes = [checks.integer(d, "remember") for d in shape]
        one = torch.empty(1, *sizes[1:])
        perturbation.check(one)
        return cls(radius, sizes[0], perturbation.shape(one)[1:])

    def find(self, problem: Problem) -> Tensor:
        with torch.no_grad():
            return self._rows(problem, self._index(problem))

    def penalty(self, problem: Problem, a: Tensor | None = None) -> Penalty:
        clean, perturbation, index = problem.clean, problem.perturbation, self._index(problem)
        learning = torch.is_grad_enabled() and self.training
        if learning and clean.policy == "batch":
            clean = clean.with_policy("update")  # no other pass moves the running statistics
        with torch.no_grad():
            a = self._rows(problem, index)
        a.requires_grad_(learning)
        outputs = clean.again(perturbation(clean.x, a))
        # Labels need the shape of the outputs only, so the perturbed ones will do.
        value = problem.divergence(outputs, problem.divergence.target(outputs.detach(), clean.y))
        gather = draws.collector()
        learns = partial(self._learn, perturbation, problem.x, index, gather) if learning else None
        return Penalty(value, a, outputs, learns)

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        if self.ramp is not None and isinstance(perturbation, Mask):
            raise ValueError(
                "a remembered mask cannot follow a ramp: its entries are erased or kept; give a "
                "number as radius"
            )
        if not divergence.labeled:
            raise ValueError(
                f"a remembered adversary needs labels, but {type(divergence).__name__} compares "
                "with the clean prediction, for which there is no pass; use CrossEntropy"
            )

    def extra_repr(self) -> str:
        return f"radius={self.radius_text}, examples={len(self.table)}"

    def _index(self, problem: Problem) -> Tensor:
        found = checks.indices(problem.clean.index, len(problem.x), len(self.table))
        return found.to(self.table.device)

    def _rows(self, problem: Problem, index: Tensor) -> Tensor:
        x = problem.x
        rows = self.table[index]
        expected = problem.perturbation.shape(x)
        if tuple(rows.shape) != expected:
            raise ValueError(
                f"remember must be the shape of all training inputs, whose parameters are then "
                f"{expected[1:]} for one; these have {tuple(rows.shape[1:])}"
            )
        fresh = problem.perturbation.random(x, self.radius)
        seen = flat(rows).any(1)
        if self.ramp is not None:
            rows = self.radius * rows
        return torch.where(per_example(seen, rows), rows, fresh.to(rows.dtype))

    def _learn(
        self,
        perturbation: Perturbation,
        x: Tensor,
        index: Tensor,
        gather: Callable[[Tensor], Tensor],
        gradient: Tensor,
    ) -> None:
        with torch.no_grad():
            slopes = flat(gradient.detach())
            # Zero tells nothing, and what a gradient scaler overflowed with would stay for good.
            telling = slopes.isfinite().all(1) & slopes.any(1)
            # Under a ramp directions are remembered: the next visit's radius is another one.
            radius = self.radius if self.ramp is None else 1.0
            found = perturbation.steepest(x, gradient.detach(), radius)
            found = torch.where(per_example(telling, found), found, 0)
            index, found = gather(index), gather(found)
            found = found[_last(index)]
            moved = per_example(flat(found).any(1), found)
            self.table[index] = torch.where(moved, found.to(self.table.dtype), self.table[index])


def _last(index: Tensor) -> Tensor:
    """The last position at which each entry's value stands.

    An example that comes twice in a batch then writes one row twice: which write wins would be
    undefined on an accelerator.
    """
    places = torch.arange(len(index), device=index.device)
    return torch.where(index.unsqueeze(1) == index, places, -1).amax(1)
