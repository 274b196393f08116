"""Ladder networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unshaken import checks, draws
from unshaken.adversaries.base import Penalty
from unshaken.divergences import CrossEntropy
from unshaken.methods.layers import own_pass
from unshaken.passes import CleanPass, Model
from unshaken.regularizer import Found, Term

COSTS = (1000.0, 10.0, 0.1)
"""Of the input, the first hidden layer, and each layer above (Rasmus et al. 2015, MNIST)."""

EPSILON = 1e-5


class Ladder(Term):
    """A decoder removes noise from every layer of the network (Rasmus et al. 2015, algorithm 1).

    The network runs once clean and once with Gaussian noise on its input and on the normalized
    pre-activations ``z̃^l = z^l + n`` of every layer. From the top down
    ``u^l = norm(V^{l+1} ẑ^{l+1})``, ``u^L = norm(softmax of the noisy outputs)`` and
    ``ẑ^l = g(z̃^l, u^l)`` with, for each unit, ``g = (z̃ − μ(u)) v(u) + μ(u)``, where
    ``μ(u) = a₁ σ(a₂ u + a₃) + a₄ u + a₅`` and ``v(u) = a₆ σ(a₇ u + a₈) + a₉ u + a₁₀``. The term is
    ``Σ_l cost_l mean_i mean_j (z^l_ij − norm(ẑ^l)_ij)²``, with norm by the clean pass's mean and
    deviation. Label-free. Running statistics move in the clean pass. The labels are learned from
    the noisy outputs (:attr:`noisy_labels`, which stands in for the supervised loss).

    The network must be an ``nn.Sequential`` of linear layers, batch norm, activations, dropout and
    flattening, as :func:`unshaken.models.mlp` makes it. Noise enters behind batch norm's
    normalization, and where a linear layer has none in proportion to its outputs' deviation.
    Decoder and g belong to the term: an optimizer must be given their parameters.

    Args:
        model: the network to be trained; its widths are taken, it is not kept.
        costs: of the input, the first hidden layer, and so on; the last one serves all layers
            above. ``(0, 0, 1)`` with as many zeros as there are layers below the top is the
            Γ-model, which needs no decoder.
        noise: standard deviation.
        weight: factor of the term.
        batch_norm, name, every, ramp: see :class:`unshaken.regularizer.Term`.

    Raises:
        ValueError: the network is of another kind; in the call, a batch of one example.

    Example:
        >>> ladder = Ladder(model)
        >>> objective = Objective(model, ladder, ladder.noisy_labels)
        >>> optimizer = torch.optim.Adam(objective.parameter_groups(lr=0.002))
    """

    def __init__(
        self,
        model: nn.Module,
        costs: Sequence[float] = COSTS,
        noise: float = 0.3,
        weight: float = 1.0,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(weight, batch_norm, name or "ladder", every, ramp)
        linear = _linear_layers(model)
        given = [checks.number(cost, "costs", low=0.0) for cost in costs]
        if not 1 <= len(given) <= len(linear) + 1:
            raise ValueError(
                f"costs must hold 1 to {len(linear) + 1} numbers, for the input and each layer of "
                f"the model, got {len(given)}"
            )
        self.costs = [*given, *given[-1:] * (len(linear) + 1 - len(given))]
        self.noise = checks.number(noise, "noise", low=0.0)
        like = linear[0].weight
        widths = [linear[0].in_features, *(layer.out_features for layer in linear)]
        # The lowest layer with a cost is where the decoder ends.
        self.lowest = next((k for k, cost in enumerate(self.costs) if cost), len(linear))
        self.combinators = nn.ModuleList(Combinator(n, like) for n in widths[self.lowest :])
        down = [
            nn.Linear(above, below, bias=False) for below, above in pairwise(widths[self.lowest :])
        ]
        self.decoder = nn.ModuleList(down).to(like)
        self._noisy_labels = (NoisyLabels(self.noise, name=f"{self.name}-labels"),)

    @property
    def noisy_labels(self) -> NoisyLabels:
        """The supervised loss of the noisy outputs, a term to stand beside this one."""
        return self._noisy_labels[0]

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        if len(clean.x) == 1:
            raise ValueError("a ladder normalizes over the batch and needs more than one example")
        moves = clean.policy == "batch" and self.training and torch.is_grad_enabled()
        # Evaluation is clean, so it is this pass that moves the running statistics.
        plainly = clean.with_policy("update") if moves else clean
        with layers_seen(clean.eager, 0.0) as plain:
            outputs = plainly.again(clean.x, eager=True)
        with layers_seen(clean.eager, self.noise) as noisy:
            given = own_pass(clean).again(clean.x, eager=True)
        signal = outputs.view_as(outputs)
        if len(plain) != len(self.costs):
            raise ValueError("model must be the one that the ladder was made for")
        value = signal.new_zeros(len(clean.x))
        above, _, _ = _normalized(given.softmax(1))
        for k in range(len(self.costs) - 1, self.lowest - 1, -1):
            here = k - self.lowest
            if k < len(self.costs) - 1:
                above, _, _ = _normalized(self.decoder[here](above))
            above = self.combinators[here](noisy[k].z, above)
            if self.costs[k]:
                rebuilt = (above - plain[k].mean) / plain[k].deviation
                apart = (plain[k].z - rebuilt).square().mean(1)
                value = value + self.costs[k] * apart
        return Penalty(value, None, signal)

    def extra_repr(self) -> str:
        return f"costs={self.costs}, noise={self.noise:g}, {super().extra_repr()}"


class NoisyLabels(Term):
    """The cross-entropy of the outputs under the noise of a :class:`Ladder`.

    It stands in for the supervised loss. Running statistics are those of the ladder's clean pass.
    """

    labeled = True
    replaces = True
    stackable = False

    def __init__(self, noise: float = 0.3, weight: float = 1.0, *, name: str = "") -> None:
        super().__init__(weight, name=name or "noisy-labels")
        self.noise = checks.number(noise, "noise", low=0.0)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        if clean.y is None:
            raise ValueError("NoisyLabels needs labels, got y=None")
        with layers_seen(clean.eager, self.noise):
            outputs = own_pass(clean).again(clean.x, eager=True)
        divergence = CrossEntropy()
        return Penalty(divergence(outputs, divergence.target(outputs, clean.y)), None, outputs)


class Combinator(nn.Module):
    """``g(z̃, u)``: ten numbers for each unit; at first it is zero."""

    def __init__(self, units: int, like: Tensor) -> None:
        super().__init__()
        start = like.new_zeros(10, units)
        start[1] = start[6] = 1
        self.a = nn.Parameter(start)

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        a = self.a
        mean = a[0] * (a[1] * u + a[2]).sigmoid() + a[3] * u + a[4]
        share = a[5] * (a[6] * u + a[7]).sigmoid() + a[8] * u + a[9]
        return (z - mean) * share + mean


class Seen:
    """A layer's normalized pre-activation, and what it was normalized with."""

    def __init__(self, z: Tensor, mean: Tensor, deviation: Tensor) -> None:
        self.z, self.mean, self.deviation = z, mean, deviation


