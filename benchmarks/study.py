"""A method beside its random control: settings chosen where the reported errors do not come from.

Each entry's setting is looked for on a grid with seeds from 1000 on, on held-out training
examples (or, where every seed draws data of its own, on the data of those seeds); the errors
reported are those of other seeds on the test set. An adversary is compared with its control at
several sizes: each at its own best, and both at the adversary's. Every run is appended to a file
as it finishes; a second call does the rest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
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

RESULTS = Path(__file__).parent / "results"
FIRST_CHOOSING = 1000
WIDEST = 10
KEPT = ("method", "seed", "error", "seconds_per_step", "alarms", "reached", "failed")


@dataclass(frozen=True)
class Entry:
    """One method with what it is chosen from.

    Attributes:
        method: its name in the catalog, or several joined by ``+``.
        setting: what is chosen, of the method's first part; empty for nothing.
        values: where it is looked for.
        fixed: other settings of the first part.
        control: the entry that is its random control; empty for a control.
        others: settings of the other parts.
        training: how its training differs from the case's.
        as_in: the entry whose choice is taken; empty for a search of its own.
        seeds: seeds that are reported; 0 for as many as the case has.
    """

    method: str
    setting: str = ""
    values: Sequence[float] = (0.0,)
    fixed: Mapping[str, float] = field(default_factory=dict)
    control: str = ""
    others: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    as_in: str = ""
    seeds: int = 0

    def settings(self, value: float) -> dict[str, dict[str, float]]:
        own = {self.setting: value} if self.setting else {}
        first, *_ = self.method.split("+")
        return {first: {**self.fixed, **own}, **{k: dict(v) for k, v in self.others.items()}}


@dataclass(frozen=True)
class Case:
    """Data and budget.

    Attributes:
        data: a name of data.
        entries: what is compared, by name.
        changes: how the protocol differs from the one that ships.
        training: how its training differs.
        held_out: training examples that settings are chosen on; 0 for data of other seeds.
        choosing: seeds that settings are chosen with.
        seeds: seeds that are reported.
        control_sizes: whether both are compared at the control's size, too.
        shorter: how training differs where settings are chosen.
        adversary_sizes: whether both are compared at the adversary's size, too.
    """

    data: str
    entries: Mapping[str, Entry]
    changes: Mapping[str, Any]
    training: Mapping[str, Any]
    held_out: int
    choosing: int
    seeds: int
    control_sizes: bool = False
    shorter: Mapping[str, Any] = field(default_factory=dict)
    adversary_sizes: bool = True

    def protocol(self, choosing: bool, training: Mapping[str, Any] | None = None) -> Protocol:
        found = named(self.data)
        changed = {**found.training, "evaluate_every": 0, **self.training, **(training or {})}
        if choosing:
            changed |= self.shorter
        found = found.with_changes(methods={}, training=changed, **self.changes)
        if choosing and self.held_out:
            return found.with_changes(validation=self.held_out, judge="validation")
        return found


class Runs:
    """The records of all runs, in a file that grows."""

    def __init__(self, path: Path, cases: Mapping[str, Case]) -> None:
        self.path = path
        self.cases = cases
        self._load = Loader()
        self._done: dict[tuple[str, bool, str, int], dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                word = _word(row["chosen"], row.get("training", {}))
                self._done[row["case"], row["choosing"], word, row["seed"]] = row

    def records(
        self, name: str, choosing: bool, entry: Entry, value: float
    ) -> list[dict[str, Any]]:
        """The runs of a method with one value of its setting, done now where they are missing."""
        case, settings = self.cases[name], entry.settings(value)
        first = FIRST_CHOOSING if choosing else 0
        seeds = range(first, first + (case.choosing if choosing else entry.seeds or case.seeds))
        word = _word(settings, entry.training)
        missing = [s for s in seeds if (name, choosing, word, s) not in self._done]
        protocol = case.protocol(choosing, entry.training)
        for k in range(0, len(missing), WIDEST):
            for record in self._train(protocol, entry.method, settings, missing[k : k + WIDEST]):
                row = {"case": name, "choosing": choosing, "chosen": settings}
                row |= {"training": dict(entry.training)} if entry.training else {}
                row |= {key: record[key] for key in KEPT if key in record}
                self._done[name, choosing, word, record["seed"]] = row
                with self.path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        return [self._done[name, choosing, word, seed] for seed in seeds]

    def _train(
        self, protocol: Protocol, method: str, settings: Mapping[str, Any], seeds: Sequence[int]
    ) -> Iterator[dict[str, Any]]:
        used = catalog.settings_for(method, settings)
        dataset = self._load(protocol, seeds[0])
        if suits(protocol, method, used, dataset, len(seeds)):
            pairs = [(settings, seed) for seed in seeds]
            found = run_stack(protocol, method, pairs, threads=1, load=self._load)
            if found is not None:
                yield from found
                return
        for seed in seeds:
            yield run(protocol, method, seed, settings, threads=1, load=self._load)


def _word(settings: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    return json.dumps([settings, training] if training else settings)


def chosen(runs: Runs, name: str, entry: Entry) -> tuple[float, dict[str, float]]:
    """The value that was best where settings are chosen, and the mean error of each."""
    means: dict[str, float] = {}
    best, least = entry.values[0], float("inf")
    if len(entry.values) == 1:
        return best, means
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
    case, every = runs.cases[name], runs.cases[name].entries
    best: dict[str, float] = {}
    searched: dict[str, dict[str, float]] = {}
    for entry_name, entry in every.items():
        if entry.as_in:
            best[entry_name] = best[entry.as_in]
        else:
            best[entry_name], searched[entry_name] = chosen(runs, name, entry)
            print(name, entry_name, best[entry_name], searched[entry_name], flush=True)
    final = {n: runs.records(name, False, entry, best[n]) for n, entry in every.items()}
    renamed = [{**row, "method": n} for n, found in final.items() for row in found]
    table = rows(renamed, list(every))
    for row in table:
        entry = every[row["method"]]
        row["chosen"] = {entry.setting: best[row["method"]]} if entry.setting else {}
        row["against its control"] = against(runs, name, best, row["method"])
        row["steps"] = case.protocol(False, entry.training).training["steps"]
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
            **({"augmentation": str(protocol.augmentation())} if protocol.augment else {}),
        },
    }


def against(runs: Runs, name: str, best: Mapping[str, float], own: str) -> dict[str, Any]:
    """Paired differences from the random control: adversary minus control, in % of errors."""
    case = runs.cases[name]
    entry = case.entries[own]
    if not entry.control:
        return {}
    control = case.entries[entry.control]

    def difference(mine: float, theirs: float) -> dict[str, Any]:
        ours = runs.records(name, False, entry, mine)
        others = runs.records(name, False, control, theirs)
        pairs = [(a, b) for a, b in zip(ours, others, strict=True) if "error" in a and "error" in b]
        found = paired([a["error"] for a, _ in pairs], [b["error"] for _, b in pairs])
        return {"adversary at": mine, "control at": theirs, **found}

    result = {"each at its best": difference(best[own], best[entry.control])}
    if entry.setting and entry.setting == control.setting:
        if case.adversary_sizes:
            result["both at the adversary's"] = difference(best[own], best[own])
        if case.control_sizes:
            at = best[entry.control]
            result["both at the control's"] = difference(at, at)
    return result


def conduct(cases: Mapping[str, Case], names: Sequence[str], rows_path: Path, path: Path) -> None:
    """Do the named cases and keep their tables."""
    runs = Runs(rows_path, cases)
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in names or cases:
        result[name] = {**study(runs, name), "environment": environment(1, 1)}
        write_json(path, result)


def main(about: str | None, cases: Mapping[str, Case], name: str) -> None:
    """The command line of a study: do the cases that are named, or all.

    Args:
        about: the study's docstring.
        cases: its cases.
        name: that of its files of runs and of tables.
    """
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"among {'; '.join(cases)}; all unless given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    conduct(cases, options.cases, RESULTS / f"{name}.jsonl", RESULTS / f"{name}.json")
