"""Choose each method's settings by a grid, never on the test examples of the seeds reported.

    python benchmarks/choose_settings.py digits --write

Where the data set is fixed (digits), settings are judged on validation examples held out of the
training pool; the test set is not looked at. So it is with MNIST and all its labels, in 2000
steps; its settings go by hand into the papers' recipes. Where every seed draws data of its own
(sinusoids, moons, circles), they are judged on the test examples of seeds from 1000 on, which no
reported comparison uses. ``unshaken tune`` searches any data, but on held-out training examples
alone: of the moons' 16 points that leaves too few, which is why this script is still here. Every
run is appended to a file as it finishes; a second call does the rest.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
import yaml

from unshaken.comparison.protocol import Protocol, from_mapping, named
from unshaken.comparison.single import run
from unshaken.training import NonFiniteError

FIRST_SEED = 1000
SHIPPED = Path(__file__).parents[1] / "src" / "unshaken" / "recipes" / "protocols"
GRIDS: dict[str, dict[str, dict[str, list[float]]]] = {
    "digits": {
        "baseline": {},
        "dropout": {"rate": [0.1, 0.2, 0.3, 0.5]},
        "random-tuned": {"radius": [0.5, 1.0, 1.5, 2.0, 3.0]},
        "at-l2": {"radius": [0.1, 0.3, 0.6, 1.0]},
        "at-linf": {"radius": [0.02, 0.05, 0.1, 0.2]},
        "vat": {"radius": [0.3, 0.6, 1.0, 1.5]},
        "vmt-shift": {"weight": [0.3, 1.0, 3.0, 10.0]},
        "vmt-rotation": {"weight": [0.3, 1.0, 3.0, 10.0]},
        "vmt-scale": {"weight": [0.3, 1.0, 3.0, 10.0]},
        "vmt-all": {"weight": [0.3, 1.0, 3.0, 10.0]},
        "xat": {"weight": [0.5, 1.0, 2.0], "learning_rate": [1e-6, 1e-3]},
        "xvat": {"weight": [0.3, 1.0, 3.0], "learning_rate": [1e-6, 1e-3]},
        "xvat-transductive": {"weight": [0.3, 1.0, 3.0], "learning_rate": [1e-3, 1e-1]},
        "mat": {"radius": [0.2, 0.4, 0.6, 0.8, 1.0]},
        "mvat": {"radius": [0.2, 0.4, 0.6, 0.8, 1.0, 1.2], "weight": [1.0]},
        "mixup": {"alpha": [0.1, 0.2, 0.4, 1.0]},
        "mean-teacher": {
            "weight": [3.0, 10.0, 30.0],
            "decay": [0.9, 0.97],
            "noise": [0.15, 0.4],
            "ramp": [150.0],
        },
        "pi-model": {"weight": [3.0, 10.0, 30.0], "noise": [0.15, 0.4], "ramp": [150.0]},
        "temporal-ensembling": {
            "weight": [3.0, 10.0, 30.0],
            "decay": [0.6],
            "noise": [0.15, 0.4],
            "ramp": [150.0],
        },
        "stochastic": {"weight": [1.0, 3.0, 10.0], "noise": [0.15, 0.4], "ramp": [150.0]},
        "fast-swa": {"weight": [3.0, 10.0, 30.0], "noise": [0.15, 0.4], "ramp": [150.0]},
        "vadd": {"weight": [3.0, 10.0, 30.0], "rate": [0.3, 0.5], "ramp": [150.0]},
        "co-training": {"agreement": [1.0, 10.0], "radius": [0.05, 0.3], "ramp": [150.0]},
        "tangent-prop": {"weight": [0.001, 0.01, 0.1]},
        "ladder": {"input": [10.0, 100.0, 1000.0], "noise": [0.3, 0.6]},
        "gan-fm": {"weight": [0.3, 1.0, 3.0]},
        "catgan": {"weight": [0.3, 1.0, 3.0]},
        "concrete-dropout": {"weight": [0.3, 1.0, 10.0]},
    },
    "sinusoids": {
        "baseline": {},
        "dropout": {"rate": [0.1, 0.2]},
        "random-tuned": {"radius": [0.5, 1.0, 2.0]},
        "at-l2": {"radius": [0.3, 1.0, 2.0]},
        "at-linf": {"radius": [0.05, 0.1, 0.2]},
        "vat": {"radius": [0.3, 0.5, 1.0]},
        "vmt-shift": {"weight": [1.0, 3.0, 5.0, 10.0, 20.0]},
        "vmt-scale": {"weight": [0.005, 0.05, 0.5]},
        "xat": {"weight": [0.25, 0.5, 1.0]},
        "xvat": {"weight": [0.1, 0.3, 1.0]},
        "xvat-transductive": {"weight": [0.1, 0.3, 1.0]},
        "mat": {"radius": [0.02, 0.1, 0.5]},
        "mvat": {"radius": [0.02, 0.1, 0.5]},
    },
    "moons": {
        "baseline": {},
        "dropout": {"rate": [0.2, 0.5]},
        "random-tuned": {"radius": [0.25, 0.5, 1.0]},
        "at-l2": {"radius": [0.25, 0.4, 0.6]},
        "at-linf": {"radius": [0.05, 0.1]},
        "vat": {"radius": [0.2, 0.22, 0.25, 0.3]},
        "xat": {"weight": [0.25, 0.5, 1.0]},
        "xvat": {"weight": [0.3, 1.0], "scale": [1.0, 2.0]},
        "xvat-transductive": {"weight": [0.3, 1.0], "scale": [1.0, 2.0]},
    },
    "mnist": {
        "at-l2": {"radius": [1.0, 2.0, 4.0]},
        "at-linf": {"radius": [0.05, 0.1, 0.2]},
        "vat": {"radius": [1.0, 2.0, 3.0, 4.0]},
        "vmt-shift": {"weight": [0.3, 1.0, 3.0]},
    },
}
GRIDS["circles"] = GRIDS["moons"]


def judged(data: str) -> Protocol:
    """The data's protocol, with the error measured where settings may be chosen."""
    protocol = supervised_mnist() if data == "mnist" else named(data)
    if data == "digits":
        protocol = protocol.with_changes(validation=297, judge="validation")
    return protocol.with_changes(methods={}, training={**protocol.training, "evaluate_every": 0})


