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

SCALES = ("full", "reduced", "quick")
"""The published budget; the largest that one CPU core can do; one to see that it runs."""

SEEDS: Mapping[str, int] = {"reduced": 3, "quick": 2}
"""Runs of each method at most, where the scale is not the full one."""


_REDUCED = "At the reduced scale"
"""How a departure begins that concerns that scale alone."""


@dataclass(frozen=True)
class Part:
    """One data set of a table or figure.

    Attributes:
        name: what the part is called.
        protocol: what its methods share.
        published: the paper's number of each method; None where it prints none.
        missing: the paper's numbers of methods that are not here and therefore not run.
        quick: what replaces it at the quick scale: ``training`` fields, ``methods``, ``grid``,
            ``test`` examples.
        reduced: the same for the reduced scale; None where that leaves the part out.
        grid: values of settings by ``method.setting``: every method is run at each point.
    """

    name: str
    protocol: Protocol
    published: Mapping[str, float | None]
    missing: Mapping[str, float] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    reduced: Mapping[str, Any] | None = None
    grid: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def changes(self, scale: str) -> Mapping[str, Any]:
        """What differs from the published budget at a scale."""
        return {"full": {}, "reduced": self.reduced or {}, "quick": self.quick}[scale]

    def grid_at(self, scale: str) -> Mapping[str, Sequence[float]]:
        """The grid at a scale."""
        found: Mapping[str, Sequence[float]] = self.changes(scale).get("grid", self.grid)
        return found

    def points(self, scale: str) -> list[dict[str, float]]:
        """Every point of the grid; none where there is no grid."""
        grid = self.grid_at(scale)
        found = product(*grid.values()) if grid else ()
        return [dict(zip(grid, values, strict=True)) for values in found]

    def methods(self, scale: str) -> list[str]:
        """What is run, the baseline always among it."""
        chosen = list(self.changes(scale).get("methods", self.published))
        return chosen if "baseline" in chosen else ["baseline", *chosen]

    def at(self, scale: str) -> Protocol:
        """The protocol at a scale."""
        if scale == "full":
            return self.protocol
        changes = self.changes(scale)
        training = {**self.protocol.training, **changes.get("training", {})}
        return self.protocol.with_changes(training=training, test=changes.get("test"))


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

    def parts_at(self, scale: str, names: Sequence[str] = ()) -> tuple[Part, ...]:
        """The parts that a scale has, of the named ones; of all where none is named.

        Raises:
            ValueError: a part is unknown, or the scale has none of them.
        """
        known = [part.name for part in self.parts]
        for name in names:
            if name not in known:
                some = f"among {', '.join(known)}" if known else f"left out: {self.name} has none"
                raise ValueError(f"parts must be {some}; got {name!r}")
        chosen = [part for part in self.parts if not names or part.name in names]
        found = [part for part in chosen if scale != "reduced" or part.reduced is not None]
        if chosen and not found:
            raise ValueError(
                f"scale must be full or quick for {', '.join(p.name for p in chosen)} of "
                f"{self.name}: nothing smaller than full says anything of the published numbers"
            )
        return tuple(found)

    def departures_at(self, scale: str) -> list[str]:
        """Those that concern a scale."""
        return [d for d in self.departures if scale == "reduced" or not d.startswith(_REDUCED)]

    def runs_at(self, scale: str) -> int:
        """Runs of each method at a scale."""
        return min(self.seeds, SEEDS.get(scale, self.seeds))


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
        known = {"baseline", *values["published"]}
        for scale in ("quick", "reduced"):
            # The methods there are those of the part that names them.
            kept = [m for m in (values.get(scale) or {}).get("methods", ()) if m in known]
            if kept:
                values[scale] = {**values[scale], "methods": kept}
    return Part(
        name,
        from_mapping(values["protocol"]),
        values["published"],
        values.get("missing", {}),
        values.get("quick", {}),
        values.get("reduced"),
        values.get("grid", {}),
    )


def _content(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_folder().joinpath(f"{name}.yaml").read_text("utf-8"))
    return found


def _folder() -> Any:
    return resources.files("unshaken.recipes").joinpath("papers")
