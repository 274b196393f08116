"""Mixup."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks, draws
from unshaken.adversaries.base import Penalty
from unshaken.autograd import per_example
from unshaken.divergences import Loss, as_criterion
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Term


class Mixup(Term):
    """Between two examples the prediction should lie between their labels (Zhang et al. 2018).

    ``mean_i λ D(f(x̃_i), y_i) + (1 − λ) D(f(x̃_i), y_j)`` at ``x̃_i = λ x_i + (1 − λ) x_j`` with j a
    random partner in the batch and ``λ ~ Beta(α, α)`` drawn for each batch. With labels; it stands
    in for the supervised loss, so a step costs what a plain one does, and running statistics move
    in its pass.

    Args:
        alpha: α > 0; published: 0.1 to 0.4 on ImageNet, 1 on CIFAR-10.
        weight: factor of the term.
        divergence: the labeled D, by default the cross-entropy with the label.
    """

    labeled = True
    replaces = True

    def __init__(
        self,
        alpha: float = 1.0,
        weight: float = 1.0,
        divergence: Loss | None = None,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        super().__init__(weight, batch_norm, name or "mixup", every)
        self.alpha = checks.number(alpha, "alpha", low=0.0, open_low=True)
        self.divergence = as_criterion(divergence, "divergence")

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        x, y = clean.x, clean.y
        if y is None:
            raise ValueError("Mixup needs labels, got y=None")
        if clean.policy == "batch" and self.training and torch.is_grad_enabled():
            clean = clean.with_policy("update")  # no other pass moves the running statistics
        other_x, other_y = _partners(x, y)
        share = self._share(x)
        outputs = clean.again(x.lerp(other_x, per_example(1 - share, x)))
        value = torch.zeros_like(share)
        for part, labels in ((share, y), (1 - share, other_y)):
            target = self.divergence.target(outputs.detach(), labels)
            value = value + part * self.divergence(outputs, target)
        return Penalty(value, None, outputs)

    def _share(self, x: Tensor) -> Tensor:
        """λ of each row, which all rows of its group have in common."""
        found = draws.common_beta(self.alpha, 1, torch.float64, x.device)
        return draws.to_rows(found.to(x), len(x)).squeeze(1)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}, {super().extra_repr()}"


def _partners(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The rows in a random order: of all processes' batch, and within each group of rows."""
    gather = draws.gatherer()
    drawn = gather(draws.uniform((len(x),), torch.float64, x.device))
    order = drawn.reshape(draws.groups(), -1).argsort(1)
    first = torch.arange(draws.groups(), device=x.device).unsqueeze(1) * order.shape[1]
    own = (order + first).flatten()[draws.rank() * len(x) :][: len(x)]
    if draws.processes() == 1:
        return x[own], y[own]  # an encoder in front of x learns from both of a pair
    return gather(x.detach())[own], gather(y)[own]
