"""Seeds that are trained as one give the records that each gives alone."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from multiprocessing import active_children
from types import ModuleType

import pytest
import torch
from torch import nn

from tests.commands import mistake, summary, unshaken
from tests.comparison.test_workers import ENDLESS, MOONS, numbers, tasks
from unshaken.comparison import compare, stacks
from unshaken.comparison.protocol import Protocol, named
from unshaken.comparison.single import Loader, run
from unshaken.comparison.tasks import Task
from unshaken.comparison.workers import outcomes
from unshaken.methods import catalog

PRECISE = {"precision": "64", "steps": 6, "evaluate_every": 3}
DIGITS = named("digits").with_changes(training={**named("digits").training, **PRECISE})
SINUSOIDS = named("sinusoids").with_changes(training={**named("sinusoids").training, **PRECISE})
METHODS = ("baseline", "vat", "dropout", "mvat", "xvat-transductive", "vmt-all", "mat+balance")


def layer_norm(channels: int, size: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LayerNorm(channels * 64), nn.Linear(64, classes))


def network(channels: int, size: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def alike(records: list[dict], expected: list[dict], near: float) -> None:
    assert len(records) == len(expected)
    for record, alone in zip(records, expected, strict=True):
        assert record.keys() == alone.keys()
        assert record["seconds_per_step"] > 0
        assert record["provenance"] == {**alone["provenance"], "stack": len(records)}
        for key in record.keys() - {"seconds_per_step", "provenance", "history"}:
            assert record[key] == alone[key], key
        for entry, other in zip(record["history"], alone["history"], strict=True):
            assert list(entry) == list(other)
            assert entry == pytest.approx(other, rel=near, abs=near)


@pytest.mark.parametrize("method", METHODS)
def test_records(method):
    seeds = (0, 3)
    near = 1e-6 if "v" in method else 1e-10
    expected = [run(DIGITS, method, seed, {}, threads=1) for seed in seeds]
    records = stacks.run_stack(DIGITS, method, [({}, s) for s in seeds], threads=1)
    assert records is not None
    alike(records, expected, near)


def test_records_of_data_that_differ_from_seed_to_seed():
    augmented = SINUSOIDS.with_changes(augment={"shift": 2})
    expected = [run(augmented, "vmt-shift", seed, {}, threads=1) for seed in (1, 2, 5)]
    alike(
        stacks.run_stack(augmented, "vmt-shift", [({}, s) for s in (1, 2, 5)]) or [],
        expected,
        1e-10,
    )


def test_settings_may_differ_and_only_so_far():
    sizes = ({"radius": 0.3}, {"radius": 1.0, "weight": 0.5}, {"radius": 0.3, "weight": 2.0})
    runs = [({"at-l2": size}, seed) for size in sizes for seed in (1, 2)]
    expected = [run(DIGITS, "at-l2", seed, settings, threads=1) for settings, seed in runs]
    alike(stacks.run_stack(DIGITS, "at-l2", runs) or [], expected, 1e-10)
    for method, settings in (
        ("dropout", {"rate": 0.1}),
        ("xvat", {"learning_rate": 0.5}),
        ("xvat-transductive", {"sparsity": 1.0 + 1e-9}),
    ):
        assert stacks.run_stack(DIGITS, method, [({}, 0), ({method: settings}, 0)]) is None


def test_failures_have_the_sentence_of_the_run_alone():
    settings = {"vat": {"weight": 1e39}}
    single = [o.record for o in outcomes(tasks(("vat",)), 1, Loader())]
    assert all("error" in (record or {}) for record in single)
    work = [replace(t, settings=settings) for t in tasks(("vat",))]
    expected = [o.record for o in outcomes(work, 1, Loader())]
    found = outcomes([replace(work[0], others=((settings, 1),))], 1, Loader())
    assert [o.record for o in found] == expected
    assert all("vat=" in (record or {})["failed"] for record in expected)


def test_pictures_of_the_first_seed(tmp_path):
    for protocol, kind in ((DIGITS, "panels"), (MOONS, "boundaries")):
        alone, together = tmp_path / f"{kind}-alone", tmp_path / f"{kind}-together"
        run(protocol, "vat", 4, {}, pictures=alone)
        stacks.run_stack(protocol, "vat", [({}, 4), ({}, 5)], pictures=together)
        assert [p.relative_to(together) for p in sorted(together.rglob("*.npz"))] == [
            p.relative_to(alone) for p in sorted(alone.rglob("*.npz"))
        ]


ALONE = {
    "mean-teacher",
    "temporal-ensembling",
    "vadd",
    "fast-swa",
    "co-training",
    "ladder",
    "gan-fm",
    "catgan",
    "concrete-dropout",
}
"""What they keep, learn or look at is of one network, or of one run's examples."""


