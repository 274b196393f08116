"""Checkpoint files: tensors and plain values, a checksum, and the newest one that is whole.

A checkpoint is what ``torch.save`` writes, a zip archive, with the SHA-256 of its bytes as the
archive's comment. So one file carries its own checksum and is still read by
``torch.load(path, weights_only=True)``.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch

from .atomic import write_atomically

__all__ = [
    "CheckpointError",
    "checkpoints",
    "latest",
    "prune",
    "read_checkpoint",
    "write_checkpoint",
    "writing",
]

_MARK = b"unshaken-sha256="
_COMMENT = len(_MARK) + 64
_LENGTH = _COMMENT.to_bytes(2, "little")  # the archive's own field for the comment's length
_GLOBAL = re.compile(r"GLOBAL (\S+)")  # how torch names what a pickle wants to import
_NAME = re.compile(r"step-(\d{8,})\.pt")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, read or continued; one sentence says which and why."""


@contextmanager
def writing(path: Path, hint: str = "") -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into one sentence about ``path``.

    Raises:
        CheckpointError: for any ``OSError`` inside.
    """
    try:
        yield
    except OSError as error:
        end = f"; {hint}" if hint else ""
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}{end}") from error


class _Hashing:
    """A binary file for ``torch.save`` that hashes what passes and remembers a failed write."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            count = self.file.write(data)
        except OSError as error:
            # torch's archive writer reports its own failure instead of this cause.
            self.error = error
            raise
        self.digest.update(data)
        return count

    def flush(self) -> None:
        self.file.flush()


def write_checkpoint(folder: Path, step: int, content: dict[str, Any]) -> Path:
    """Write ``folder/step-XXXXXXXX.pt``; the file appears whole or not at all.

    Args:
        folder: an existing folder.
        step: number of steps done, which names the file.
        content: tensors and plain Python values in dicts, lists and tuples.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written. Earlier checkpoints
            are untouched.
    """
    path = folder / f"step-{step:08d}.pt"

    def fill(file: IO[bytes]) -> None:
        hashing = _Hashing(file)
        try:
            torch.save(content, cast(IO[bytes], hashing))
        except Exception:
            if hashing.error is not None:
                raise hashing.error from None
            raise
        file.seek(-2, os.SEEK_END)
        file.write(_LENGTH + _MARK + hashing.digest.hexdigest().encode())

    before = checkpoints(folder)
    kept = f"the newest checkpoint kept is {before[-1].name}" if before else "none was there before"
    with writing(path, kept):
        write_atomically(path, fill)
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Check the checksum of a checkpoint and read it; nothing in the file is executed.

    Tensors arrive on the CPU.

    Raises:
        CheckpointError: there is no such file, its bytes are not those that were written, or it
            holds more than tensors and plain values.
    """
    try:
        with open(path, "rb") as file:
            _verify(path, file)
            file.seek(0)
            content = load_plain(path, file)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no checkpoint: it holds a {type(content).__name__}")
    return content


def load_plain(path: Path, file: IO[bytes]) -> Any:
    """``torch.load`` that builds tensors and plain values only, with one sentence for the rest."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except OSError:
        raise
    except Exception as error:
        # Damaged bytes make the readers below raise nearly anything.
        found = _GLOBAL.search(str(error))
        held = f"it names {found[1]}" if found else f"reading it failed: {type(error).__name__}"
        raise CheckpointError(
            f"{path} was refused, and nothing in it executed: it is damaged or holds more than "
            f"tensors and plain values ({held})"
        ) from error


def has_checksum(file: IO[bytes]) -> bool:
    """Whether the end of the file is laid out like that of a checkpoint."""
    size = file.seek(0, os.SEEK_END)
    if size < _COMMENT + 22:
        return False
    file.seek(-_COMMENT - 2, os.SEEK_END)
    return file.read(2 + len(_MARK)) == _LENGTH + _MARK


def _verify(path: Path, file: IO[bytes]) -> None:
    if not has_checksum(file):
        raise CheckpointError(f"{path} is cut short or is no checkpoint: its checksum is missing")
    body = file.seek(-_COMMENT - 2, os.SEEK_END)
    expected = file.read()[2 + len(_MARK) :]
    file.seek(0)
    digest = hashlib.sha256()
    while body > 0:
        block = file.read(min(body, 1 << 20))
        digest.update(block)
        body -= len(block)
    digest.update(b"\0\0")  # the comment's length as torch.save wrote it
    if digest.hexdigest().encode() != expected:
        raise CheckpointError(f"{path} is damaged: its bytes do not match its checksum")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files of a folder, oldest first; empty where there is no such folder."""
    if not folder.is_dir():
        return []
    named = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted((int(match[1]), path) for match, path in named)]


def latest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, and its content; None where there is none at all.

    A damaged one is passed over with a warning that says which and why.

    Raises:
        CheckpointError: there are checkpoints and every one is damaged.
    """
    found = checkpoints(folder)
    for number, path in enumerate(reversed(found), start=1):
        try:
            return path, read_checkpoint(path)
        except CheckpointError as error:
            if number == len(found):
                raise CheckpointError(
                    f"{error}; no checkpoint in {folder} can be read: remove them to start anew"
                ) from error
            older = found[-number - 1].name
            warnings.warn(f"{error}; falling back to {older}", stacklevel=2)
    return None


def prune(folder: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest checkpoints."""
    for path in checkpoints(folder)[:-keep]:
        path.unlink(missing_ok=True)
