"""What a command prints on its standard output: words for people, or one JSON object."""

from __future__ import annotations

import json as format
from collections.abc import Mapping
from typing import Any


def print_json(value: Mapping[str, Any]) -> None:
    """One object that every reader accepts: numbers that are not finite are null."""
    from unshaken.comparison.folder import plain

    print(format.dumps(plain(value), indent=1, allow_nan=False, ensure_ascii=False))
