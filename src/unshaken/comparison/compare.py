"""Many methods × many seeds on one data set: run, keep, go on, and sum up."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unshaken.comparison import cluster, gallery
from unshaken.comparison.checking import check, described, identity
from unshaken.comparison.environment import environment
from unshaken.comparison.folder import ComparisonFolder, write_json, write_record
from unshaken.comparison.protocol import Protocol
from unshaken.comparison.single import Loader, Settings
from unshaken.comparison.stacks import WIDEST, suits
from unshaken.comparison.statistics import rows
from unshaken.comparison.tasks import Outcome, Task, together
from unshaken.comparison.workers import outcomes
from unshaken.data import Dataset
from unshaken.training import Interrupted

Report = Callable[[Mapping[str, Any], int, int], None]

MEASURED = (
    "CPU time of the training steps alone (on a GPU their wall time), median over the blocks of "
    "16 steps of a run (where seeds were trained in one stack, of the first steps of one of them "
    "by itself); a ratio divides by the baseline's run of the same seed; medians over seeds"
)


class Stopped(RuntimeError):
    """A signal ended a comparison; what is finished is kept.

    Attributes:
        received: the signal.
        done: how many runs are finished.
        exit_code: 128 + the signal's number.
    """

    def __init__(self, received: signal.Signals, done: int, total: int) -> None:
        self.received, self.done = received, done
        super().__init__(
            f"stopped by {received.name}: {done} of {total} runs are finished and kept; the same "
            "command does the rest"
        )
        self.exit_code = 128 + int(received)


class NothingFinished(ValueError):
    """Only finished runs are wanted, and there is none."""


@dataclass
class Comparison:
    """What a comparison gave.

    Attributes:
        summary: what ``summary.json`` holds.
        lost: runs without a record, each with its reason; the next call tries them again.
    """

    summary: dict[str, Any]
    lost: list[Outcome] = field(default_factory=list)


def compare(
    protocol: Protocol,
    methods: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    *,
    settings: Settings | None = None,
    jobs: int = 1,
    threads: int | None = 1,
    engine: str = "processes",
    stack: str = "auto",
    finished: Report | None = None,
    only_finished: bool = False,
    load: Loader | None = None,
) -> Comparison:
    """Train every method with every seed and write ``summary.json`` and ``report.html``.

    Each finished run is one file ``out/runs/METHOD/seed-S.json``, written whole or not at all: a
    call that is interrupted, on purpose or not, loses the runs under way and a second call does
    the rest. A run counts as finished only for the same protocol, data and settings. A run whose
    loss is not finite is kept as a failure of its method; one that is lost (its process was
    killed, or an error came) is left to the next call. Neither stops the others.

    The numbers do not depend on ``jobs`` or on the order. Seeds that are trained in one stack have
    the numbers that they have alone, but for rounding, which training may magnify.

    Args:
        protocol: what all methods share.
        methods: names of the catalog, or several joined by ``+``.
        seeds: one run of each method for each; runs of one seed share data, split and weights.
        out: the comparison's folder.
        settings: overrides of method settings, by method.
        jobs: processes at a time.
        threads: threads of PyTorch in each; None for one where the network is small.
        engine: ``processes`` of this machine, ``dask`` for a local cluster of them, or
            ``dask://HOST:PORT`` for the workers of that scheduler, which ignores ``jobs``.
        stack: ``auto`` trains up to ten seeds of a method as one where the network is small and on
            the CPU, which takes a fraction of the processor's time; a number, as ``"4"``, so many,
            which keeps more cores busy where methods are few; ``off`` trains one by one.
        finished: called with each record, how many runs are done, and how many there are.
        only_finished: start no run; sum up those that are finished, also while another process
            does more of them.
        load: where this process takes the data from.

    Raises:
        ValueError, TypeError: a name, a setting, the data or the folder is not what it should be.
        NothingFinished: only finished runs are wanted and there is none.
        Stopped: a signal came.
    """
    if not methods or not seeds:
        raise ValueError(f"methods and seeds must not be empty, got {methods!r} and {seeds!r}")
    cluster.check_engine(engine)
    width = stack_width(stack)
    with closing(ComparisonFolder(out, only_look=only_finished)) as folder:
        load = load or Loader()
        dataset = load(protocol, seeds[0])
        used = check(protocol, methods, settings or {}, dataset, seeds[0])
        content = identity(dataset, protocol)
        prints = {m: protocol.fingerprint(m, used[m], content) for m in methods}
        records: list[dict[str, Any]] = []
        runs: list[Task] = []
        for seed in seeds:
            for method in methods:
                record = folder.finished(method, seed, prints[method])
                if record is not None:
                    records.append(record)
                    continue
                pictures = folder.pictures if seed == seeds[0] else None
                runs.append(Task(protocol, method, seed, settings or {}, pictures, threads))
        if only_finished:
            if not records:
                raise NothingFinished(f"{out} has no finished run of these methods and seeds")
            runs = []
        total, lost = len(records) + len(runs), []
        tasks = stacked(runs, used, dataset, width)
        try:
            here = engine == "processes"
            found = (
                outcomes(tasks, jobs, load) if here else cluster.outcomes(tasks, engine, jobs, load)
            )
            with closing(found) as coming:
                for outcome in coming:
                    if outcome.record is None:
                        lost.append(outcome)
                        shown: Mapping[str, Any] = _failure(outcome)
                    else:
                        method, seed = outcome.task.method, outcome.task.seed
                        shown = {**outcome.record, "fingerprint": prints[method]}
                        write_record(folder.run(method, seed), shown)
                        records.append(dict(shown))
                    if finished is not None:
                        finished(shown, len(records), total)
        except (KeyboardInterrupt, Interrupted) as stop:
            received = stop.signal if isinstance(stop, Interrupted) else signal.SIGINT
            raise Stopped(received, len(records), total) from stop
        finally:
            folder.clean()
        every = [*records, *map(_failure, lost)]
        summary = summarize(protocol, dataset, methods, every, out, jobs, threads)
        return Comparison(summary, lost)


def stack_width(stack: str) -> int:
    """How many seeds are trained as one at most.

    Raises:
        ValueError: it is neither ``auto``, ``off`` nor a number from 2 on.
    """
    if stack in ("auto", "off"):
        return WIDEST if stack == "auto" else 1
    if not stack.isdecimal() or int(stack) < 2:
        raise ValueError(f"stack must be auto, off or a number of seeds >= 2, got {stack!r}")
    return int(stack)


def stacked(
    runs: Sequence[Task], used: Mapping[str, Settings], dataset: Dataset, width: int
) -> list[Task]:
    """The same runs in fewer tasks: those of one method together, where they can be trained as one.

    Stacks come first, because they take longest.
    """
    stacks: list[Task] = []
    singles: list[Task] = []
    for method in dict.fromkeys(task.method for task in runs):
        mine = [task for task in runs if task.method == method]
        for k in range(0, len(mine), width):
            first, *rest = mine[k : k + width]
            if suits(first.protocol, method, used[method], dataset, 1 + len(rest)):
                stacks.append(together(first, rest))
            else:
                singles += [first, *rest]
    return [*stacks, *(task for task in runs if task in singles)]


def _failure(outcome: Outcome) -> dict[str, Any]:
    return {
        "method": outcome.task.method,
        "seed": outcome.task.seed,
        "failed": outcome.lost,
        "history": [],
    }


def summarize(
    protocol: Protocol,
    dataset: Dataset,
    methods: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    out: Path,
    jobs: int = 1,
    threads: int | None = None,
) -> dict[str, Any]:
    """Write ``summary.json`` and ``report.html`` for finished runs, and return the summary."""
    # Imported here: the report brings Matplotlib, for which no process that trains should wait.
    from unshaken.comparison.report import write_report

    order = {method: k for k, method in enumerate(methods)}
    ordered = sorted(records, key=lambda r: (order[r["method"]], r["seed"]))
    table = rows(ordered, methods)
    runs = [r["provenance"] for r in ordered if "provenance" in r]
    # Pictures of a method without a finished run are those of earlier settings.
    whole = {r["method"] for r in ordered if "failed" not in r}
    shown = [method for method in methods if method in whole]
    summary = {
        "rows": table,
        "baseline": "baseline",
        "data": dict(described(dataset, protocol)),
        "protocol": {
            "network": dict(protocol.network),
            "training": dict(protocol.training),
            "validation": protocol.validation,
            "judged on": protocol.judge,
            "normalization": protocol.normalize or "the data's default",
            "settings": protocol.note,
            "seconds per step": MEASURED,
        },
        "environment": environment(jobs, threads, runs),
    }
    write_json(out / "summary.json", summary)
    write_report(
        out / "report.html",
        summary,
        ordered,
        gallery.panels(out / "pictures" / "panels", shown),
        gallery.boundaries(out / "pictures" / "boundaries", shown),
        [f"{row['method']} failed with {failure}" for row in table for failure in row["failures"]],
    )
    return summary
