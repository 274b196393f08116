"""The tables and figures of the papers, each as a file: what to run and what was published."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import product
from typing import Any

import yaml

from unshaken.comparison.protocol import Protocol, from_mapping

SCALES = ("full", "quick")
QUICK_SEEDS = 2


@dataclass(frozen=True)
class Part:
    """One data set of a table or figure.

    Attributes:
        name: what the part is called.
        protocol: what its methods share.
        published: the paper's number of each method; None where it prints none.
        missing: the paper's numbers of methods that are not here and therefore not run.
        quick: what replaces it at the quick scale: ``training`` fields, ``methods``, ``grid``.
        grid: values of settings by ``method.setting``: every method is run at each point.
    """

    name: str
    protocol: Protocol
    published: Mapping[str, float | None]
    missing: Mapping[str, float] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def grid_at(self, scale: str) -> Mapping[str, Sequence[float]]:
        """The grid at a scale."""
        return self.quick.get("grid", self.grid) if scale == "quick" else self.grid

    def points(self, scale: str) -> list[dict[str, float]]:
        """Every point of the grid; none where there is no grid."""
        grid = self.grid_at(scale)
        found = product(*grid.values()) if grid else ()
        return [dict(zip(grid, values, strict=True)) for values in found]

    def methods(self, scale: str) -> list[str]:
        """What is run, the baseline always among it."""
        chosen = list(self.published)
        if scale == "quick":
            chosen = list(self.quick.get("methods", chosen))
        return chosen if "baseline" in chosen else ["baseline", *chosen]

    def at(self, scale: str) -> Protocol:
        """The protocol at a scale."""
        if scale == "full":
            return self.protocol
        training = {**self.protocol.training, **self.quick.get("training", {})}
        return self.protocol.with_changes(training=training)


@dataclass(frozen=True)
class Recipe:
    """A table or figure.

    Attributes:
        name: as ``vmt-table-2``.
        title: what it shows.
        paper: ``VMT`` or ``xVAT``.
        measure: ``error``, ``accuracy`` (per cent) or ``seconds per epoch``.
        seeds: runs of each method.
        parts: its data sets.
        draws: ``fields``, ``training``, ``boundaries``, ``masks``, ``weights`` or ``surface`` for
            a figure, nothing for a table.
        departures: where it does not do what the paper does.
    """

    name: str
    title: str
    paper: str
    measure: str = "error"
    seeds: int = 5
    parts: tuple[Part, ...] = ()
    draws: str = ""
    departures: tuple[str, ...] = ()


def names() -> list[str]:
    """Every table and figure."""
    return sorted(
        path.name.removesuffix(".yaml") for path in _folder().iterdir() if ".yaml" in path.name
    )


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"name must be one of {', '.join(known)}; got {name!r}{hint}")
    content = _content(name)
    parts = tuple(_part(key, values) for key, values in content.get("parts", {}).items())
    return Recipe(
        name,
        content["title"],
        content["paper"],
        content.get("measure", "error"),
        content.get("seeds", 5),
        parts,
        content.get("draws", ""),
        tuple(content.get("departures", ())),
    )


def _part(name: str, values: Mapping[str, Any]) -> Part:
    if "as" in values:
        other, _, key = values["as"].partition(".")
        base = _content(other)["parts"][key]
        values = {**base, "missing": {}, **values}
    quick = values.get("quick", {})
    # Methods of the quick scale are those of the part that names them.
    kept = [m for m in quick.get("methods", ()) if m in {"baseline", *values["published"]}]
    return Part(
        name,
        from_mapping(values["protocol"]),
        values["published"],
        values.get("missing", {}),
        {**quick, "methods": kept} if kept else quick,
        values.get("grid", {}),
    )


def _content(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_folder().joinpath(f"{name}.yaml").read_text("utf-8"))
    return found


def _folder() -> Any:
    return resources.files("unshaken.recipes").joinpath("papers")
