"""``unshaken reproduce``: every recipe is sound, its numbers stand beside the published ones."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.commands import mistake, summary, unshaken
from unshaken.comparison import recipe as recipes
from unshaken.methods.catalog import settings_for


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_can_be_read_and_run(name):
    found = recipes.recipe(name)
    assert found.paper in ("VMT", "xVAT")
    assert bool(found.parts) != bool(found.undrawn)
    assert found.measure in ("error", "accuracy", "seconds per epoch")
    for part in found.parts:
        assert found.departures
        for scale in recipes.SCALES:
            config = part.at(scale).config(0)
            assert config.steps >= config.evaluate_every > 0
            assert part.methods(scale)[0] == "baseline"
            for method in part.methods(scale):
                assert settings_for(method, part.protocol.methods)
        assert part.at("quick").config(0).steps < part.at("full").config(0).steps


def test_the_list():
    said = unshaken("reproduce", "--list")
    assert said.code == 0
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == recipes.names()
    undrawn = [n for n in recipes.names() if recipes.recipe(n).undrawn]
    assert [line.split()[0] for line in lines if "(not yet drawn)" in line] == undrawn
    assert all(
        name in said.out for name in json.loads(unshaken("reproduce", "--list", "--json").out)
    )


@pytest.fixture
def _short(monkeypatch):
    """Ten steps of everything."""
    at = recipes.Part.at

    def short(part, scale):
        protocol = at(part, scale)
        training = {**protocol.training, "steps": 10, "evaluate_every": 5}
        return dataclasses.replace(protocol, training=training)

    monkeypatch.setattr(recipes.Part, "at", short)


@pytest.mark.usefixtures("_short")
def test_a_table_with_a_part_whose_data_are_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("UNSHAKEN_DATA", str(tmp_path / "nothing"))
    words = ["reproduce", "vmt-table-2", "--seeds", "2", "--jobs", "1", "--quiet"]
    said = unshaken(*words, "--out", tmp_path)
    assert said.code == 1
    assert said.err.startswith("unshaken: error: mnist: expected its published files in ")
    assert said.err.count("\n") == 1
    folder = tmp_path / "vmt-table-2-quick"
    rows = {(row["part"], row["method"]): row for row in summary(folder)["rows"]}
    assert rows["synthetic", "baseline"]["published"] == 1.24
    assert len(rows["synthetic", "vat"]["values"]) == 2
    assert rows["synthetic", "vat"]["augmentation"] == "none"
    assert rows["mnist", "vat"]["published"] == 0.64
    assert rows["mnist", "vat"]["values"] == []
    assert "Quick scale, which tells nothing" in said.out
    assert (folder / "synthetic/report.html").exists()


@pytest.mark.usefixtures("_short")
def test_figures_and_seconds(tmp_path):
    words = ["--seeds", "1", "--jobs", "1", "--quiet", "--out", tmp_path]
    assert unshaken("reproduce", "vmt-figure-2", *words).code == 0
    assert (tmp_path / "vmt-figure-2-quick/report.html").read_text().count("<figure") >= 2
    assert unshaken("reproduce", "xvat-figure-4", *words).code == 0
    assert (tmp_path / "xvat-figure-4-quick/report.html").read_text().count("<figure") == 1


def test_mistakes(tmp_path):
    assert "did you mean 'vmt-table-2'?" in mistake("reproduce", "vmt-table-22")
    assert "--scale must be one of full, quick" in mistake(
        "reproduce", "vmt-table-2", "--scale", "huge", "--out", tmp_path
    )
    assert "--name must say which" in mistake("reproduce")
    said = mistake("reproduce", "xvat-figure-6", "--out", tmp_path)
    assert said == "xvat-figure-6 cannot be made yet. It is not drawn yet."
    assert not list(tmp_path.iterdir())
