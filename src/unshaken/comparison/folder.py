"""A comparison's folder: one file for each finished run, whole or absent, and who may write."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unshaken.training.atomic import TEMPORARY, replace_bytes

_NUMBERS = ("error", "train_error", "seconds_per_step", "steps")


class ComparisonFolder:
    """``runs/METHOD/seed-S.json``, ``pictures/``, ``summary.json`` and ``report.html``.

    Args:
        path: the folder; it is made.
        only_look: make nothing and remove nothing; another process may compare in it.

    Raises:
        ValueError: it cannot be written, another process compares in it, or it holds something
            else.
    """

    def __init__(self, path: Path, *, only_look: bool = False) -> None:
        self.path = path
        self.pictures = path / "pictures"
        self._lock: int | None = None
        self._only_look = only_look
        require_no_other(path, "a comparison")
        if only_look:
            return
        require_folder(path)
        self._take_lock()
        self.clean()

    def _take_lock(self) -> None:
        # Two comparisons in one folder would do the same runs and replace each other's summary.
        # The system lets go of the lock when the process ends, however it ends.
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise ValueError(f"another process is comparing in {self.path}") from error
        except (ImportError, OSError):
            os.close(handle)  # Windows, or a network file system without locks
            return
        self._lock = handle

    def close(self) -> None:
        """Let other processes use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clean(self) -> None:
        """Remove what killed processes left half written."""
        if self._only_look:
            return
        for path in self.path.rglob(f".*{TEMPORARY}"):
            path.unlink(missing_ok=True)

    def run(self, method: str, seed: int) -> Path:
        """Where the record of a run is kept."""
        return self.path / "runs" / method / f"seed-{seed}.json"

    def finished(self, method: str, seed: int, fingerprint: str) -> dict[str, Any] | None:
        """The record of a run that was done with the same settings; None where there is none."""
        record = read_record(self.run(method, seed))
        wanted = {"method": method, "seed": seed, "fingerprint": fingerprint}
        if record is None or any(record.get(key) != value for key, value in wanted.items()):
            return None
        return record


def require_folder(path: Path) -> None:
    """Make a folder and see whether it can be written.

    Raises:
        ValueError: it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.getpid()}{TEMPORARY}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"out must be a folder that can be written, got {str(path)!r}: "
            f"{error.strerror or error}"
        ) from error


def holds(path: Path) -> str:
    """What lies in a folder, in words: whose report another command would replace."""
    if (path / "config.json").is_file() and (path / "checkpoints").is_dir():
        return "a training run"
    if (path / "study.jsonl").is_file():
        return "a search for settings"
    return "a comparison" if (path / "runs").is_dir() else ""


def require_no_other(path: Path, own: str) -> None:
    """Raise ``ValueError`` where something else than ``own`` lies in a folder."""
    found = holds(path)
    if found and found != own:
        raise ValueError(f"out: {path} holds {found} already; name another folder")


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Keep a run's record, with a checksum."""
    content = plain(record)
    write_json(path, {**content, "checksum": _checksum(content)})


def read_record(path: Path) -> dict[str, Any] | None:
    """A record, or None where there is none that is whole."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.pop("checksum", None) != _checksum(found):
        return None
    whole = "failed" in found or all(isinstance(found.get(n), (int, float)) for n in _NUMBERS)
    return found if whole else None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON that every reader accepts (no NaN), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, json.dumps(plain(value), indent=1, allow_nan=False).encode())


def plain(value: Any) -> Any:
    """The value as JSON holds it; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
