"""Curves, errors, costs and boundaries hold the data they were given."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tests.pictures import fakes
from tests.pictures.looking import marked, words
from unshaken import pictures
from unshaken.pictures import Boundary
from unshaken.pictures.curves import series


def histories(seeds: int = 3) -> dict[str, list[list[dict[str, float]]]]:
    found: dict[str, list[list[dict[str, float]]]] = {}
    for record in fakes.records(seeds, points=10):
        found.setdefault(record["method"], []).append(record["history"])
    return found


class TestCurves:
    def test_one_line_for_each_method_through_the_means(self) -> None:
        given = histories()
        figure = pictures.curves(given, "gap", title="Gap", ylabel="loss")
        lines: dict[str, Any] = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
        assert set(lines) == set(given)
        expected = np.mean([[entry["gap"] for entry in run] for run in given["vat"]], axis=0)
        np.testing.assert_allclose(lines["vat"].get_ydata(), expected)
        np.testing.assert_allclose(lines["vat"].get_xdata(), 2.0 * np.arange(1, 11))
        assert set(given) <= set(words(figure))

    def test_bands_are_one_standard_error_of_the_emphasized(self) -> None:
        given = histories()
        figure = pictures.curves(given, "gap", title="", ylabel="", emphasize=["vat"])
        (band,) = figure.axes[0].collections
        values = np.array([[entry["gap"] for entry in run] for run in given["vat"]])
        sem = values.std(0, ddof=1) / np.sqrt(3)
        top = np.asarray(band.get_paths()[0].vertices)[:, 1].max()
        assert top == pytest.approx((values.mean(0) + sem).max())

    def test_one_seed_has_no_band(self) -> None:
        figure = pictures.curves(histories(1), "gap", title="", ylabel="")
        assert not figure.axes[0].collections

    def test_log_scale(self) -> None:
        figure = pictures.curves(histories(), "r_shift", title="", ylabel="", log=True)
        assert figure.axes[0].get_yscale() == "log"

    def test_missing_and_infinite_values_are_passed_over(self) -> None:
        runs: list[list[dict[str, Any]]] = [
            [{"step": 1, "gap": 1.0}, {"step": 2, "gap": float("nan")}, {"step": 3, "gap": 5.0}],
            [{"step": 1, "gap": 3.0}, {"step": 2, "gap": None}],
        ]
        line = series(runs, "gap", "step")
        assert line is not None
        assert line.at.tolist() == [1.0, 3.0]
        assert line.mean.tolist() == [2.0, 5.0]
        assert line.sem.tolist() == [1.0, 0.0]

    def test_steps_where_epochs_are_missing(self) -> None:
        figure = pictures.curves({"vat": [[{"step": 5, "gap": 1.0}]]}, "gap", title="", ylabel="")
        assert figure.axes[0].get_xlabel() == "step"

    def test_no_value_at_all_is_refused(self) -> None:
        with pytest.raises(ValueError, match="r_shift"):
            pictures.curves({"vat": [[{"step": 5}]]}, "r_shift", title="", ylabel="")

    def test_sixteen_labels_do_not_touch(self) -> None:
        figure = pictures.curves(histories(), "test_error", title="", ylabel="")
        names = [text for text in figure.axes[0].texts if text.get_text() in fakes.METHODS]
        heights = sorted(text.get_position()[1] * 200 for text in names)
        assert min(np.diff(heights)) > 12


class TestErrors:
    def test_every_mean_and_seed_is_drawn_best_on_top(self) -> None:
        rows = fakes.summary(fakes.records(3))["rows"]
        figure = pictures.errors(rows)
        means = [artist.get_offsets()[0] for artist in marked(figure, "mean")]
        assert [x for x, _ in means] == sorted(row["error_mean"] for row in rows)
        assert [y for _, y in means] == list(range(len(rows)))
        assert sum(len(artist.get_offsets()) for artist in marked(figure, "seeds")) == 45

    def test_bars_are_one_standard_error(self) -> None:
        row = {"method": "vat", "errors": [1.0, 3.0]}
        figure = pictures.errors([row])
        (bar,) = figure.axes[0].get_lines()
        assert bar.get_xdata() == pytest.approx((1.0, 3.0))

    def test_the_baseline_is_a_line(self) -> None:
        figure = pictures.errors(
            [{"method": "plain", "errors": [2.0]}, {"method": "vat", "errors": [1.0]}],
            baseline="plain",
        )
        (line,) = figure.axes[0].get_lines()
        assert np.asarray(line.get_xdata()).tolist() == [2.0, 2.0]

    def test_an_outlier_makes_the_axis_logarithmic_and_says_so(self) -> None:
        rows = [{"method": "a", "errors": [1.0]}, {"method": "b", "errors": [50.0]}]
        figure = pictures.errors(rows)
        assert figure.axes[0].get_xscale() == "log"
        assert "log scale" in figure.axes[0].get_xlabel()

    def test_no_error_is_refused(self) -> None:
        with pytest.raises(ValueError, match="error_mean"):
            pictures.errors([{"method": "vat", "errors": []}])

    def test_costs(self) -> None:
        rows = fakes.summary(fakes.records(3))["rows"]
        figure = pictures.costs(rows)
        points = {tuple(artist.get_offsets()[0]) for artist in marked(figure, "mean")}
        assert points == {(row["cost_ratio"], row["error_mean"]) for row in rows}
        assert set(fakes.METHODS) <= set(words(figure))

    def test_cost_names_do_not_overlap(self) -> None:
        figure = pictures.costs(fakes.summary(fakes.records(3))["rows"])
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [
            text.get_window_extent(renderer)
            for text in figure.axes[0].texts
            if text.get_text() in fakes.METHODS
        ]
        assert len(boxes) == 15
        for i, box in enumerate(boxes):
            # a little less than the font's box, which is taller than its letters
            assert not any(box.shrunk(0.9, 0.7).overlaps(other) for other in boxes[:i])

    def test_costs_without_costs_are_refused(self) -> None:
        with pytest.raises(ValueError, match="cost_ratio"):
            pictures.costs([{"method": "vat", "errors": [1.0]}])


class TestBoundaries:
    def test_grids_points_and_lines(self) -> None:
        given = fakes.moons(("baseline", "vat"))
        figure = pictures.boundaries(given)
        assert len(figure.axes) == 2 * 4
        first = figure.axes[0]
        tint = np.asarray(first.get_images()[0].get_array())
        assert tint.shape == (80, 80, 4)
        probability = np.asarray(given[0].probabilities[0])
        np.testing.assert_allclose(tint[..., 3], 0.08 + 0.7 * abs(probability - 0.5))
        labeled = [
            artist.get_offsets() for k in (0, 1) for artist in marked(figure, f"class {k}")[:1]
        ]
        assert sum(map(len, labeled)) == 16
        dots = np.asarray(marked(figure, "unlabeled")[0].get_xydata())
        np.testing.assert_allclose(dots[::3], given[0].unlabeled)

    def test_rows_of_the_grid_run_upward(self) -> None:
        grid = np.full((1, 10, 10), 0.9)
        grid[0, :5] = 0.1  # the lower half belongs to class 0
        none = np.zeros((0, 2))
        given = Boundary("m", [1], grid, (0.0, 1.0, 0.0, 1.0), none, none, np.zeros(0))
        figure = pictures.boundaries([given])
        assert figure.axes[0].get_images()[0].origin == "lower"
        (line,) = figure.axes[0].collections[:1]
        assert np.asarray(line.get_paths()[0].vertices)[:, 1] == pytest.approx(np.full(10, 0.5))

    def test_no_more_snapshots_than_asked_with_first_and_last(self) -> None:
        given = fakes.moons(("vat",))
        figure = pictures.boundaries(given, snapshots=2)
        steps = [word for word in words(figure) if word.startswith("step")]
        assert steps == ["step 100", "step 1 000"]

    def test_a_certain_classifier_has_no_line(self) -> None:
        none = np.zeros((0, 2))
        given = Boundary(
            "m", [1], np.ones((1, 4, 4)), (0.0, 1.0, 0.0, 1.0), none, none, np.zeros(0)
        )
        assert pictures.svg(pictures.boundaries([given]))

    def test_wrong_shapes_are_refused(self) -> None:
        none = np.zeros((0, 2))
        with pytest.raises(ValueError, match="probabilities"):
            Boundary("m", [1, 2], np.ones((1, 4, 4)), (0, 1, 0, 1), none, none, np.zeros(0))
        with pytest.raises(ValueError, match="classes"):
            Boundary("m", [1], np.ones((1, 4, 4)), (0, 1, 0, 1), none, none, np.zeros(3))
        with pytest.raises(ValueError, match="at least one"):
            pictures.boundaries([])


def test_histograms_evolution_and_samples():
    values = np.linspace(-1, 1, 50)
    layers = {"layer 1": {"baseline": values, "vat": values / 2}, "layer 2": {"baseline": values}}
    drawn = pictures.svg(pictures.histograms(layers, title="Weights"), name="weights")
    assert all(word in drawn for word in ("Weights", "layer 1", "layer 2", "baseline", "vat"))
    # Powers of ten are texts within texts, none of which is lost.
    assert ">1</tspan>" in drawn and not re.search(r"<tspan[^>]*/>|<tspan[^>]*></tspan>", drawn)
    log_alpha, x = np.zeros((3, 2, 1, 4, 4)), np.random.default_rng(0).normal(size=(2, 1, 4, 4))
    drawn = pictures.svg(pictures.evolution([5, 10, 20], log_alpha, x, title="Masks"), name="masks")
    assert all(f"step {step}" in drawn for step in (5, 10, 20))
    # Each input, and a map and a masked input at each moment.
    assert drawn.count("<image") == 2 * (1 + 2 * 3)
    drawn = pictures.svg(pictures.samples([values, values], ["a", "b"], title="Samples"), name="s")
    assert "Samples" in drawn


def test_what_cannot_be_drawn_says_so():
    with pytest.raises(ValueError, match="layers must hold at least one layer"):
        pictures.histograms({}, title="")
    with pytest.raises(ValueError, match="log_alpha must be"):
        pictures.evolution([1], np.zeros((2, 1, 1, 4, 4)), np.zeros((1, 1, 4, 4)), title="")
    with pytest.raises(ValueError, match="as many as names"):
        pictures.samples([], [], title="")
