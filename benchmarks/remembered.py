"""Remembered adversaries against fresh ones: errors and cost, each at settings of its own.

    OMP_NUM_THREADS=1 python benchmarks/remembered.py [FOLDER]

Digits with 200 labels and no unlabeled inputs, and sinusoids. The radius of each method is chosen
on held-out training examples (``unshaken tune --search grid``), the errors are those of other seeds
on the test set (``unshaken compare``). A call that is stopped goes on where it was. The table goes
to ``results/remembered.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from unshaken.cli import main as unshaken
from unshaken.comparison.folder import write_json

RADII = {
    "at-l2": "0.1,0.3,1,3",
    "at-remembered": "0.1,0.3,1,3",
    "mat": "0.1,0.3,0.6,1.2",
    "mat-remembered": "0.1,0.3,0.6,1.2",
}
CASES = {
    "digits": ["--data", "digits", "--labels", "200", "--training.unlabeled_batch_size", "0"],
    "sinusoids": ["--data", "sinusoids"],
}
SEEDS = {"digits": "20", "sinusoids": "5"}
CHOSEN_ON = "1000,1001,1002"
RESULT = Path(__file__).parent / "results" / "remembered.json"


def call(*words: str) -> None:
    """Run a command of the package and stop where it fails."""
    code = unshaken([*words, "--quiet"])
    if code:
        raise SystemExit(code)


def chosen(case: str, method: str, folder: Path) -> dict[str, dict[str, float]]:
    """The settings of a method that were best on held-out examples."""
    out = folder / case / method
    space = ["--space.radius", RADII[method]]
    words = ["--method", method, "--search", "grid", "--seeds", CHOSEN_ON, "--jobs", "1", *space]
    call("tune", *CASES[case], *words, "--out", str(out))
    best: dict[str, Any] = json.loads((out / "summary.json").read_text())["best"]
    return dict(best["settings"])


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "remembered")
    result: dict[str, Any] = {}
    for case in CASES:
        settings = {method: chosen(case, method, folder) for method in RADII}
        words: list[str] = []
        for found in settings.values():
            for part, values in found.items():
                words += [f"--settings.{part}.{name}={value}" for name, value in values.items()]
        out = folder / case / "compared"
        methods = ["--methods", ",".join(["baseline", *RADII]), "--seeds", SEEDS[case]]
        call("compare", *CASES[case], *methods, *words, "--jobs", "1", "--out", str(out))
        summary = json.loads((out / "summary.json").read_text())
        result[case] = {"settings": settings, **summary}
        write_json(RESULT, result)


if __name__ == "__main__":
    main()
