"""Batches that are a pure function of (seed, t), so that a resumed run goes on exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from .seeds import torch_generator

__all__ = ["Stream"]


class Stream:
    """An endless sequence of batches of example indices.

    Epoch e is the permutation of ``indices`` that (seed, name, e) give; the epochs stand one
    after another and batch t is the positions ``t * batch_size .. (t + 1) * batch_size - 1`` of
    them. Every example comes once in each epoch, no batch is short (the last one of an epoch
    reaches into the next), and ``batch(t)`` needs no earlier batch: there is no state to save.
    Two streams of one seed are independent when their names differ.

    Args:
        indices: ``(N,)`` int64, the examples to draw from; may be fewer than ``batch_size``.
        batch_size: number of indices in each batch.
        seed: chooses the order.
        name: what the stream is for, as "labeled".

    Raises:
        ValueError: there is nothing to draw from, or the batch size is not positive.
    """

    def __init__(self, indices: Tensor, batch_size: int, seed: int, name: str) -> None:
        if indices.dtype != torch.int64 or indices.ndim != 1 or len(indices) == 0:
            raise ValueError(
                f"indices: expected int64 of shape (N,), not empty, for the stream {name!r}, got "
                f"{indices.dtype} {tuple(indices.shape)}"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        self.indices = indices.cpu()
        self.batch_size = batch_size
        self.seed = seed
        self.name = name
        self._epochs: dict[int, Tensor] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every example has come once: ceil(N / batch_size)."""
        return -(-len(self.indices) // self.batch_size)

    def epoch_of(self, t: int) -> int:
        """The epoch in which batch ``t`` begins, from 0."""
        return t * self.batch_size // len(self.indices)

    def batch(self, t: int) -> Tensor:
        """Indices ``(batch_size,)`` of batch ``t`` = 0, 1, ...

        Raises:
            ValueError: t is negative.
        """
        if t < 0:
            raise ValueError(f"t: expected a batch number >= 0, got {t}")
        count = len(self.indices)
        epoch, start = divmod(t * self.batch_size, count)
        stop = start + self.batch_size
        if stop <= count:
            return self._epoch(epoch)[start:stop]
        pieces = []
        while stop > 0:
            pieces.append(self._epoch(epoch)[start:stop])
            epoch, start, stop = epoch + 1, 0, stop - count
        return torch.cat(pieces)

    def _epoch(self, epoch: int) -> Tensor:
        order = self._epochs.get(epoch)
        if order is None:
            # Two are enough for a batch that reaches into the next epoch.
            if len(self._epochs) > 1:
                self._epochs.pop(next(iter(self._epochs)))
            generator = torch_generator("stream", self.name, self.seed, epoch)
            order = self.indices[torch.randperm(len(self.indices), generator=generator)]
            self._epochs[epoch] = order
        return order

    def __repr__(self) -> str:
        return (
            f"Stream({self.name!r}, {len(self.indices)} examples, batch_size={self.batch_size}, "
            f"seed={self.seed})"
        )
