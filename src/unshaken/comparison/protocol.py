"""What every method of a comparison shares: data, labels, network, budget; and their settings."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from typing import Any

import yaml

from unshaken import data
from unshaken.data import Augmentation, Dataset, Split, split
from unshaken.methods import catalog
from unshaken.training import TrainingConfig

VERSION = 3
"""Raised whenever a change of this package changes the numbers of a run: older runs are redone."""

_FREE = ("seed", "checkpoint_every", "checkpoint_seconds", "keep")
"""Training settings that leave a run's numbers as they are; the seed is named beside them."""


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
        fold: which of the disjoint validation sets of that size is held out.
        judge: where the error is measured: ``"test"``, or ``"validation"`` to choose settings.
        test: how many test examples it is measured on, the first ones; None for all.
        normalize: how the inputs are scaled; None for the data's default.
        augment: options of :class:`unshaken.data.Augmentation`; empty for none.
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
    augment: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    fold: int = 0
    test: int | None = None

    def config(
        self, seed: int, settings: Mapping[str, Mapping[str, float]] | None = None
    ) -> TrainingConfig:
        """The training settings of one run; ``settings`` of the method's parts may change some."""
        changes = catalog.training_changes(settings or {})
        return TrainingConfig.from_dict({**self.training, **changes, "seed": seed})

    def settings_of(
        self, method: str, *given: Mapping[str, Mapping[str, float]]
    ) -> dict[str, dict[str, float]]:
        """Every setting of each part: as given, the last first, else as here, else the default.

        Raises:
            ValueError: a setting is unknown to its method.
        """
        layers = (self.methods, *given)
        merged = {
            part: {name: value for layer in layers for name, value in layer.get(part, {}).items()}
            for part in catalog.parts(method)
        }
        return catalog.settings_for(method, merged)

    def split(self, dataset: Dataset, seed: int) -> Split:
        """Which examples of the data are labeled, unlabeled and held out."""
        return split(
            dataset, labels=self.labels, validation=self.validation, fold=self.fold, seed=seed
        )

    def augmentation(self) -> Augmentation | None:
        """What changes each training batch, if anything does."""
        return Augmentation(**self.augment) if self.augment else None

    def fingerprint(
        self, method: str, settings: Mapping[str, Mapping[str, float]], data: str | None = None
    ) -> str:
        """Equal where two runs of a method with one seed would give the same record.

        Args:
            method: as the catalog or ``+`` names it.
            settings: every setting of each of its parts.
            data: what identifies the data's content; the name unless given.
        """
        training = {k: v for k, v in self.config(0, settings).to_dict().items() if k not in _FREE}
        for later in ("compile", "swa"):
            if not training[later]:
                del training[later]  # runs from before it was there are still what they were
        used = {
            part: {k: v for k, v in found.items() if v or k not in _LATER}
            for part, found in settings.items()
        }
        described = {
            **asdict(self),
            "data": self.data if data is None else data,
            "training": training,
            "method": method,
            "settings": used,
            "version": VERSION,
        }
        for free in ("methods", "note"):
            del described[free]
        for name in ("fold", "test"):
            if not described[name]:
                del described[name]  # runs from before it was there are still what they were
        text = json.dumps(described, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_changes(self, **changes: Any) -> Protocol:
        """A copy with other values."""
        return replace(self, **changes)


_LATER = ("reverse", "sparse")
"""Settings that methods did not have at first; at 0 they do what was done before."""


def named(name: str) -> Protocol:
    """The protocol that ships for a data set; ``default`` serves sets without their own."""
    folder = resources.files("unshaken.recipes").joinpath("protocols")
    # A path of the same name as a protocol's file is somebody's own data.
    own = folder.joinpath(f"{name}.yaml") if name in data.NAMES else None
    source = own if own is not None and own.is_file() else folder.joinpath("default.yaml")
    return from_mapping({**yaml.safe_load(source.read_text("utf-8")), "data": name})


def from_mapping(values: Mapping[str, Any]) -> Protocol:
    """A protocol from plain values.

    Raises:
        ValueError: on an unknown field.
    """
    known = sorted(Protocol.__dataclass_fields__)
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"a protocol has the fields {', '.join(known)}; got {name!r}{hint}")
    return Protocol(**values)
