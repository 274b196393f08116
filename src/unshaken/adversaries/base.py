"""What an adversary is: a way to find the parameters of the worst perturbation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from unshaken import checks
from unshaken.divergences import Divergence
from unshaken.passes import CleanPass
from unshaken.perturbations.base import Perturbation
from unshaken.ramps import Ramp


@dataclass
class Problem:
    """Maximize ``D(f(x), f(P(x, a)))`` over a, for one batch."""

    clean: CleanPass
    perturbation: Perturbation
    divergence: Divergence

    @property
    def x(self) -> Tensor:
        """The clean inputs as constants."""
        return self.clean.x.detach()

    def target(self) -> Tensor:
        """What the perturbed outputs are compared with."""
        # Labels need the shape of the outputs only, so any outputs at hand will do.
        return self.divergence.target(self.clean.logits, self.clean.y)

    def input_gradient(self, *, create_graph: bool = False) -> Tensor:
        """``∂ Σ D / ∂x`` at the clean input."""
        return self.clean.input_gradient(self.divergence, create_graph=create_graph)


@dataclass
class Penalty:
    """What one term found for a batch."""

    value: Tensor
    """``(N,)`` the divergence under the worst perturbation, or the rate at which it begins."""
    parameters: Tensor | None = None
    """The perturbation's parameters, a row for each example."""
    signal: Tensor | None = None
    """The tensor through which the term's gradient enters the model."""
    learns: Callable[[Tensor], None] | None = None
    """Gets the value's gradient in ``parameters``, a leaf, as soon as it is known."""


class Adversary(nn.Module, ABC):
    """Finds ``a`` for a :class:`Problem`; :meth:`penalty` applies it and measures D."""

    needs: ClassVar[str] = "nothing"
    """What it takes from the clean pass: ``"nothing"``, ``"input"`` (the gradient in the input),
    ``"input-graph"`` (that gradient, differentiable again) or ``"linearization"`` (outputs that can
    be differentiated in the input)."""

    searches: ClassVar[bool] = True
    """Whether :meth:`penalty` wants what :meth:`find` gives; otherwise it finds and evaluates in
    one."""

    replaces: ClassVar[bool] = False
    """Whether its term stands in for the supervised loss."""

    random: ClassVar[bool] = False
    """Whether it is the control that others are measured against."""

    radius: float = 1.0
    """The size of what it finds, now."""

    ramp: Ramp | None = None
    """How the radius changes with the calls of its term; None where it stays."""

    @abstractmethod
    def find(self, problem: Problem) -> Tensor:
        """The parameters of the worst perturbation it can find, as constants."""

    @abstractmethod
    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        """Raise ``ValueError`` with the reason where the three parts mean nothing together."""

    def penalty(self, problem: Problem, a: Tensor | None = None) -> Penalty:
        """The divergence ``(N,)`` under the perturbation found: ``a``, or :meth:`find`'s."""
        if a is None:
            a = self.find(problem)
        # The caller's x, not a constant: where it comes from an encoder, that learns too.
        outputs = problem.clean.again(problem.perturbation(problem.clean.x, a))
        return Penalty(problem.divergence(outputs, problem.target()), a, outputs)

    def take_radius(self, radius: float | Ramp) -> None:
        """Set the radius, or how it changes.

        Raises:
            TypeError, ValueError: it is not a finite number >= 0, nor a Ramp.
        """
        self.ramp = radius if isinstance(radius, Ramp) else None
        self.radius = radius.at(0) if isinstance(radius, Ramp) else checks.radius(radius)

    def count(self, calls: int) -> None:
        """Take the radius that belongs to a term's so many training calls."""
        if self.ramp is not None:
            self.radius = self.ramp.at(calls)

    @property
    def largest_radius(self) -> float:
        """The largest radius that it ever has."""
        return self.radius if self.ramp is None else self.ramp.largest

    @property
    def radius_text(self) -> str:
        """The radius as its repr says it."""
        return f"{self.radius:g}" if self.ramp is None else repr(self.ramp)

    def rival(self, problem: Problem, a: Tensor) -> Tensor:
        """Random parameters of the same size as ``a``."""
        return problem.perturbation.random(problem.x, self.radius)
