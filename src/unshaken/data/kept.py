"""Normalizations from the files in which runs keep them."""

from __future__ import annotations

from pathlib import Path

from .errors import DataError
from .normalization import Standardization
from .statistics import kind_of
from .whitening import Whitening

__all__ = ["read_normalization"]


def read_normalization(path: Path | str) -> Standardization | Whitening:
    """The normalization that a run's ``normalization.safetensors`` holds, of either kind.

    Raises:
        DataError: the file is missing, damaged or holds something else.
    """
    kind = kind_of(path)
    if kind == "standardization":
        return Standardization.read(path)
    if kind == "whitening":
        return Whitening.read(path)
    raise DataError(f"{path}: expected a normalization, got {kind or 'no kind'}")
