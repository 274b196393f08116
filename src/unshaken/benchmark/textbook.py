"""The methods as public implementations compute them: every quantity by passes of its own.

Only the passes over the network differ from the library's. What costs next to nothing beside
them (fields, warping, mask draws) is taken from the library, so that a comparison of costs is one
of passes. Values and gradients are equal up to a finite difference's error; a test says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken.adversaries import Adversary, Infinitesimal, Learned, Tabulated
from unshaken.autograd import reverse_gradient
from unshaken.distributions import HardConcrete
from unshaken.perturbations import Mask, Movement
from unshaken.regularizer import Regularizer


class Textbook(nn.Module, ABC):
    """The whole loss ``L + w R`` of one method, with the parts and settings of a regularizer.

    Args:
        term: the regularizer; a mask player's parameters are shared with it.
    """

    def __init__(self, term: Regularizer) -> None:
        super().__init__()
        self.term = term

    @abstractmethod
    def forward(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        """A scalar to call ``backward()`` on; gradients must be zero before."""

    def total(self, loss: Tensor, penalty: Tensor) -> Tensor:
        """The weighted sum, from a mean and from one value for each example."""
        return loss + self.term.weight * penalty.mean()

    def divergence(self, outputs: Tensor, clean: Tensor, y: Tensor) -> Tensor:
        """D of each example, from the label or from the clean outputs."""
        target = self.term.divergence.target(clean, y)
        values: Tensor = self.term.divergence(outputs, target)
        return values


class Perturbed(Textbook):
    """The shape that most have: the loss, a search, and the divergence where it ends.

    The clean prediction is a pass of its own wherever the divergence asks for one.
    """

    @abstractmethod
    def find(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
        """The perturbation's parameters."""

    def forward(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        clean = None
        if not self.term.divergence.labeled:
            with torch.no_grad():
                clean = model(x)
        a = self.find(model, x, y, clean)
        outputs = model(self.term.perturbation(x, a))
        return self.total(loss, self.divergence(outputs, logits if clean is None else clean, y))


class RandomControl(Perturbed):
    """Random perturbations: a clean forward pass for the target. 7 units."""

    def find(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
        return self.term.perturbation.random(x, self.term.adversary.radius)


class Steepest(Perturbed):
    """AT and MAT: a forward and backward pass of their own for the input's gradient. 9 units."""

    def find(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
        leaf = x.detach().clone().requires_grad_()
        F.cross_entropy(model(leaf), y).backward()
        model.zero_grad()
        perturbation = self.term.perturbation
        with torch.no_grad():
            g = torch.zeros_like(x) if leaf.grad is None else leaf.grad
            s = perturbation.pull_back(x, g)
            return perturbation.steepest(x, s, self.term.adversary.radius)


class Power(Perturbed):
    """VAT: a clean forward pass, the divergence's gradient ξ away, joint backward. 10 units.

    The power step calls ``backward()``, which computes the weights' gradients too, and wipes them.
    """

    XI = 1e-2  # what float32 can resolve: at the widespread 1e-6 the direction is rounding noise

    def find(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
        perturbation = self.term.perturbation
        a = perturbation.random(x, 1.0)
        moved = (x + self.XI * perturbation.tangent(x, a)).detach().requires_grad_()
        if clean is None:
            raise ValueError("the power iteration needs a divergence from the clean prediction")
        self.divergence(model(moved), clean, y).sum().backward()
        model.zero_grad()
        with torch.no_grad():
            g = torch.zeros_like(x) if moved.grad is None else moved.grad
            s = perturbation.pull_back(x, g)
            return perturbation.steepest(x, s, self.term.adversary.radius)


class DoubleBackward(Textbook):
    """VMT: the input's gradient with its graph, then one backward through everything. 6 units.

    More in time: torch's double backward of batch norm alone is a third of the step.
    """

    def forward(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        movement, adversary = self.term.perturbation, self.term.adversary
        if not isinstance(movement, Movement) or not isinstance(adversary, Infinitesimal):
            raise TypeError(f"term must be a VMT, got {self.term!r}")
        if adversary.gradient != "raw":
            raise ValueError(f"gradient must be 'raw', got {adversary.gradient!r}")
        leaf = x.detach().clone().requires_grad_()
        loss = F.cross_entropy(model(leaf), y, reduction="sum")
        (g,) = torch.autograd.grad(loss, leaf, create_graph=True)
        parts = movement.families() if adversary.mixture else [movement]
        weights = torch.rand(len(parts), dtype=x.dtype, device=x.device)
        weights = weights / weights.sum()
        rate = torch.zeros_like(g[:, 0].flatten(1)[:, 0])
        for weight, part in zip(weights, parts, strict=True):
            rate = rate + weight * part.rate(x, part.pull_back(x, g))
        return self.total(loss / len(x), rate)


class Masked(Textbook):
    """xAT and xVAT by gradient reversal; xVAT with a clean forward pass. 7 units (xAT 6)."""

    def forward(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        mask = self.term.perturbation
        if not isinstance(mask, Mask):
            raise TypeError(f"term must be an XAT or XVAT, got {self.term!r}")
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        clean = logits
        if not self.term.divergence.labeled:
            with torch.no_grad():
                clean = model(x)
        log_alpha = _log_alpha(self.term.adversary, x, index)
        distribution = HardConcrete(reverse_gradient(log_alpha.reshape(mask.shape(x))))
        z = distribution.rsample()
        value = self.divergence(model(mask(x, z)), clean, y)
        price = mask.price(z, distribution)
        return self.total(loss, value + (price - price.detach()))


def _log_alpha(player: Adversary, x: Tensor, index: Tensor) -> Tensor:
    if isinstance(player, Tabulated):
        return F.embedding(index, player.table, sparse=player.sparse)
    if isinstance(player, Learned):
        log_alpha: Tensor = player.network(x)
        return log_alpha
    raise TypeError(f"term must have a learned mask, got {player!r}")
