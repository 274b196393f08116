"""Do worst multiplicative changes train better than random ones of the same size?

    OMP_NUM_THREADS=1 python benchmarks/masks.py [CASE ...]

Four cases: digits with 100 labels and the rest unlabeled, digits with 200 labels alone, MNIST with
1000 labels alone, and sinusoids. In each, masks that erase what matters most and random ones, of
single entries or of blocks, and the worst and a random relative change x (1 + r). The share kept
(or the size of r) of each is chosen with the same grid and the same seeds, where the reported
errors do not come from: held-out training examples, for sinusoids data of other seeds. Errors are
those of other seeds on the test set. An adversary is compared with its control at several sizes:
each at its own best, both at the adversary's, and for digits alone both at the control's.

The worst of several random masks is left out where its forward passes take too long here.

Every run is appended to ``results/masks.jsonl`` as it finishes; a second call does the rest. The
tables go to ``results/masks.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from unshaken.comparison.environment import environment
from unshaken.comparison.folder import write_json
from unshaken.comparison.protocol import Protocol, named
from unshaken.comparison.single import Loader, run
from unshaken.comparison.stacks import run_stack, suits
from unshaken.comparison.statistics import paired, rows
from unshaken.methods import catalog

FIRST_CHOOSING = 1000
RESULTS = Path(__file__).parent / "results"
WIDEST = 10


@dataclass(frozen=True)
class Entry:
    """One method with what it is chosen from.

    Attributes:
        method: its name in the catalog.
        setting: what is chosen; empty for nothing.
        values: where it is looked for.
        fixed: its other settings.
        control: the entry that is its random control; empty for a control.
    """

    method: str
    setting: str = ""
    values: Sequence[float] = (0.0,)
    fixed: Mapping[str, float] = field(default_factory=dict)
    control: str = ""

    def settings(self, value: float) -> dict[str, dict[str, float]]:
        own = {self.setting: value} if self.setting else {}
        return {self.method: {**self.fixed, **own}}


@dataclass(frozen=True)
class Case:
    """Data and budget.

    Attributes:
        data: a name of data whose protocol ships, or ``mnist``.
        changes: how the protocol differs.
        training: how its training differs.
        held_out: training examples that settings are chosen on; 0 for data of other seeds.
        choosing: seeds that settings are chosen with.
        seeds: seeds that are reported.
        block: width of a block of entries.
        radii: sizes of relative changes.
        keeps: shares kept.
        worst_of: of how many random masks the worst is taken.
        blocks: whether masks of blocks, of several steps, and learned ones are compared, too.
    """

    data: str
    changes: Mapping[str, Any]
    training: Mapping[str, Any]
    held_out: int
    choosing: int
    seeds: int
    block: int
    radii: Sequence[float]
    keeps: Sequence[float] = (0.35, 0.5, 0.7, 0.85, 0.95)
    worst_of: Sequence[float] = (4.0, 16.0)
    blocks: bool = False

    def protocol(self, choosing: bool) -> Protocol:
        found = named(self.data)
        training = {**found.training, "evaluate_every": 0, **self.training}
        found = found.with_changes(methods={}, training=training, **self.changes)
        if choosing and self.held_out:
            return found.with_changes(validation=self.held_out, judge="validation")
        return found


ALONE = {"unlabeled_batch_size": 0}
CASES = {
    "digits, 100 labels": Case(
        "digits",
        {"labels": 100},
        {},
        297,
        5,
        20,
        2,
        (1.0, 2.0, 3.0, 4.5, 7.0),
        (0.5, 0.7, 0.85, 0.95),
        worst_of=(16.0,),
    ),
    "digits, 200 labels alone": Case(
        "digits", {"labels": 200}, ALONE, 297, 5, 20, 2, (0.5, 1.0, 2.0, 3.0, 4.5, 7.0), blocks=True
    ),
    "mnist, 1000 labels alone": Case(
        "mnist",
        {"labels": 1000, "network": {"name": "mlp", "widths": [256, 128]}},
        {**ALONE, "steps": 500},
        5000,
        3,
        5,
        4,
        (3.0, 5.5, 9.0, 13.0, 18.0, 25.0),
        (0.2, 0.35, 0.5, 0.7, 0.85, 0.95, 0.98),
        worst_of=(),
    ),
    "sinusoids": Case(
        "sinusoids", {}, {"steps": 1000}, 0, 5, 10, 5, (0.5, 1.0, 2.0, 4.0, 8.0), worst_of=()
    ),
}


def entries(case: Case) -> dict[str, Entry]:
    """What is compared in a case, by name."""
    found = {"baseline": Entry("baseline")}
    for name, block in (("entries", 1.0), ("blocks", float(case.block))):
        if name == "entries" or case.blocks:
            random = f"random {name}"
            found[random] = Entry("mask-random", "keep", case.keeps, {"block": block})
            fixed = {"block": block, "steps": 1.0}
            found[f"steepest {name}"] = Entry("mask-steepest", "keep", case.keeps, fixed, random)
    for draws in case.worst_of:
        fixed = {"block": 1.0, "draws": draws}
        entry = Entry("mask-worst", "keep", case.keeps, fixed, "random entries")
        found[f"worst of {draws:g} random entries"] = entry
    found["random relative"] = Entry("relative-random", "radius", case.radii)
    found["relative"] = Entry("relative", "radius", case.radii, {}, "random relative")
    if case.blocks:
        fixed, control = {"block": 1.0, "steps": 3.0}, "random entries"
        steps = Entry("mask-steepest", "keep", case.keeps, fixed, control)
        found["steepest entries, 3 steps"] = steps
        rates = (1e-6, 1e-3, 1e-2)
        found["generator"] = Entry("xvat", "learning_rate", rates, {}, control)
    return found


class Runs:
    """The records of all runs, in a file that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._load = Loader()
        self._done: dict[tuple[str, bool, str, int], dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                key = (row["case"], row["choosing"], json.dumps(row["chosen"]), row["seed"])
                self._done[key] = row

    def records(
        self, name: str, choosing: bool, entry: Entry, value: float
    ) -> list[dict[str, Any]]:
        """The runs of a method with one value of its setting, done now where they are missing."""
        case, settings = CASES[name], entry.settings(value)
        first = FIRST_CHOOSING if choosing else 0
        seeds = range(first, first + (case.choosing if choosing else case.seeds))
        word = json.dumps(settings)
        missing = [s for s in seeds if (name, choosing, word, s) not in self._done]
        protocol = case.protocol(choosing)
        for k in range(0, len(missing), WIDEST):
            for record in self._train(protocol, entry.method, settings, missing[k : k + WIDEST]):
                kept = (
                    "method",
                    "seed",
                    "error",
                    "seconds_per_step",
                    "alarms",
                    "reached",
                    "failed",
                )
                row = {"case": name, "choosing": choosing, "chosen": settings}
                row |= {key: record[key] for key in kept if key in record}
                self._done[name, choosing, word, record["seed"]] = row
                with self.path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        return [self._done[name, choosing, word, seed] for seed in seeds]

    def _train(
        self, protocol: Protocol, method: str, settings: Mapping[str, Any], seeds: Sequence[int]
    ) -> list[dict[str, Any]]:
        used = catalog.settings_for(method, settings)
        dataset = self._load(protocol, seeds[0])
        if suits(protocol, method, used, dataset, len(seeds)):
            pairs = [(settings, seed) for seed in seeds]
            found = run_stack(protocol, method, pairs, threads=1, load=self._load)
            if found is not None:
                return found
        return [run(protocol, method, s, settings, threads=1, load=self._load) for s in seeds]


def chosen(runs: Runs, name: str, entry: Entry) -> tuple[float, dict[str, float]]:
    """The value that was best where settings are chosen, and the mean error of each."""
    means: dict[str, float] = {}
    best, least = entry.values[0], float("inf")
    for value in entry.values:
        found = runs.records(name, True, entry, value)
        errors = [row["error"] for row in found if not row.get("failed")]
        if len(errors) < len(found):
            continue
        means[f"{value:g}"] = fmean(errors)
        if means[f"{value:g}"] < least:
            best, least = value, means[f"{value:g}"]
    return best, means


def study(runs: Runs, name: str) -> dict[str, Any]:
    """Choose, train and compare all entries of a case."""
    case, every = CASES[name], entries(CASES[name])
    best: dict[str, float] = {}
    searched: dict[str, dict[str, float]] = {}
    for entry_name, entry in every.items():
        best[entry_name], searched[entry_name] = chosen(runs, name, entry)
        print(name, entry_name, best[entry_name], searched[entry_name], flush=True)
    final = {n: runs.records(name, False, entry, best[n]) for n, entry in every.items()}
    renamed = [{**row, "method": n} for n, found in final.items() for row in found]
    table = rows(renamed, list(every))
    for row in table:
        entry = every[row["method"]]
        row["chosen"] = {entry.setting: best[row["method"]]} if entry.setting else {}
        row["against its control"] = against(runs, name, every, best, row["method"])
    protocol = case.protocol(False)
    return {
        "rows": table,
        "chosen on": searched,
        "seeds": {"reported": case.seeds, "chosen with": case.choosing},
        "protocol": {
            "data": protocol.data,
            "labels": protocol.labels,
            "network": dict(protocol.network),
            "training": dict(protocol.training),
            "validation examples": case.held_out or "data of other seeds",
        },
    }


def against(
    runs: Runs, name: str, every: Mapping[str, Entry], best: Mapping[str, float], own: str
) -> dict[str, Any]:
    """Paired differences from the random control: adversary minus control, in % of errors."""
    entry = every[own]
    if not entry.control:
        return {}
    control = every[entry.control]

    def difference(mine: float, theirs: float) -> dict[str, Any]:
        ours = runs.records(name, False, entry, mine)
        others = runs.records(name, False, control, theirs)
        pairs = [(a, b) for a, b in zip(ours, others, strict=True) if "error" in a and "error" in b]
        found = paired([a["error"] for a, _ in pairs], [b["error"] for _, b in pairs])
        return {"adversary at": mine, "control at": theirs, **found}

    result = {"each at its best": difference(best[own], best[entry.control])}
    if entry.setting == control.setting:
        result["both at the adversary's"] = difference(best[own], best[own])
        if CASES[name].blocks:
            at = best[entry.control]
            result["both at the control's"] = difference(at, at)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"among {'; '.join(CASES)}; all unless given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs, path = Runs(RESULTS / "masks.jsonl"), RESULTS / "masks.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in options.cases or CASES:
        result[name] = {**study(runs, name), "environment": environment(1, 1)}
        write_json(path, result)


if __name__ == "__main__":
    main()
