"""What the consistency methods share: predictions under noise, and how far they lie apart."""

from __future__ import annotations

from torch import Tensor

from unshaken import checks, draws
from unshaken.divergences import at_least_single
from unshaken.passes import CleanPass
from unshaken.regularizer import Term


class Consistency(Term):
    """A term that compares a prediction with another one of the same inputs.

    Args:
        weight: factor of the term, ≥ 0.
        noise: standard deviation of the Gaussian noise on the inputs of the other passes. Without
            it a network without dropout gives the same prediction again, and the term is zero.
        batch_norm, name, every, ramp: see :class:`unshaken.regularizer.Term`.
    """

    needs = "logits"

    def __init__(
        self,
        weight: float = 1.0,
        noise: float = 0.15,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(weight, batch_norm, name, every, ramp)
        self.noise = checks.number(noise, "noise", low=0.0)

    def noisy(self, x: Tensor) -> Tensor:
        """The inputs with fresh noise."""
        if not self.noise:
            return x
        return x + self.noise * draws.normal(tuple(x.shape), x.dtype, x.device)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, noise={self.noise:g}"


def live(clean: CleanPass) -> Tensor:
    """The clean outputs with their graph; a view, whose gradient is this term's alone."""
    logits = clean.attached_logits
    return logits.view_as(logits)


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes, in float32 at least."""
    if logits.dim() < 2 or logits.shape[1] < 2:
        raise ValueError(
            f"model must give outputs (N, C) with at least 2 classes, got {tuple(logits.shape)}"
        )
    return at_least_single(logits).softmax(1)


def squared_distance(p: Tensor, q: Tensor) -> Tensor:
    """``mean_c (p_c − q_c)²``, dense outputs averaged over positions: ``(N,)``."""
    return (p - q).square().flatten(1).mean(1)
