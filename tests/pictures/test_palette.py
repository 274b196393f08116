"""One fixed look per method; colors that differ for every kind of color vision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.pictures import fakes
from unshaken.pictures.labels import place, spread
from unshaken.pictures.palette import COLORS, css_variables, look

Vector = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
FAMILIES = ("ink", "control", "at", "vat", "vmt", "mask", "finite")


def linear(color: str) -> Vector:
    c = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def oklab(rgb: Vector) -> Vector:
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    opponents = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return opponents @ np.cbrt(cones @ np.clip(rgb, 0, 1))


def contrast(a: str, b: str) -> float:
    dark, light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("scheme", [0, 1])
def test_families_differ_for_every_vision(vision: str, scheme: int) -> None:
    seen = [oklab(VISIONS[vision] @ linear(COLORS[key][scheme])) for key in FAMILIES]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.11


@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast_with_the_page(scheme: int) -> None:
    page = COLORS["paper"][scheme]
    for key, pair in COLORS.items():
        if key not in ("paper", "rule"):
            least = 4.5 if key in ("ink", "muted") else 3.0
            assert contrast(pair[scheme], page) >= least, key


def test_members_of_a_family_share_the_color_and_not_the_line() -> None:
    for a, b in itertools.combinations(fakes.METHODS, 2):
        one, two = look(a), look(b)
        assert (one.color, one.dashes) != (two.color, two.dashes)
        assert (one.color == two.color) == (one.family == two.family)


def test_unknown_names_are_stable_and_extensions_join_their_family() -> None:
    assert look("mean-teacher") == look("mean-teacher")
    assert look("mean-teacher").key.startswith("other-")
    assert look("vmt-affine").key == "vmt"
    assert look("random-movement").key == "control"
    assert look("").family == "other"
    assert look("\ud800").family == "other"


def test_light_colors_are_distinct() -> None:
    assert len({light for light, _ in COLORS.values()}) == len(COLORS)
    assert "--u-vat:" in css_variables("dark")
    with pytest.raises(ValueError, match="light"):
        css_variables("sepia")


def test_spread_keeps_order_distance_and_bounds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = rng.uniform(0, 100, rng.integers(1, 12)).tolist()
        placed = spread(wanted, 8.0, 2.0, 98.0)
        order = np.argsort(wanted, kind="stable")
        assert np.all(np.diff(np.array(placed)[order]) >= 8.0 - 1e-9)
        assert min(placed) >= 2.0 - 1e-9 and max(placed) <= 98.0 + 1e-9
    assert spread([10.0, 50.0], 8.0, 0.0, 98.0) == [10.0, 50.0]
    assert spread([], 8.0, 0.0, 98.0) == []
    crowded = spread([50.0] * 30, 8.0, 0.0, 98.0)
    assert np.allclose(np.diff(crowded), 98 / 29)


def test_place_avoids_texts_and_points() -> None:
    points = [(50.0, 50.0), (52.0, 52.0), (54.0, 49.0), (50.0, 56.0)]
    placed = place(points, [(40.0, 11.0)] * 4, [], (0.0, 0.0, 200.0, 200.0))
    for one, two in itertools.combinations((p.box for p in placed), 2):
        apart_x = one[2] <= two[0] or two[2] <= one[0]
        apart_y = one[3] <= two[1] or two[3] <= one[1]
        assert apart_x or apart_y
