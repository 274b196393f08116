"""What a perturbation is: a family of changes of the input with a size."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from unshaken import checks, draws
from unshaken.autograd import flat, normalize, safe_norm


class Perturbation(nn.Module, ABC):
    """Changes ``P(x, a)`` of inputs ``x`` with parameters ``a``, one row for each example.

    ``a = 0`` changes nothing (masks excepted) and the family is linear in ``a`` to first order:
    ``P(x, a) ≈ x + T_x a``. An adversary needs only the five methods below.
    """

    @abstractmethod
    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        """The perturbed input, of ``x``'s shape."""

    @abstractmethod
    def tangent(self, x: Tensor, a: Tensor) -> Tensor:
        """``T_x a``, the first-order change, of ``x``'s shape."""

    @abstractmethod
    def pull_back(self, x: Tensor, g: Tensor) -> Tensor:
        """``T_xᵀ g``: a gradient in the input as a gradient ``s`` in the parameters."""

    @abstractmethod
    def steepest(self, x: Tensor, s: Tensor, radius: float) -> Tensor:
        """The parameters of size ``radius`` with the largest ``⟨s, a⟩``; zero where s is zero."""

    @abstractmethod
    def random(self, x: Tensor, radius: float) -> Tensor:
        """Random parameters of exactly the size that ``steepest`` has."""

    @abstractmethod
    def rate(self, x: Tensor, s: Tensor) -> Tensor:
        """``max ⟨s, a⟩`` over parameters of size 1: ``(N,)``, differentiable in s."""

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` where inputs of ``x``'s shape cannot be perturbed so."""
        return None

    def prepare(self, x: Tensor) -> None:
        """Compute now what is computed once for all inputs of ``x``'s shape, type and device."""
        return None

    def shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of ``a`` for inputs ``x``."""
        return tuple(x.shape)


class Ball(Perturbation):
    """Parameters of ``x``'s shape in a ball of norm 2 or ∞: what additive and relative share."""

    def __init__(self, norm: float = 2) -> None:
        super().__init__()
        self.norm = float(checks.choice(norm, "norm", (2, float("inf"))))

    def steepest(self, x: Tensor, s: Tensor, radius: float) -> Tensor:
        return radius * (normalize(s) if self.norm == 2 else s.sign())

    def random(self, x: Tensor, radius: float) -> Tensor:
        return self.steepest(x, draws.normal(tuple(x.shape), x.dtype, x.device), radius)

    def rate(self, x: Tensor, s: Tensor) -> Tensor:
        return safe_norm(s) if self.norm == 2 else flat(s).abs().sum(1)

    def extra_repr(self) -> str:
        return f"norm={self.norm:g}"
