"""Files that are whole or absent: written beside, forced to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["TEMPORARY", "remove_leftovers", "replace_bytes", "write_atomically"]

TEMPORARY = ".partial"


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let ``write`` fill a temporary file, force it to the disk and rename it to ``path``.

    Whatever happens, a kill or a power cut included, ``path`` afterwards holds either what it
    held before or all of the new content.

    Raises:
        OSError: a full disk, a folder that cannot be written; the temporary file is gone and
            ``path`` is as it was.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # BaseException: a second Ctrl-C must not leave half a file behind either.
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def replace_bytes(path: Path, content: bytes) -> None:
    """:func:`write_atomically` for content that is in memory."""

    def fill(file: IO[bytes]) -> None:
        file.write(content)

    write_atomically(path, fill)


def _sync_folder(folder: Path) -> None:
    # The rename itself is kept by the folder. Windows cannot open one and needs no such call.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in ``folder``."""
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)
