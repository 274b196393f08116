"""The pictures of worst perturbations hold the data they were given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.pictures import fakes
from tests.pictures.looking import marked, quivers, words
from unshaken import pictures
from unshaken.pictures import Panel


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
