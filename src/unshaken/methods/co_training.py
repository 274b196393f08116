"""Deep co-training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken import checks
from unshaken.adversaries.base import Penalty
from unshaken.divergences import CrossEntropy, at_least_single
from unshaken.methods.catgan import entropies
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Term


class CoTraining(Term):
    """Two networks that agree, each also where the other is fooled (Qiao et al. 2018, eq. 2-5).

    ``agreement · JS(p¹, p²) + difference · (H(p¹(x), p²(g¹(x))) + H(p²(x), p¹(g²(x))))`` with the
    Jensen-Shannon divergence ``JS = H((p¹ + p²)/2) − (H(p¹) + H(p²))/2``, the cross-entropy H of
    the second argument with the first as a constant, and the adversarial example
    ``g^k(x) = x + radius · sign(∂ CE(p^k(x), argmax p^k(x))/∂x)`` of each network. Label-free; the
    paper also takes ``difference`` over the labeled inputs. The second network is part of the term:
    it starts from other weights than the first (:func:`another`), an optimizer must be given its
    parameters, and it learns the labels by :attr:`second_view`, a term of its own. It is the first
    that is evaluated.

    Args:
        other: the second network.
        agreement: λ_cot, published 10.
        difference: λ_dif, published 0.5.
        radius: L∞ size of the adversarial examples, published 0.02 for inputs in [0, 1].
        weight: factor of the term; published with ``ramp`` over the first 80 of 600 epochs.
        batch_norm, name, every, ramp: see :class:`unshaken.regularizer.Term`.

    Raises:
        TypeError: the second network is no module.
        ValueError: in the call, if the outputs are no classes.

    Example:
        >>> both = CoTraining(another(model), ramp=2000)
        >>> objective = Objective(model, both, both.second_view)
        >>> optimizer = torch.optim.SGD(objective.parameter_groups(lr=0.05))
    """

    def __init__(
        self,
        other: nn.Module,
        agreement: float = 10.0,
        difference: float = 0.5,
        radius: float = 0.02,
        weight: float = 1.0,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(weight, batch_norm, name or "co-training", every, ramp)
        if not isinstance(other, nn.Module):
            raise TypeError(f"other must be a torch.nn.Module, got {type(other).__name__}")
        self.other = other
        self.agreement = checks.number(agreement, "agreement", low=0.0)
        self.difference = checks.number(difference, "difference", low=0.0)
        self.radius = checks.radius(radius)
        self._second_view = (SecondView(self),)

    @property
    def second_view(self) -> SecondView:
        """The second network's supervised loss, a term to stand beside this one."""
        return self._second_view[0]

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        x = clean.x
        first, up_first = _ascent(clean, None)
        if first.dim() < 2 or first.shape[1] < 2:
            raise ValueError(
                f"model must give outputs (N, C) with at least 2 classes, got {tuple(first.shape)}"
            )
        second, up_second = _ascent(clean, self.other)
        value = self.agreement * _jensen_shannon(first, second)
        if self.difference:
            there = clean.anew(x + self.radius * up_first, self.other)
            here = clean.again(x + self.radius * up_second)
            apart = _cross_entropies(there, first) + _cross_entropies(here, second)
            value = value + self.difference * apart
        return Penalty(value, None, first)

    def extra_repr(self) -> str:
        return (
            f"agreement={self.agreement:g}, difference={self.difference:g}, "
            f"radius={self.radius:g}, {super().extra_repr()}"
        )


class SecondView(Term):
    """The supervised loss of the second network of a :class:`CoTraining` term."""

    labeled = True
    stackable = False

    def __init__(self, pair: CoTraining) -> None:
        super().__init__(1.0, "update", "second-view")
        # Not a module of this one: its weights belong to the pair.
        self._pair = (pair,)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        if clean.y is None:
            raise ValueError("SecondView needs labels, got y=None")
        pair, divergence = self._pair[0], CrossEntropy()
        moves = pair.training and torch.is_grad_enabled()
        outputs = clean.with_policy("update" if moves else "batch").anew(clean.x, pair.other)
        return Penalty(divergence(outputs, divergence.target(outputs, clean.y)), None, outputs)


def another(model: nn.Module) -> nn.Module:
    """A copy of the network with other random weights, of the same scale in each layer.

    Parameters with two dimensions or more are drawn anew from a normal distribution with their
    root mean square, from torch's global generator; the others are copied.
    """
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            if p.dim() > 1:
                p.copy_(torch.randn_like(p) * p.square().mean().sqrt())
    return other


def _ascent(clean: CleanPass, network: nn.Module | None) -> tuple[Tensor, Tensor]:
    """A network's outputs, with their graph, and the signs of the way to fool it."""
    with torch.enable_grad():
        leaf = clean.own_leaf()
        outputs = clean.again(leaf) if network is None else clean.anew(leaf, network)
        total = F.cross_entropy(outputs, outputs.detach().argmax(1), reduction="sum")
        (slope,) = torch.autograd.grad(total, leaf, retain_graph=True)
    return outputs.view_as(outputs), slope.sign()


def _jensen_shannon(a: Tensor, b: Tensor) -> Tensor:
    a, b = at_least_single(a), at_least_single(b)
    mean = (a.softmax(1) + b.softmax(1)) / 2
    middle = -(mean * mean.clamp_min(1e-30).log()).sum(1)
    return middle - (entropies(a) + entropies(b)) / 2


def _cross_entropies(outputs: Tensor, target: Tensor) -> Tensor:
    outputs, target = at_least_single(outputs), at_least_single(target.detach())
    return -(target.softmax(1) * outputs.log_softmax(1)).sum(1)
