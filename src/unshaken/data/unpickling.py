"""Read the pickles of CIFAR without executing anything that a file asks for."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, reading

__all__ = ["read_pickle"]


class _Bytes:
    """Stands in for an array of bytes: keeps the shape and the content, builds nothing."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Type) or dtype.code != "u1":
            raise pickle.UnpicklingError("expected an array of bytes (uint8)")
        raw = content.encode("latin-1") if isinstance(content, str) else bytes(content)
        if len(raw) != math.prod(shape):
            raise pickle.UnpicklingError(f"expected {math.prod(shape)} bytes, got {len(raw)}")
        self.array: NDArray[np.uint8] = np.frombuffer(raw, np.uint8).reshape(
            shape, order="F" if fortran else "C"
        )


class _Type:
    """Stands in for the type of an array."""

    def __init__(self, code: str = "", *_: object) -> None:
        self.code = str(code).lstrip("|<>=")

    def __setstate__(self, state: object) -> None:
        """Byte order and flags, which bytes do not have."""


class _Function:
    """A function that a pickle may call but not change (its state is refused)."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("expected no state for a function")


def _encode(text: str, codec: str) -> bytes:
    if codec not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"expected the codec latin1, got {codec!r}")
    return text.encode("latin-1")


class _Unpickler(pickle.Unpickler):
    """Knows the five names that pickled arrays of bytes use, each as a harmless stand-in."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name that a file asks for."""
        if (module, name) == ("numpy", "ndarray"):
            return _Bytes
        if (module, name) == ("numpy", "dtype"):
            return _Type
        if (module, name) == ("_codecs", "encode"):
            return _Function(_encode)
        if name == "_reconstruct" and module in (
            "numpy.core.multiarray",
            "numpy._core.multiarray",
        ):
            return _Function(lambda *_: _Bytes())
        raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not allowed")


def read_pickle(title: str | Path, content: bytes) -> dict[str, Any]:
    """A pickled dictionary of plain values and arrays of bytes, as CIFAR's batches are.

    Every name in the pickle is looked up in a list of harmless stand-ins; a file that asks for
    anything else is refused before anything of it is called.

    Args:
        title: the file, as messages name it.
        content: its bytes.

    Returns:
        The dictionary; its arrays of bytes as uint8.

    Raises:
        DataError: the pickle is damaged, not a dictionary, or asks for a name not on the list.
    """
    with reading(title, "a pickled dictionary of plain values and arrays of bytes"):
        loaded = _Unpickler(io.BytesIO(content), encoding="latin-1").load()
        if not isinstance(loaded, dict):
            raise DataError(f"{title}: expected a pickled dictionary, got {type(loaded).__name__}")
        return {
            str(key): value.array if isinstance(value, _Bytes) else value
            for key, value in loaded.items()
        }
