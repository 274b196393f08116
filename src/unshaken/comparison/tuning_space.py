"""Which settings a search may choose from."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unshaken.methods import catalog

Point = dict[str, float]
"""A value for each dimension, by its name."""

_FORM = "LOW:HIGH:log, LOW:HIGH:linear, values as 0.1,0.3,1, or default"
_DIGITS = 4
"""Significant digits of a value that was drawn from a range."""


@dataclass(frozen=True)
class Dimension:
    """One setting and where it is looked for.

    Attributes:
        part: the method it belongs to.
        setting: its name.
        low: the least value.
        high: the largest value.
        log: whether steps are factors, and an axis of a picture goes by them.
        values: the only values, ascending, where they are listed; else empty.
    """

    part: str
    setting: str
    low: float
    high: float
    log: bool
    values: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """As ``vat.radius``."""
        return f"{self.part}.{self.setting}"

    def described(self) -> str:
        """The range in the words that :func:`space_of` reads."""
        if self.values:
            return ",".join(f"{value:g}" for value in self.values)
        return f"{self.low:g}:{self.high:g}:{'log' if self.log else 'linear'}"

    def grid(self, count: int) -> list[float]:
        """The listed values, or so many evenly spaced ones from end to end."""
        if self.values:
            return list(self.values)
        if count == 1:
            between = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
            return [self.rounded(between)]
        shares = [k / (count - 1) for k in range(count)]
        if self.log:
            found = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            found = [self.low + (self.high - self.low) * share for share in shares]
        return [self.rounded(value) for value in found]

    def rounded(self, value: float) -> float:
        """The value with few digits, within the range; a listed one as it is."""
        if self.values:
            return value
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def edge(self, value: float) -> str:
        """``lower`` or ``upper`` where the value lies at that end of the range, else nothing.

        A range ends within a hundredth of its length (of its logarithm, where steps are factors).
        """
        if self.values:
            low, high, at = self.values[0], self.values[-1], value
            margin = 0.0
        else:
            low, high, at = ((math.log(v) if self.log else v) for v in (self.low, self.high, value))
            margin = 0.01 * (high - low)
        if at <= low + margin:
            return "lower"
        return "upper" if at >= high - margin else ""


def space_of(
    method: str, given: Mapping[str, Any] | None = None, fixed: Mapping[str, Any] | None = None
) -> list[Dimension]:
    """The dimensions of a search.

    Args:
        method: a name of the catalog, or several joined by ``+``.
        given: ranges by setting, as ``{"vat.radius": "0.01:10:log"}``; nothing else is searched
            then. Unless given, what the catalog says of each setting that is not fixed.
        fixed: settings by method that are given and therefore not looked for.

    Raises:
        ValueError: a setting is unknown or fixed, or a range is not what it should be; or nothing
            is left to look for.
    """
    parts = catalog.parts(method)
    fixed = fixed or {}
    known = {f"{part}.{name}": (part, name) for part in parts for name in _settings(part)}
    if not known:
        raise ValueError(f"method must have settings to choose, but {method} has none")
    if not given:
        default = [
            _default(part, name)
            for part, name in known.values()
            if catalog.CATALOG[part].range_of(name).searched and name not in fixed.get(part, {})
        ]
        if not default:
            raise ValueError(
                f"space must name what is looked for: every setting of {method} is given"
            )
        return default
    found = []
    for key, words in given.items():
        full = key if "." in key or len(parts) > 1 else f"{parts[0]}.{key}"
        if full not in known:
            near = difflib.get_close_matches(full, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"space: a setting must be one of {', '.join(known)}; got {key!r}{hint}"
            )
        part, name = known[full]
        if name in fixed.get(part, {}):
            raise ValueError(f"space: {full} is searched, so settings must not give it a value too")
        found.append(_default(part, name) if words == "default" else _read(part, name, words))
    return found


def grid(space: Sequence[Dimension], trials: int) -> list[Point]:
    """Every combination of evenly spaced values, as many for each range as give ``trials`` points
    at most, and two at least.
    """
    listed = math.prod(len(d.values) for d in space if d.values)
    ranges = sum(1 for d in space if not d.values)
    count = 2
    while ranges and listed * (count + 1) ** ranges <= trials:
        count += 1
    names = [d.name for d in space]
    axes = [d.grid(count) for d in space]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*axes)]


def settings_at(space: Sequence[Dimension], point: Mapping[str, float]) -> dict[str, Point]:
    """A point as settings by method."""
    found: dict[str, Point] = {}
    for d in space:
        found.setdefault(d.part, {})[d.setting] = d.rounded(point[d.name])
    return found


def corners(space: Sequence[Dimension]) -> list[dict[str, Point]]:
    """The settings at both ends of all ranges: where they can be built, all between can be."""
    return [settings_at(space, {d.name: end(d) for d in space}) for end in (_low, _high)]


def _low(d: Dimension) -> float:
    return d.low


def _high(d: Dimension) -> float:
    return d.high


def _settings(part: str) -> Mapping[str, float]:
    return catalog.CATALOG[part].settings


def _default(part: str, name: str) -> Dimension:
    found = catalog.CATALOG[part].range_of(name)
    return Dimension(part, name, found.low, found.high, found.log)


def _read(part: str, name: str, words: Any) -> Dimension:
    expected = f"space: {part}.{name} must be {_FORM}; got {words!r}"
    text = ",".join(map(str, words)) if isinstance(words, (list, tuple)) else str(words)
    pieces = text.split(":")
    try:
        if len(pieces) == 1:
            values = tuple(sorted({float(value) for value in text.split(",")}))
            if not all(map(math.isfinite, values)):
                raise ValueError(expected)
            factors = values[0] > 0 and catalog.CATALOG[part].range_of(name).log
            return Dimension(part, name, values[0], values[-1], factors, values)
        low, high = float(pieces[0]), float(pieces[1])
    except ValueError as error:
        raise ValueError(expected) from error
    if len(pieces) > 3 or (len(pieces) == 3 and pieces[2] not in ("log", "linear")):
        raise ValueError(expected)
    log = pieces[2] == "log" if len(pieces) == 3 else catalog.CATALOG[part].range_of(name).log
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"space: {part}.{name} must go from a lower to a higher number, got {text!r}"
        )
    if log and low <= 0:
        raise ValueError(f"space: {part}.{name} must begin above 0 to go by factors, got {text!r}")
    return Dimension(part, name, low, high, log)