@pytest.mark.parametrize("method", [*sorted({*catalog.CATALOG} - ALONE), "vat+entropy"])
def test_every_method_suits(method):
    used = catalog.settings_for(method, {})
    assert stacks.suits(DIGITS, method, used, Loader()(DIGITS, 0), 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {**DIGITS.training, "clip": 1.0}},
        {"training": {**DIGITS.training, "precision": "bf16"}},
        {"network": {"name": "mlp", "widths": [1200, 600]}},
        {"network": {"name": "here:layer_norm"}},
    ],
    ids=["clipped", "half precision", "large", "unknown layer"],
)
def test_what_does_not_suit(changes, monkeypatch):
    here = ModuleType("here")
    here.layer_norm, here.network = layer_norm, network
    monkeypatch.setitem(sys.modules, "here", here)
    dataset = Loader()(DIGITS, 0)
    assert not stacks.suits(
        DIGITS.with_changes(**changes), "baseline", {"baseline": {}}, dataset, 5
    )
    own = DIGITS.with_changes(network={"name": "here:network"})
    assert stacks.suits(own, "baseline", {"baseline": {}}, dataset, 2)
    assert not stacks.suits(own, "baseline", {"baseline": {}}, dataset, 1)
    monkeypatch.setattr(stacks, "MEMORY", 1000)
    assert not stacks.suits(own, "baseline", {"baseline": {}}, dataset, 2)


def test_runs_of_a_method_come_together_whatever_the_processes():
    used = {m: catalog.settings_for(m, MOONS.methods) for m in ("baseline", "vat")}
    dataset = Loader()(MOONS, 0)
    runs = tasks(seeds=tuple(range(stacks.WIDEST + 1)))
    found = compare.stacked(runs, used, dataset, compare.stack_width("auto"))
    assert [(t.method, t.seed, t.others) for t in found] == [
        ("baseline", 0, tuple(({}, seed) for seed in range(1, stacks.WIDEST))),
        ("vat", 0, tuple(({}, seed) for seed in range(1, stacks.WIDEST))),
        ("baseline", stacks.WIDEST, ()),
        ("vat", stacks.WIDEST, ()),
    ]
    assert sorted((t.method, t.seed) for each in found for t in each.runs()) == sorted(
        (t.method, t.seed) for t in runs
    )
    some = compare.stacked(tasks(seeds=(0, 1, 2)), used, dataset, 10)
    assert len(some) == 2
    assert compare.stacked(runs, used, dataset, compare.stack_width("off")) == runs
    narrow = compare.stacked(runs, used, dataset, compare.stack_width("2"))
    assert {len(task.runs()) for task in narrow} == {1, 2}
    assert numbers(list(outcomes(some, 1, Loader()))) == numbers(list(outcomes(some, 2, Loader())))


def test_what_cannot_be_stacked_is_done_one_by_one():
    clipped = MOONS.with_changes(training={**MOONS.training, "clip": 1.0})
    work = tasks(("baseline",), protocol=clipped)
    together = [replace(work[0], others=(({}, 1),))]
    found = list(outcomes(together, 1, Loader()))
    assert numbers(found) == numbers(list(outcomes(work, 1, Loader())))
    assert all("stack" not in (o.record or {})["provenance"] for o in found)


def test_mistakes_and_defects(monkeypatch):
    task = Task(Protocol("nowhere"), "baseline", 0, {}, None, 1, (({}, 1),))
    found = list(outcomes([task], 1, Loader()))
    assert [(o.task.seed, o.task.others, o.defect) for o in found] == [(0, (), ""), (1, (), "")]
    assert all("got 'nowhere'" in o.lost for o in found)

    def broken(*_, **__):
        return [][1]

    monkeypatch.setattr("unshaken.comparison.tasks.run_stack", broken)
    found = list(outcomes([replace(task, protocol=MOONS)], 1, Loader()))
    assert [o.lost for o in found] == ["IndexError: list index out of range"] * 2
    assert all("Traceback" in o.defect for o in found)


def test_a_killed_worker_loses_all_runs_of_its_stack():
    endless = Task(ENDLESS, "baseline", 5, {}, None, 1, (({}, 6), ({}, 7)))
    coming = outcomes([endless, *tasks(("baseline",), (0,))], 2, Loader())
    found = [next(coming)]
    assert found[0].record is not None
    time.sleep(0.2)
    for process in active_children():
        os.kill(process.pid or 0, signal.SIGKILL)
    found += coming
    assert [(o.task.seed, o.lost[:23]) for o in found[1:]] == [
        (seed, "its process was ended b") for seed in (5, 6, 7)
    ]


def test_the_command(tmp_path):
    words = ["compare", "--data", "moons", "--methods", "baseline,vat", "--seeds", "3"]
    words += ["--steps", "8", "--jobs", "1", "--quiet", "--training.precision", "64"]
    for name, more in (("auto", []), ("off", ["--stack", "off"])):
        assert unshaken(*words, *more, "--out", tmp_path / name).code == 0
    rows = [summary(tmp_path / name)["rows"] for name in ("auto", "off")]
    assert [r["errors"] for r in rows[0]] == [r["errors"] for r in rows[1]]
    files = [tmp_path / name / "runs/vat/seed-1.json" for name in ("auto", "off")]
    first, second = (json.loads(file.read_text()) for file in files)
    # The same run: neither is done again for the other.
    assert first["fingerprint"] == second["fingerprint"]
    assert first["provenance"]["stack"] == 3
    assert "stack" not in second["provenance"]
    before = files[0].stat().st_mtime_ns
    assert unshaken(*words, "--stack", "off", "--out", tmp_path / "auto").code == 0
    assert files[0].stat().st_mtime_ns == before
    for wrong in ("on", "1", "-3"):
        said = mistake(*words, f"--stack={wrong}", "--out", tmp_path / "auto")
        assert said == f"stack must be auto, off or a number of seeds >= 2, got {wrong!r}"


def test_random_state_is_as_before():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    stacks.run_stack(MOONS, "dropout", [({}, 0), ({}, 1)])
    assert torch.equal(torch.get_rng_state(), before)
