"""One run of a comparison, and what becomes of it."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unshaken.comparison.mistakes import is_mistake, sentence
from unshaken.comparison.protocol import Protocol
from unshaken.comparison.single import Loader, Settings, run
from unshaken.comparison.stacks import run_stack
from unshaken.training import Interrupted, NonFiniteError


@dataclass(frozen=True)
class Task:
    """One run of a comparison, or several of one method that are trained as one.

    Attributes:
        pictures: where the pictures of the run with ``seed`` are kept, if anywhere.
        others: settings and seed of each further run in the same stack.
    """

    protocol: Protocol
    method: str
    seed: int
    settings: Settings
    pictures: Path | None
    threads: int | None
    others: tuple[tuple[Settings, int], ...] = ()

    def runs(self) -> list[Task]:
        """Each run as a task of its own."""
        first = replace(self, others=())
        return [
            first,
            *(replace(first, settings=s, seed=seed, pictures=None) for s, seed in self.others),
        ]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        task: the run, by itself.
        record: its record, also where its loss was not finite; None where it gave none.
        lost: why there is no record, in one sentence.
        defect: the traceback, where the reason is no mistake of the user's.
    """

    task: Task
    record: dict[str, Any] | None = None
    lost: str = ""
    defect: str = ""


def together(first: Task, rest: Sequence[Task]) -> Task:
    """Runs that differ in settings and seed as one task, to be trained as one."""
    return replace(first, others=tuple((task.settings, task.seed) for task in rest))


def do(task: Task, load: Loader) -> list[Outcome]:
    """The runs of a task in this process."""
    if task.others:
        try:
            found = run_stack(
                task.protocol,
                task.method,
                [(task.settings, task.seed), *task.others],
                pictures=task.pictures,
                threads=task.threads,
                load=load,
            )
        except Interrupted:
            raise
        except Exception as error:
            # One by one, each has what it can have, and a sentence of its own.
            if not is_mistake(error):
                trace = traceback.format_exc()
                return [Outcome(t, lost=sentence(error), defect=trace) for t in task.runs()]
            found = None
        if found is not None:
            return [Outcome(t, record) for t, record in zip(task.runs(), found, strict=True)]
    return [_alone(each, load) for each in task.runs()]


def _alone(task: Task, load: Loader) -> Outcome:
    try:
        record = run(
            task.protocol,
            task.method,
            task.seed,
            task.settings,
            pictures=task.pictures,
            threads=task.threads,
            load=load,
        )
    except NonFiniteError as error:
        # Deterministic: the same run would fail again, so this is its result.
        return Outcome(task, {"method": task.method, "seed": task.seed, "failed": str(error)})
    except Interrupted:
        raise
    except Exception as error:
        trace = "" if is_mistake(error) else traceback.format_exc()
        return Outcome(task, lost=sentence(error), defect=trace)
    return Outcome(task, record)
