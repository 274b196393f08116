"""Bars and lines of costs hold the data they were given."""

from __future__ import annotations

import itertools

import pytest

from tests.pictures.looking import marked, words
from unshaken import pictures
from unshaken.pictures.bars import Bar, bars
from unshaken.pictures.growth import growth
from unshaken.pictures.palette import look

ROWS = [
    Bar("baseline", 1.0, least=1.0),
    Bar("vat", 2.8, 2.7, 3.0, textbook=3.4, least=2.67),
    Bar("a name that is much too long to be shown", 0.5),
]


def test_bars_and_marks_stand_where_they_should() -> None:
    figure = bars(ROWS, title="Time", axis="÷ plain step")
    drawn = marked(figure, "bar")
    assert [bar.get_width() for bar in drawn] == [1.0, 2.8, 0.5]
    assert [bar.get_y() + bar.get_height() / 2 for bar in drawn] == pytest.approx([0, 1, 2])
    (diamond,) = marked(figure, "textbook")
    assert diamond.get_offsets().tolist() == [[3.4, 1]]
    least = {line.get_xdata()[0] for line in marked(figure, "least")}
    assert least == {1.0, 2.67}
    assert figure.axes[0].get_xlim()[1] >= 3.4


def test_names_values_and_legend_are_written() -> None:
    said = words(bars(ROWS, title="Time", axis="÷ plain step"))
    assert {"Time", "baseline", "vat", "1.00", "2.80", "0.50"} <= set(said)
    assert any("textbook" in text and "least possible" in text for text in said)
    alone = words(bars([Bar("vat", 1.2)], title="Memory", axis="÷ plain step"))
    assert not any("textbook" in text or "least" in text for text in alone)


def test_lines_hold_their_points() -> None:
    given = {"vat": [(8.0, 2.0), (16.0, 2.5)], "at-l2": [(8.0, 1.9), (16.0, 2.4)], "xat": []}
    figure = growth(given, title="Batch", x="batch size", y="time")
    lines = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
    assert set(lines) == {"vat", "at-l2"}
    assert lines["vat"].get_xydata().tolist() == [[8.0, 2.0], [16.0, 2.5]]
    assert lines["vat"].get_color() == look("vat").color
    assert figure.axes[0].get_xscale() == "log"
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["8", "16"]


def test_names_at_the_ends_do_not_overlap() -> None:
    given = {name: [(1.0, 2.0)] for name in ("vat", "at-l2", "xat")}
    figure = growth(given, title="Batch", x="x", y="y")
    heights = sorted(
        text.get_position()[1] * figure.get_size_inches()[1] * 72
        for text in figure.texts
        if text.get_text() in given
    )
    assert len(heights) == 3
    assert all(b - a >= 13 for a, b in itertools.pairwise(heights))


def test_nothing_to_draw_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one bar"):
        bars([], title="", axis="")
    with pytest.raises(ValueError, match="at least one point"):
        growth({"vat": []}, title="", x="", y="")


def test_both_become_svg_that_follows_the_page() -> None:
    for figure in (
        bars(ROWS, title="Time", axis="÷"),
        growth({"vat": [(1.0, 2.0)]}, title="Batch", x="x", y="y"),
    ):
        drawn = pictures.svg(figure)
        assert "var(--u-vat" in drawn
        assert drawn == pictures.svg(figure)
