"""Where evaluations are written to: JSON lines, TensorBoard, or anything with two methods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .atomic import replace_bytes
from .checkpoint import writing

__all__ = ["JsonLines", "Logger", "TensorBoardLogger"]


@runtime_checkable
class Logger(Protocol):
    """Receives the metrics of each evaluation; write one for any tracking service."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note the metrics after ``step`` steps."""

    def close(self) -> None:
        """Called once when the run ends, also after an error."""


class JsonLines:
    """One JSON object per evaluation and line.

    Args:
        path: the file; it is replaced.
        history: what the file begins with. A resumed run passes what its checkpoint knows, so
            that no evaluation is there twice and no line is cut off.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """

    def __init__(self, path: Path, history: Sequence[Mapping[str, Any]] = ()) -> None:
        text = "".join(json.dumps(dict(entry)) + "\n" for entry in history)
        with writing(path):
            replace_bytes(path, text.encode())
        self._path = path

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line; the file is closed in between, so that a killed run keeps it."""
        with writing(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def close(self) -> None:
        """Nothing is open."""


class TensorBoardLogger:
    """Scalars for TensorBoard (``pip install unshaken[logs]``).

    On the first entry, entries of later steps that an interrupted run left are removed.

    Raises:
        ImportError: tensorboard is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoardLogger needs tensorboard: pip install 'unshaken[logs]'"
            ) from error
        self._make: Any = SummaryWriter
        self._folder = str(folder)
        self._writer: Any = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write every metric as a scalar of its name."""
        if self._writer is None:
            self._writer = self._make(self._folder, purge_step=step)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and close the files."""
        if self._writer is not None:
            self._writer.close()
