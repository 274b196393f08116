"""Batches of several runs, one below the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..data import Dataset
from .config import TrainingConfig
from .feed import Batch, Feed

__all__ = ["StackedFeed"]


class StackedFeed:
    """Batch t of each run, as its own :class:`Feed` would give it, gathered at once.

    Args:
        feeds: one for each run, whose indices are used.
        datasets: the runs' data, in memory, of one shape; where all are equal one copy is kept.
        config: of any of the runs.
        augment: changes each batch of inputs, drawing from :mod:`unshaken.draws`.
        idle: whether nothing looks at the unlabeled stream, which then stays out of the batches.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        datasets: Sequence[Dataset],
        config: TrainingConfig,
        augment: Callable[[Tensor], Tensor] | None = None,
        *,
        idle: bool = False,
    ) -> None:
        self._feeds, self._augment = feeds, augment
        # What augments it draws numbers, and the next ones have to be those of the run alone.
        self._skip = idle and augment is None
        self._accumulate = config.accumulate
        self._dtype = torch.float64 if config.precision == "64" else torch.float32
        unlabeled = config.unlabeled_batch_size > 0
        self._x, self._above = _joined(
            [torch.as_tensor((d.x_all if unlabeled else d.x_train)[:]) for d in datasets]
        )
        self._y, self._above_y = _joined([d.y_train for d in datasets])

    def batch(self, step: int, micro: int = 0) -> Batch:
        """Batch ``micro`` of step ``step`` of all runs."""
        t = step * self._accumulate + micro
        labeled = [feed.labeled.batch(t) for feed in self._feeds]
        there = torch.cat(labeled)
        x = self._inputs(labeled)
        y = self._y.index_select(0, _shifted(labeled, self._above_y))
        streams = [feed.unlabeled for feed in self._feeds if feed.unlabeled is not None]
        if self._skip or not streams:
            return Batch(x, y, None, there, there)
        unlabeled = [stream.batch(t) for stream in streams]
        return Batch(x, y, self._inputs(unlabeled), torch.cat(unlabeled), there)

    def _inputs(self, indices: Sequence[Tensor]) -> Tensor:
        x = self._x.index_select(0, _shifted(indices, self._above)).to(self._dtype)
        return x if self._augment is None else self._augment(x)


def _joined(tensors: Sequence[Tensor]) -> tuple[Tensor, int]:
    """All of them, one below the other, and how many rows are above each one's next."""
    first = tensors[0]
    if all(torch.equal(first, other) for other in tensors[1:]):
        return first, 0
    return torch.cat(list(tensors)), len(first)


def _shifted(indices: Sequence[Tensor], above: int) -> Tensor:
    if not above:
        return torch.cat(list(indices))
    return torch.cat([part + k * above for k, part in enumerate(indices)])
