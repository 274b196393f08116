"""Runs on many machines, as futures of a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unshaken.comparison.sameness import Footing, difference, footing
from unshaken.comparison.single import Loader
from unshaken.comparison.tasks import Outcome, Task, do
from unshaken.training.atomic import replace_bytes

PREFIX = "dask://"

_PATIENCE = 30.0
"""Seconds in which a scheduler has to answer."""

_ALONE = threading.Lock()


@dataclass(frozen=True)
class _Answer:
    """What a worker sends back: the outcome of each run, and the files of the pictures."""

    outcomes: list[Outcome]
    files: dict[str, bytes]


class _Here:
    """What a worker knows: the footing that it was found to share, and data that belong to it."""

    def __init__(self) -> None:
        self._shared: Footing | None = None
        self.load = Loader()

    def difference(self, wanted: Footing) -> str:
        if wanted != self._shared:
            # Anew: the files may have changed since a comparison that this worker served before.
            self._shared, self.load = None, Loader()
            said = difference(wanted, self.load)
            if said:
                return said
            self._shared = wanted
        return ""


_HERE = _Here()


def check_engine(engine: str) -> str:
    """The engine: ``processes``, ``dask`` (processes of a local cluster) or ``dask://HOST:PORT``.

    Raises:
        ValueError: it is another one.
        ImportError: it is Dask, and that is not installed.
    """
    if engine == "processes":
        return engine
    host, _, port = engine.removeprefix(PREFIX).rpartition(":")
    if engine != "dask" and not (engine.startswith(PREFIX) and host and port.isdigit()):
        raise ValueError(f"engine must be processes, dask or dask://HOST:PORT, got {engine!r}")
    _dask()
    return engine


def outcomes(
    tasks: Sequence[Task], engine: str, jobs: int, load: Loader
) -> Generator[Outcome, None, None]:
    """Do the runs on a cluster; each outcome comes once, as soon as it is known.

    A run whose worker dies is done again by another; after some such deaths it is given up as
    lost. Records and pictures travel back, so that only this process writes to the comparison's
    folder. Data of the user's own have to lie at the same path on every machine, and every
    machine needs the same version of this package: all workers are asked before the first run,
    and one that comes later before its own first run.

    Args:
        tasks: the runs.
        engine: ``dask`` or ``dask://HOST:PORT``, the address of a scheduler.
        jobs: worker processes of a local cluster.
        load: where this process takes the data from.

    Raises:
        ValueError: no scheduler answers, or a worker has other data or another version.
    """
    distributed = _dask()
    if not tasks:
        return
    with ExitStack() as stack:
        address: Any = f"tcp://{engine.removeprefix(PREFIX)}"
        if engine == "dask":
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=min(jobs, len(tasks)),
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        except OSError as error:
            raise ValueError(f"engine: no Dask scheduler answers at {engine}") from error
        stack.callback(client.close)
        wanted = footing(tasks[0].protocol, tasks[0].seed, load)
        _ask_workers(client, wanted)
        # A key of its own for each: the cluster may remember those of another comparison.
        futures = client.map(_do, tasks, [wanted] * len(tasks), pure=False)
        stack.callback(client.cancel, futures)
        waiting = dict(zip(futures, tasks, strict=True))
        for future in distributed.as_completed(futures, loop=client.loop):
            # A result that was lost with its worker is made again and announced again.
            task = waiting.pop(future, None)
            if task is not None:
                yield from _received(future, task)


def _ask_workers(client: Any, wanted: Footing) -> None:
    for address, said in client.run(_unlike, wanted, on_error="return").items():
        # A worker that died meanwhile is none that could do a run.
        if said and not isinstance(said, OSError):
            came = (
                said if isinstance(said, str) else f"it failed with {type(said).__name__}: {said}"
            )
            raise ValueError(f"engine: the worker {address} would not do the same runs: {came}")


async def _unlike(wanted: Footing) -> str:
    # In a thread: data that take long to read must not keep the worker from answering.
    return await asyncio.to_thread(_differs, wanted)


def _differs(wanted: Footing) -> str:
    if not _ALONE.acquire(blocking=False):
        # A run of another comparison is under way, and may be for hours.
        return difference(wanted, Loader())
    try:
        return _HERE.difference(wanted)
    finally:
        _ALONE.release()


def _received(future: Any, task: Task) -> list[Outcome]:
    try:
        answer: _Answer = future.result()
    except Exception as error:
        # The cluster's own: workers that died under this run again and again, or a version of
        # this package that does not know it.
        said = " ".join(str(error).split())
        reason = f"the cluster gave it up: {type(error).__name__}: {said}"
        return [Outcome(each, lost=reason) for each in task.runs()]
    if task.pictures is not None:
        for name, content in answer.files.items():
            path = task.pictures / name
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(path, content)
    pairs = zip(answer.outcomes, task.runs(), strict=True)
    return [replace(outcome, task=each) for outcome, each in pairs]


def _do(task: Task, wanted: Footing) -> _Answer:
    """On a worker: one task at a time, because PyTorch's random state is the whole process's."""
    with _ALONE, tempfile.TemporaryDirectory() as folder:
        said = _HERE.difference(wanted)
        if said:
            reason = f"a worker would not do the same run: {said}"
            return _Answer([Outcome(each, lost=reason) for each in task.runs()], {})
        pictures = None if task.pictures is None else Path(folder)
        found = do(replace(task, pictures=pictures), _HERE.load)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in Path(folder).rglob("*")
            if path.is_file()
        }
    return _Answer(found, files)


def _dask() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "engine dask needs distributed: pip install 'unshaken[cluster]'"
        ) from error
    return distributed
