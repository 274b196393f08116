"""Where the examples are kept while batches are drawn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import DataError, reading
from .normalization import Standardization
from .paged import Paged
from .whitening import Whitening

__all__ = ["Pool"]


class Pool:
    """Examples from which batches are gathered onto a device.

    On an accelerator the examples are moved there once, when they take at most ``share`` of its
    free memory; then a batch costs no transfer. Otherwise they stay where they are, in memory or
    in a file (:meth:`open`), and each batch is copied.

    Args:
        x: ``(N, ...)``, the examples or labels; a tensor, or an array mapped from a file, bare or
            as :class:`~unshaken.data.paged.Paged`.
        device: where gathered batches go; None for where x is (the CPU for a mapped array).
        normalization: applied to each batch after it is gathered, as float32; None for x as it is.
            Bytes are divided by 255 before.
        share: of the device's free memory that the examples may take.
    """

    def __init__(
        self,
        x: Tensor | Paged | np.memmap[Any, Any],
        device: torch.device | str | None = None,
        *,
        normalization: Standardization | Whitening | None = None,
        share: float = 0.5,
    ) -> None:
        if x.ndim == 0 or len(x) == 0:
            raise ValueError(f"x: expected at least one example, got the shape {tuple(x.shape)}")
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected a fraction in [0, 1], got {share!r}")
        home = x.device if isinstance(x, Tensor) else torch.device("cpu")
        self.device = torch.device(device) if device is not None else home
        self.normalization = normalization
        self.resident = _fits(x, home, self.device, share)
        if self.resident:
            x = x.to(self.device) if isinstance(x, Tensor) else torch.tensor(x, device=self.device)
        self._x = x

    @classmethod
    def open(
        cls,
        path: Path | str,
        device: torch.device | str = "cpu",
        *,
        normalization: Standardization | Whitening | None = None,
        share: float = 0.5,
    ) -> Pool:
        """A pool over an ``.npy`` file that may be larger than memory.

        The file is mapped: gathering a batch reads the examples in it and nothing else.

        Raises:
            DataError: the file is not an array of numbers that PyTorch knows.
        """
        with reading(path, "an .npy array"):
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(mapped, np.memmap):
                raise DataError(f"{path}: expected one array, got an archive of several")
            return cls(mapped, device, normalization=normalization, share=share)

    def __len__(self) -> int:
        return len(self._x)

    def gather(self, indices: Tensor) -> Tensor:
        """The examples ``x[indices]`` on the pool's device, ``(B, ...)``, normalized.

        Args:
            indices: ``(B,)`` int64, on any device.

        Raises:
            IndexError: an index is out of range.
        """
        if isinstance(self._x, Paged):
            batch = self._x[indices]
        elif isinstance(self._x, Tensor):
            batch = self._x[indices.to(self._x.device)]
        else:
            batch = torch.from_numpy(self._x[indices.cpu().numpy()])
        if not self.resident:
            if self.device.type == "cuda":
                # From pinned memory the copy does not stop the device.
                batch = batch.pin_memory()
            batch = batch.to(self.device, non_blocking=True)
        if self.normalization is None:
            return batch
        values = batch.float() / 255 if batch.dtype == torch.uint8 else batch.float()
        return self.normalization.apply(values)

    def __repr__(self) -> str:
        where = f"resident on {self.device}" if self.resident else f"copied to {self.device}"
        return f"Pool({tuple(self._x.shape)}, {where})"


def _fits(
    x: Tensor | Paged | np.memmap[Any, Any],
    home: torch.device,
    device: torch.device,
    share: float,
) -> bool:
    if isinstance(x, Paged):
        return False
    if isinstance(x, Tensor) and (home == device or device.type == "cpu"):
        return True
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return x.nbytes <= share * free
    return False
