"""Several objectives of one method as one objective, each with a network of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from unshaken.adversaries.learned import Learned
from unshaken.models import stack, unstack
from unshaken.objective import Objective
from unshaken.regularizer import Regularizer, Term
from unshaken.stacking.adversaries import (
    StackedMemory,
    StackedTable,
    described,
    plain,
    stack_adversaries,
)
from unshaken.stacking.alarm import StackedAlarm


def stack_objectives(objectives: Sequence[Objective]) -> Objective | None:
    """The objective of all of them at once: the sum of what each gives for its rows.

    Call it inside :func:`unshaken.draws.grouped`, with equally many rows for each in each batch.
    The gradient of its value is, for each network and each mask player, what it would be alone,
    and its report holds one number for each.

    Args:
        objectives: alike in all but what their networks and mask players have learned, the
            weights of their terms, and the radius of an adversary that finds perturbations in
            proportion to it.

    Returns:
        The objective, whose weights are copies; None where one cannot be made.
    """
    first = objectives[0]
    model = stack([each.model for each in objectives])
    dtype = next(first.model.parameters()).dtype
    if len({len(each.regularizers) for each in objectives}) > 1:
        return None
    terms = [_stack_terms(column, dtype) for column in zip(*map(_terms, objectives), strict=True)]
    found = [term for term in terms if term is not None]
    if model is None or len(found) < len(terms):
        return None
    if len({(described(each.criterion), each.batch_norm) for each in objectives}) > 1:
        return None
    result = Objective(
        model,
        *found,
        criterion=first.criterion,
        batch_norm=first.batch_norm,
        alarm=False,
        take_gradients=first.take_gradients,
    )
    if first.alarm is not None:
        result.alarm = StackedAlarm(len(objectives))
    return result


def unstack_objectives(stacked: Objective, objectives: Sequence[Objective]) -> None:
    """Load what a stack has learned into the objectives it was made of."""
    unstack(stacked.model, [each.model for each in objectives])
    for term, *column in zip(_terms(stacked), *map(_terms, objectives), strict=True):
        for each in column:
            each.count_calls(term.calls_so_far)
        player = term.adversary if isinstance(term, Regularizer) else None
        theirs = [each.adversary for each in column if isinstance(each, Regularizer)]
        if isinstance(player, StackedTable | StackedMemory):
            for table, rows in zip(theirs, player.table.detach().chunk(len(theirs)), strict=True):
                table.load_state_dict({"table": rows})
        elif isinstance(player, Learned):
            unstack(player.network, [each.network for each in theirs if isinstance(each, Learned)])


def _terms(objective: Objective) -> list[Term]:
    return [term for term in objective.regularizers if isinstance(term, Term)]


def _stack_terms(terms: Sequence[Term], dtype: torch.dtype) -> Term | None:
    first = terms[0]
    if not first.stackable or len({_described(term) for term in terms}) > 1:
        return None
    for buffers in zip(*(term.buffers() for term in terms), strict=True):
        if any(not torch.equal(buffer, buffers[0]) for buffer in buffers):
            return None
    result = copy.deepcopy(first)
    if not isinstance(result, Regularizer) and any(n != "calls" for n, _ in result.named_buffers()):
        return None  # what it keeps is of one network, or of one run's examples
    if isinstance(result, Regularizer):
        theirs = [term.adversary for term in terms if isinstance(term, Regularizer)]
        adversary = stack_adversaries(theirs, result.perturbation, dtype)
        if adversary is None:
            return None
        result.adversary = adversary
    # Whatever else learns is not known here.
    known = sum(1 for _ in result.adversary.parameters()) if isinstance(result, Regularizer) else 0
    if sum(1 for _ in result.parameters()) > known:
        return None
    weights = [term.weight for term in terms]
    if len(set(weights)) > 1:
        # One for each group's mean; a term by itself has a single number.
        vars(result)["weight"] = torch.tensor(weights, dtype=dtype)
    return result


def _described(term: Term) -> tuple[object, ...]:
    """All but the weight and the adversary, which may differ."""
    other = copy.copy(term)
    other.weight = 1.0
    if not isinstance(term, Regularizer):
        return described(other)
    parts = (described(part) for part in (term.perturbation, term.divergence))
    return (type(term), type(term.adversary), plain(other), *parts)
