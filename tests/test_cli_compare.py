"""``unshaken compare`` from words to the report."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.commands import mistake, summary, unshaken, write_npz
from unshaken.comparison import gallery, tasks
from unshaken.comparison.folder import ComparisonFolder
from unshaken.methods.catalog import names_for

ROW = {
    "method": str,
    "errors": list,
    "seeds": list,
    "failures": list,
    "alarms": list,
    "gains": dict,
    "error_mean": float,
    "error_sem": float,
    "difference_mean": float | None,
    "difference_sem": float | None,
    "p_value": float | None,
    "seconds_per_step": float,
    "cost_ratio": float,
}
TIMES = ("seconds_per_step", "cost_ratio")


def check_schema(folder: Path, methods: list[str], seeds: list[int]) -> None:
    found = summary(folder)
    assert [row["method"] for row in found["rows"]] == methods
    for row in found["rows"]:
        assert row.keys() == ROW.keys()
        for key, kind in ROW.items():
            assert isinstance(row[key], kind), (key, row[key])
        assert row["seeds"] == seeds
        assert row["error_mean"] == pytest.approx(sum(row["errors"]) / len(seeds))
        assert all(0 <= error <= 100 for error in row["errors"])
    environment = found["environment"]
    for key in ("unshaken", "commit", "python", "torch", "processor", "cores", "processes"):
        assert key in environment
    assert found["data"]["augmentation"] == "none"
    assert found["protocol"]["training"]["steps"] > 0
    report = (folder / "report.html").read_text()
    assert report.count("<table") == 1
    assert report.count("<figure") >= 3
    for method in methods:
        assert f">{method}<" in report
    assert not [path for path in folder.rglob("*") if "partial" in path.name]


@pytest.fixture
def _no_report(monkeypatch):
    """Leaves out the report, which takes longer than short runs."""
    monkeypatch.setattr("unshaken.comparison.report.write_report", lambda *_: None)


@pytest.fixture
def counted(monkeypatch):
    """The runs that are really done, as (method, seed)."""
    done: list[tuple[str, int]] = []
    run, run_stack = tasks.run, tasks.run_stack

    def counting(protocol, method, seed, *arguments, **options):
        done.append((method, seed))
        return run(protocol, method, seed, *arguments, **options)

    def counting_stack(protocol, method, runs, **options):
        done.extend((method, seed) for _, seed in runs)
        return run_stack(protocol, method, runs, **options)

    monkeypatch.setattr(tasks, "run", counting)
    monkeypatch.setattr(tasks, "run_stack", counting_stack)
    return done


def test_digits(tmp_path):
    words = ["compare", "--data", "digits", "--labels", "100", "--methods", "baseline", "vat"]
    said = unshaken(*words, "--seeds", "2", "--steps", "30", "--jobs", "1", "--out", tmp_path)
    assert said.code == 0
    assert said.err.splitlines()[-1].startswith("[4/4] vat, seed 1: ")
    assert "baseline" in said.out
    assert "report.html" in said.out
    assert max(map(len, said.out.splitlines())) <= 90
    check_schema(tmp_path, ["baseline", "vat"], [0, 1])
    baseline, vat = summary(tmp_path)["rows"]
    assert (baseline["difference_mean"], baseline["cost_ratio"]) == (None, 1.0)
    differences = [a - b for a, b in zip(vat["errors"], baseline["errors"], strict=True)]
    assert vat["difference_mean"] == pytest.approx(sum(differences) / 2)
    assert vat["cost_ratio"] > 1.5


def test_signals(tmp_path):
    words = ["compare", "--data", "sinusoids", "--methods", "baseline,vmt-shift,vat+vmt-scale"]
    said = unshaken(
        *words, "--seeds", "0,3", "--steps", "5", "--jobs", "1", "--quiet", "--out", tmp_path
    )
    assert (said.code, said.err) == (0, "")
    check_schema(tmp_path, ["baseline", "vmt-shift", "vat+vmt-scale"], [0, 3])


def test_all_that_suit_vectors(tmp_path):
    words = ["compare", "--data", "moons", "--methods", "all,vat+entropy", "--seeds", "2"]
    said = unshaken(*words, "--steps", "3", "--jobs", "1", "--quiet", "--out", tmp_path)
    assert said.code == 0
    methods = [*names_for((), "moons_mlp"), "vat+entropy"]
    assert "ladder" not in methods
    assert not [name for name in methods if name.startswith(("vmt", "mat", "mvat"))]
    check_schema(tmp_path, methods, [0, 1])


def test_auto_takes_a_few_that_suit_the_data_and_names_none_twice(tmp_path):
    words = ["compare", "--data", "digits", "--labels", "100", "--methods", "auto,vat,xvat"]
    said = unshaken(
        *words, "--seeds", "2", "--steps", "3", "--jobs", "1", "--quiet", "--out", tmp_path
    )
    assert (said.code, said.err) == (0, "")
    methods = ["baseline", "random-tuned", "few-labels-vat", "few-labels", "few-labels-random"]
    check_schema(tmp_path, [*methods, "vat", "xvat"], [0, 1])


@pytest.mark.usefixtures("_no_report")
def test_a_second_call_goes_on(tmp_path, counted):
    out = tmp_path / "out"
    words = ["compare", "--data", "moons", "--methods", "baseline,vat", "--steps", "5"]
    words += ["--jobs", "1", "--quiet", "--out", out]
    assert unshaken(*words, "--seeds", "2").code == 0
    first = summary(out)
    assert len(counted) == 4
    counted.clear()

    assert unshaken(*words, "--seeds", "2").code == 0
    assert counted == []
    assert summary(out) == first

    with closing(ComparisonFolder(out)):  # as while it is at work elsewhere
        assert unshaken(*words, "--seeds", "3", "--only-finished").code == 0
    assert counted == []
    assert [row["errors"] for row in summary(out)["rows"]] == [r["errors"] for r in first["rows"]]
    said = mistake(*words, "--seeds", "7,8", "--only-finished")
    assert said == f"{out} has no finished run of these methods and seeds"

    assert unshaken(*words, "--seeds", "3").code == 0
    assert counted == [("baseline", 2), ("vat", 2)]
    counted.clear()

    # Settings of one method concern its runs only.
    assert unshaken(*words, "--seeds", "2", "--settings.vat.radius", "0.3").code == 0
    assert counted == [("vat", 0), ("vat", 1)]
    counted.clear()

    # What does not change a number does not redo a run.
    assert (
        unshaken(*words, "--seeds", "2", "--settings.vat.radius", "0.3", "--threads", "1").code == 0
    )
    same = ["--settings.vat.radius", "0.3", "--training.keep", "9", "--training.lr", "0.5"]
    assert counted == []
    assert unshaken(*words, "--seeds", "1", *same).code == 0
    assert counted == [("baseline", 0), ("vat", 0)]  # for the rate, which does
    counted.clear()

    for path, damage in (
        ("baseline/seed-0.json", lambda content: content[: len(content) // 2]),
        ("vat/seed-0.json", lambda content: content.replace(b'"error": ', b'"error": 1', 1)),
    ):
        file = out / "runs" / path
        file.write_bytes(damage(file.read_bytes()))
    assert unshaken(*words, "--seeds", "1", *same).code == 0
    assert counted == [("baseline", 0), ("vat", 0)]


@pytest.mark.usefixtures("_no_report")
def test_other_content_of_a_data_file_is_other_data(tmp_path, counted):
    data = write_npz(tmp_path / "data.npz")
    words = ["compare", "--methods", "baseline", "--seeds", "1", "--steps", "2", "--jobs", "1"]
    words += ["--quiet", "--out", tmp_path / "out"]
    assert unshaken(*words, "--data", data).code == 0
    # The same arrays elsewhere are the same data.
    elsewhere = data.rename(tmp_path / "renamed.npz")
    assert unshaken(*words, "--data", elsewhere).code == 0
    assert counted == [("baseline", 0)]
    write_npz(elsewhere, y_test=[0, 1] * 10)
    assert unshaken(*words, "--data", elsewhere).code == 0
    assert counted == [("baseline", 0)] * 2


def test_a_method_that_fails_does_not_stop_the_others(tmp_path, counted):
    words = ["compare", "--data", "moons", "--methods", "vat,baseline", "--seeds", "2"]
    words += ["--settings.vat.weight", "1e39", "--steps", "5", "--jobs", "1", "--out", tmp_path]
    said = unshaken(*words)
    assert said.code == 1
    assert "vat, seed 0: failed: the loss became NaN or infinite at step 0: vat=" in said.err
    assert "vat, seed 1: the loss became NaN" in said.out
    vat, baseline = summary(tmp_path)["rows"]
    assert vat["errors"] == []
    assert vat["error_mean"] is vat["cost_ratio"] is None
    assert [failure[:7] for failure in vat["failures"]] == ["seed 0:", "seed 1:"]
    assert baseline["failures"] == []
    assert len(baseline["errors"]) == 2
    assert "vat failed with seed 0: the loss became NaN" in (tmp_path / "report.html").read_text()
    # It would fail again: the failure is the result.
    counted.clear()
    assert unshaken(*words).code == 1
    assert counted == []


@pytest.mark.usefixtures("_no_report")
def test_another_network_of_the_same_name_is_trained_anew(tmp_path, counted, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    words = ["compare", "--data", "moons", "--methods", "baseline", "--seeds", "1", "--steps", "2"]
    words += ["--model", "my_net:net", "--jobs", "1", "--quiet", "--out", tmp_path / "out"]

    def written(width):
        (tmp_path / "my_net.py").write_text(
            "from torch import nn\n"
            "def net(channels, classes):\n"
            f"    return nn.Sequential(nn.Linear(channels, {width}), nn.Linear({width}, classes))\n"
        )
        sys.modules.pop("my_net", None)
        importlib.invalidate_caches()

    for width in (3, 3, 17):
        written(width)
        assert unshaken(*words).code == 0
    assert counted == [("baseline", 0)] * 2


def test_a_training_run_is_not_written_over(tmp_path):
    words = ["--data", "moons", "--steps", "2", "--out", tmp_path / "run", "--quiet"]
    assert unshaken("train", "--method", "baseline", *words).code == 0
    before = (tmp_path / "run/report.html").read_bytes()
    assert "holds a training run already" in mistake("compare", *words)
    words = ["audit", tmp_path / "run", "--data", "digits", "--out", tmp_path / "run"]
    assert "holds a training run already" in mistake(*words)
    assert (tmp_path / "run/report.html").read_bytes() == before


@pytest.mark.usefixtures("_no_report")
def test_a_comparison_is_not_written_over_by_another_command(tmp_path):
    out = tmp_path / "out"
    words = ["--data", "moons", "--steps", "2", "--out", out, "--quiet"]
    assert unshaken("compare", *words, "--methods", "baseline", "--seeds", "1").code == 0
    said = mistake("train", "--method", "baseline", *words)
    assert said == f"out: {out} holds a comparison already; name another folder"
    assert "holds a comparison already" in mistake("bench", "--model", "moons_mlp", "--out", out)
    (out / "study.jsonl").touch()
    assert "holds a search for settings already" in mistake("compare", *words)


def test_a_report_has_the_pictures_of_its_own_runs_alone(tmp_path):
    words = ["compare", "--data", "digits", "--labels", "20", "--seeds", "1", "--jobs", "1"]
    words += ["--quiet", "--out", tmp_path]
    assert unshaken(*words, "--methods", "vat,at-l2", "--steps", "2").code == 0
    assert unshaken(*words, "--methods", "vat", "--steps", "3").code == 0
    later = [*words, "--methods", "vat,at-l2", "--steps", "3", "--only-finished"]
    said = unshaken(*later)
    assert said.code == 0
    assert re.search(r"at-l2 +│ +– +│", said.out)  # not "failed": it was not run
    assert len(gallery.panels(tmp_path / "pictures/panels", ["vat", "at-l2"])) == 2
    shown = []
    for panels in re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text(), re.S):
        shown += [name for name in ("vat", "at-l2") if "Worst" in panels and f">{name}" in panels]
    assert shown == ["vat"]


@pytest.mark.usefixtures("_no_report")
def test_a_defect_in_one_method_does_not_stop_the_others(tmp_path, monkeypatch):
    run = tasks.run

    def broken(protocol, method, *arguments, **options):
        if method == "vat":
            [][1]
        return run(protocol, method, *arguments, **options)

    monkeypatch.setattr(tasks, "run", broken)
    words = ["compare", "--data", "moons", "--methods", "vat,baseline", "--seeds", "1"]
    words += ["--steps", "2", "--jobs", "1", "--out", tmp_path]
    said = unshaken(*words)
    assert said.code == 1
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1] == (
        "unshaken: error: 1 run gave no result; the same command tries again"
    )
    vat, baseline = summary(tmp_path)["rows"]
    assert vat["failures"] == ["seed 0: IndexError: list index out of range"]
    assert len(baseline["errors"]) == 1
    monkeypatch.setattr(tasks, "run", run)
    assert unshaken(*words).code == 0
    assert summary(tmp_path)["rows"][0]["failures"] == []


@pytest.mark.usefixtures("_no_report")
def test_a_measure_that_overflows_leaves_json_whole(tmp_path, monkeypatch):
    run = tasks.run

    def overflowing(*arguments, **options):
        record = run(*arguments, **options)
        record["history"][-1]["test_loss"] = math.inf
        record["history"][-1]["gap"] = math.nan
        return record

    monkeypatch.setattr(tasks, "run", overflowing)
    words = ["compare", "--data", "moons", "--methods", "baseline", "--seeds", "1"]
    assert unshaken(*words, "--steps", "2", "--jobs", "1", "--out", tmp_path).code == 0
    kept = json.loads((tmp_path / "runs" / "baseline" / "seed-0.json").read_text())
    assert kept["history"][-1]["test_loss"] is None
    assert kept["history"][-1]["gap"] is None


@pytest.mark.usefixtures("_no_report")
def test_ctrl_c_keeps_what_is_finished(tmp_path, counted, monkeypatch):
    import os
    import signal

    from unshaken.comparison.evaluation import Evaluation

    words = ["compare", "--data", "moons", "--methods", "baseline,vat", "--seeds", "1"]
    words += ["--steps", "5", "--jobs", "1", "--quiet", "--out", tmp_path]
    measure = Evaluation.__call__

    def interrupted(self, model, step):
        if len(counted) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(self, model, step)

    monkeypatch.setattr(Evaluation, "__call__", interrupted)
    said = unshaken(*words)
    assert (said.code, said.out) == (130, "")
    assert said.err == (
        "unshaken: stopped by SIGINT: 1 of 2 runs are finished and kept; the same command does "
        "the rest\n"
    )
    monkeypatch.setattr(Evaluation, "__call__", measure)
    counted.clear()
    assert unshaken(*words).code == 0
    assert counted == [("vat", 0)]


@pytest.mark.usefixtures("_no_report")
def test_two_comparisons_do_not_share_a_folder(tmp_path):
    from unshaken.comparison.folder import ComparisonFolder

    folder = ComparisonFolder(tmp_path)
    words = ["compare", "--data", "moons", "--out", tmp_path]
    assert mistake(*words) == f"another process is comparing in {tmp_path}"
    folder.close()


def test_pictures_that_are_damaged_are_left_out(tmp_path):
    words = ["compare", "--data", "moons", "--methods", "baseline", "--seeds", "1"]
    words += ["--steps", "3", "--jobs", "1", "--quiet", "--out", tmp_path]
    assert unshaken(*words).code == 0
    assert "Decision boundaries" in (tmp_path / "report.html").read_text()
    (tmp_path / "pictures" / "boundaries" / "baseline.npz").write_bytes(b"PK\x03\x04 damaged")
    assert unshaken(*words).code == 0
    assert "Decision boundaries" not in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("_no_report")
def test_the_summary_as_json(tmp_path):
    words = ["compare", "--data", "moons", "--methods", "baseline", "--seeds", "1"]
    said = unshaken(*words, "--steps", "3", "--jobs", "1", "--quiet", "--out", tmp_path, "--json")
    assert said.code == 0
    assert json.loads(said.out) == summary(tmp_path)
