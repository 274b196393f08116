"""A config file: options by name, in YAML."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from unshaken.cli.values import Mistake, closest

ALSO = {"--network": "--model"}
"""Other words for an option."""


def config_of(path: str, known: Collection[str]) -> dict[str, Any]:
    """The content of a config file, by option.

    Args:
        path: the file.
        known: the options, as ``--batch-size``; the file may say ``batch_size`` too.

    Raises:
        Mistake: the file cannot be read, is no YAML, or names an unknown option.
    """
    try:
        content = yaml.safe_load(Path(path).expanduser().read_text("utf-8"))
    except FileNotFoundError as error:
        raise Mistake(f"--config must name a file, but there is no {path!r}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise Mistake(
            f"--config must name a file that can be read, got {path!r}: {reason}"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        what = getattr(error, "problem", None) or "it cannot be read"
        raise Mistake(f"--config must name a YAML file, got {path!r}: {what}{where}") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise Mistake(
            f"--config must name a file with options by name, as labels: 100; {path!r} holds "
            f"{content!r:.60}"
        )
    found = {}
    for key, value in content.items():
        name = "--" + str(key).replace("_", "-")
        name = ALSO.get(name, name)
        # One file serves a command that takes one method and a command that takes several.
        if name == "--method" and name not in known and "--methods" in known:
            name = "--methods"
        if name not in known:
            raise Mistake(f"--config: {path!r} names no option with {key!r}{closest(name, known)}")
        found[name] = value
    return found
