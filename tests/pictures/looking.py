"""What is in a figure."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from matplotlib.text import Text


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def marked(figure: Figure, gid: str) -> list[Any]:
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def quivers(figure: Figure) -> list[Any]:
    return [artist for artist in figure.findobj(Quiver) if isinstance(artist, Quiver)]