def supervised_mnist() -> Protocol:
    """The papers' network on all labels but those held out, in fewer steps."""
    path = SHIPPED.parent / "papers" / "vmt-table-2.yaml"
    part = yaml.safe_load(path.read_text("utf-8"))["parts"]["mnist"]
    protocol = from_mapping(part["protocol"])
    training = {**protocol.training, **part["reduced"]["training"], "steps": 2000}
    return protocol.with_changes(training=training, validation=10_000, judge="validation")


def points(grid: dict[str, list[float]]) -> Iterator[dict[str, float]]:
    """Every combination of a grid."""
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", choices=sorted(GRIDS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--show", action="store_true", help="print what is stored, run nothing")
    parser.add_argument("--write", action="store_true", help="put the best into the protocol")
    options = parser.parse_args()
    if options.write and options.data == "mnist":
        parser.error("--write: settings of MNIST go into the papers' recipes by hand")
    torch.set_num_threads(1)
    path = Path(__file__).parent / "results" / f"settings-{options.data}.jsonl"
    done: dict[tuple[str, str, int], dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            done[row["method"], json.dumps(row["settings"]), row["seed"]] = row
    protocol = judged(options.data)
    best: dict[str, tuple[float, dict[str, float]]] = {}
    for method, grid in GRIDS[options.data].items():
        if options.methods and method not in options.methods:
            continue
        for settings in points(grid):
            errors = []
            for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
                key = (method, json.dumps(settings), seed)
                if key not in done and not options.show:
                    row = {"method": method, "settings": settings, "seed": seed}
                    try:
                        row["error"] = run(protocol, method, seed, {method: settings})["error"]
                    except NonFiniteError as failure:
                        row |= {"error": None, "failed": str(failure)[:200]}
                    done[key] = row
                    with path.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                if key in done and done[key]["error"] is not None:
                    errors.append(done[key]["error"])
            if errors:
                spread = stdev(errors) / len(errors) ** 0.5 if len(errors) > 1 else 0.0
                print(f"{method:18s} {fmean(errors):6.2f} ± {spread:.2f}  {settings}", flush=True)
                if fmean(errors) <= best.get(method, (math.inf, {}))[0]:
                    best[method] = (fmean(errors), settings)
    if options.write:
        write({method: settings for method, (_, settings) in best.items() if settings}, options)


def write(best: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    """Replace the settings in the protocol that ships."""
    path = SHIPPED / f"{options.data}.yaml"
    values = yaml.safe_load(path.read_text("utf-8"))
    # The control is as large as its rival; random-tuned has the size that suits it best.
    methods = {**values.get("methods", {}), **best}
    methods["random"] = {"radius": methods["vat"]["radius"]}
    if "mvat" in methods:
        methods["random-movement"] = {"radius": methods["mvat"]["radius"]}
    values["methods"] = methods
    where = "validation examples" if options.data == "digits" else "data of other seeds"
    values["note"] = (
        f"Chosen for each method by a grid on {where}, seeds from {FIRST_SEED} on: "
        f"benchmarks/results/settings-{options.data}.jsonl."
    )
    path.write_text(yaml.safe_dump(values, sort_keys=False, width=100), "utf-8")


if __name__ == "__main__":
    main()
