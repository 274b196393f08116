"""Every figure holds the data it was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from matplotlib.text import Text

from tests.pictures import fakes
from unshaken import pictures
from unshaken.pictures import Boundary, Panel
from unshaken.pictures.curves import series


def histories(seeds: int = 3) -> dict[str, list[list[dict[str, float]]]]:
    found: dict[str, list[list[dict[str, float]]]] = {}
    for record in fakes.records(seeds, points=10):
        found.setdefault(record["method"], []).append(record["history"])
    return found


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def marked(figure: Figure, gid: str) -> list[Any]:
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def quivers(figure: Figure) -> list[Any]:
    return [artist for artist in figure.findobj(Quiver) if isinstance(artist, Quiver)]


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


class TestWorst:
    def test_additive(self) -> None:
        panel = fakes.panels()[0]
        figure = pictures.worst([panel], examples=2)
        images = [axes.get_images()[0].get_array() for axes in figure.axes]
        assert len(images) == 2 * 3
        found = [np.asarray(image) for image in images]
        noise = panel.perturbed[1, 0] - panel.clean[1, 0]
        assert any(np.allclose(image, noise) for image in found)
        assert any(np.allclose(image, panel.perturbed[1, 0]) for image in found)

    def test_a_shared_clean_image_is_drawn_once(self) -> None:
        assert len(pictures.worst(fakes.panels()[:2], examples=1).axes) == 5
        a, b = fakes.panels()[:2]
        other = Panel("x", "additive", b.clean + 1, b.perturbed, None, None, b.value)
        assert len(pictures.worst([a, other], examples=1).axes) == 6

    def test_arrows_show_where_content_moves(self) -> None:
        # I'(p) = I(p + V): with V one row down, what was below comes up.
        clean = np.zeros((1, 1, 5, 5))
        clean[0, 0, 3, 2] = 1.0
        v = np.zeros((1, 2, 5, 5))
        v[0, 0] = 1.0
        moved = np.roll(clean, -1, axis=2)
        assert moved[0, 0, 2, 2] == 1.0
        panel = Panel("mat", "movement", clean, moved, v, None, np.ones(1))
        figure = pictures.worst([panel])
        (arrows,) = quivers(figure)
        assert arrows.pivot == "tip"
        np.testing.assert_array_equal(arrows.U, np.zeros(25))
        np.testing.assert_array_equal(arrows.V, -np.ones(25))  # rows count down: up the image
        assert arrows.axes.yaxis_inverted()
        assert any("×1" in word for word in words(figure))

    def test_many_positions_are_thinned(self) -> None:
        (arrows,) = quivers(pictures.worst([fakes.panels(32, 3)[2]], examples=1))
        assert arrows.N == 64

    def test_masks(self) -> None:
        panel = fakes.panels()[5]
        assert panel.mask is not None
        figure = pictures.worst([panel], examples=1)
        images = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]
        assert any(np.allclose(image, panel.mask[0, 0]) for image in images)

    def test_color_and_volumes(self) -> None:
        color = pictures.worst(fakes.panels(16, 3)[:1]).axes[0].get_images()[0]
        assert np.asarray(color.get_array()).shape == (16, 16, 3)
        clean = torch.rand(2, 1, 6, 7, 8, requires_grad=True)
        v = torch.zeros(2, 3, 6, 7, 8)
        v[:, 2] = 1.0
        panel = Panel("vmt-shift", "movement", clean, clean, v, None, torch.ones(2))
        figure = pictures.worst([panel], examples=1)
        first = np.asarray(figure.axes[0].get_images()[0].get_array())
        np.testing.assert_allclose(first, clean[0, 0, 3].detach().numpy())
        assert (quivers(figure)[0].U < 0).all()

    def test_fields(self) -> None:
        given = {name: fakes.field(name, 15) for name in ("shift", "rotation", "scale")}
        figure = pictures.fields_figure(given)
        found = quivers(figure)
        assert [arrows.N for arrows in found] == [225] * 3
        np.testing.assert_allclose(found[1].V, given["rotation"][0].ravel())
        np.testing.assert_allclose(found[1].U, given["rotation"][1].ravel())

    def test_signals(self) -> None:
        panels = fakes.signal_panels()
        assert panels[1].displacement is not None
        figure = pictures.signals(panels[:2], examples=2)
        done = [line.get_ydata() for line in marked(figure, "done")]
        assert len(done) == 4
        np.testing.assert_allclose(done[2], -panels[1].displacement[0, 0])
        drawn = [line.get_ydata() for line in marked(figure, "perturbed")]
        np.testing.assert_allclose(drawn[1], panels[0].perturbed[1, 0])

    def test_vectors_and_bfloat16(self) -> None:
        x = torch.rand(2, 30, dtype=torch.bfloat16)
        panel = Panel("vat", "additive", x, x + 1, None, None, torch.ones(2))
        done = marked(pictures.signals([panel]), "done")
        np.testing.assert_allclose(done[0].get_ydata(), (x + 1).double()[0] - x.double()[0])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kind": "other"}, "kind must be one of"),
            ({"perturbed": np.zeros((2, 1, 4, 5))}, "perturbed must be shaped like clean"),
            ({"value": np.zeros(3)}, "value must have the shape"),
            ({"displacement": None}, "needs displacement"),
            ({"displacement": np.zeros((2, 3, 4, 4))}, "displacement must have the shape"),
            ({"kind": "mask"}, "needs mask"),
            ({"clean": np.zeros((0, 1, 4, 4))}, "at least one example"),
        ],
    )
    def test_wrong_panels_are_refused(self, change: dict[str, object], message: str) -> None:
        x = np.zeros((2, 1, 4, 4))
        given: dict[str, Any] = {
            "method": "m",
            "kind": "movement",
            "clean": x,
            "perturbed": x,
            "displacement": np.zeros((2, 2, 4, 4)),
            "mask": None,
            "value": np.zeros(2),
        }
        with pytest.raises(ValueError, match=message):
            Panel(**{**given, **change})

    def test_each_drawer_names_the_other(self) -> None:
        with pytest.raises(ValueError, match="use signals"):
            pictures.worst(fakes.signal_panels())
        with pytest.raises(ValueError, match="use worst"):
            pictures.signals(fakes.panels())
        for draw in (pictures.worst, pictures.signals):
            with pytest.raises(ValueError, match="at least one panel"):
                draw([])


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
