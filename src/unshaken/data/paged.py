"""Examples that stay in their files: only those of the batch at hand are read."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import DataError
from .normalization import Standardization
from .whitening import Whitening

__all__ = ["Paged", "mapped", "memory_limit"]

_SHARE = 0.5


def memory_limit() -> int:
    """Bytes that examples may take in memory: ``UNSHAKEN_MEMORY``, or half of what is free.

    Raises:
        DataError: ``UNSHAKEN_MEMORY`` is not a whole number of bytes.
    """
    given = os.environ.get("UNSHAKEN_MEMORY")
    if given is None:
        return int(_SHARE * _free())
    if not (given.isascii() and given.isdigit()):
        raise DataError(f"UNSHAKEN_MEMORY must be a whole number of bytes, got {given!r}")
    return int(given)


def _free() -> int:
    try:
        # Files in the system's cache give way, so they count as free.
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        return int(kilobytes) * 1024
    except (OSError, StopIteration):
        return 8 << 30  # not Linux: take a usual machine


def mapped(path: Path) -> np.memmap[Any, Any]:
    """An ``.npy`` file of which only what is indexed is read.

    Raises:
        DataError: it is an archive of several arrays.
        ValueError, OSError: it is damaged or cannot be read.
    """
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.memmap):
        raise DataError(f"{path}: expected one array, got an archive of several")
    base: object = array.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
        # Examples are drawn at random: reading ahead would bring in what nobody asks for.
        base.madvise(mmap.MADV_RANDOM)
    return array


class Paged:
    """Stands for a tensor ``(N, ...)`` of float32 whose values lie in mapped ``.npy`` files.

    ``x[indices]`` reads those examples and gives them as a tensor, normalized. Whether values are
    finite is seen when they are used: looking at all of them would read everything.

    Args:
        parts: mapped arrays of equal example shapes, one after another.
        divisor: what raw values are divided by.
        normalization: applied to what is read.
    """

    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(
        self,
        parts: Sequence[np.memmap[Any, Any]],
        divisor: float = 1.0,
        normalization: Standardization | Whitening | None = None,
    ) -> None:
        self.parts = tuple(parts)
        self.divisor = divisor
        self.normalization = normalization
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = torch.Size([int(self._ends[-1]), *parts[0].shape[1:]])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def numel(self) -> int:
        """Number of values."""
        return self.shape.numel()

    def __getitem__(self, index: int | slice | Tensor) -> Tensor:
        """The examples at ``index``: a tensor as ordinary indexing gives it."""
        if isinstance(index, slice):
            return self[torch.arange(*index.indices(len(self)))]
        if isinstance(index, int):
            return self[torch.tensor([index])][0]
        places = index.cpu().numpy()
        if len(places) and not -len(self) <= places.min() <= places.max() < len(self):
            raise IndexError(f"expected indices below {len(self)}, got {places.max()}")
        places = np.where(places < 0, places + len(self), places)
        found = torch.empty(len(places), *self.shape[1:])
        which = np.searchsorted(self._ends, places, side="right")
        for k in np.unique(which):
            start = self._ends[k] - len(self.parts[k])
            rows = np.asarray(self.parts[k][places[which == k] - start], dtype=np.float32)
            found[torch.from_numpy(which == k)] = torch.from_numpy(rows)
        if self.divisor != 1.0:
            found /= self.divisor
        return found if self.normalization is None else self.normalization.apply(found)

    def split(self, size: int) -> Iterator[Tensor]:
        """All examples in order, ``size`` at a time."""
        return (self[k : k + size] for k in range(0, len(self), size))

    def normalized(self, normalization: Standardization | Whitening | None) -> Paged:
        """The same examples under a normalization."""
        return Paged(self.parts, self.divisor, normalization)

    def followed_by(self, other: Paged) -> Paged:
        """Both, one after the other."""
        return Paged([*self.parts, *other.parts], self.divisor, self.normalization)

    def identity(self) -> str:
        """Differs where a file was written anew; reading all of it would take too long."""
        said = []
        for part in self.parts:
            path = Path(str(part.filename))
            status = path.stat()
            said.append(
                (path.name, part.shape, str(part.dtype), status.st_size, status.st_mtime_ns)
            )
        return repr(said)

    def __repr__(self) -> str:
        return f"Paged({tuple(self.shape)}, {len(self.parts)} files)"
