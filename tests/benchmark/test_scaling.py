"""Costs along an axis: what is measured where, and what is kept of it."""

from __future__ import annotations

import json

import pytest

from unshaken.benchmark import scaling
from unshaken.benchmark.report import growth_figures, render
from unshaken.benchmark.scaling import Axis, Place, axes_of, scale
from unshaken.benchmark.setting import PRESETS, Setting
from unshaken.benchmark.variants import named
from unshaken.comparison.folder import plain

TINY = Setting("tiny", "mlp", 1, (6, 6), 3, 8, "sgd", (5,), examples=9)


def by_title(setting):
    return {axis.title: axis for axis in axes_of(setting)}


def test_every_axis_rises_around_the_setting():
    axes = by_title(PRESETS["conv_small"])
    assert [place.x for place in axes["Examples in a batch"].places] == [8, 16, 32, 64]
    assert [place.setting.size for place in axes["Size of the input"].places] == [
        (16, 16),
        (24, 24),
        (32, 32),
        (48, 48),
    ]
    assert [place.setting.channels for place in axes["Channels of the input"].places] == [
        1,
        3,
        8,
        16,
    ]
    for axis in axes.values():
        xs = [place.x for place in axis.places]
        assert xs == sorted(xs)


def test_fields_go_from_one_to_more_than_sixty_four():
    for preset in ("conv_small", "sinusoids_mlp"):
        counts = [place.x for place in by_title(PRESETS[preset])["Fields of VMT"].places]
        assert counts[0] == 1
        assert 64 <= counts[-1] <= scaling.MOST_FIELDS


def test_what_a_network_cannot_take_is_left_out():
    axes = by_title(PRESETS["moons_mlp"])
    assert "Size of the input" not in axes
    assert "Fields of VMT" not in axes
    assert {name for name, _ in axes["Examples in a batch"].places[0].variants} == {
        "at-l2",
        "vat",
        "xvat",
    }


def test_tables_are_dense_and_sparse():
    axis = by_title(TINY)["Rows of the mask table"]
    for place in axis.places:
        assert [
            term.adversary.sparse
            for _, variant in place.variants
            for term in variant.build(place.setting.shape)
        ] == [False, True]
        assert place.setting.examples == place.x


@pytest.fixture(scope="module")
def measured():
    original = scaling.axes_of
    vat, vmt = named("vat"), named("vmt-shift")
    axes = [
        Axis("Batch", "batch size", "c", [Place(n, _batch(n), [("vat", vat)]) for n in (2, 4)]),
        Axis("Both", "K", "c", [Place(1, TINY, [("a", vat)]), Place(2, TINY, [("a", vmt)])]),
        original(TINY)[-1],
    ]
    said = []
    scaling.axes_of = lambda setting: axes
    try:
        found = scale(TINY, 2, turn=1e-3, log=said.append)
    finally:
        scaling.axes_of = original
    return json.loads(json.dumps(plain(found), allow_nan=False)), said


def _batch(n):
    return Setting("tiny", "mlp", 1, (6, 6), 3, n, "sgd", (5,))


def test_points_hold_their_own_plain_step(measured):
    found, said = measured
    batch = found[0]
    assert [point["x"] for point in batch["series"]["vat"]] == [2, 4]
    assert [point["x"] for point in batch["plain"]] == [2, 4]
    assert batch["series"]["vat"][0]["of_first"] == 1
    assert said[0] == "Batch: 2"


def test_places_of_one_setting_share_a_race(measured):
    found, said = measured
    assert "Both: 1, 2" in said
    first, second = found[1]["series"]["a"]
    ratios = sorted(b / a for a, b in zip(first["rounds"], second["rounds"], strict=True))
    assert second["of_first"] == pytest.approx(sum(ratios) / 2)


def test_sparse_tables_take_a_step(measured):
    found, _ = measured
    assert {name: len(points) for name, points in found[2]["series"].items()} == {
        "xvat-dense": 3,
        "xvat-sparse": 3,
    }


def test_each_axis_has_a_figure(measured):
    found, _ = measured
    assert len(growth_figures({"scaling": found})) == 3
    empty = {
        "setting": {
            "model": "<tiny>",
            "batch_size": 8,
            "channels": 1,
            "size": [6, 6],
            "optimizer": "sgd",
            "device": "cpu",
            "threads": 1,
            "precision": "32",
        },
        "plain": {"seconds": 0.001, "examples_per_second": 8000.0, "peak_bytes": 4096},
        "rounds": 2,
        "clock": "CPU time",
        "environment": {},
        "rows": [],
        "scaling": found,
    }
    text = render(empty)
    assert text.count("<svg") == 3
    assert "<tiny>" not in text
    assert "&lt;tiny&gt;" in text
