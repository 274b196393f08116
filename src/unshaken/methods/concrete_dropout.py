"""Concrete dropout: rates that are learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd

from unshaken import checks
from unshaken.adversaries.base import Penalty
from unshaken.passes import CleanPass
from unshaken.regularizer import Found, Term

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class ConcreteLayer(_DropoutNd):
    """A layer whose inputs are dropped at a rate that is learned (Gal et al. 2017, eq. 5).

    ``h ⊙ (1 − z) / (1 − p)`` with ``z = sigmoid((log p/(1 − p) + log u/(1 − u)) / t)`` and u
    uniform: a relaxed draw from Bernoulli(p). A convolution drops whole channels. In evaluation
    mode nothing is dropped.

    Args:
        layer: linear or convolution.
        rate: p at the start, in (0, 1).
        temperature: t > 0, 0.1 as published.
    """

    def __init__(self, layer: nn.Module, rate: float = 0.1, temperature: float = 0.1) -> None:
        rate = checks.number(rate, "rate", low=0.0, high=1.0, open_low=True)
        if rate == 1:
            raise ValueError("rate must be below 1, got 1")
        super().__init__(rate)
        self.temperature = checks.number(temperature, "temperature", low=0.0, open_low=True)
        self.layer = layer
        weight = next(layer.parameters())
        self.logit = nn.Parameter(weight.new_full((), math.log(rate / (1 - rate))))

    @property
    def rate(self) -> Tensor:
        """p, a scalar with its graph."""
        return self.logit.sigmoid()

    def forward(self, h: Tensor) -> Tensor:
        if self.training:
            shape = h.shape if isinstance(self.layer, nn.Linear) else h.shape[:2]
            u = torch.rand(shape, dtype=h.dtype, device=h.device).clamp(1e-7, 1 - 1e-7)
            z = ((self.logit + u.logit()) / self.temperature).sigmoid()
            keep = (1 - z) / (1 - self.rate)
            h = h * keep.reshape(*shape, *[1] * (h.dim() - len(shape)))
        found: Tensor = self.layer(h)
        return found

    def cost(self, length_scale: float) -> Tensor:
        """``l² ‖W‖² / (2 (1 − p)) − K H(p)`` with K inputs (channels) (eq. 3, 4): a scalar."""
        weight = self.layer.weight
        if not isinstance(weight, Tensor):
            raise TypeError(f"layer must have a weight, got {type(self.layer).__name__}")
        p, logit = self.rate, self.logit
        # From the logit, so that neither logarithm is that of zero where the rate is rounded.
        entropy = p * F.softplus(-logit) + (1 - p) * F.softplus(logit)
        kept = 1 + logit.exp()  # 1 / (1 - p)
        # All of them, also where each output of a grouped convolution sees a few.
        kind = "in_features" if isinstance(self.layer, nn.Linear) else "in_channels"
        inputs = getattr(self.layer, kind, weight.shape[1])
        return length_scale**2 * weight.square().sum() * kept / 2 - inputs * entropy

    def extra_repr(self) -> str:
        return f"rate={float(self.rate.detach()):.3g}, temperature={self.temperature:g}"


def add_concrete_dropout(
    model: nn.Module, rate: float = 0.1, temperature: float = 0.1
) -> nn.Module:
    """Put a :class:`ConcreteLayer` around every linear and convolution layer of a model.

    Args:
        model: any module that is not such a layer itself; it is changed in place.
        rate, temperature: of each layer.

    Returns:
        The model.

    Raises:
        ValueError: there is no such layer, or it has learned rates already.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if any(isinstance(m, ConcreteLayer) for m in model.modules()):
        raise ValueError("model has learned dropout rates already")
    found = [
        (parent, key, child)
        for parent in model.modules()
        for key, child in parent.named_children()
        if isinstance(child, LAYERS)
    ]
    if not found:
        raise ValueError("model must hold a linear or convolution layer to drop the inputs of")
    for parent, key, child in found:
        setattr(parent, key, ConcreteLayer(child, rate, temperature))
    return model


class ConcreteDropout(Term):
    """What weights and learned dropout rates cost: ``Σ_l l² ‖W_l‖² / (2 (1 − p_l)) − K_l H(p_l)``
    divided by the number of training examples (Gal, Hron & Kendall 2017, eq. 2-4).

    Without it the rates would go to zero. The model needs layers with learned rates
    (:func:`add_concrete_dropout`). It looks at no input.

    Args:
        examples: N, training examples that the supervised loss is a mean over.
        weight: factor of the term, 1 as published.
        length_scale: l of the weights' prior.

    Raises:
        ValueError: in the call, if the model has no learned rates.

    Example:
        >>> model = add_concrete_dropout(models.mlp([784, 300, 10]))
        >>> objective = Objective(model, ConcreteDropout(examples=60_000))
    """

    stackable = False

    def __init__(
        self,
        examples: int,
        weight: float = 1.0,
        length_scale: float = 0.01,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        super().__init__(weight, batch_norm, name or "concrete-dropout", every)
        self.examples = checks.integer(examples, "examples")
        self.length_scale = checks.number(length_scale, "length_scale", low=0.0)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        model = clean.eager
        layers = model.modules() if isinstance(model, nn.Module) else ()
        costs = [m.cost(self.length_scale) for m in layers if isinstance(m, ConcreteLayer)]
        if not costs:
            raise ValueError(
                "model has no layer with a learned dropout rate; call add_concrete_dropout(model)"
            )
        total = torch.stack(costs).sum() / self.examples
        return Penalty(total.expand(len(clean.x)), None, total)

    def extra_repr(self) -> str:
        return (
            f"examples={self.examples}, length_scale={self.length_scale:g}, {super().extra_repr()}"
        )
