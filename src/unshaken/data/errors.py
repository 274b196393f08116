"""The one error of the data package, and the guard that turns any reader's failure into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DataError", "reading"]


class DataError(ValueError):
    """A data file or a set of arrays is not what it should be.

    The message is one sentence: which file or array, what was expected, what came.
    """


@contextmanager
def reading(path: Path | str, expected: str) -> Iterator[None]:
    """Turn whatever a parser raises on damaged bytes into one :class:`DataError`.

    Parsers of foreign formats raise nearly anything on a damaged file (``EOFError``,
    ``struct.error``, ``zlib.error``, ``KeyError``, ``MemoryError``, ...), so the guard catches
    every ordinary exception and keeps the cause.

    Args:
        path: the file, as the message names it.
        expected: what the file should hold, as the message says it.

    Raises:
        DataError: for any exception but a :class:`DataError`, which passes unchanged.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected {expected}, but there is no such file") from error
    except Exception as error:
        detail = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
        came = f"{type(error).__name__}: {detail[0]}" if detail else type(error).__name__
        raise DataError(f"{path}: expected {expected}, but reading it failed ({came})") from error
