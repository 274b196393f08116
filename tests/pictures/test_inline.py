"""SVG that is valid, unique in its page, the same every time, and follows the page's colors."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.pictures import fakes
from unshaken import pictures
from unshaken.pictures.panel import Kind, Panel

ROWS = fakes.summary(fakes.records(2, points=3))["rows"]

DRAWINGS: dict[str, Callable[[], Figure]] = {
    "errors": lambda: pictures.errors(ROWS),
    "costs": lambda: pictures.costs(ROWS),
    "curves": lambda: pictures.curves(
        {"vat": [record["history"] for record in fakes.records(1, points=5)[:1]]},
        "gap",
        title="Gap",
        ylabel="loss",
    ),
    "worst": lambda: pictures.worst(fakes.panels()[:3]),
    "signals": lambda: pictures.signals(fakes.signal_panels()),
    "fields": lambda: pictures.fields_figure({"shift": fakes.field("shift", 15)}),
    "boundaries": lambda: pictures.boundaries(fakes.moons(("vat",))),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_valid_self_contained_and_deterministic(name: str) -> None:
    first = pictures.svg(DRAWINGS[name]())
    root = ElementTree.fromstring(first)
    assert root.tag == "svg"
    assert first == pictures.svg(DRAWINGS[name]())
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", first)
    assert "metadata" not in first and "currentColor" in first
    for element in root.iter():
        link = element.get("href", "#")
        assert link.startswith(("#", "data:image/png;base64,"))
        assert "#000000" not in element.get("style", "")  # black would vanish on a dark page


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_reference_leads_to_an_id_of_the_same_figure(name: str) -> None:
    text = pictures.svg(DRAWINGS[name](), name="f7")
    ids = re.findall(r'\bid="([^"]+)"', text)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    assert len(ids) == len(set(ids))
    assert {a or b for a, b in used} <= set(ids)
    assert all(name.startswith("f7-") for name in ids)


def test_two_figures_share_no_id() -> None:
    a, b = (
        set(re.findall(r'\bid="([^"]+)"', pictures.svg(DRAWINGS[n]()))) for n in ("errors", "costs")
    )
    assert a and b and not a & b


def test_standalone_carries_its_colors() -> None:
    text = pictures.svg(DRAWINGS["errors"](), standalone=True)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme:dark" in text


def test_hostile_names_stay_text() -> None:
    name = '</text><script>alert(1)</script> $\\frac \x00 style="fill:#23418f"'
    text = pictures.svg(pictures.errors([{"method": name, "errors": [1.0]}]), label=name)
    root = ElementTree.fromstring(text)
    assert not [element for element in root.iter() if "script" in element.tag]
    assert "\x00" not in text
    assert "</text><script>" in "".join(root.itertext())


def test_a_users_settings_change_nothing() -> None:
    plain = pictures.svg(DRAWINGS["errors"]())
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "svg.fonttype": "path"}):
        # To look at the backend would choose one.
        kept = [key for key in matplotlib.rcParams if key != "backend"]
        before = [matplotlib.rcParams[key] for key in kept]
        assert pictures.svg(DRAWINGS["errors"]()) == plain
        assert [matplotlib.rcParams[key] for key in kept] == before


def test_pyplot_is_never_loaded() -> None:
    code = (
        "import sys; from unshaken import pictures;"
        "pictures.svg(pictures.errors([{'method': 'vat', 'errors': [1.0]}]));"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=path).returncode == 0


EDGES: dict[str, Callable[[], Figure]] = {
    "only zeros on a log axis": lambda: pictures.curves(
        {"vat": [[{"epoch": i, "r": 0.0} for i in range(5)]]}, "r", title="", ylabel="", log=True
    ),
    "forty methods in other scripts": lambda: pictures.curves(
        {f"{i} 日本語 😀": [[{"step": t, "gap": i + t} for t in range(4)]] * 2 for i in range(40)},
        "gap",
        title="",
        ylabel="",
    ),
    "one method": lambda: pictures.costs([{"method": "a", "errors": [1.0], "cost_ratio": 1.0}]),
    "no error at all": lambda: pictures.errors([{"method": "a", "errors": [0.0, 0.0]}]),
    "a field of zeros": lambda: pictures.fields_figure({"zero": np.zeros((2, 5, 5))}),
    "nothing moves": lambda: pictures.worst([still("movement", (1, 9, 9))]),
    "no noise": lambda: pictures.worst([still("additive", (3, 9, 9))]),
    "a flat signal": lambda: pictures.signals([still("additive", (1, 50))]),
}


def still(kind: Kind, shape: tuple[int, ...]) -> Panel:
    x = np.zeros((1, *shape))
    v = np.zeros((1, len(shape) - 1, *shape[1:]))
    return Panel("m", kind, x, x, v, None, np.array([np.nan]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", EDGES)
def test_edges_are_drawn_without_a_warning(name: str) -> None:
    ElementTree.fromstring(pictures.svg(EDGES[name]()))