@contextmanager
def layers_seen(model: Model, noise: float) -> Iterator[list[Seen]]:
    """Inside, a call of the network appends what its input and each linear layer give, with noise.

    The list then holds ``z̃`` from the bottom to the top.
    """
    linear = _linear_layers(model)
    norms = _norm_behind(model)
    seen: list[Seen] = []

    def at_input(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.clear()
        x = given[0]
        x = x + noise * _normal(x) if noise else x
        seen.append(Seen(x, x.new_zeros(()), x.new_ones(())))
        return (x,)

    def at_linear(module: nn.Module, given: object, outputs: Tensor) -> Tensor:
        z, mean, deviation = _normalized(outputs)
        drawn = noise * _normal(outputs) if noise else None
        seen.append(Seen(z if drawn is None else z + drawn, mean, deviation))
        if module in norms:
            pending.append(drawn)
            return outputs
        return outputs if drawn is None else outputs + drawn * deviation

    def at_norm(module: nn.Module, given: object, outputs: Tensor) -> Tensor:
        drawn = pending.pop()
        weight = module.weight
        if drawn is None:
            return outputs
        return outputs + (drawn * weight if isinstance(weight, Tensor) else drawn)

    pending: list[Tensor | None] = []
    with ExitStack() as stack:
        handles = [linear[0].register_forward_pre_hook(at_input)]
        handles += [layer.register_forward_hook(at_linear) for layer in linear]
        handles += [norm.register_forward_hook(at_norm) for norm in norms.values()]
        for handle in handles:
            stack.callback(handle.remove)
        yield seen


def _normal(like: Tensor) -> Tensor:
    return draws.normal(tuple(like.shape), like.dtype, like.device)


def _normalized(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By the batch's mean and deviation, as batch norm does it."""
    mean = h.mean(0)
    deviation = (h.var(0, unbiased=False) + EPSILON).sqrt()
    return (h - mean) / deviation, mean, deviation


def _linear_layers(model: Model) -> list[nn.Linear]:
    kinds = (nn.Linear, nn.Flatten, nn.BatchNorm1d, nn.Dropout, nn.ReLU, nn.LeakyReLU, nn.Tanh)
    layers = list(model) if isinstance(model, nn.Sequential) else []
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if not linear or not all(isinstance(layer, kinds) for layer in layers):
        raise ValueError(
            "model must be an nn.Sequential of linear layers, batch norm, activations and dropout, "
            f"such as unshaken.models.mlp makes, got {type(model).__name__}"
        )
    return linear


def _norm_behind(model: Model) -> dict[nn.Module, _BatchNorm]:
    """The batch norm directly behind a linear layer, by that layer."""
    layers = list(model) if isinstance(model, nn.Sequential) else []
    return {
        a: b for a, b in pairwise(layers) if isinstance(a, nn.Linear) and isinstance(b, _BatchNorm)
    }
