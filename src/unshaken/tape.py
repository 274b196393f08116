"""Draws that are written down, and handed to compiled code, which cannot make them itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

Draw = Callable[[tuple[int, ...], torch.dtype, torch.device], Tensor]


@dataclass(frozen=True)
class Request:
    """Random numbers that were asked for.

    Attributes:
        draw: makes them.
        shape, dtype, device: what it is asked for.
    """

    draw: Draw
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def __call__(self) -> Tensor:
        """Numbers of this kind, drawn now."""
        return self.draw(self.shape, self.dtype, self.device)


class Tape:
    """What was drawn, in turn.

    Attributes:
        requests: each call of :func:`answer`.
        others_drew: whether torch's global generator of the CPU was used by somebody else.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.others_drew = False
        self._state = torch.get_rng_state()

    def write(self, request: Request) -> Tensor:
        """Draw and write it down."""
        self.look()
        self.requests.append(request)
        found = request()
        self._state = torch.get_rng_state()
        return found

    def look(self) -> None:
        """See whether anybody else has drawn since the last request."""
        self.others_drew |= not torch.equal(self._state, torch.get_rng_state())


class _Hand:
    def __init__(self) -> None:
        self.numbers: list[Tensor] = []
        self.taken = 0
        self.groups = 1


_TAPES: list[Tape] = []
_HAND = _Hand()


@contextmanager
def written_down() -> Iterator[Tape]:
    """Inside, every draw is also written down."""
    tape = Tape()
    _TAPES.append(tape)
    try:
        yield tape
        tape.look()
    finally:
        _TAPES.remove(tape)


def groups() -> int:
    """How many groups of rows (:func:`unshaken.draws.groups`) the batch of compiled code has."""
    return _HAND.groups


def hand(numbers: Sequence[Tensor], groups: int = 1) -> None:
    """Numbers that compiled code takes, one after the other, instead of drawing.

    Args:
        numbers: the answers, in turn.
        groups: how many groups of rows its batch has.
    """
    _HAND.groups = groups
    _HAND.numbers = list(numbers)
    _HAND.taken = 0


def answer(draw: Draw, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Random numbers: drawn, or those at hand where this is compiled code."""
    if torch.compiler.is_compiling():
        _HAND.taken += 1
        return _HAND.numbers[_HAND.taken - 1]
    if not _TAPES:
        return draw(shape, dtype, device)
    return _TAPES[-1].write(Request(draw, shape, dtype, device))
