"""``unshaken tune`` from words to settings that train and compare accept."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from tests.commands import mistake, summary, unshaken

pytest.importorskip("optuna", reason="needs the extra: tune")

WORDS = ["tune", "--labels", "20", "--steps", "8", "--seeds", "2", "--jobs", "1"]


def test_a_grid_and_what_becomes_of_it(tmp_path):
    out = tmp_path / "out"
    said = unshaken(
        *WORDS, "--search", "grid", "--trials", "4", "--settings.vat.weight=2", "--out", out
    )
    assert said.code == 0, said
    assert said.err.splitlines()[7].startswith("[8/8] radius ")
    assert said.out.startswith("best of 4: vat.radius ")
    found = summary(out)
    assert [row["settings"]["vat"].keys() for row in found["rows"]] == [{"radius"}] * 4
    means = [row["error_mean"] for row in found["rows"]]
    assert means == sorted(means)
    assert found["best"]["error_mean"] == means[0]
    assert found["best"]["settings"]["vat"]["weight"] == 2
    assert found["search space"] == {"vat.radius": "0.01:10:log"}
    assert found["data"]["test examples"] == "not looked at"
    words = ["--search", "grid", "--trials", "4", "--settings.vat.weight=2", "--json"]
    assert json.loads(unshaken(*WORDS, *words, "--out", out).out) == summary(out)
    edge = found["best"]["settings"]["vat"]["radius"] in (0.01, 10)
    assert ("edge of its range" in said.err) == edge == bool(found["edges"])
    report = (out / "report.html").read_text()
    assert report.count("<figure") == 1
    assert "not looked at" in report

    best = yaml.safe_load((out / "best.yaml").read_text())
    assert best["settings"] == found["best"]["settings"]
    for words in (["train"], ["compare", "--methods", "baseline,vat", "--seeds", "1"]):
        again = unshaken(
            *words, "--config", out / "best.yaml", "--quiet", "--out", tmp_path / words[0]
        )
        assert again.code == 0, again
        assert summary(tmp_path / words[0])["rows"][-1]["method"] == "vat"


def test_joined_methods_and_two_settings(tmp_path):
    said = unshaken(
        *WORDS,
        *("--method", "vat+vmt-shift", "--search", "random", "--trials", "3", "--quiet"),
        *("--space", "vat.radius=0.1:2:log", "--space", "vmt-shift.weight=default"),
        *("--out", tmp_path),
    )
    assert said.code == 0, said
    found = summary(tmp_path)
    assert found["search space"] == {
        "vat.radius": "0.1:2:log",
        "vmt-shift.weight": "0.005:5:log",
    }
    assert (tmp_path / "report.html").read_text().count("<figure") == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "vta"], "--method: there is no method 'vta'"),
        (["--method", "baseline"], "baseline has none"),
        (["--search", "gird"], "did you mean 'grid'?"),
        (["--space.vat.radios", "1:2"], "did you mean 'vat.radius'?"),
        (["--space.vat.radius", "1"], ""),
        (["--space.vat.radius", "2:1"], "from a lower to a higher number, got '2:1'"),
        (["--space.vat.radius", "0:1:log"], "must begin above 0"),
        (["--space.vat.radius", "few"], "must be LOW:HIGH:log, LOW:HIGH:linear, values"),
        (["--space.vat.radius", "-1:1:linear"], "radius must be a finite number >= 0, got -1"),
        (["--space.vat.radius", "1:2", "--settings.vat.radius", "1"], "must not give it a value"),
        (["--folds", "2", "--validation", "9"], "both say what is held out"),
        (["--folds", "500"], "folds must be from 2 to"),
        (["--trials", "0"], "trials must be an integer >= 1, got 0"),
        (["--out", "/proc/none"], "out must be a folder that can be written"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, words, expected):
    if not expected:
        said = unshaken(*WORDS, *words, "--trials", "1", "--quiet", "--out", tmp_path)
        assert said.code == 0, said
        return
    assert expected in mistake(*WORDS, "--quiet", "--out", tmp_path, *words)


def test_without_optuna(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = mistake(*WORDS, "--out", tmp_path)
    assert said == "tune needs optuna: pip install 'unshaken[tune]'"
