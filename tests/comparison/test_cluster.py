"""Runs on a Dask cluster of processes: the same numbers, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from tests.commands import mistake, summary, unshaken
from tests.comparison.test_workers import MOONS, numbers, tasks
from unshaken.comparison import cluster, recipe, sameness
from unshaken.comparison.protocol import named
from unshaken.comparison.sameness import difference, footing
from unshaken.comparison.single import Loader
from unshaken.comparison.workers import outcomes
from unshaken.data import write_arrays

distributed = pytest.importorskip("distributed", reason="needs the extra: cluster")

SLOWER = MOONS.with_changes(training={**MOONS.training, "steps": 400})


@pytest.fixture(scope="module")
def scheduler():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=None, silence_logs=50
    ) as local:
        yield local


def engine(scheduler) -> str:
    return scheduler.scheduler_address.replace("tcp://", "dask://")


def test_a_killed_workers_runs_are_done_again_and_none_twice(scheduler, tmp_path):
    work = [replace(t, pictures=tmp_path / "p") for t in tasks(("baseline", "vat"), (0, 1), SLOWER)]
    expected = numbers(list(outcomes([replace(t, pictures=None) for t in work], 1, Loader())))
    coming = cluster.outcomes(work, engine(scheduler), 1, Loader())
    found = [next(coming)]

    def busy_process() -> int:  # inside, so that it travels whole to workers without tests
        return os.getpid() if cluster._ALONE.locked() else 0

    with distributed.Client(scheduler, set_as_default=False) as client:
        end = time.monotonic() + 20
        while not (busy := [pid for pid in client.run(busy_process).values() if pid]):
            assert time.monotonic() < end
        with suppress(ProcessLookupError):
            os.kill(busy[0], signal.SIGKILL)
    found += list(coming)
    assert [o.lost for o in found] == [""] * 4
    assert numbers(found) == expected
    assert all(o.task.pictures == tmp_path / "p" for o in found)
    # Worst perturbations and boundaries travelled back.
    assert sorted(p.name for p in (tmp_path / "p/boundaries").iterdir()) == [
        "baseline.npz",
        "vat.npz",
    ]


def test_the_command_gives_what_processes_give(scheduler, tmp_path):
    words = ["compare", "--data", "moons", "--methods", "baseline,vat", "--seeds", "2", "--quiet"]
    words += ["--steps", "10"]
    said = unshaken(*words, "--engine", engine(scheduler), "--out", tmp_path / "cluster")
    assert said.code == 0, said
    assert unshaken(*words, "--jobs", "1", "--out", tmp_path / "here").code == 0
    for name in ("baseline/seed-0.json", "baseline/seed-1.json", "vat/seed-0.json"):
        pair = [
            json.loads((tmp_path / part / "runs" / name).read_text())
            for part in ("cluster", "here")
        ]
        assert pair[0]["history"] == pair[1]["history"]
        assert pair[0]["fingerprint"] == pair[1]["fingerprint"]
    rows = [summary(tmp_path / part)["rows"] for part in ("cluster", "here")]
    assert [r["errors"] for r in rows[0]] == [r["errors"] for r in rows[1]]


def test_a_figure_is_drawn_from_runs_on_a_cluster(scheduler, tmp_path, monkeypatch):
    at = recipe.Part.at

    def short(part, scale):
        found = at(part, scale)
        return replace(found, training={**found.training, "steps": 10, "evaluate_every": 5})

    monkeypatch.setattr(recipe.Part, "at", short)
    words = ["reproduce", "xvat-figure-4", "--seeds", "2", "--quiet", "--out", tmp_path]
    assert unshaken(*words, "--engine", engine(scheduler)).code == 0
    folder = tmp_path / "xvat-figure-4-quick"
    assert (folder / "report.html").read_text().count("<figure") == 1
    assert all(len(row["values"]) == 2 for row in summary(folder)["rows"])


def test_mistakes(monkeypatch):
    words = ["compare", "--methods", "baseline", "--seeds", "1", "--engine"]
    for wrong in ("dusk", "dask://", "dask://host", "dask:host:1"):
        assert "engine must be processes, dask or dask://HOST:PORT" in mistake(*words, wrong)
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = mistake(*words, "dask")
    assert said == "engine dask needs distributed: pip install 'unshaken[cluster]'"


def test_no_scheduler_answers(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    coming = cluster.outcomes(tasks(), "dask://127.0.0.1:9", 1, Loader())
    with pytest.raises(ValueError, match="no Dask scheduler answers"):
        next(coming)


def test_a_worker_with_other_data_is_refused_before_the_first_run(scheduler, tmp_path):
    path = tmp_path / "own.npz"
    x, y = torch.randn(20, 3), torch.arange(20) % 2

    def outcome(x):
        write_arrays(path, x_train=x, y_train=y, x_test=x, y_test=y)
        load = Loader()
        load(protocol, 0)
        return cluster.outcomes(tasks(protocol=protocol), engine(scheduler), 1, load)

    protocol = named("default").with_changes(data=str(path), training=MOONS.training)
    for changed in (x + 2, x):  # a file that changed between two comparisons is read anew
        coming = outcome(changed)
        assert next(coming).lost == ""
        coming.close()
    # As if this machine had another file at the same path than the workers have.
    coming = outcome(x + 1)
    write_arrays(path, x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(ValueError, match=r"engine: the worker .* its data .*own.npz' have another"):
        next(coming)
    coming = outcome(x + 1)
    path.unlink()
    with pytest.raises(ValueError, match=r"the worker .* cannot load the data .*own.npz"):
        next(coming)


def test_differences_are_told_in_one_sentence(monkeypatch):
    wanted = footing(MOONS, 0, Loader())
    assert difference(wanted, Loader()) == ""
    older = replace(wanted, version="0.0.9 (runs of version 1)")
    said = difference(older, Loader())
    assert said.startswith(f"it runs unshaken {wanted.version}, not 0.0.9 (runs of version 1): ")
    monkeypatch.setattr(sameness, "_commit", lambda: "0" * 12)
    said = difference(replace(wanted, commit="1" * 12), Loader())
    assert said == "it runs the commit 000000000000, not 111111111111: check out the same one"
    with cluster._ALONE:  # a busy worker answers nevertheless
        assert "check out the same one" in cluster._differs(replace(wanted, commit="1" * 12))
    # Not told of an installed package, which knows no commit.
    assert difference(replace(wanted, commit=None), Loader()) == ""
