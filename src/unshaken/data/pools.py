"""Where the examples are kept while batches are drawn from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .errors import DataError, reading
from .normalization import Standardization
from .whitening import Whitening

__all__ = ["Pool"]


class Pool:
    """Examples from which batches are gathered onto a device.

    On an accelerator the examples are moved there once, when they take at most ``share`` of its
    free memory; then a batch costs no transfer. Otherwise they stay where they are, in memory or
    in a file (:meth:`open`), and each batch is copied.

    Args:
        x: ``(N, ...)``, the examples; or labels.
        device: where gathered batches go; None for where x is.
        normalization: applied to each batch after it is gathered, as float32; None for x as it is.
            Bytes are divided by 255 before.
        share: of the device's free memory that the examples may take.
    """

    def __init__(
        self,
        x: Tensor,
        device: torch.device | str | None = None,
        *,
        normalization: Standardization | Whitening | None = None,
        share: float = 0.5,
    ) -> None:
        if x.ndim == 0 or len(x) == 0:
            raise ValueError(f"x: expected at least one example, got {tuple(x.shape)}")
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected a fraction in [0, 1], got {share!r}")
        self.device = torch.device(device) if device is not None else x.device
        self.normalization = normalization
        self.resident = _fits(x, self.device, share)
        self._x = x.to(self.device) if self.resident else x

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
            # Copy on write: PyTorch warns of arrays that it may not write to.
            mapped = np.load(path, mmap_mode="c", allow_pickle=False)
            if not isinstance(mapped, np.ndarray):
                raise DataError(f"{path}: expected one array, got an archive of several")
            return cls(torch.from_numpy(mapped), device, normalization=normalization, share=share)

    def __len__(self) -> int:
        return len(self._x)

    def gather(self, indices: Tensor) -> Tensor:
        """The examples ``x[indices]`` on the pool's device, ``(B, ...)``, normalized.

        Args:
            indices: ``(B,)`` int64, on any device.

        Raises:
            IndexError: an index is out of range.
        """
        batch = self._x[indices.to(self._x.device)]
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


def _fits(x: Tensor, device: torch.device, share: float) -> bool:
    if x.device == device or device.type == "cpu":
        return True
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return x.numel() * x.element_size() <= share * free
    return False
