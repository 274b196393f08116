"""From a name to a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .dataset import Dataset
from .digits import digits
from .raw import Raw, finish
from .synthetic import circles, moons, sinusoids

__all__ = ["NAMES", "load"]

_GENERATED: Mapping[str, Callable[[int], Raw]] = {
    "digits": digits,
    "moons": moons,
    "circles": circles,
    "sinusoids": sinusoids,
}

NAMES = (*_GENERATED,)
"""Names that :func:`load` knows, besides paths and ``hub:OWNER/NAME``."""


def load(
    name: str,
    *,
    seed: int = 0,
    root: Path | None = None,
    download: bool = False,
    normalize: str | None = None,
) -> Dataset:
    """Load a data set by its name."""
    if name in _GENERATED:
        return finish(_GENERATED[name](seed), name, name, normalize)
    raise ValueError(f"name: expected one of {', '.join(NAMES)}, got {name!r}")
