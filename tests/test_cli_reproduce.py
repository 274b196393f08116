"""``unshaken reproduce``: every recipe is sound, its numbers stand beside the published ones."""

from __future__ import annotations

import dataclasses
import json
from statistics import fmean
from xml.etree import ElementTree

import pytest
import torch

from tests.commands import mistake, summary, unshaken
from unshaken.comparison import gallery
from unshaken.comparison import recipe as recipes
from unshaken.comparison.folder import read_record, write_record
from unshaken.data import DataError, Dataset
from unshaken.methods.catalog import settings_for


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_can_be_read_and_run(name):
    found = recipes.recipe(name)
    assert found.paper in ("VMT", "xVAT")
    assert bool(found.parts) != (found.draws == "fields")
    assert found.measure in ("error", "accuracy", "seconds per epoch")
    for part in found.parts:
        assert found.departures
        for scale in recipes.SCALES:
            config = part.at(scale).config(0)
            assert config.steps >= config.evaluate_every > 0
            assert part.methods(scale)[0] == "baseline"
            for method in part.methods(scale):
                assert settings_for(method, part.protocol.methods)
        for point in part.points("full"):
            for name, value in point.items():
                method, _, setting = name.rpartition(".")
                assert settings_for(method, {method: {setting: value}})
        assert len(part.points("quick")) <= len(part.points("full"))
        assert part.at("quick").config(0).steps < part.at("full").config(0).steps
        assert part.at("reduced").config(0).steps <= part.at("full").config(0).steps


def test_the_list():
    said = unshaken("reproduce", "--list")
    assert said.code == 0
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == recipes.names()
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
    assert "At the reduced scale" not in said.out
    assert (folder / "synthetic/report.html").exists()
    assert 'href="synthetic/report.html"' in (folder / "report.html").read_text()


@pytest.mark.usefixtures("_short")
def test_runs_whose_data_are_not_at_hand_keep_their_table(monkeypatch, tmp_path):
    words = ["reproduce", "vmt-table-2", "--seeds", "1", "--parts", "synthetic", "--quiet"]
    words += ["--jobs", "1", "--out", tmp_path]
    assert unshaken(*words).code == 0
    before = summary(tmp_path / "vmt-table-2-quick")

    def missing(*arguments, **options):
        raise DataError("no data here")

    monkeypatch.setattr("unshaken.comparison.single.data.load", missing)
    assert "holds runs, but not their data: no data here" in mistake(*words, "--only-finished")
    assert summary(tmp_path / "vmt-table-2-quick") == before


@pytest.mark.usefixtures("_short")
def test_times_stand_beside_their_ratios_and_runs_beside_their_part(tmp_path):
    words = ["--seeds", "1", "--jobs", "1", "--parts", "synthetic", "--out", tmp_path]
    said = unshaken("reproduce", "vmt-table-5", *words)
    assert said.code == 0
    assert "paper, s" in said.out and "÷ baseline" in said.out and "0.183" in said.out
    assert "− baseline" not in said.out
    row = next(line.split("│") for line in said.out.splitlines() if "vmt-shift" in line)
    assert row[3].strip() == "0.279" and row[4].strip() == "1.52" and row[6].strip() != ""
    assert said.err.splitlines()[0].startswith("[1/4] synthetic: ")
    words = ["--seeds", "1", "--jobs", "1", "--out", tmp_path]
    assert mistake("reproduce", "vmt-figure-1", *words, "--parts", "x") == (
        "parts must be left out: vmt-figure-1 has none; got 'x'"
    )


@pytest.mark.usefixtures("_short")
def test_one_part_at_the_reduced_scale(tmp_path):
    words = ["--scale", "reduced", "--parts", "synthetic", "--jobs", "1", "--quiet"]
    said = unshaken("reproduce", "vmt-table-2", *words, "--out", tmp_path)
    assert said.code == 0, said.err
    found = summary(tmp_path / "vmt-table-2-reduced")
    assert {row["part"] for row in found["rows"]} == {"synthetic"}
    assert {row["seeds"] for row in found["rows"]} == {3}
    assert found["steps"] == {"synthetic": 10}
    assert found["environments"] == {"synthetic": found["environment"]}
    rows = {row["method"]: row for row in found["rows"]}
    assert rows["baseline"]["difference_mean"] is None
    pairs = zip(rows["vat"]["values"], rows["baseline"]["values"], strict=True)
    assert rows["vat"]["difference_mean"] == pytest.approx(fmean(a - b for a, b in pairs))
    assert 0 <= rows["vat"]["p_value"] <= 1 and rows["vat"]["difference_sem"] >= 0
    (line,) = (line for line in said.out.splitlines() if " vat " in line)
    assert f"{rows['vat']['difference_mean']:+.2f} ± " in line
    assert found["departures"][-1] == "Reduced scale: synthetic 10 of 5000 steps."


