"""How a comparison was made: the last part of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unshaken.comparison import page

Record = Mapping[str, Any]

_NARROW = ("Data", "Protocol", "Environment")


def making(summary: Mapping[str, Any], records: Sequence[Record], notes: Sequence[str]) -> str:
    """The section "How this was made": data, protocol, environment, settings, seeds, alarms."""
    parts = []
    for key, name in (("data", "Data"), ("protocol", "Protocol")):
        values = summary.get(key)
        parts.append((name, page.facts(values if isinstance(values, Mapping) else {name: values})))
    environment = summary.get("environment")
    parts.append(
        ("Environment", page.facts(environment if isinstance(environment, Mapping) else {}))
    )
    parts.append(("Settings of each method", _settings(records)))
    seeds = sorted({str(r["seed"]) for r in records if r.get("seed") is not None}, key=_natural)
    parts.append(("Seeds", page.text(", ".join(seeds))))
    alarms = [
        f"{record.get('method', '')}, seed {record.get('seed', '')}: {page.words(alarm)}"
        for record in records
        for alarm in _listed(record.get("alarms"))
    ]
    parts.append(("Alarms", _items(alarms)))
    parts.append(("Notes", _items([*map(page.words, _listed(summary.get("notes"))), *notes])))
    shown = "".join(
        f'<div class="{"narrow" if name in _NARROW else "wide"}"><h3>{name}</h3>{inner}</div>'
        for name, inner in parts
        if inner
    )
    if not shown:
        return ""
    return f'<section><h2>How this was made</h2><div class="made">{shown}</div></section>'


def _settings(records: Sequence[Record]) -> str:
    """Each method's settings; where they differ between seeds, every version."""
    found: dict[str, list[str]] = {}
    for record in records:
        settings = record.get("settings") or {}
        # A single method's settings stand under its own name; nothing is gained by saying it twice.
        alone = settings.get(record.get("method")) if len(settings) == 1 else None
        shown = page.words((settings if alone is None else alone) or None)
        versions = found.setdefault(str(record.get("method", "")), [])
        if shown and shown not in versions:
            versions.append(shown)
    lines = (
        f"<dt>{page.text(method)}</dt><dd>{page.text(version)}</dd>"
        for method, versions in found.items()
        for version in versions
    )
    inner = "".join(lines)
    return f"<dl>{inner}</dl>" if inner else ""


def _listed(value: object) -> list[object]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _items(lines: Sequence[str]) -> str:
    inner = "".join(f"<li>{page.text(line)}</li>" for line in lines if line)
    return f"<ul>{inner}</ul>" if inner else ""


def _natural(seed: str) -> tuple[float, str]:
    try:
        return float(seed), seed
    except ValueError:
        return math.inf, seed
