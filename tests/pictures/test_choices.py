"""The pictures of a search."""

from __future__ import annotations

import pytest

from unshaken.pictures import Tried, choice, surface, svg

GRID = [
    Tried({"a": a, "b": b}, 5 + abs(i - 1) + j, 0.2)
    for i, a in enumerate((0.1, 1.0, 10.0))
    for j, b in enumerate((0.5, 5.0))
]


def test_one_setting():
    points = [*GRID, Tried({"a": 2.0, "b": 1.0}, 9.0, pruned=True)]
    figure = choice(points, "a", log=True, method="vat")
    (plot,) = figure.axes
    marks = {c.get_gid(): c.get_offsets() for c in plot.collections}
    assert len(marks["tried"]) == 6
    assert marks["pruned"].tolist() == [[2.0, 9.0]]
    assert marks["best"].tolist() == [[1.0, 5.0]]
    assert plot.get_xscale() == "log"
    assert "validation error" in svg(figure)


def test_a_grid_is_a_heat_map_and_other_points_are_dots():
    plot = surface(GRID, ("a", "b"), log=(True, True)).axes[0]
    assert len(plot.patches) == 7  # the cells and the best one's frame
    assert plot.patches[-1].get_xy() == (0.5, -0.5)
    assert sorted(text.get_text() for text in plot.texts) == sorted(f"{p.error:.1f}" for p in GRID)
    plot = surface(GRID[:-1], ("a", "b"), log=(True, False)).axes[0]
    assert len(plot.collections) == 6
    assert (plot.get_xscale(), plot.get_yscale()) == ("log", "linear")


def test_nothing_tried():
    for draw in (lambda: choice([], "a", log=True), lambda: surface([], ("a", "b"), log=(1, 1))):
        with pytest.raises(ValueError, match="at least one that was tried"):
            draw()