@pytest.mark.usefixtures("_short")
def test_finished_runs_have_their_table_and_figure_while_others_are_missing(tmp_path):
    words = ["--seeds", "2", "--jobs", "1", "--quiet", "--out", tmp_path]
    said = mistake("reproduce", "xvat-figure-4", *words, "--only-finished")
    assert "has no finished run of these seeds and parts" in said
    assert not any(tmp_path.iterdir())
    assert unshaken("reproduce", "xvat-figure-4", *words).code == 0
    folder = tmp_path / "xvat-figure-4-quick"
    before = summary(folder)["rows"]
    lost = min(folder.glob("*/runs/*/seed-1.json"))
    # Another protocol's, with its checksum: as good as none.
    record = read_record(lost)
    write_record(lost, {**record, "fingerprint": "of earlier settings", "error": 99.0})
    assert unshaken("reproduce", "xvat-figure-4", *words, "--only-finished").code == 0
    assert (folder / "report.html").read_text().count("<figure") == 1
    for row, old in zip(summary(folder)["rows"], before, strict=True):
        missing = lost.parent.name == row["method"]
        assert row["values"] == (old["values"][:1] if missing else old["values"])
    for path in folder.glob(f"*/runs/{lost.parent.name}/*"):
        path.unlink()
    assert unshaken("reproduce", "xvat-figure-4", *words, "--only-finished").code == 0
    rows = {row["method"]: row for row in summary(folder)["rows"]}
    assert rows[lost.parent.name]["values"] == []


@pytest.mark.usefixtures("_short")
def test_figures_and_seconds(tmp_path):
    words = ["--seeds", "1", "--jobs", "1", "--quiet", "--out", tmp_path]
    assert unshaken("reproduce", "vmt-figure-2", *words).code == 0
    folder = tmp_path / "vmt-figure-2-quick"
    assert (folder / "report.html").read_text().count("<figure") >= 2
    shown = summary(folder)["pictures"]
    assert len(shown) >= 2 and all(each["caption"] for each in shown)
    drawn = ElementTree.parse(folder / shown[0]["file"]).getroot()
    # A file that stands alone: it has both color schemes.
    assert "prefers-color-scheme:dark" in drawn[0].text
    (folder / "vmt-figure-2-9.svg").write_text("of a call that drew more")
    assert unshaken("reproduce", "vmt-figure-2", *words, "--only-finished").code == 0
    assert sorted(path.name for path in folder.glob("*.svg")) == [each["file"] for each in shown]
    assert unshaken("reproduce", "xvat-figure-4", *words).code == 0
    assert (tmp_path / "xvat-figure-4-quick/report.html").read_text().count("<figure") == 1


def small_images(seed=0, **options):
    """Images of two kinds in place of MNIST's, for the pictures that need some."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, 1, 8, 8, generator=generator)
    y = torch.arange(60) % 10
    return Dataset("mnist", x, y, x[:20], y[:20], 10)


@pytest.mark.usefixtures("_short")
def test_every_other_figure(monkeypatch, tmp_path):
    monkeypatch.setattr("unshaken.comparison.single.data.load", lambda name, **o: small_images())
    part = recipes.Part.at

    def tiny(self, scale):
        found = part(self, scale)
        training = {**found.training, "batch_size": 10, "unlabeled_batch_size": 20}
        labels = None if found.labels is None else 20
        network = {"name": "mlp", "widths": [8, 7, 6]}
        return dataclasses.replace(found, labels=labels, network=network, training=training)

    monkeypatch.setattr(recipes.Part, "at", tiny)
    words = ["--seeds", "1", "--jobs", "1", "--quiet", "--out", tmp_path]
    # The fields; two masks over training and the worst perturbations; weights; a surface.
    least = {"vmt-figure-1": 1, "xvat-figure-5": 3, "xvat-figure-6": 1, "xvat-figure-7": 1}
    for name, count in least.items():
        assert unshaken("reproduce", name, *words).code == 0
        html = (tmp_path / f"{name}-quick/report.html").read_text()
        assert html.count("<figure") >= count, name
        assert html.count("<svg") >= count, name
    rows = summary(tmp_path / "xvat-figure-7-quick")["rows"]
    assert [row["at"] for row in rows] == [
        {"xvat.sparsity": a, "xvat.weight": b} for a in (0.1, 1.0) for b in (0.1, 1.0)
    ]
    masks = gallery.load(tmp_path / "xvat-figure-5-quick/mnist/pictures/masks", ["xvat"])
    assert next(masks)["log_alpha"].shape == (2, 3, 1, 8, 8)


def test_mistakes(tmp_path):
    assert "did you mean 'vmt-table-2'?" in mistake("reproduce", "vmt-table-22")
    assert "--scale must be one of full, reduced, quick" in mistake(
        "reproduce", "vmt-table-2", "--scale", "huge", "--out", tmp_path
    )
    assert "parts must be among synthetic, mnist; got 'svhn'" in mistake(
        "reproduce", "vmt-table-2", "--parts", "svhn", "--out", tmp_path
    )
    assert "scale must be full or quick for cifar100 of xvat-table-2" in mistake(
        "reproduce", "xvat-table-2", "--scale", "reduced", "--out", tmp_path
    )
    assert "--name must say which" in mistake("reproduce")
    assert not list(tmp_path.iterdir())
