"""Choose a method's settings on validation examples; the test set is not looked at."""

from __future__ import annotations

import math
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unshaken.comparison import cluster
from unshaken.comparison.checking import identity
from unshaken.comparison.compare import Stopped
from unshaken.comparison.single import Loader
from unshaken.comparison.tasks import Outcome
from unshaken.comparison.tuning_plan import Plan
from unshaken.comparison.tuning_runs import Runs, result_of
from unshaken.comparison.tuning_space import grid
from unshaken.comparison.tuning_study import Study, Trial
from unshaken.data import Dataset
from unshaken.training import Interrupted

Report = Callable[[Mapping[str, Any], int, int], None]

BATCH = 4
"""Trials that are begun together, at least: what one call tries does not depend on its jobs."""

_POLL = 1.0


@dataclass
class Tuning:
    """What a search gave.

    Attributes:
        plan: the search.
        dataset: the data of its first seed.
        trials: every finished trial, in the order of the study.
        importance: the share of each setting in the spread of the errors, where it can be told.
        lost: runs without a record; the next call tries them again.
    """

    plan: Plan
    dataset: Dataset
    trials: list[Trial]
    importance: dict[str, float] = field(default_factory=dict)
    lost: list[Outcome] = field(default_factory=list)


def tune(
    plan: Plan,
    out: Path,
    *,
    jobs: int = 1,
    threads: int | None = 1,
    engine: str = "processes",
    finished: Report | None = None,
    load: Loader | None = None,
) -> Tuning:
    """Try points of the space until there are enough, each with every seed and fold.

    The error of a trial is the mean over its runs, on training examples that were held out. Every
    run is kept in ``out/runs``, every trial in the journal ``out/study.jsonl``: a second call goes
    on, and several processes or machines may share the folder. A trial whose process died is done
    again, one that is finished never.

    Args:
        plan: the search.
        out: the study's folder.
        jobs: runs at a time.
        threads: threads of PyTorch in each; None for one where the network is small.
        engine: as that of :func:`~unshaken.comparison.compare.compare`.
        finished: called with each run's record, how many runs are done, and how many there are.
        load: where this process takes the data from.

    Raises:
        ValueError, TypeError: a name, a setting, the data or the folder is not what it should be.
        ImportError: Optuna is missing.
        Stopped: a signal came.
    """
    cluster.check_engine(engine)
    load = load or Loader()
    dataset = load(plan.protocol, plan.seeds[0])
    plan.check(dataset)
    content = identity(dataset, plan.protocol)
    points = grid(plan.space, plan.trials) if plan.search == "grid" else []
    with closing(Study(out, plan.identity(content), plan.space, plan.search, points)) as study:
        runs = Runs(plan, out, content, jobs, threads, engine, load)
        total = len(points) or plan.trials
        try:
            while True:
                batch = study.take(max(BATCH, math.ceil(jobs / len(plan.seeds))), total)
                if batch:
                    _try(study, plan, batch, runs, total, finished)
                elif study.busy():
                    time.sleep(_POLL)  # another process is at the last ones, or died of them
                else:
                    break
        except (KeyboardInterrupt, Interrupted) as stop:
            received = stop.signal if isinstance(stop, Interrupted) else signal.SIGINT
            each = len(plan.seeds) * plan.folds
            done = len(study.finished()) * each + runs.done
            raise Stopped(received, done, total * each) from stop
        return Tuning(plan, dataset, study.finished(), study.importance(), runs.lost)


def _try(
    study: Study,
    plan: Plan,
    batch: Sequence[Trial],
    runs: Runs,
    total: int,
    finished: Report | None,
) -> None:
    each = len(plan.seeds) * plan.folds
    before = study.finished()
    runs.done = 0

    def shown(record: Mapping[str, Any]) -> None:
        if finished is not None:
            finished(record, len(before) * each + runs.done, total * each)

    first, rest = list(plan.seeds), list[int]()
    if plan.prune and plan.search != "grid" and _limit(before) is not None:
        first, rest = first[:1], first[1:]
    records = runs.of(batch, first, shown)
    going = []
    for trial in batch:
        found = records[trial.number]
        if found is None:
            study.lose(trial)
            continue
        limit = _limit(before)
        score = result_of(plan, first, found)["score"]
        if rest and limit is not None and score > limit:
            study.tell(trial, result_of(plan, first, found), pruned=True)
        elif rest:
            going.append(trial)
        else:
            study.tell(trial, result_of(plan, first, found))
    more = runs.of(going, rest, shown) if going else {}
    for trial in going:
        found, added = records[trial.number], more[trial.number]
        if found is None or added is None:
            study.lose(trial)
        else:
            study.tell(trial, result_of(plan, [*first, *rest], [*found, *added]))


def _limit(trials: Sequence[Trial]) -> float | None:
    """The first seed's error above which a trial is clearly bad; None while that is not known.

    The median of the finished trials at that seed, plus twice the spread that the seeds of one
    trial have.
    """
    whole = [t.result for t in trials if t.result and not t.pruned and not t.result["failures"]]
    spreads = [statistics.variance(r["errors"]) for r in whole if len(r["errors"]) > 1]
    if len(spreads) < _ENOUGH:
        return None
    middle = statistics.median(r["errors"][0] for r in whole)
    return middle + 2 * math.sqrt(statistics.fmean(spreads))


_ENOUGH = 5
"""Finished trials from which on a new one may be called clearly bad."""
