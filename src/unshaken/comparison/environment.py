"""Where numbers come from: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import torch

import unshaken

Value = str | int | None


@lru_cache(maxsize=1)
def provenance() -> dict[str, Value]:
    """What may differ between the runs of one comparison, which may be done on several days."""
    return {
        "commit": _commit(),
        "torch": torch.__version__,
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def environment(
    jobs: int = 1, threads: int | None = None, runs: Iterable[Mapping[str, Value]] = ()
) -> dict[str, Value]:
    """Plain values that a stored result carries.

    Args:
        jobs: processes at a time.
        threads: threads of PyTorch in each; None for its own number.
        runs: the provenance of each run; where they differ, all of it is listed.
    """
    here = provenance()
    found = list(runs) or [here]
    return {
        "unshaken": unshaken.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: _together([run.get(name) for run in found]) for name in here},
        "cores": os.cpu_count(),
        "processes": jobs,
        "threads": torch.get_num_threads() if threads is None else threads,
    }


def _together(values: Iterable[Value]) -> Value:
    different = list(dict.fromkeys(values))
    if len(different) == 1:
        return different[0]
    return ", ".join("none" if value is None else str(value) for value in different)


def _commit() -> str | None:
    """The commit of this package's checkout, with ``+changes`` where files differ from it."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        # An installed package may lie inside somebody else's repository.
        if not git("ls-files", Path(__file__).name):
            return None
        changes = git("status", "--porcelain", "--untracked-files=no", "..")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
