"""What the options of a run mean together: its protocol and the settings of its methods."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unshaken.cli.values import Mistake, closest

if TYPE_CHECKING:
    from unshaken.comparison.protocol import Protocol
    from unshaken.data import Dataset

_POINTS = 10
"""Evaluations that a run shorter than its protocol's should still have, for its curves."""


def protocol_of(
    data: str,
    *,
    labels: int | None = None,
    validation: int | None = None,
    model: str | None = None,
    training: Mapping[str, Any] | None = None,
    normalize: str | None = None,
    augment: str | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
) -> Protocol:
    """The protocol that ships for the data, with what was given instead.

    Raises:
        Mistake, ValueError, TypeError: a name is unknown or a number out of range.
    """
    from unshaken import checks
    from unshaken.comparison.protocol import named
    from unshaken.data import NORMALIZATIONS

    check_data(data)
    if normalize is not None:
        check_known("--normalize", normalize, NORMALIZATIONS)
    protocol = named(data)
    given = _training(training or {})
    changes: dict[str, Any] = {"training": {**protocol.training, **given}}
    if batch_size is not None:
        changes["training"]["batch_size"] = batch_size
    if labels is not None:
        changes["labels"] = labels
    if normalize is not None:
        changes["normalize"] = normalize
    if validation is not None:
        checks.integer(validation, "validation")
        changes.update(validation=validation, judge="validation")
    if augment is not None:
        changes["augment"] = augmentation_of(augment)
    if model is not None:
        find_own_modules(model)
        changes["network"] = {"name": model}
    changed = protocol.with_changes(**changes)
    changed.config(0)
    return with_steps(changed, steps, "evaluate_every" in given)


def find_own_modules(model: str) -> None:
    """Let an import path reach modules of the folder at hand.

    Raises:
        Mistake: it is no import path, and no known name either.
    """
    from unshaken import models

    if ":" not in model:
        check_known("--model", model, models.NAMES, "or package.module:function")
    elif os.getcwd() not in sys.path:
        # As for a script: a module of the folder at hand can be imported, but shadows none.
        sys.path.append(os.getcwd())


def with_steps(protocol: Protocol, steps: int | None, evaluated: bool = False) -> Protocol:
    """The protocol with another number of steps.

    Args:
        protocol: the protocol.
        steps: how many; None for its own.
        evaluated: whether the user said how often to evaluate; else it follows the steps.
    """
    if steps is None:
        return protocol
    training = {**protocol.training, "steps": steps}
    every = training.get("evaluate_every", 0)
    if not evaluated and every * _POINTS > steps:
        training["evaluate_every"] = max(1, steps // _POINTS)
    changed = protocol.with_changes(training=training)
    changed.config(0)
    return changed


def steps_of(protocol: Protocol, dataset: Dataset, epochs: int, seed: int) -> int:
    """How many steps show each example of the larger stream ``epochs`` times."""
    import torch

    from unshaken import checks
    from unshaken.data import split
    from unshaken.training.feed import Feed

    checks.integer(epochs, "epochs")
    chosen = split(dataset, labels=protocol.labels, validation=protocol.validation, seed=seed)
    feed = Feed(dataset, chosen, protocol.config(seed), torch.device("cpu"))
    return epochs * feed.steps_per_epoch


def settings_of(
    methods: Sequence[str], settings: Mapping[str, Any] | None
) -> dict[str, dict[str, float]]:
    """``{"vat.radius": 1}`` by method; where there is one method alone ``{"radius": 1}`` too.

    Raises:
        Mistake: a method or setting is unknown, or a value is no number.
    """
    from unshaken.methods import catalog

    parts = list(dict.fromkeys(part for name in methods for part in catalog.parts(name)))
    found: dict[str, dict[str, float]] = {}
    for key, value in (settings or {}).items():
        part, dot, name = key.rpartition(".")
        if not dot:
            if len(parts) != 1:
                having = [p for p in parts if name in catalog.CATALOG[p].settings] or parts
                raise Mistake(f"--settings must say whose, as {having[0]}.{name}; got {name!r}")
            part = parts[0]
        check_known("--settings: a method", part, catalog.CATALOG)
        if part not in parts:
            raise Mistake(
                f"--settings names {part!r}, which is not among the methods {', '.join(methods)}"
            )
        known = catalog.CATALOG[part].settings
        if not known:
            raise Mistake(f"--settings: {part} has no settings, got {name!r}")
        check_known(f"--settings of {part}", name, known)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Mistake(f"--settings: {part}.{name} must be a number, got {value!r}")
        found.setdefault(part, {})[name] = value
    return found


def augmentation_of(text: str) -> dict[str, Any]:
    """``shift:2,flip`` as ``{"shift": 2, "flip": True}``; ``none`` as nothing.

    Raises:
        Mistake: it says something else.
    """
    found: dict[str, Any] = {}
    if text.strip() == "none":
        return found
    for word in text.split(","):
        name, _, number = word.strip().partition(":")
        if name == "shift" and number.isascii() and number.isdigit() and int(number) > 0:
            found["shift"] = int(number)
        elif word.strip() == "flip":
            found["flip"] = True
        elif word.strip() == "edge":
            found["padding"] = "edge"
        else:
            raise Mistake(
                "--augment must be shift:PIXELS, flip, edge (the border is repeated), several "
                f"joined by commas, or none; got {text!r}"
            )
    if set(found) == {"padding"}:
        raise Mistake(f"--augment must name a shift or flip, got {text!r}")
    return found


def check_method(option: str, name: str) -> None:
    """Raise ``Mistake`` where ``name``, or what it joins by +, is no method."""
    from unshaken.methods import catalog

    for part in name.split("+"):
        if part not in catalog.CATALOG:
            raise Mistake(
                f"{option}: there is no method {part!r}{closest(part, catalog.CATALOG)} "
                f"(known: {', '.join(catalog.CATALOG)}, or several joined by +)"
            )


def check_data(name: str) -> None:
    """Raise ``Mistake`` where ``name`` is neither known nor a path nor on the hub."""
    from unshaken.data import NAMES

    if name in NAMES or name.startswith("hub:") or Path(name).expanduser().exists():
        return
    raise Mistake(
        f"--data must be one of {', '.join(NAMES)}, an existing path, or hub:OWNER/NAME; got "
        f"{name!r}{closest(name, NAMES)}"
    )


def check_known(what: str, name: str, known: Iterable[str], more: str = "") -> None:
    """Raise ``Mistake`` with a suggestion where ``name`` is not ``known``."""
    every = list(known)
    if name not in every:
        listed = f"{', '.join(every)} {more}".strip()
        raise Mistake(f"{what} must be one of {listed}; got {name!r}{closest(name, every)}")


def _training(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the training settings, words as the type that their field has."""
    from unshaken.training import TrainingConfig

    fields = {field.name: field for field in dataclasses.fields(TrainingConfig)}
    found = {}
    for name, value in given.items():
        if name == "seed":
            raise Mistake("--training does not hold the seed; it has an option of its own")
        check_known("--training: a field", name, [n for n in fields if n != "seed"])
        # A default that is text tells the fields that hold words, as precision: 32.
        words = isinstance(fields[name].default, str)
        found[name] = str(value) if words and value is not None else value
    return found
