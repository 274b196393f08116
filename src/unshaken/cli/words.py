"""The words of a command line, put into the one spelling that the parser knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_origin

from unshaken.cli import values
from unshaken.cli.config import ALSO, config_of
from unshaken.cli.values import Mistake

EITHER = (("--epochs", "--steps"), ("--steps", "--epochs"))
"""Options that say the same in two ways: one on the command line wins over the other in a file."""


def spelled(words: Sequence[str], kinds: Mapping[str, object]) -> list[str]:
    """The words as the parser wants them.

    ``--batch_size`` is ``--batch-size``, and lists may be separated by spaces. A config file is
    read and comes first, so that options win wherever they stand. What a file, ``--settings`` and
    ``--settings.vat.radius`` say of one mapping becomes one word, and so does what two files say.

    Args:
        words: what the user wrote.
        kinds: the type of each option, by its name, as ``--batch-size``.

    Raises:
        Mistake: a value is missing, or a config file is not what it should be.
    """
    configs: dict[str, Any] = {}
    given: list[tuple[str, str]] = []
    result: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        head, dot, tail = option.partition(".")
        option = head.replace("_", "-") if head.startswith("--") else head
        option = ALSO.get(option, option)
        kind = None if dot else kinds.get(option)
        if option == "--print-config":
            result.append("--print_config" + equals + value)
        elif option == "--config" and not dot:
            for key, found in config_of(_value(option, equals, value, rest), kinds).items():
                if key in configs and kinds[key] == dict[str, Any]:
                    found = _mapping(key, configs[key]) | _mapping(key, found)
                configs[key] = found
        elif kinds.get(option) == dict[str, Any]:
            given.append((option + dot + tail, _value(option, equals, value, rest)))
        elif get_origin(kind) is list:
            several = [value] if equals else []
            while not equals and rest and re.match(r"[^-]|-\d", rest[0]):
                several.append(rest.pop(0))
            result.append(f"{option}={' '.join(several)}")
        else:
            result.append(word if dot else option + equals + value)
    mappings = {
        name: _mapping(name, configs.pop(name))
        for name in list(configs)
        if kinds[name] == dict[str, Any]
    }
    for name, value in given:
        option, _, key = name.partition(".")
        mappings.setdefault(option, {}).update(_mapping(option, {key: value} if key else value))
    result += [f"{name}={json.dumps(found)}" for name, found in mappings.items() if found]
    said = {word.partition("=")[0] for word in result}
    for option, other in EITHER:
        if option in said:
            configs.pop(other, None)
    if configs:
        plain = {name[2:].replace("-", "_"): value for name, value in configs.items()}
        result.insert(0, f"--config={json.dumps(plain, default=str)}")
    return result


def _value(option: str, equals: str, value: str, rest: list[str]) -> str:
    """What belongs to an option: the text after =, or the next word."""
    if not equals and not rest:
        raise Mistake(f"{option} needs a value")
    return value if equals else rest.pop(0)


def _mapping(name: str, value: Any) -> dict[str, Any]:
    try:
        return values.mapping(value) or {}
    except Mistake as error:
        raise Mistake(f"{name} {error}") from error
