"""The gradient of a sum of terms: taken term by term, or left to one backward pass of the caller.

Taking it at once frees each term's graph before the next term is computed, so that memory holds
one graph at a time; the caller's ``backward()`` then only hands out what is ready.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unshaken.leaves import Leaves


class Sum(ABC):
    """A sum of scalars on its way to a loss."""

    @abstractmethod
    def add(self, value: Tensor) -> None:
        """Add a scalar. Its graph may be gone afterwards."""

    @abstractmethod
    def add_learning(self, value: Tensor, source: Tensor, learn: Callable[[Tensor], None]) -> None:
        """Add a scalar; ``learn`` gets its gradient in ``source``, a leaf, when that is known."""

    @abstractmethod
    def pass_over(self, leaves: Sequence[Tensor]) -> None:
        """Nobody wants a gradient in these, nor in those that join the sequence later."""

    @abstractmethod
    def loss(self) -> Tensor:
        """The sum, to call ``backward()`` on."""


class Deferred(Sum):
    """The plain sum, whose graphs all stay until the caller's backward pass."""

    def __init__(self, like: Tensor) -> None:
        self._zero = like.new_zeros(())
        self._total: Tensor | None = None

    def add(self, value: Tensor) -> None:
        self._total = value if self._total is None else self._total + value

    def add_learning(self, value: Tensor, source: Tensor, learn: Callable[[Tensor], None]) -> None:
        if source.requires_grad:
            source.register_hook(learn)
        self.add(value)

    def pass_over(self, leaves: Sequence[Tensor]) -> None:
        pass  # the caller's backward pass is its own

    def loss(self) -> Tensor:
        return self._zero if self._total is None else self._total


class Taken(Sum):
    """Each scalar's gradient is taken when it is added, and its graph let go.

    Args:
        like: a tensor of the loss's kind.
        leaves: the parameters that are known. Others that a scalar depends on, as the temperature
            that a user's own function holds, join them when they are met.
    """

    def __init__(self, like: Tensor, leaves: Sequence[Tensor]) -> None:
        self._zero = like.new_zeros(())
        self._leaves = Leaves(leaves)
        self._found: list[Tensor | None] = [None] * len(leaves)
        self._ours = [False] * len(leaves)
        self._total: Tensor | None = None

    def add(self, value: Tensor) -> None:
        self.add_with(value, ())

    def add_with(self, value: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Add a scalar and return its gradients in ``inputs``, found in the same pass."""
        constant = value.detach()
        self._total = constant if self._total is None else self._total + constant
        if not value.requires_grad:
            return (None,) * len(inputs)
        new, retain = self._leaves.meet(value, inputs)
        self._found += [None] * new
        self._ours += [False] * new
        wanted = [*inputs, *self._leaves.known]
        found: tuple[Tensor | None, ...] = ()
        if wanted:
            try:
                found = torch.autograd.grad(value, wanted, retain_graph=retain, allow_unused=True)
            except RuntimeError as error:
                if "graph a second time" not in str(error):
                    raise
                raise RuntimeError(
                    "two passes over the model share a part of their graph, as weights that are "
                    "computed once for both; make the objective with take_gradients=False"
                ) from error
        for k, gradient in enumerate(found[len(inputs) :]):
            if gradient is not None:
                self._accumulate(k, gradient)
        return found[: len(inputs)]

    def add_learning(self, value: Tensor, source: Tensor, learn: Callable[[Tensor], None]) -> None:
        (gradient,) = self.add_with(value, [source])
        if gradient is not None:
            learn(gradient)

    def pass_over(self, leaves: Sequence[Tensor]) -> None:
        self._leaves.pass_over(leaves)

    def _accumulate(self, k: int, gradient: Tensor) -> None:
        before = self._found[k]
        if before is None:
            self._found[k] = gradient
        elif self._ours[k] and gradient.layout == torch.strided:
            before.add_(gradient)
        else:
            # What autograd returns may be shared by several leaves; the sum is a new tensor.
            added = before + gradient
            self._found[k], self._ours[k] = added, added.layout == torch.strided

    def loss(self) -> Tensor:
        return hand_out(self.total, self._leaves.known, self._found)

    @property
    def beyond(self) -> bool:
        """Whether a scalar depended on leaves that were not given."""
        return self._leaves.beyond

    @property
    def total(self) -> Tensor:
        """The sum as a constant."""
        return self._zero if self._total is None else self._total

    @property
    def gradients(self) -> list[Tensor | None]:
        """The sum's gradient in each leaf, None in one that it does not depend on."""
        return self._found


class _HandOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *leaves: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *factors: Tensor) -> tuple[Tensor | None, ...]:
        gradients, factor = ctx.gradients, factors[0]
        if torch.is_grad_enabled():
            raise RuntimeError(
                "The loss was sent backward with create_graph=True, but its gradients were taken "
                "in the forward call and have no graph. Make the objective with "
                "take_gradients=False."
            )
        if gradients is None:
            raise RuntimeError(
                "The loss was sent backward twice; its gradients were taken in the forward call "
                "and handed out once. Call the objective again."
            )
        ctx.gradients = None
        if factor.device.type == "cpu" and factor == 1:
            return (None, None, *gradients)
        return (None, None, *(g * factor for g in gradients))


def hand_out(value: Tensor, leaves: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """A scalar equal to ``value`` whose backward gives each leaf its ready gradient.

    The gradient that comes in from above multiplies every one of them, so loss scaling,
    accumulation and DistributedDataParallel see an ordinary loss. A leaf without a gradient is one
    that the loss does not depend on.
    """
    ready = [(leaf, g) for leaf, g in zip(leaves, gradients, strict=True) if g is not None]
    result: Tensor = _HandOut.apply(value.detach(), [g for _, g in ready], *(p for p, _ in ready))
    return result


class _KnownSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, at: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "A penalty on the gradient in the input has no second derivative here: call "
                "backward() without create_graph=True."
            )
        (slope,) = ctx.saved_tensors
        (gradient,) = gradients
        return None, gradient.reshape(-1, *[1] * (slope.dim() - 1)) * slope, None


def known_slope(values: Tensor, at: Tensor, slope: Tensor) -> Tensor:
    """``values`` ``(N,)`` as a function of ``at`` ``(N, ...)`` whose gradient is known.

    Row i depends on row i alone: ``slope`` holds ``∂values_i/∂at_i``, of ``at``'s shape.
    """
    result: Tensor = _KnownSlope.apply(values, at, slope)
    return result
