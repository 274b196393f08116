"""Adversaries of several objectives as one: mask players that learn, and sizes that differ."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from unshaken import checks, draws
from unshaken.adversaries import PowerIteration, Random, Remembered, SteepestStep, TopEigenvector
from unshaken.adversaries.base import Adversary, Problem
from unshaken.adversaries.learned import Learned, Tabulated
from unshaken.autograd import per_example
from unshaken.divergences import Divergence
from unshaken.masks import Generator
from unshaken.models import stack
from unshaken.perturbations import Mask
from unshaken.perturbations.base import Perturbation

_PROPORTIONAL = (Random, SteepestStep, PowerIteration, TopEigenvector)
"""What they find is proportional to the radius, unless it is a mask."""


def stack_adversaries(
    adversaries: Sequence[Adversary], perturbation: Perturbation, dtype: torch.dtype
) -> Adversary | None:
    """The adversary of all of them: alike in all but what they have learned, and their radius.

    Args:
        adversaries: one for each objective.
        perturbation: what they look in.
        dtype: in which radii are kept, that of the networks.
    """
    first = adversaries[0]
    radii = [each.radius for each in adversaries]
    if len({_without_radius(each, perturbation) for each in adversaries}) > 1:
        return None
    memories = [each for each in adversaries if isinstance(each, Remembered)]
    if memories:
        return StackedMemory(memories)
    if list(first.parameters()):
        return _stack_players(adversaries)
    result = copy.deepcopy(first)
    if len(set(radii)) == 1:
        return result
    kind = RandomOfSizes if isinstance(first, Random) else OfSizes
    return kind(result, torch.tensor(radii, dtype=dtype))


def _without_radius(adversary: Adversary, perturbation: Perturbation) -> tuple[object, ...]:
    if type(adversary) in _PROPORTIONAL and not isinstance(perturbation, Mask):
        adversary = copy.copy(adversary)
        adversary.radius = 1.0
    return described(adversary)


def described(module: nn.Module) -> tuple[object, ...]:
    """What must be equal where modules are to be one: their kinds, words and plain settings."""
    return type(module), repr(module), *map(plain, module.modules())


def plain(module: nn.Module) -> tuple[tuple[str, object], ...]:
    """The settings of a module itself that are numbers or words."""
    found = sorted(vars(module).items())
    return tuple((name, value) for name, value in found if isinstance(value, int | float | str))


def _stack_players(players: Sequence[Adversary]) -> Adversary | None:
    tables = [player for player in players if isinstance(player, Tabulated)]
    learned = [player for player in players if isinstance(player, Learned)]
    # A subclass may do with its weights what is not known here.
    if {type(player) for player in players} == {Tabulated}:
        return StackedTable(tables)
    if len(learned) < len(players) or not {type(p) for p in players} <= {Learned, Generator}:
        return None
    network = stack([player.network for player in learned])
    if network is None:
        return None
    result = copy.deepcopy(learned[0])
    result.network = network
    return result


class OfSizes(Adversary):
    """An adversary whose parameters are proportional to a radius, with a radius for each group.

    Args:
        unit: the adversary; its radius becomes 1.
        radii: one for each group of rows.
    """

    radii: Tensor

    def __init__(self, unit: Adversary, radii: Tensor) -> None:
        super().__init__()
        self.unit = unit
        self.unit.radius = 1.0
        self.register_buffer("radii", radii, persistent=False)

    def find(self, problem: Problem) -> Tensor:
        return self._sized(self.unit.find(problem))

    def rival(self, problem: Problem, a: Tensor) -> Tensor:
        return self._sized(self.unit.rival(problem, a))

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        self.unit.check(perturbation, divergence)

    def _sized(self, a: Tensor) -> Tensor:
        return per_example(draws.to_rows(self.radii, len(a)), a) * a


class RandomOfSizes(OfSizes):
    """The random control in several sizes."""

    random = True


class StackedMemory(Remembered):
    """Memories, one below the other: each group of rows looks into its own."""

    def __init__(self, memories: Sequence[Remembered]) -> None:
        first = memories[0]
        super().__init__(first.ramp or first.radius, 1, first.table.shape[1:])
        self.table = torch.cat([each.table for each in memories])
        self.each = len(first.table)

    def _index(self, problem: Problem) -> Tensor:
        return _among(problem, self.each).to(self.table.device)


class StackedTable(Tabulated):
    """Mask tables, one below the other: each group of rows looks into its own."""

    def __init__(self, tables: Sequence[Tabulated]) -> None:
        first = tables[0]
        with torch.random.fork_rng(devices=[]):  # what it draws is replaced
            super().__init__(1, first.size, first.learning_rate, first.sparse, first.estimator)
        self.table = nn.Parameter(torch.cat([each.table.detach() for each in tables]))
        self.each, self.examples = first.examples, len(self.table)

    def log_alpha(self, problem: Problem) -> Tensor:
        clean = copy.copy(problem.clean)
        clean.index = _among(problem, self.each)
        return super().log_alpha(replace(problem, clean=clean))


def _among(problem: Problem, each: int) -> Tensor:
    """The batch's indices among the rows of all groups, ``each`` for one."""
    index = checks.indices(problem.clean.index, len(problem.x), each)
    above = torch.arange(draws.groups(), device=index.device) * each
    return index + draws.to_rows(above, len(index))
