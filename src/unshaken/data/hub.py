"""Data sets of the Hugging Face hub, by ``hub:OWNER/NAME[:CONFIG][@REVISION]``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError, reading
from .extras import require
from .holdout import NOTE, holdout
from .images import JPEG, decode
from .parquet import IMAGE_COLUMNS, LABEL_COLUMNS
from .raw import Array, Raw

__all__ = ["PREFIX", "hub"]

PREFIX = "hub:"
_NAME = re.compile(r"hub:(\w[\w.-]*/\w[\w.-]*)(?::(\w[\w .-]*))?(?:@(\w[\w./-]*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub(name: str) -> Raw:
    """Pictures and labels of a data set of the hub.

    The library ``datasets`` finds, downloads and caches it (naming the hub is asking for that;
    ``HF_HUB_OFFLINE=1`` keeps to the cache). A picture column and a column of class labels are
    needed; the split "test" tests, or "validation" where there is no test, or else a fixed fifth
    of each class.

    Args:
        name: ``hub:OWNER/NAME``, with ``:CONFIG`` where the set has several configurations and
            ``@REVISION`` (a commit or a tag), which makes a result reproducible. The commit that
            was read stands in the set's ``source`` wherever the library tells it.

    Raises:
        ValueError: the name is not of that form.
        DataError: the set cannot be had, or has no such columns.
        ImportError: datasets or pillow is missing.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"name: expected hub:OWNER/NAME[:CONFIG][@REVISION], got {name!r}")
    repository, config, revision = match.groups()
    library = require("datasets", "reading from the hub")
    with reading(name, "a data set of the hub"):
        try:
            parts = library.load_dataset(repository, config, revision=revision)
        except ValueError:
            _name_configs(name, library, repository, config, revision)
            raise
        splits = list(parts)
    if "train" not in splits:
        raise DataError(f"{name}: expected a split called train, got {', '.join(splits) or 'none'}")
    x_train, y_train, formats = _part(name, library, parts["train"])
    tested = next((s for s in ("test", "validation", "valid") if s in splits), None)
    notes = []
    if tested is None:
        train, test = holdout(name, [str(i) for i in range(len(y_train))], y_train)
        x_test, y_test = x_train[test], y_train[test]
        x_train, y_train = x_train[train], y_train[train]
        notes.append(NOTE)
    else:
        x_test, y_test, more = _part(name, library, parts[tested])
        formats |= more
        notes += [] if tested == "test" else [f"the split {tested!r} tests"]
    notes += [JPEG] if "JPEG" in formats else []
    return Raw(
        x_train,
        y_train,
        x_test,
        y_test,
        info={
            "source": f"Hugging Face hub, {repository}{f' ({config})' if config else ''} at "
            f"{_revision(parts['train'], revision)}",
            "license": str(getattr(parts["train"].info, "license", "") or "see its page"),
            "augmentation": "none",
            "note": "; ".join(notes),
        },
    )


def _name_configs(
    name: str, library: Any, repository: str, config: str | None, revision: str | None
) -> None:
    """Say which configurations there are, where that is what the library failed for."""
    configs = library.get_dataset_config_names(repository, revision=revision)
    if config not in configs and (config is not None or len(configs) > 1):
        raise DataError(
            f"{name}: expected hub:OWNER/NAME:CONFIG with one of the configurations "
            f"{', '.join(map(str, configs))}, got {config or 'none'}"
        )


def _revision(part: Any, asked: str | None) -> str:
    """The commit, which the library has in the path of what it keeps, or else what was asked."""
    kept = [str(file.get("filename", "")) for file in part.cache_files]
    commits = [folder for path in kept for folder in Path(path).parts if _COMMIT.fullmatch(folder)]
    if not commits:
        return asked or "its newest revision"
    return commits[0] if asked in (None, commits[0]) else f"{asked}, commit {commits[0]}"


def _part(name: str, library: Any, part: Any) -> tuple[Array, Array, set[str]]:
    kinds = {column: type(kind).__name__ for column, kind in part.features.items()}
    image = _pick(name, kinds, "Image", IMAGE_COLUMNS)
    label = _pick(name, kinds, "ClassLabel", LABEL_COLUMNS)

    def rows() -> Iterator[tuple[str, bytes]]:
        # Encoded, not decoded, by the library: then damage is told in our words, with the row.
        encoded = part.cast_column(image, library.Image(decode=False))
        for row, cell in enumerate(encoded[image]):
            content = cell.get("bytes")
            if content is None and cell.get("path"):
                with open(cell["path"], "rb") as file:
                    content = file.read()
            if not isinstance(content, bytes):
                raise DataError(f"{name}: {image}: expected a picture in row {row}, got none")
            yield f"{name}: row {row}", content

    with reading(name, f"pictures in the column {image} and labels in the column {label}"):
        images, formats = decode(rows())
        return images, np.array(part[label]), formats


def _pick(name: str, kinds: dict[str, str], kind: str, usual: tuple[str, ...]) -> str:
    """The column of a usual name, or else the only one of the kind."""
    named = [column for column in usual if column in kinds]
    typed = [column for column, k in kinds.items() if k == kind]
    if named or len(typed) == 1:
        return (named or typed)[0]
    columns = ", ".join(f"{column} ({k})" for column, k in kinds.items())
    raise DataError(
        f"{name}: expected a column {' or '.join(usual)} or one of type {kind}, got {columns}"
    )
