"""Normalizations that shift and scale each channel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from .errors import DataError
from .statistics import read_tensors, save_tensors

__all__ = ["Standardization"]


class _Examples(Protocol):
    """What statistics are taken of: a tensor, or what reads one piece by piece from files."""

    @property
    def shape(self) -> torch.Size: ...

    @property
    def ndim(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def numel(self) -> int: ...

    def split(self, size: int, /) -> Iterable[Tensor]: ...


@dataclass(frozen=True, eq=False)
class Standardization:
    """The map x -> (x - mean) / std, one mean and one std per channel.

    Mean 0 and std 1 keep pixels in [0, 1] ("unit"); mean 1/2 and std 1 center them ("centered"),
    so that a multiplicative mask, which does nothing to a zero, acts on black; the statistics of
    the training set make each channel's mean 0 and variance 1 ("standard").

    Attributes:
        mean: ``(C,)``, or ``(1,)`` for all channels, in the unit of x.
        std: the same shape, positive.

    Raises:
        DataError: the shapes differ, or a std is not positive and finite.
    """

    mean: Tensor
    std: Tensor

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape:
            raise DataError(
                "Standardization: expected mean and std of one shape (C,), got "
                f"{tuple(self.mean.shape)} and {tuple(self.std.shape)}"
            )
        if not (self.mean.isfinite().all() and (self.std > 0).all() and self.std.isfinite().all()):
            raise DataError("Standardization: expected finite means and positive finite stds")

    @classmethod
    def fit(cls, x: _Examples) -> Standardization:
        """Mean and (population) standard deviation of each channel of ``x`` ``(N, C, *size)``.

        For plain vectors ``(N, D)`` a channel is a feature. Sums are taken in float64, in pieces.

        Raises:
            DataError: a channel is constant, so that its deviation is zero.
        """
        axes = [0, *range(2, x.ndim)]
        count = x.numel() / x.shape[1]
        mean = (
            sum((p.double().sum(axes) for p in x.split(4096)), torch.zeros(x.shape[1]).double())
            / count
        )
        shape = (1, -1, *[1] * (x.ndim - 2))
        squares = [(p.double() - mean.view(shape)).square().sum(axes) for p in x.split(4096)]
        std = (torch.stack(squares).sum(0) / count).sqrt()
        # Rounding leaves a constant channel a deviation of its own last digit, never exactly zero.
        flat = (std <= 1e-12 * (1 + mean.abs())).nonzero().flatten().tolist()
        if flat:
            raise DataError(
                f"normalize='standard': expected channels that vary, got constant channels {flat}"
            )
        return cls(mean.to(x.dtype), std.to(x.dtype))

    def apply(self, x: Tensor) -> Tensor:
        """``(x - mean) / std``, with x ``(N, C, *size)`` or ``(N, D)``."""
        mean, std = self._broadcast(x)
        return (x - mean) / std

    def invert(self, x: Tensor) -> Tensor:
        """``x * std + mean``: back to the raw values."""
        mean, std = self._broadcast(x)
        return x * std + mean

    def _broadcast(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.mean) not in (1, x.shape[1]):
            raise DataError(
                f"Standardization: expected {len(self.mean)} channels, got x {tuple(x.shape)}"
            )
        shape = (1, -1, *[1] * (x.ndim - 2))
        return self.mean.to(x).view(shape), self.std.to(x).view(shape)

    def words(self) -> str:
        """What it does, for a report."""
        if len(self.mean) > 4:
            return "standardized with the statistics of another training set"
        means, stds = (", ".join(f"{v:.3g}" for v in t.tolist()) for t in (self.mean, self.std))
        if (self.std != 1).any():
            return f"minus {means}, divided by {stds}"
        return f"minus {means}" if self.mean.any() else "in [0, 1]"

    def save(self, path: Path | str) -> None:
        """Write the statistics as a safetensors file."""
        save_tensors(path, "standardization", {"mean": self.mean, "std": self.std})

    @classmethod
    def read(cls, path: Path | str) -> Standardization:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file is missing, damaged or holds something else.
        """
        tensors, _ = read_tensors(path, "standardization", ("mean", "std"))
        return cls(**tensors)
