"""An alarm for each objective of a stack."""

from __future__ import annotations

from torch import Tensor

from unshaken.alarm import Alarm, Reached


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

    @property
    def each_reached(self) -> list[dict[str, Reached]]:
        """What the probes of each objective found."""
        return [each.reached for each in self._each]

    def note(self, name: str, adversary: Tensor, random: Tensor) -> None:
        count = len(self._each)
        parts = zip(adversary.chunk(count), random.chunk(count), strict=True)
        for each, (worst, control) in zip(self._each, parts, strict=True):
            each.note(name, worst, control)

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
