"""The costs of a training step on the papers' networks, and the bars they are held to.

    OMP_NUM_THREADS=1 python benchmarks/step_costs.py measure [PRESET ...] [--rounds 7] [--scaling]
    python benchmarks/step_costs.py check [PRESET ...]

``measure`` calls ``unshaken bench`` and keeps its numbers as ``results/bench-PRESET.json``, or with
``--machine NAME``, beside those of another machine as ``results/bench-PRESET-NAME.json``; ``check``
compares all that are kept with the bars and ends with 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from unshaken.benchmark.setting import PRESETS
from unshaken.cli import main as unshaken

RESULTS = Path(__file__).parent / "results"

CONVOLUTIONAL = {
    # method: quantity: the most it may be; "time" and "memory" are ÷ the plain step
    "vmt-shift every=3": {"time": 1.42},
    "vmt-*": {"time": 2.2, "time of textbook": 0.8, "memory": 1.7},
    "at-remembered": {},
    "at-*": {"time": 2.08, "memory": 1.15},
    "vat": {"time": 2.85, "time of textbook": 0.85, "memory": 1.35},
    "xat": {"time": 2.1},
    "xvat*": {"time": 2.1, "memory": 1.25},
    "mat-remembered": {"time": 1.25},
}
BARS: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "conv_small": CONVOLUTIONAL,
    "conv_large": CONVOLUTIONAL,
    "mnist_mlp": {
        "at-*": {"time compiled": 2.1},
        "vat": {"time compiled": 2.55},
        "xvat*": {"time compiled": 2.45},
        "vmt-*": {"time compiled": 2.5},
    },
    "sinusoids_mlp": {"vmt-*": {"time compiled": 2.0}},
}
"""By preset and method, the first pattern that fits a name."""


def path_of(preset: str, machine: str = "") -> Path:
    return RESULTS / f"bench-{preset}{machine and f'-{machine}'}.json"


def kept(preset: str) -> list[Path]:
    """The stored numbers of a preset, of every machine."""
    return [path_of(preset), *sorted(RESULTS.glob(f"bench-{preset}-*.json"))]


def measure(
    preset: str, rounds: int, scaling: bool, device: str, compiled: bool, machine: str
) -> None:
    """Measure one preset and keep the numbers."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["bench", "--model", preset, "--rounds", str(rounds), "--device", device]
        words += [*(["--scaling"] if scaling else []), *(["--compiled"] if compiled else [])]
        code = unshaken([*words, "--out", folder])
        if code:
            sys.exit(code)
        shutil.copyfile(Path(folder) / "bench.json", path_of(preset, machine))


def compared(path: Path, preset: str) -> Iterator[tuple[str, str, float, float]]:
    """Method, quantity, what was measured, and the bar."""
    found = json.loads(path.read_text("utf-8"))
    for row in found["rows"]:
        bars = next((b for name, b in BARS[preset].items() if fnmatch(row["method"], name)), {})
        for quantity, most in bars.items():
            value = _quantity(row, quantity)
            if value is not None:
                yield row["method"], quantity, value, most


def _quantity(row: Mapping[str, Any], quantity: str) -> float | None:
    if quantity == "time compiled":
        return row["compiled"]["ratio"]["median"] if "compiled" in row else None
    if quantity == "time":
        return row["library"]["ratio"]["median"]
    if quantity == "memory":
        return row["library"]["memory"]
    return row["of_textbook"]["ratio"] if row.get("of_textbook") else None


def check(path: Path, preset: str) -> int:
    """Print every comparison; the number of bars that are missed."""
    missed, name = 0, path.stem.removeprefix("bench-")
    for method, quantity, value, most in compared(path, preset):
        over = value > most
        missed += over
        mark = "MISSED" if over else "ok"
        print(f"{name:16s} {method:20s} {quantity:17s} {value:5.2f}  <= {most:.2f}  {mark}")
    return missed


def main() -> None:
    """Measure or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=("measure", "check"))
    parser.add_argument("presets", nargs="*", help="all unless given")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--machine", default="", help="keep the numbers beside those there are")
    options = parser.parse_args()
    for preset in options.presets:
        if preset not in PRESETS:
            parser.error(f"a preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    presets = options.presets or list(PRESETS)
    if options.part == "measure":
        for preset in presets:
            measure(
                preset,
                options.rounds,
                options.scaling,
                options.device,
                options.compiled,
                options.machine,
            )
    else:
        stored = [(path, p) for p in presets if p in BARS for path in kept(p) if path.exists()]
        sys.exit(1 if sum(check(*each) for each in stored) else 0)


if __name__ == "__main__":
    main()
