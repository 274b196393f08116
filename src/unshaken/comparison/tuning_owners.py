"""Which of the processes that share a study are alive, on one machine or on several."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    _LOCKS = False
else:
    _LOCKS = True

BEAT = 5.0
"""Seconds between two signs of life."""

NAMELESS = "nameless"
"""Begins the names of those of whom nothing is known but that they did something."""

PATIENCE = 60.0
"""Seconds without a sign of life after which a process of another machine is given up."""


class Owner:
    """This process as others see it: a file in the study's folder, locked while it lives.

    On one machine the system lets go of the lock the moment a process ends, however it ends. From
    another machine, where locks may not reach, a process lives as long as its file's time of
    change moves; how long it stood still is measured on the watcher's own clock.

    Args:
        folder: where the processes of a study have their files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.name = f"{_here()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._handle = os.open(folder / self.name, os.O_RDWR | os.O_CREAT, 0o644)
        _lock(self._handle)
        self._seen: dict[str, tuple[int, float]] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                os.utime(self._folder / self.name)
            except OSError:
                continue  # a file system that is away for a moment

    def close(self) -> None:
        """This process does nothing more of the study."""
        self._ended.set()
        os.close(self._handle)
        (self._folder / self.name).unlink(missing_ok=True)

    def lives(self, name: str) -> bool:
        """Whether the process of that name is still there.

        Args:
            name: an owner's name, or one that begins with :data:`NAMELESS`.
        """
        if name == self.name:
            return True
        path = self._folder / name
        if name.startswith(f"{_here()}-") and _LOCKS:
            return _is_locked(path)
        try:
            moment = path.stat().st_mtime_ns
        except FileNotFoundError:
            if not name.startswith(NAMELESS):
                return False
            moment = 0
        last = self._seen.get(name)
        now = time.monotonic()
        if last is None or last[0] != moment:
            self._seen[name] = moment, now
            return True
        return now - last[1] < PATIENCE


def _lock(handle: int) -> bool:
    if not _LOCKS:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


def _here() -> str:
    return f"{socket.gethostname()}-{uuid.getnode():x}"
