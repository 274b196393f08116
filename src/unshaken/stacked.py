"""Several objectives of one method as one objective, each with a network of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from unshaken import checks, draws
from unshaken.adversaries.base import Adversary, Problem
from unshaken.adversaries.learned import Learned, Tabulated
from unshaken.alarm import Alarm
from unshaken.masks import Generator
from unshaken.models import stack, unstack
from unshaken.objective import Objective
from unshaken.regularizer import Regularizer, Term

__all__ = ["StackedAlarm", "stack_objectives", "unstack_objectives"]


def stack_objectives(objectives: Sequence[Objective]) -> Objective | None:
    """The objective of all of them at once: the sum of what each gives for its rows.

    Call it inside :func:`unshaken.draws.grouped`, with equally many rows for each in each batch.
    The gradient of its value is, for each network and each mask player, what it would be alone,
    and its report holds one number for each.

    Args:
        objectives: alike in all but the weights of their networks and mask players.

    Returns:
        The objective, whose weights are copies; None where one cannot be made.
    """
    first = objectives[0]
    model = stack([each.model for each in objectives])
    terms = [_stack_terms(column) for column in zip(*map(_terms, objectives), strict=True)]
    found = [term for term in terms if term is not None]
    if model is None or len(found) < len(terms):
        return None
    if len({(repr(each.criterion), each.batch_norm) for each in objectives}) > 1:
        return None
    result = Objective(
        model, *found, criterion=first.criterion, batch_norm=first.batch_norm, alarm=False
    )
    if first.alarm is not None:
        result.alarm = StackedAlarm(len(objectives))
    return result


def unstack_objectives(stacked: Objective, objectives: Sequence[Objective]) -> None:
    """Load what a stack has learned into the objectives it was made of."""
    unstack(stacked.model, [each.model for each in objectives])
    for term, *column in zip(_terms(stacked), *map(_terms, objectives), strict=True):
        player = term.adversary if isinstance(term, Regularizer) else None
        theirs = [each.adversary for each in column if isinstance(each, Regularizer)]
        if isinstance(player, StackedTable):
            for table, rows in zip(theirs, player.table.detach().chunk(len(theirs)), strict=True):
                table.load_state_dict({"table": rows})
        elif isinstance(player, Learned):
            unstack(player.network, [each.network for each in theirs if isinstance(each, Learned)])


def _terms(objective: Objective) -> list[Term]:
    return [term for term in objective.regularizers if isinstance(term, Term)]


def _stack_terms(terms: Sequence[Term]) -> Term | None:
    first = terms[0]
    if len({(type(term), term.name, repr(term)) for term in terms}) > 1:
        return None
    for buffers in zip(*(term.buffers() for term in terms), strict=True):
        if any(not torch.equal(buffer, buffers[0]) for buffer in buffers):
            return None
    if not list(first.parameters()):
        return copy.deepcopy(first)
    result = copy.deepcopy(first)
    player = _stack_players([term.adversary for term in terms if isinstance(term, Regularizer)])
    if player is None or not isinstance(result, Regularizer):
        return None
    result.adversary = player
    # Whatever else learns is not known here.
    alone = sum(1 for _ in result.parameters()) == sum(1 for _ in player.parameters())
    return result if alone else None


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


class StackedTable(Tabulated):
    """Mask tables, one below the other: each group of rows looks into its own."""

    def __init__(self, tables: Sequence[Tabulated]) -> None:
        first = tables[0]
        with torch.random.fork_rng(devices=[]):  # what it draws is replaced
            super().__init__(1, first.size, first.learning_rate, first.sparse)
        self.table = nn.Parameter(torch.cat([each.table.detach() for each in tables]))
        self.each, self.examples = first.examples, len(self.table)

    def log_alpha(self, problem: Problem) -> Tensor:
        index = checks.indices(problem.clean.index, len(problem.x), self.each)
        above = torch.arange(draws.groups(), device=index.device) * self.each
        clean = copy.copy(problem.clean)
        clean.index = index + draws.to_rows(above, len(index))
        return super().log_alpha(replace(problem, clean=clean))


class StackedAlarm(Alarm):
    """An alarm for each objective of a stack, with ears for its rows only.

    Args:
        count: how many objectives there are.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._each = [_Note() for _ in range(count)]

    @property
    def sentences(self) -> list[list[str]]:
        """What the alarm of each objective has said."""
        return [each.sentences for each in self._each]

    def listens(self, name: str) -> bool:
        return any(each.listens(name) for each in self._each)

    def hear(self, name: str, gradient: Tensor | None) -> None:
        parts = [None] * len(self._each) if gradient is None else gradient.chunk(len(self._each))
        for each, part in zip(self._each, parts, strict=True):
            if each.listens(name):
                each.hear(name, part)

    def probes(self, name: str) -> bool:
        return any(each.probes(name) for each in self._each)

    def note_gain(self, name: str, gain: Tensor) -> None:
        for each, part in zip(self._each, gain.chunk(len(self._each)), strict=True):
            if each.probes(name):
                each.note_gain(name, part)

    def end_epoch(self) -> None:
        super().end_epoch()
        for each in self._each:
            each.end_epoch()


class _Note(Alarm):
    """Keeps what it would say: a warning could not tell whose it is."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def warn(self, sentence: str) -> None:
        self.sentences.append(sentence)
