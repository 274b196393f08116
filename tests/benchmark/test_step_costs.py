"""The bars that stored step costs are held to."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest


@pytest.fixture
def script(monkeypatch, tmp_path):
    path = Path(__file__).parents[2] / "benchmarks" / "step_costs.py"
    spec = importlib.util.spec_from_file_location("step_costs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def row(method, time, memory, of_textbook=None):
    found = {"method": method, "library": {"ratio": {"median": time}, "memory": memory}}
    return found if of_textbook is None else {**found, "of_textbook": {"ratio": of_textbook}}


def test_a_bar_is_missed_above_it(script, tmp_path, capsys):
    rows = [
        row("baseline", 9.0, 9.0),
        row("vmt-shift", 2.2, 1.8, 0.7),
        row("vmt-shift every=3", 1.5, 9.0),
        row("at-l2", 2.09, 1.0),
        row("at-remembered", 9.0, 9.0),
    ]
    for machine in ("", "other"):
        script.path_of("conv_small", machine).write_text(json.dumps({"rows": rows}))
    assert script.check(script.kept("conv_small")[0], "conv_small") == 3
    missed = [
        line.split()[1:3] for line in capsys.readouterr().out.splitlines() if "MISSED" in line
    ]
    assert [path.name for path in script.kept("conv_small")] == [
        "bench-conv_small.json",
        "bench-conv_small-other.json",
    ]
    assert missed == [["vmt-shift", "memory"], ["vmt-shift", "every=3"], ["at-l2", "time"]]


def test_measuring_keeps_what_the_command_wrote(script, tmp_path, monkeypatch):
    def command(words):
        (Path(words[words.index("--out") + 1]) / "bench.json").write_text("{}")
        assert words[:3] == ["bench", "--model", "moons_mlp"]
        assert "--scaling" in words
        return 0

    monkeypatch.setattr(script, "unshaken", command)
    script.measure("moons_mlp", 3, True, "cpu", False, "")
    script.measure("moons_mlp", 3, True, "cpu", False, "other")
    assert (tmp_path / "bench-moons_mlp.json").read_text() == "{}"
    assert (tmp_path / "bench-moons_mlp-other.json").read_text() == "{}"


def test_a_command_that_fails_ends_with_its_code(script, monkeypatch):
    monkeypatch.setattr(script, "unshaken", lambda words: 2)
    with pytest.raises(SystemExit) as stop:
        script.measure("moons_mlp", 3, False, "cpu", False, "")
    assert stop.value.code == 2
