"""Words of the command line and values of a config file as what a command takes."""

from __future__ import annotations

import difflib
import re
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from typing import Any

import yaml


class Mistake(ArgumentTypeError, ValueError):
    """What a user wrote is wrong; the sentence says what was expected and what came."""


def closest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'vat'?`` where something known is near, else nothing."""
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def text(value: Any) -> str | None:
    """A name or path; a number in a config file is meant as a name too."""
    if isinstance(value, str) and not value.strip():
        raise Mistake(f"must not be empty, got {value!r}")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise Mistake(f"must be text, got {value!r}")


def integer(value: Any) -> int | None:
    """A whole number."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value.strip()):
        return int(value)
    raise Mistake(f"must be a whole number, got {value!r}")


def flag(value: Any) -> bool:
    """True or false, of a config file; on the command line the option alone means true."""
    if isinstance(value, bool):
        return value
    raise Mistake(f"must be true or false, got {value!r}")


def names(value: Any) -> list[str] | None:
    """``a,b`` or ``a b`` or ``[a, b]``."""
    if value is None:
        return None
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s,\[\]'\"]+", value) if part]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise Mistake(f"must be names separated by commas, got {value!r}")
    if not value:
        raise Mistake("must be at least one name, got none")
    return list(dict.fromkeys(value))


_MOST_SEEDS = 1_000_000


def seeds(value: Any) -> list[int] | None:
    """``5`` (how many: 0 to 4), or ``0,3,7`` or ``[7]`` (which ones)."""
    expected = "must be how many (5) or which (0,3,7)"
    if value is None:
        return None
    if isinstance(value, str):
        found = [part for part in re.split(r"[\s,\[\]]+", value) if part]
        if not found or not all(re.fullmatch(r"\d+", part) for part in found):
            raise Mistake(f"{expected}, got {value!r}")
        several = len(found) > 1 or re.search(r"[,\[]", value)
        value = [int(part) for part in found] if several else int(found[0])
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_SEEDS:
        return list(range(value))
    if not isinstance(value, list) or not value:
        raise Mistake(f"{expected}, got {value!r}")
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 63 for n in value):
        raise Mistake(f"{expected}, got {value!r}")
    return list(dict.fromkeys(value))


def mapping(value: Any) -> dict[str, Any] | None:
    """Nested names, or ``vat.radius=1``, as ``{"vat.radius": 1}``, numbers as numbers."""
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*[\w.-]+=\S+(\s+[\w.-]+=\S+)*\s*", value):
        value = dict(pair.split("=", 1) for pair in value.split())
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise Mistake(f"must hold values by name, got {value!r}") from error
    if not isinstance(value, Mapping):
        raise Mistake(f"must hold values by name, got {value!r}")
    return dict(_flat(value, ""))


def _flat(value: Mapping[Any, Any], path: str) -> Iterable[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}{key}.")
        else:
            yield f"{path}{key}", _plain(inner)


def _plain(value: Any) -> Any:
    """A word as the number, truth value or nothing that it spells."""
    if not isinstance(value, str):
        return value
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    return {"true": True, "false": False, "null": None}.get(value.lower(), value)
