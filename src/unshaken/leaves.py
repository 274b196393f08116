"""The leaves that scalars depend on: those that are known, and those that only the graph knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Leaves:
    """A list of leaves that grows by those that a scalar depends on besides.

    Args:
        known: those that it begins with.

    Attributes:
        known: all so far, in the order in which they came.
        beyond: whether there are others than it began with.
    """

    def __init__(self, known: Sequence[Tensor]) -> None:
        self.known = list(known)
        self.beyond = False
        self._ids = {id(leaf) for leaf in known}
        self._passed_over: list[Sequence[Tensor]] = []
        self._first = _next_number()

    def pass_over(self, leaves: Sequence[Tensor]) -> None:
        """Nobody asks for these, nor for those that join the sequence later."""
        self._passed_over.append(leaves)

    def meet(self, value: Tensor, ends: Sequence[Tensor]) -> tuple[int, bool]:
        """Add the leaves behind ``value``, down to ``ends``, that are new.

        Returns:
            How many there are, and whether a part of the graph that leads to such leaves may be
            older than this list, and needed again.
        """
        if torch.compiler.is_compiling():
            return 0, False
        behind, older = leaves_of(value, [*ends, *self.known], self._first)
        apart = self._ids.union(*(map(id, each) for each in [ends, *self._passed_over]))
        new = [leaf for leaf in behind if id(leaf) not in apart]
        self.beyond = self.beyond or bool(new)
        self.known += new
        self._ids.update(map(id, new))
        # Without others the answer is no: operations of other threads have numbers of their own.
        return len(new), older and self.beyond


def leaves_of(value: Tensor, ends: Sequence[Tensor], first: int) -> tuple[list[Tensor], bool]:
    """The leaves that a backward pass from ``value`` would give a gradient.

    Args:
        value: where the pass begins.
        ends: tensors that it does not go beyond, as parameters that are no leaves.
        first: the number of the first operation that is not old.

    Returns:
        The leaves, and whether an old operation lies on the way.
    """
    found: list[Tensor] = []
    older = False
    seen: set[Any] = {end.grad_fn for end in ends if end.grad_fn is not None}
    ahead: list[Any] = [value.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        before = node.next_functions
        if before:
            ahead.extend(each for each, _ in before)
            older = older or node._sequence_nr() < first
        elif isinstance(leaf := getattr(node, "variable", None), Tensor) and leaf.requires_grad:
            found.append(leaf)
    return found, older


def _next_number() -> int:
    """The number that autograd gives the next operation, which all earlier ones lie below."""
    if torch.compiler.is_compiling():
        return 0
    with torch.enable_grad():
        probe: Any = torch.zeros((), requires_grad=True).view(()).grad_fn
    return int(probe._sequence_nr())
