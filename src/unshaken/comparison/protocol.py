"""What every method of a comparison shares: data, labels, network, budget; and their settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from unshaken.training import TrainingConfig


@dataclass(frozen=True)
class Protocol:
    """One comparison's fixed part.

    Attributes:
        data: a name or path that :func:`unshaken.data.load` knows.
        labels: how many labels are shown; None for all.
        network: ``name`` and options of :func:`unshaken.models.build`.
        training: fields of :class:`~unshaken.training.TrainingConfig` but ``seed``.
        methods: settings by method, where they differ from the catalog's defaults.
        validation: training examples held out; with ``judge="validation"`` the error is theirs.
        judge: where the error is measured: ``"test"``, or ``"validation"`` to choose settings.
        normalize: how the inputs are scaled; None for the data's default.
        note: where the settings come from.
    """

    data: str
    labels: int | None = None
    network: Mapping[str, Any] = field(default_factory=lambda: {"name": "mlp"})
    training: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    validation: int = 0
    judge: str = "test"
    normalize: str | None = None
    note: str = ""

    def config(self, seed: int) -> TrainingConfig:
        """The training settings of one run."""
        return TrainingConfig.from_dict({**self.training, "seed": seed})

    def fingerprint(self, method: str, settings: Mapping[str, Any]) -> str:
        """Equal where two runs of a method would give the same numbers."""
        described = asdict(self)
        for free in ("methods", "note"):
            del described[free]
        text = json.dumps([described, method, settings], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_changes(self, **changes: Any) -> Protocol:
        """A copy with other values."""
        return replace(self, **changes)


def named(data: str) -> Protocol:
    """The protocol that ships for a data set; ``default`` serves sets without their own."""
    folder = resources.files("unshaken.recipes").joinpath("protocols")
    known = folder.joinpath(f"{Path(data).name if '/' not in data else 'default'}.yaml")
    source = known if known.is_file() else folder.joinpath("default.yaml")
    return from_mapping({**yaml.safe_load(source.read_text("utf-8")), "data": data})


def from_mapping(values: Mapping[str, Any]) -> Protocol:
    """A protocol from plain values.

    Raises:
        ValueError: on an unknown field.
    """
    known = set(Protocol.__dataclass_fields__)
    unknown = set(values) - known
    if unknown:
        raise ValueError(
            f"a protocol has the fields {', '.join(sorted(known))}; got {sorted(unknown)[0]!r}"
        )
    return Protocol(**values)
