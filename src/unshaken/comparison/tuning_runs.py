"""The runs of a search's trials: done, kept, and known again."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from unshaken.comparison import cluster
from unshaken.comparison.folder import read_record, write_record
from unshaken.comparison.single import Loader
from unshaken.comparison.stacks import WIDEST, suits
from unshaken.comparison.statistics import mean_and_error
from unshaken.comparison.tasks import Outcome, Task, together
from unshaken.comparison.tuning_plan import Plan
from unshaken.comparison.tuning_study import Trial
from unshaken.comparison.workers import outcomes

WORST = 100.0
"""Per cent: the score of settings with which training breaks down."""

Record = Mapping[str, Any]


class Runs:
    """The runs of trials: done, kept, and known again."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        content: str,
        jobs: int,
        threads: int | None,
        engine: str,
        load: Loader,
    ) -> None:
        self._plan, self._out, self._content = plan, out, content
        self._jobs, self._threads, self._engine, self._load = jobs, threads, engine, load
        self.lost: list[Outcome] = []
        self.done = 0

    def of(
        self,
        trials: Sequence[Trial],
        seeds: Sequence[int],
        shown: Callable[[Mapping[str, Any]], None],
    ) -> dict[int, list[dict[str, Any]] | None]:
        """The records of each trial's runs with these seeds, in order; None where one is lost."""
        wanted: dict[str, Task] = {}
        found: dict[str, dict[str, Any]] = {}
        keys: dict[int, list[str]] = {}
        for seed in seeds:
            for trial in trials:
                for fold in range(self._plan.folds):
                    task = self._task(trial, seed, fold)
                    key = _key(task)
                    keys.setdefault(trial.number, []).append(key)
                    record = read_record(self._path(task))
                    if record is None:
                        wanted[key] = task
                    else:
                        found[key] = record
                        self.done += 1
        tasks = self._stacked(list(wanted.values()))
        here = self._engine == "processes"
        with closing(
            outcomes(tasks, self._jobs, self._load)
            if here
            else cluster.outcomes(tasks, self._engine, self._jobs, self._load)
        ) as coming:
            for outcome in coming:
                if outcome.record is None:
                    self.lost.append(outcome)
                    shown({**self._shown(outcome.task), "failed": outcome.lost})
                    continue
                write_record(self._path(outcome.task), outcome.record)
                found[_key(outcome.task)] = outcome.record
                self.done += 1
                shown({**outcome.record, **self._shown(outcome.task)})
        return {
            number: [found[key] for key in every] if all(key in found for key in every) else None
            for number, every in keys.items()
        }

    def _stacked(self, runs: Sequence[Task]) -> list[Task]:
        """The same runs in fewer tasks, where several seeds and settings can be trained as one."""
        found: list[Task] = []
        for fold in dict.fromkeys(task.protocol.fold for task in runs):
            mine = [task for task in runs if task.protocol.fold == fold]
            for k in range(0, len(mine), WIDEST):
                first, *rest = mine[k : k + WIDEST]
                dataset = self._load(first.protocol, first.seed)
                used = first.protocol.settings_of(first.method, first.settings)
                if suits(first.protocol, first.method, used, dataset, 1 + len(rest)):
                    found.append(together(first, rest))
                else:
                    found += [first, *rest]
        return found

    def _task(self, trial: Trial, seed: int, fold: int) -> Task:
        plan = self._plan
        protocol = plan.protocol.with_changes(fold=fold)
        return Task(protocol, plan.method, seed, plan.settings_of(trial), None, self._threads)

    def _path(self, task: Task) -> Path:
        name = task.protocol.fingerprint(task.method, task.settings, self._content)
        return self._out / "runs" / name / f"seed-{task.seed}.json"

    def _shown(self, task: Task) -> dict[str, Any]:
        """What a run is called while it is shown."""
        alone = "+" not in self._plan.method
        chosen = [
            f"{d.setting if alone else d.name} {task.settings[d.part][d.setting]:g}"
            for d in self._plan.space
        ]
        fold = [f"fold {task.protocol.fold}"] if self._plan.folds > 1 else []
        return {"method": ", ".join([*chosen, *fold]), "seed": task.seed}


def _key(task: Task) -> str:
    return json.dumps([task.settings, task.seed, task.protocol.fold], sort_keys=True)


def result_of(
    plan: Plan, seeds: Sequence[int], records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The runs of a trial in plain values.

    Args:
        plan: the search.
        seeds: the seeds of the runs.
        records: the runs, fold by fold within each seed.
    """
    by_seed = {seed: records[k * plan.folds : (k + 1) * plan.folds] for k, seed in enumerate(seeds)}
    failures = [
        f"seed {seed}: {record['failed']}"
        for seed, runs in by_seed.items()
        for record in runs
        if record.get("failed")
    ]
    whole = {s: runs for s, runs in by_seed.items() if not any(r.get("failed") for r in runs)}
    errors = [statistics.fmean(r["error"] for r in runs) for runs in whole.values()]
    # Folds of one seed share most of their training examples; alone they have to do.
    spread = errors
    if len(seeds) == 1 and whole:
        spread = [float(r["error"]) for r in whole[seeds[0]]]
    mean, _ = mean_and_error(errors)
    times = [float(r["seconds_per_step"]) for runs in whole.values() for r in runs]
    return {
        "errors": errors,
        "seeds": list(whole),
        "error_mean": mean if not failures else None,
        "error_sem": mean_and_error(spread)[1] if not failures else None,
        "score": WORST if failures or mean is None else mean,
        "seconds_per_step": statistics.median(times) if times else None,
        "failures": failures,
        "alarms": list(
            dict.fromkeys(
                f"seed {seed}: {alarm}"
                for seed, runs in whole.items()
                for record in runs
                for alarm in record.get("alarms", ())
            )
        ),
        "provenance": [r["provenance"] for runs in whole.values() for r in runs],
    }
