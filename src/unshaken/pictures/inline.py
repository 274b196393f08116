"""A figure as inline SVG, for the body of a page that may be light or dark."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from xml.etree import ElementTree

from matplotlib.figure import Figure

from unshaken.pictures.palette import COLORS, css_variables
from unshaken.pictures.style import printable, settings

FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"

_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_HEX = re.compile(r"#[0-9a-f]{6}\b")
_TO_CSS = {
    light: "currentColor" if name == "ink" else f"var(--u-{name},{light})"
    for name, (light, _) in COLORS.items()
}


def svg(source: Figure, *, name: str = "", label: str = "", standalone: bool = False) -> str:
    """The figure as SVG for the body of a page, the same text for the same picture.

    Texts and axes take the color of the text around them, methods the CSS variables of
    `palette.css_variables` (or, without them, the light scheme), and the background is
    transparent. Texts stay texts; pictures are embedded PNG data.

    Args:
        source: the figure.
        name: starts every id, so that several figures fit into one page. By default the figure's
            checksum, which only equal figures share.
        label: what a screen reader says in place of the picture.
        standalone: a complete SVG file that carries its own colors for light and dark.
    """
    buffer = io.StringIO()
    with settings(), warnings.catch_warnings():
        # The page's fonts draw the text; what matplotlib's own font lacks does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        source.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    prefix = name or "u" + hashlib.sha256(text.encode()).hexdigest()[:8]
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        _clean(element, prefix)
    _forget_unused_ids(root)
    box = root.attrib["viewBox"].split()
    root.attrib.clear()
    root.attrib.update(viewBox=" ".join(box), width=box[2], height=box[3], role="img")
    root.attrib.update({"font-family": FONTS, "stroke-linejoin": "round"})
    if label:
        root.set("aria-label", printable(label))
    if standalone:
        root.set("xmlns", "http://www.w3.org/2000/svg")
        root.insert(0, _own_colors())
    return ElementTree.tostring(root, encoding="unicode")


def _own_colors() -> ElementTree.Element:
    light, dark = (
        f"svg{{color-scheme:light dark;color:{COLORS['ink'][column]};{css_variables(scheme)}}}"
        for column, scheme in enumerate(("light", "dark"))
    )
    style = ElementTree.Element("style")
    style.text = f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
    return style


def _clean(element: ElementTree.Element, prefix: str) -> None:
    """Local names, prefixed ids, two decimals, CSS colors. Works on attributes only, so that no
    text of a picture, whatever it contains, is touched.
    """
    element.tag = element.tag.rpartition("}")[2]
    if element.tag not in ("text", "tspan"):
        element.text = None
    element.tail = None
    attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    element.attrib.clear()
    for key, value in attributes.items():
        if key == "id":
            value = f"{prefix}-{value}"
        elif key == "href" and value.startswith("data:"):
            value = "".join(value.split())
        elif key == "href" and value.startswith("#"):
            value = f"#{prefix}-{value[1:]}"
        elif key == "d":
            value = " ".join(_NUMBER.sub(_two_decimals, value).split())
        elif key in ("x", "y"):
            value = _NUMBER.sub(_two_decimals, value)
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        elif key == "style":
            value = _HEX.sub(lambda hit: _TO_CSS.get(hit.group(), hit.group()), value)
            value = value.replace(" font-family: 'DejaVu Sans';", "").replace(": ", ":")
            value = value.replace("; ", ";")
        elif key == "clip-path":
            value = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
        element.set(key, value)


def _forget_unused_ids(root: ElementTree.Element) -> None:
    used: set[str] = set()
    for element in root.iter():
        used.add(element.get("href", "").removeprefix("#"))
        used.update(_REFERENCE.findall(element.get("clip-path", "")))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)


def _two_decimals(hit: re.Match[str]) -> str:
    return f"{float(hit.group()):.2f}".rstrip("0").rstrip(".")
