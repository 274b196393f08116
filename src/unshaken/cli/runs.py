"""What the commands of many runs share: how many go side by side, and what is said of lost ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unshaken.comparison.workers import Outcome


def side_by_side(jobs: int | None, threads: int) -> int:
    """``jobs``, or as many runs as there are cores for; one where there is a GPU."""
    import joblib
    import torch

    if jobs:
        return jobs
    # joblib's count knows the limits of a container, which the number of cores does not.
    return 1 if torch.cuda.is_available() else max(1, joblib.cpu_count() // threads)


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
