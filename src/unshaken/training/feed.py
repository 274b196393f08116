"""Batches on the device: two streams of their own sizes, each process's share of both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import Dataset, Pool, Split, Stream
from .config import TrainingConfig
from .meter import NonFinite, NonFiniteError

__all__ = ["Batch", "Feed"]


@dataclass(slots=True)
class Batch:
    """What one call of the objective takes.

    Attributes:
        x, y: ``(N, ...)`` and ``(N,)``, labeled examples.
        unlabeled: ``(U, ...)``, or None without an unlabeled stream.
        index: ``(U,)`` or ``(N,)``, which examples label-free terms see.
        labeled_index: ``(N,)``, which examples ``x`` are.
    """

    x: Tensor
    y: Tensor
    unlabeled: Tensor | None
    index: Tensor
    labeled_index: Tensor


class Feed:
    """Batch t of both streams is a pure function of (seed, t).

    With several processes each takes its equal share of the same batch, so that the mean over
    the processes is the mean over the batch.

    Args:
        dataset: examples in memory; they are moved to the device where they fit easily.
        split: which examples are drawn.
        config: batch sizes, accumulation, seed and precision.
        device: where batches are wanted.
        rank, world_size: this process and the number of processes.
        augment: changes each batch of inputs, drawing from :mod:`unshaken.draws`.

    Raises:
        ValueError: a batch size is not divisible by the number of processes.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        config: TrainingConfig,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        augment: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        for name in ("batch_size", "unlabeled_batch_size"):
            size = getattr(config, name)
            if size % world_size:
                raise ValueError(
                    f"{name} must be divisible by the {world_size} processes, got {size}"
                )
        self._device = device
        self._dtype = torch.float64 if config.precision == "64" else torch.float32
        self._augment = augment
        self._channels_last = config.channels_last
        self._accumulate = config.accumulate
        self._rank, self._world_size = rank, world_size
        self.labeled = Stream(split.labeled, config.batch_size, config.seed, "labeled")
        self.unlabeled: Stream | None = None
        if config.unlabeled_batch_size:
            size = config.unlabeled_batch_size
            self.unlabeled = Stream(split.unlabeled, size, config.seed, "unlabeled")
        # x_all begins with the labeled examples, so one pool serves both streams.
        self._x = Pool(dataset.x_train if self.unlabeled is None else dataset.x_all, device)
        self._y = Pool(dataset.y_train, device)

    @property
    def steps_per_epoch(self) -> int:
        """Steps until the larger stream has shown each of its examples once."""
        streams = [self.labeled] if self.unlabeled is None else [self.labeled, self.unlabeled]
        return -(-max(stream.steps_per_epoch for stream in streams) // self._accumulate)

    def indices(self, step: int, micro: int = 0) -> tuple[Tensor, Tensor | None]:
        """Example indices of a batch over all processes: labeled, unlabeled."""
        t = step * self._accumulate + micro
        unlabeled = None if self.unlabeled is None else self.unlabeled.batch(t)
        return self.labeled.batch(t), unlabeled

    def failure(self, bad: NonFinite, checkpoint: Path | None = None) -> NonFiniteError:
        """The error that names the batch whose loss was not finite."""
        labeled, unlabeled = self.indices(bad.step, bad.micro)
        return NonFiniteError(
            "the loss became NaN or infinite",
            step=bad.step,
            terms=bad.terms,
            labeled=tuple(labeled.tolist()),
            unlabeled=() if unlabeled is None else tuple(unlabeled.tolist()),
            checkpoint=checkpoint,
        )

    def batch(self, step: int, micro: int = 0) -> Batch:
        """This process's share of batch ``micro`` of step ``step``."""
        labeled, unlabeled = self.indices(step, micro)
        here = self._share(labeled)
        there = here.to(self._device, non_blocking=True)
        x, y = self._inputs(here, there), _gather(self._y, here, there)
        if unlabeled is None:
            return Batch(x, y, None, there, there)
        here = self._share(unlabeled)
        index = here.to(self._device, non_blocking=True)
        return Batch(x, y, self._inputs(here, index), index, there)

    def some_inputs(self, most: int = 100) -> Iterator[Tensor]:
        """Inputs of the larger stream's first epoch, in batches; of ``most`` at most."""
        for step in range(min(self.steps_per_epoch, most)):
            found = self.batch(step)
            yield found.x if found.unlabeled is None else found.unlabeled

    def _share(self, indices: Tensor) -> Tensor:
        if self._world_size == 1:
            return indices
        size = len(indices) // self._world_size
        return indices[self._rank * size : (self._rank + 1) * size]

    def _inputs(self, here: Tensor, there: Tensor) -> Tensor:
        x = _gather(self._x, here, there).to(self._dtype)
        x = x if self._augment is None else self._augment(x)
        if self._channels_last and x.dim() == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x


def _gather(pool: Pool, here: Tensor, there: Tensor) -> Tensor:
    # The same indices, on the CPU and on the device: a pool that had to fetch them from the other
    # side would wait for all work of the device.
    return pool.gather(there if pool.resident else here)


def describe_data(dataset: Dataset, split: Split) -> dict[str, Any]:
    """What a resumed run compares: another data set or split would not continue the same run."""
    digest = hashlib.sha256()
    for indices in (split.labeled, split.unlabeled, split.validation):
        digest.update(len(indices).to_bytes(8, "little") + indices.cpu().numpy().tobytes())
    return {
        "name": dataset.name,
        "shape": list(dataset.x_train.shape),
        "classes": dataset.classes,
        "split": digest.hexdigest()[:16],
    }
