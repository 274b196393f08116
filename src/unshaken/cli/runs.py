"""What the commands of many runs share: how many go side by side, and what is said of lost ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unshaken.comparison.tasks import Outcome


def side_by_side(jobs: int | None, threads: int, engine: str = "processes") -> int:
    """``jobs``, or as many runs as there are GPUs, or else cores for them.

    The workers of a Dask cluster all see the same GPUs, so there it is one.
    """
    import joblib
    import torch

    if jobs:
        return jobs
    if torch.cuda.is_available():
        return torch.cuda.device_count() if engine == "processes" else 1
    # joblib's count knows the limits of a container, which the number of cores does not.
    return max(1, joblib.cpu_count() // threads)


def tell_lost(lost: Sequence[Outcome]) -> None:
    """Say on the error output how many runs gave no result, and show a defect's trace."""
    for outcome in lost[:1]:
        if outcome.defect:
            print(outcome.defect, file=sys.stderr)
    if lost:
        runs = "1 run" if len(lost) == 1 else f"{len(lost)} runs"
        print(
            f"unshaken: error: {runs} gave no result; the same command tries again",
            file=sys.stderr,
        )
