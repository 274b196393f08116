"""Runs in processes of their own, which may die, and never outlive the one that started them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import ModuleType

import torch

from unshaken.comparison.single import Loader
from unshaken.comparison.tasks import Outcome, Task, do
from unshaken.training import Interrupted


def outcomes(tasks: Sequence[Task], jobs: int, load: Loader) -> Generator[Outcome, None, None]:
    """Do the runs, ``jobs`` at a time; each outcome comes as soon as it is known.

    One at a time run in this process. Of several processes each sees one GPU, where there are
    several, and they take turns. Closing the iterator ends all processes.

    Args:
        tasks: the runs, in the order in which they begin.
        jobs: how many processes.
        load: where runs of this process take the data from.

    Raises:
        Interrupted: a signal came while a run of this process trained.
    """
    if min(jobs, len(tasks)) > 1:
        yield from _side_by_side(tasks, min(jobs, len(tasks)))
        return
    for task in tasks:
        yield from do(task, load)


@dataclass(frozen=True)
class _Worker:
    """A process, and which of the places it has taken: each place has a GPU of its own."""

    process: SpawnProcess
    place: int


def _side_by_side(tasks: Sequence[Task], jobs: int) -> Generator[Outcome, None, None]:
    waiting = deque(tasks)
    busy: dict[Connection, tuple[_Worker, Task]] = {}
    every: list[SpawnProcess] = []

    def begin(worker: _Worker, pipe: Connection) -> None:
        busy[pipe] = worker, waiting.popleft()
        # A process that is gone by now shows when its answer is read.
        with suppress(OSError):
            pipe.send(busy[pipe][1])

    def hire(places: Sequence[int]) -> None:
        for place in places:
            with _quiet_start({**_one_gpu(place), **_few_threads(tasks[0].threads)}):
                process, pipe = _worker()
            every.append(process)
            begin(_Worker(process, place), pipe)

    try:
        hire(range(jobs))
        while busy:
            for pipe in connection.wait(list(busy)):
                if not isinstance(pipe, Connection):
                    continue
                worker, task = busy.pop(pipe)
                try:
                    found: list[Outcome] = pipe.recv()
                except (EOFError, OSError):
                    reason = _death(worker.process)
                    found = [Outcome(each, lost=reason) for each in task.runs()]
                    pipe.close()
                    hire([worker.place] if waiting else [])
                else:
                    if waiting:
                        begin(worker, pipe)
                    else:
                        pipe.close()
                yield from found
    finally:
        for process in every:
            process.kill()
        for process in every:
            process.join()
        for pipe in busy:
            pipe.close()


def _worker() -> tuple[SpawnProcess, Connection]:
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    there.close()
    return process, here


def _one_gpu(place: int) -> dict[str, str]:
    """The variable that shows a process one GPU alone; nothing where there is no choice."""
    count = torch.cuda.device_count()
    if count < 2:
        return {}
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",") if named else [str(k) for k in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[place % count].strip()}


def _few_threads(threads: int | None) -> dict[str, str]:
    return {} if threads is None else {"OMP_NUM_THREADS": str(threads)}


@contextmanager
def _quiet_start(variables: Mapping[str, str]) -> Iterator[None]:
    """What processes inherit that start inside: variables, no interrupts, no script.

    A terminal sends Ctrl-C to every process; only the first one is to answer, whatever the others
    are doing, be it still their imports.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    # A worker would execute the caller's script once more, to find there what it does not need.
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    blocks = hasattr(signal, "pthread_sigmask")
    if blocks:
        # It unblocks the signal when it starts, so it has to be there already.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        sys.modules["__main__"] = script
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection) -> None:
    """A worker: runs come in, outcomes go out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load = Loader()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(do(task, load))
        except Interrupted as stop:  # SIGTERM: end as its default would
            signal.signal(stop.signal, signal.SIG_DFL)
            os.kill(os.getpid(), stop.signal)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _death(process: SpawnProcess) -> str:
    process.join()
    code = process.exitcode or 0
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    more = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{more}"
