"""Searches: what they try, what they never look at, and what is left of a killed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.commands import write_npz
from unshaken.comparison import tasks, tuning, tuning_owners
from unshaken.comparison.protocol import named
from unshaken.comparison.tuning import tune
from unshaken.comparison.tuning_owners import Owner
from unshaken.comparison.tuning_plan import Plan
from unshaken.comparison.tuning_space import grid, space_of
from unshaken.comparison.tuning_study import Study
from unshaken.comparison.tuning_summary import edges, rows, ties

pytest.importorskip("optuna", reason="needs the extra: tune")

PATIENCE = 90.0


def plan(data: str = "digits", space=None, steps=8, **changes) -> Plan:
    protocol = named(data).with_changes(validation=20, judge="validation", labels=20)
    training = {"steps": steps, "batch_size": 10, "evaluate_every": 0}
    given = {"search": "random", "trials": 4, "seeds": (0,), **changes}
    return Plan(protocol.with_changes(training=training), "vat", space_of("vat", space), **given)


@pytest.fixture
def counted(monkeypatch):
    """The runs that are really done, as (settings, seed, fold)."""
    done = []
    run, run_stack = tasks.run, tasks.run_stack

    def counting(protocol, method, seed, settings, **options):
        done.append((json.dumps(settings), seed, protocol.fold))
        return run(protocol, method, seed, settings, **options)

    def counting_stack(protocol, method, runs, **options):
        done.extend((json.dumps(settings), seed, protocol.fold) for settings, seed in runs)
        return run_stack(protocol, method, runs, **options)

    monkeypatch.setattr(tasks, "run", counting)
    monkeypatch.setattr(tasks, "run_stack", counting_stack)
    return done


def test_spaces_and_grids():
    radius, weight = space_of("vat")
    assert (radius.described(), weight.described()) == ("0.01:10:log", "0.005:5:log")
    assert radius.grid(4) == pytest.approx([0.01, 0.1, 1, 10])
    points = grid([radius, weight], 10)
    assert len(points) == 9
    (listed,) = space_of("vat", {"radius": "3,0.1,1"})
    assert [p["vat.radius"] for p in grid([listed], 1)] == [0.1, 1, 3]
    assert [listed.edge(v) for v in listed.values] == ["lower", "", "upper"]
    assert listed.log  # as the setting's own range: a picture's axis goes by factors
    assert not space_of("vat", {"radius": "0,1"})[0].log
    assert [radius.edge(v) for v in (0.0101, 0.02, 9.99)] == ["lower", "", "upper"]
    assert [d.name for d in space_of("vat+vmt-shift", None, {"vat": {"weight": 1.0}})] == [
        "vat.radius",
        "vmt-shift.weight",
    ]


@pytest.mark.parametrize("search", ["tpe", "random"])
def test_a_study_goes_on_as_if_it_had_not_stopped(tmp_path, counted, search):
    whole = tune(plan(search=search, trials=8), tmp_path / "whole")
    expected, total = list(counted), len(counted)
    counted.clear()
    tune(plan(search=search, trials=4), tmp_path / "parts")
    again = tune(plan(search=search, trials=8), tmp_path / "parts")
    assert counted == expected
    assert total == 8
    assert [t.point for t in again.trials] == [t.point for t in whole.trials]
    counted.clear()
    tune(plan(search=search, trials=8), tmp_path / "parts")
    assert counted == []


def test_folds_train_on_what_they_do_not_judge(tmp_path, counted):
    found = tune(plan(folds=3, trials=2, seeds=(0, 1)), tmp_path)
    assert sorted({(seed, fold) for _, seed, fold in counted}) == [
        (s, f) for s in (0, 1) for f in range(3)
    ]
    assert len(counted) == 12
    assert all(len(t.result["errors"]) == 2 for t in found.trials)


def test_the_test_labels_do_not_matter(tmp_path):
    found = []
    for name, labels in (("right", {}), ("garbage", {"y_test": np.arange(20) % 2})):
        data = write_npz(tmp_path / f"{name}.npz", **labels)
        result = tune(plan(str(data), trials=4, search="tpe"), tmp_path / name)
        found.append([{**row, "seconds_per_step": 0} for row in rows(result)])
    assert found[0] == found[1]
    judged = named("digits").with_changes(judge="test")
    with pytest.raises(ValueError, match="judge='validation' is needed"):
        tune(Plan(judged, "vat", space_of("vat"), (0,)), tmp_path / "test")


def test_a_grid_has_every_point_once_and_tells_of_edges(tmp_path, counted):
    space = {"vat.radius": "0.1,1,10", "vat.weight": "1"}
    found = tune(plan(space=space, search="grid"), tmp_path)
    assert len(counted) == len(rows(found)) == 3
    best = rows(found)[0]["settings"]
    at = best["vat"]["radius"]
    expected = {0.1: ["lower"], 1: [], 10: ["upper"]}[at]
    first, *others = rows(found)
    assert [e["edge"] for e in edges(found, best, [first])] == expected
    # What a value elsewhere is as good as lies at no edge.
    assert edges(found, best, [first, *others]) == []
    equal = [{**row, "error_mean": first["error_mean"]} for row in others]
    assert len(ties([first, *equal])) == 3
    assert ties([{**first, "pruned": True}]) == []


def test_clearly_bad_choices_stop_after_their_first_seed(monkeypatch, tmp_path, counted):
    monkeypatch.setattr(tuning, "_limit", lambda trials: -1.0 if trials else None)
    found = tune(plan(trials=6, seeds=(0, 1)), tmp_path)
    assert [t.pruned for t in found.trials] == [False] * 4 + [True] * 2
    assert len(counted) == 4 * 2 + 2
    assert [row["pruned"] for row in rows(found)] == [False] * 4 + [True] * 2


def test_what_is_lost_is_tried_again_by_the_next_call_only(monkeypatch, tmp_path):
    run = tasks.run
    left = [2]

    def failing(*arguments, **options):
        left[0] -= 1
        if left[0] >= 0:
            raise RuntimeError("no room")
        return run(*arguments, **options)

    monkeypatch.setattr(tasks, "run", failing)
    monkeypatch.setattr(tasks, "run_stack", lambda *_, **__: None)  # each by itself
    first = tune(plan(trials=4), tmp_path)
    assert (len(first.trials), len(first.lost)) == (2, 2)
    second = tune(plan(trials=4), tmp_path)
    assert (len(second.trials), len(second.lost)) == (4, 0)
    assert len({json.dumps(t.point) for t in second.trials}) == 4


def test_a_trial_given_away_is_not_heard(monkeypatch, tmp_path):
    space, about = space_of("vat"), {"method": "vat"}
    result = {"score": 3.0, "error_mean": 3.0}
    one = Study(tmp_path, about, space, "random")
    (lost,) = one.take(1, 1)
    two = Study(tmp_path, about, space, "random")
    assert two.take(1, 1) == []
    assert two.busy()
    # As if the first one were on another machine and stood still.
    monkeypatch.setattr(two.owner, "lives", lambda name: name == two.owner.name)
    (again,) = two.take(1, 1)
    assert again.point == lost.point
    one.tell(lost, result)
    assert one.finished() == []
    two.tell(again, result)
    assert [t.number for t in one.finished()] == [again.number]
    one.close()
    two.close()


def test_a_process_of_another_machine_lives_while_its_file_moves(monkeypatch, tmp_path):
    watcher, other = Owner(tmp_path), Owner(tmp_path)
    assert watcher.lives(other.name)
    now = [100.0]
    monkeypatch.setattr(tuning_owners, "_here", lambda: "elsewhere")
    monkeypatch.setattr(tuning_owners.time, "monotonic", lambda: now[0])
    assert watcher.lives(other.name)
    now[0] += tuning_owners.PATIENCE - 1
    assert watcher.lives(other.name)
    os.utime(tmp_path / other.name, (1, 1))
    now[0] += 2
    assert watcher.lives(other.name)
    now[0] += tuning_owners.PATIENCE
    assert not watcher.lives(other.name)
    other.close()
    assert not watcher.lives(other.name)
    watcher.close()


def test_a_killed_process_leaves_trials_that_are_done_again_once(tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "unshaken", "tune", "--data", "moons", "--quiet"]
    words += ["--trials", "6", "--seeds", "2", "--steps", "50", "--search", "random"]
    words += ["--validation", "4", "--jobs", "1", "--out"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen([*words, str(out)], env=environment)
    end = time.monotonic() + PATIENCE
    while len(list(out.glob("runs/*/*.json"))) < 3:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*.json")}
    assert 3 <= len(kept) < 12
    # Two processes share what is left.
    both = [subprocess.Popen([*words, str(out)], env=environment) for _ in range(2)]
    assert [p.wait(PATIENCE) for p in both] == [0, 0]
    assert all(path.stat().st_mtime_ns == moment for path, moment in kept.items())
    assert len(list(out.glob("runs/*/*.json"))) == 12
    found = json.loads((out / "summary.json").read_text())
    assert len(found["rows"]) == found["search"]["trials"] == 6
    assert all(len(row["errors"]) == 2 for row in found["rows"])


def test_mistakes_of_the_folder(tmp_path):
    tune(plan(trials=1), tmp_path / "one")
    with pytest.raises(ValueError, match=r"holds a study of other seeds \(\[0\] instead of \[1\]"):
        tune(plan(trials=1, seeds=(1,)), tmp_path / "one")
    with pytest.raises(ValueError, match=r'budgets \(\{"steps": 8\} instead of \{"steps": 9\}\)'):
        tune(plan(trials=1, steps=9), tmp_path / "one")
    with pytest.raises(ValueError, match=r"other searches \(random instead of tpe\)"):
        tune(plan(trials=1, search="tpe"), tmp_path / "one")
    with (tmp_path / "one/study.jsonl").open("a") as journal:
        journal.write('{"half\n{}\n')
    with pytest.raises(ValueError, match=r"study\.jsonl is damaged; remove it and call again"):
        tune(plan(trials=1), tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two/summary.json").write_text("{}")
    with pytest.raises(ValueError, match="holds other results"):
        tune(plan(trials=1), tmp_path / "two")


def test_runs_on_a_small_network_are_trained_as_one(tmp_path):
    """Trials that differ in settings, and their seeds, share a stack."""
    found = tune(plan(trials=4, seeds=(0, 1)), tmp_path)
    records = [json.loads(p.read_text()) for p in tmp_path.glob("runs/*/seed-*.json")]
    assert len(records) == 8
    assert {record["provenance"].get("stack") for record in records} == {8}
    assert not found.lost
