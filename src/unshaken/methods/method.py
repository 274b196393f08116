"""What the catalog knows of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from unshaken.regularizer import Term

Settings = Mapping[str, float]


@dataclass(frozen=True)
class Range:
    """Where a setting is looked for.

    Attributes:
        low: the least value.
        high: the largest value.
        log: whether steps are factors rather than differences.
        searched: whether it is looked for unless other settings are named.
    """

    low: float
    high: float
    log: bool = True
    searched: bool = True


@dataclass(frozen=True)
class Shape:
    """What a method must know of the data and of the network it trains.

    Attributes:
        channels: channels of the inputs.
        size: their spatial axes.
        examples: number of all training inputs.
        classes: number of classes; 0 where nothing is to be trained.
        network: the network, for methods that look at its layers or copy it.
        labeled: number of examples that the supervised loss is a mean over; 0 for all.
    """

    channels: int
    size: tuple[int, ...]
    examples: int
    classes: int = 0
    network: nn.Module | None = field(default=None, compare=False, repr=False)
    labeled: int = 0

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of all inputs together."""
        return (self.examples, self.channels, *self.size)

    @property
    def entries(self) -> tuple[int, ...]:
        """The size of a mask: the spatial axes, or the features of plain vectors."""
        return self.size or (self.channels,)


@dataclass(frozen=True)
class Method:
    """A row of the catalog.

    Attributes:
        summary: one line for help and reports.
        build: the terms for data of a shape, with settings.
        settings: the settings it takes, with defaults.
        axes: how many spatial axes it needs at least.
        ranges: where each setting is looked for; :data:`RANGES` unless given here.
        options: what it asks of the network's builder, as dropout does.
        adapt: makes the network that it trains from the common one; None takes that one.
        training: what it changes in the common training settings.
        networks: names of the networks of :mod:`unshaken.models` that it can train; all if empty.
    """

    summary: str
    build: Callable[[Shape, Settings], list[Term]]
    settings: Settings = field(default_factory=dict)
    axes: int = 0
    ranges: Mapping[str, Range] = field(default_factory=dict)
    options: Callable[[Settings], Mapping[str, Any]] = lambda settings: {}
    adapt: Callable[[nn.Module, Shape, Settings], nn.Module] | None = None
    training: Callable[[Settings], Mapping[str, Any]] = lambda settings: {}
    networks: tuple[str, ...] = ()

    def range_of(self, setting: str) -> Range:
        """Where a setting is looked for."""
        return self.ranges[setting] if setting in self.ranges else RANGES[setting]


RANGES: Mapping[str, Range] = {
    "radius": Range(0.01, 10.0),
    "weight": Range(0.005, 5.0),
    "rate": Range(0.05, 0.7, log=False),
    "sparsity": Range(0.005, 5.0),
    "scale": Range(1.0, 2.0, log=False, searched=False),
    "learning_rate": Range(1e-7, 1e-2, searched=False),
    "keep": Range(0.3, 0.98, log=False),
    "block": Range(1, 4, log=False, searched=False),
    "steps": Range(1, 4, log=False, searched=False),
    "draws": Range(2, 16, searched=False),
    "reverse": Range(0, 1, log=False, searched=False),
}
"""The papers' grids, ε in [0.01, 10] and λ, η in [0.005, 5] (VMT section 4); the rest is ours."""

DIRECTION: Settings = {"reverse": 0.0}
"""The setting of methods whose D is KL from the clean prediction (0), or to it (1)."""


def which_kl(s: Settings) -> str:
    """A regularizer's ``divergence`` by the setting ``reverse``."""
    return "reverse-kl" if whole(s, "reverse") else "kl"


def whole(s: Settings, name: str) -> int:
    """A setting that counts.

    Raises:
        ValueError: if it is no whole number.
    """
    value = s[name]
    if value != int(value):
        raise ValueError(f"{name} must be a whole number, got {value:g}")
    return int(value)
