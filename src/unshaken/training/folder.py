"""A run's folder: what lies in it, who may write to it, and what a resumed run finds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..data import Standardization, Whitening
from .atomic import remove_leftovers, replace_bytes
from .checkpoint import (
    CheckpointError,
    checkpoints,
    latest,
    prune,
    read_checkpoint,
    write_checkpoint,
    writing,
)

__all__ = ["RunFolder"]


class RunFolder:
    """The files of one run.

    ``checkpoints/``, ``config.json``, ``metrics.jsonl``, ``normalization.safetensors`` and, at the
    end, ``model.safetensors``.

    Args:
        path: the folder; it is made.
        resume: whether a run that is there is to be continued.

    Raises:
        CheckpointError: the folder cannot be written, another process trains in it, or it holds
            a run already and ``resume`` is False.
    """

    def __init__(self, path: Path | str, *, resume: bool) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.jsonl"
        self.weights = self.path / "model.safetensors"
        self._verified = False
        self._lock: int | None = None
        try:
            with writing(self.path):
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                self._take_lock()
                remove_leftovers(self.path)
                remove_leftovers(self.checkpoints)
            found = checkpoints(self.checkpoints)
            if found and not resume:
                raise CheckpointError(
                    f"{self.path} already holds a run (newest checkpoint {found[-1].name}): "
                    "resume it, or choose another folder"
                )
        except CheckpointError:
            self.close()
            raise

    def _take_lock(self) -> None:
        # Two processes in one folder would remove each other's checkpoints. The system lets go
        # of the lock when the process ends, however it ends. Windows has no such lock.
        if os.name == "nt":
            return
        import fcntl

        handle = os.open(self.checkpoints / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise CheckpointError(f"another process is training in {self.path}") from error
        except OSError:
            os.close(handle)  # a network file system without locks: go on without one
            return
        self._lock = handle

    def close(self) -> None:
        """Let other processes use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def find(self) -> tuple[Path, dict[str, Any]] | None:
        """The checkpoint to go on from; what is newer, and so damaged, is set aside.

        It is renamed to ``*.damaged``: under its own name it would take the place of a whole one.

        Raises:
            CheckpointError: there are checkpoints, but none can be read.
        """
        found = latest(self.checkpoints)
        if found is not None:
            every = checkpoints(self.checkpoints)
            for path in every[every.index(found[0]) + 1 :]:
                path.rename(path.with_name(path.name + ".damaged"))
        return found

    def save(self, step: int, content: dict[str, Any], keep: int) -> Path:
        """Write a checkpoint, then remove all but the ``keep`` newest.

        The first one is read back: what cannot be read is noticed now, not after a crash.

        Raises:
            CheckpointError: it cannot be written; earlier ones are untouched.
        """
        path = write_checkpoint(self.checkpoints, step, content)
        if not self._verified:
            try:
                read_checkpoint(path)
            except CheckpointError as error:
                path.unlink()
                raise CheckpointError(f"a checkpoint cannot be read back: {error}") from error
            self._verified = True
        with writing(self.checkpoints):
            prune(self.checkpoints, keep)
        return path

    def keep(self, normalization: Standardization | Whitening) -> None:
        """Write what took the raw values to the network's inputs, for whoever loads it later.

        Raises:
            CheckpointError: it cannot be written.
        """
        path = self.path / "normalization.safetensors"
        with writing(path):
            normalization.save(path)

    def describe(self, content: dict[str, Any]) -> None:
        """Write ``config.json``.

        Raises:
            CheckpointError: it cannot be written.
        """
        text = json.dumps(content, indent=2) + "\n"
        path = self.path / "config.json"
        with writing(path):
            replace_bytes(path, text.encode())
