"""Runs in several processes: the same numbers, and nothing left behind, whoever is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import islice
from multiprocessing import active_children
from pathlib import Path

import pytest

from tests.commands import summary, unshaken
from unshaken.cli.runs import side_by_side
from unshaken.comparison.protocol import named
from unshaken.comparison.single import Loader
from unshaken.comparison.tasks import Outcome, Task
from unshaken.comparison.workers import outcomes

MOONS = named("moons").with_changes(
    training={**named("moons").training, "steps": 20, "evaluate_every": 10}
)
ENDLESS = MOONS.with_changes(training={**MOONS.training, "steps": 10**7})
PATIENCE = 60.0
"""Seconds that a busy machine may take for what takes a few."""


def tasks(methods=("baseline", "vat"), seeds=(0, 1), protocol=MOONS):
    return [Task(protocol, m, s, {}, None, 1) for s in seeds for m in methods]


def numbers(found: list[Outcome]) -> dict[tuple[str, int], object]:
    free = ("seconds_per_step", "provenance")
    return {
        (o.task.method, o.task.seed): o.record
        and {k: v for k, v in o.record.items() if k not in free}
        for o in found
    }


def test_numbers_do_not_depend_on_processes_or_order_and_closing_ends_them():
    alone = numbers(list(outcomes(tasks(), 1, Loader())))
    backwards = numbers(list(outcomes(tasks()[::-1], 1, Loader())))
    coming = outcomes([*tasks(), *tasks(("baseline",), (5, 6), ENDLESS)], 2, Loader())
    together = numbers(list(islice(coming, 4)))
    assert alone == backwards == together

    begin = time.monotonic()
    coming.close()
    assert time.monotonic() - begin < PATIENCE
    assert not active_children()


def gpus_seen() -> dict[int, str]:
    """By process what each worker was shown; nothing where the system does not tell."""
    found: dict[int, str] = {}
    for process in active_children():
        path = Path(f"/proc/{process.pid}/environ")
        deadline = time.monotonic() + PATIENCE
        shown = None
        while path.exists() and shown is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)  # a process that has just begun has no variables yet
            shown = re.search(r"(?:^|\0)CUDA_VISIBLE_DEVICES=([^\0]*)", path.read_bytes().decode())
        found[process.pid or 0] = shown[1] if shown else ""
    return found


def test_a_killed_worker_loses_its_run_only(monkeypatch):
    # As on a machine with more GPUs than the two that may be used here.
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    # The first run goes on until its worker is killed; the second worker does all others.
    work = [*tasks(("baseline",), (5,), ENDLESS), *tasks()]
    coming = outcomes(work, 2, Loader())
    found = [next(coming)]
    assert found[0].record is not None
    seen = gpus_seen()
    first = min(seen)
    os.kill(first, signal.SIGKILL)
    while found[-1].record is not None:
        found.append(next(coming))
    if any(seen.values()):
        assert sorted(seen.values()) == ["4", "7"] == sorted(gpus_seen().values())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4, 7"
    found += coming
    lost = [outcome for outcome in found if outcome.record is None]
    assert [(o.task.method, o.task.seed) for o in lost] == [("baseline", 5)]
    assert lost[0].lost == "its process was ended by SIGKILL (out of memory?)"
    assert len(found) == len(work)
    assert not active_children()


def test_as_many_runs_as_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert side_by_side(None, 1) == 4
    assert side_by_side(2, 1) == 2
    assert side_by_side(None, 1, "dask") == 1


def test_a_defect_comes_with_its_traceback():
    broken = MOONS.with_changes(network={"name": "mlp", "widths": "wide"})
    outcome, *_ = outcomes(tasks(("baseline",), (0,), broken), 1, Loader())
    assert outcome.record is None
    assert outcome.lost
    missing = MOONS.with_changes(data="nowhere")
    outcome, *_ = outcomes(tasks(("baseline",), (0,), missing), 1, Loader())
    assert "got 'nowhere'" in outcome.lost
    assert outcome.defect == ""


class Process:
    """``unshaken compare`` as a process, with a session of its own as a terminal's."""

    def __init__(self, *words: object) -> None:
        source = Path(__file__).parents[2] / "src"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "unshaken", "compare", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(source)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell that starts the tests in the background has them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def members(self) -> list[str]:
        """The command lines of the processes of the session; those that only wait to be
        collected by their parent are none.
        """
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    text = (path / "stat").read_text()
                    command = (path / "cmdline").read_text().replace("\0", " ")
                except OSError:
                    continue
                state, _, _, session = text.rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    found.append(command)
        return found

    def workers(self) -> list[str]:
        return [command for command in self.members() if "spawn_main" in command]

    def end(self, number: signal.Signals, *, group: bool) -> tuple[int, str, str]:
        begin = time.monotonic()
        (os.killpg if group else os.kill)(self.process.pid, number)
        out, err = self.process.communicate(timeout=PATIENCE)
        while self.members():
            assert time.monotonic() - begin < 2 * PATIENCE, self.members()
            time.sleep(0.02)
        return self.process.returncode, out, err


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_ctrl_c_and_kills_of_a_whole_comparison(tmp_path):
    out = tmp_path / "out"
    words = ["--data", "moons", "--methods", "baseline,vat", "--seeds", "2", "--steps", "400"]
    # One by one: a stack's numbers depend in their last digits on which runs are in it.
    words += ["--stack", "off", "--quiet", "--out"]

    def finished() -> list[Path]:
        return list(out.rglob("seed-*.json"))

    def leftovers() -> list[Path]:
        return [path for path in out.rglob(".*") if path.name != ".lock"]

    # Ctrl-C while the workers still import, as a terminal sends it: to all of them.
    process = Process(*words, out, "--jobs", 2)
    process.wait_for(lambda: len(process.workers()) == 2)
    code, said, err = process.end(signal.SIGINT, group=True)
    assert (code, said) == (130, "")
    assert err == (
        "unshaken: stopped by SIGINT: 0 of 4 runs are finished and kept; the same command does "
        "the rest\n"
    )
    assert not leftovers()

    # The parent is killed while runs are under way: its workers end themselves.
    process = Process(*words, out, "--jobs", 2)
    process.wait_for(finished)
    process.end(signal.SIGKILL, group=False)
    kept = {path: path.stat().st_mtime_ns for path in finished()}
    assert 1 <= len(kept) < 4

    assert unshaken("compare", *words, out, "--jobs", 1).code == 0
    assert all(path.stat().st_mtime_ns == moment for path, moment in kept.items())
    assert len(finished()) == 4
    assert not leftovers()

    assert unshaken("compare", *words, tmp_path / "whole", "--jobs", 1).code == 0
    rows = [summary(folder)["rows"] for folder in (out, tmp_path / "whole")]
    for row in (*rows[0], *rows[1]):
        del row["seconds_per_step"], row["cost_ratio"]
    assert json.dumps(rows[0]) == json.dumps(rows[1])
