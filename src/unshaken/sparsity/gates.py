"""Gates on the weights of a model that knows nothing of them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unshaken import checks
from unshaken.distributions import HardConcrete

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
GROUPS = ("weight", "output", "input")


class Gates(nn.Module):
    """Multiplies a weight by hard-concrete gates, one for each group of its entries.

    In training each pass draws the gates anew, and passes of one objective over the same batch draw
    the same ones; in evaluation mode they are what stands for them
    (:meth:`~unshaken.distributions.HardConcrete.deterministic`), many of them exactly 0 or 1
    (Louizos et al. 2018).

    The parameter is ``log α / pace``: Adam moves every parameter by about its learning rate in a
    step, which for ``log α`` itself, whose useful range is about −5 to 5, would be slow.

    Args:
        weight: the weight, ``(out, in, *kernel)``.
        groups: ``"weight"`` for a gate on each entry, ``"output"`` on each output unit or channel,
            ``"input"`` on each input unit or channel.
        keep: ``P(z ≠ 0)`` at the start, in (0, 1).
        pace: > 0.
    """

    def __init__(
        self, weight: Tensor, groups: str = "weight", keep: float = 0.9, pace: float = 10.0
    ) -> None:
        super().__init__()
        self.groups = checks.choice(groups, "groups", GROUPS)
        self.pace = checks.number(pace, "pace", low=0.0, open_low=True)
        keep = checks.number(keep, "keep", low=0.0, high=1.0, open_low=True)
        if keep == 1:
            raise ValueError("keep must be below 1, where gates can still close, got 1")
        shape = list(weight.shape)
        if groups != "weight":
            shape = [
                n if k == ("output", "input").index(groups) else 1 for k, n in enumerate(shape)
            ]
        self.size = weight.numel()
        shift = HardConcrete(torch.zeros(()))
        start = math.log(keep / (1 - keep)) + shift.temperature * math.log(-shift.low / shift.high)
        self.location = nn.Parameter(weight.new_full(shape, start / self.pace))

    def distribution(self) -> HardConcrete:
        """That of the gates, of a shape that broadcasts to the weight's."""
        return HardConcrete(self.pace * self.location)

    def forward(self, weight: Tensor) -> Tensor:
        """The gated weight."""
        gates = self.distribution()
        return weight * (gates.rsample() if self.training else gates.deterministic())

    def expected(self) -> Tensor:
        """How many entries of the weight are not zero, in the mean: a scalar."""
        return self.distribution().expected_l0() * self.size

    def extra_repr(self) -> str:
        return f"groups={self.groups!r}, gates={self.location.numel()}, weights={self.size}"


def add_gates(
    model: nn.Module,
    groups: str = "weight",
    *,
    keep: float = 0.9,
    pace: float = 10.0,
    skip: Iterable[str] = (),
) -> nn.Module:
    """Put gates on the weight of every linear and convolution layer; biases stay as they are.

    Every pass, whoever makes it, then sees the gated weights. State dicts hold a layer's weight as
    ``parametrizations.weight.original`` and its gates as ``parametrizations.weight.0.location``;
    :func:`unshaken.sparsity.prune` makes a plain model of it. Models of one stack
    (:mod:`unshaken.stacking`) must be without gates.

    Args:
        model: any module; it is changed in place.
        groups: which entries share a gate, see :class:`Gates`.
        keep: ``P(z ≠ 0)`` at the start.
        pace: see :class:`Gates`.
        skip: names of layers, as ``model.named_modules()`` gives them, that get none.

    Returns:
        The model.

    Raises:
        ValueError: there is no such layer, a name is unknown, a layer has gates already, or a
            grouped convolution would need gates on its input.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    found = {name: m for name, m in model.named_modules() if isinstance(m, LAYERS)}
    skipped = set(skip)
    if unknown := skipped - set(found):
        raise ValueError(
            f"skip must name linear or convolution layers, among {', '.join(found)}; got "
            f"{', '.join(sorted(unknown))}"
        )
    chosen = {name: layer for name, layer in found.items() if name not in skipped}
    if not chosen:
        raise ValueError("model must have a linear or convolution layer to put gates on")
    for name, layer in chosen.items():
        if parametrize.is_parametrized(layer, "weight"):
            raise ValueError(f"the weight of layer {name!r} is parametrized already")
        if groups == "input" and getattr(layer, "groups", 1) != 1:
            raise ValueError(
                f"layer {name!r} is a grouped convolution, whose inputs have no gates of their "
                "own; use groups='output' or 'weight', or skip it"
            )
    for layer in chosen.values():
        gates = Gates(layer.weight.detach(), groups, keep, pace)
        gates.train(layer.training)
        parametrize.register_parametrization(layer, "weight", gates, unsafe=True)
    return model


def gates_of(model: nn.Module) -> list[Gates]:
    """All gates of a model.

    Raises:
        ValueError: it has none.
    """
    found = [module for module in model.modules() if isinstance(module, Gates)]
    if not found:
        raise ValueError("model must have gates, got one without; call sparsity.add_gates(model)")
    return found
