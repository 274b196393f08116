"""What every trial of a search shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from unshaken import checks
from unshaken.comparison.checking import check
from unshaken.comparison.protocol import Protocol
from unshaken.comparison.single import Settings
from unshaken.comparison.tuning_space import Dimension, corners, settings_at
from unshaken.comparison.tuning_study import SEARCHES, Trial
from unshaken.data import Dataset


@dataclass(frozen=True)
class Plan:
    """A search: what every trial of it shares.

    Attributes:
        protocol: data, labels, network and budget, with ``judge="validation"``.
        method: a name of the catalog, or several joined by ``+``.
        space: the settings that are looked for.
        seeds: each trial trains once for each, and for each fold.
        folds: how many disjoint validation sets; 1 for the protocol's alone.
        search: ``tpe``, ``grid`` or ``random``.
        trials: how many points are tried; of a grid at most so many.
        settings: settings that are given, by method.
        prune: whether trials that are clearly bad stop after their first seed.
    """

    protocol: Protocol
    method: str
    space: Sequence[Dimension]
    seeds: Sequence[int]
    folds: int = 1
    search: str = "tpe"
    trials: int = 40
    settings: Settings = field(default_factory=dict)
    prune: bool = True

    def settings_of(self, trial: Trial) -> dict[str, dict[str, float]]:
        """What is given and what the trial chose, by method."""
        return self.completed(settings_at(self.space, trial.point))

    def completed(self, chosen: Settings) -> dict[str, dict[str, float]]:
        """Every setting: as chosen, else as given, else as the protocol says, else the default."""
        return self.protocol.settings_of(self.method, self.settings, chosen)

    def check(self, dataset: Dataset) -> None:
        """See that every trial can be trained.

        Raises:
            ValueError, TypeError: the search is unknown, or a name, a setting, a range or the data
                are not what they should be.
        """
        checks.choice(self.search, "search", SEARCHES)
        checks.integer(self.trials, "trials")
        if self.protocol.judge != "validation":
            raise ValueError(
                "a protocol with judge='validation' is needed to choose settings, got "
                f"{self.protocol.judge!r}"
            )
        for fold in range(self.folds):
            for ends in corners(self.space):
                check(
                    self.protocol.with_changes(fold=fold),
                    [self.method],
                    self.completed(ends),
                    dataset,
                    self.seeds[0],
                )

    def identity(self, content: str) -> dict[str, Any]:
        """What two calls have to share if they are to share a study.

        Args:
            content: what identifies the data's content.
        """
        searched = {d.name for d in self.space}
        fixed = {
            part: {name: v for name, v in values.items() if f"{part}.{name}" not in searched}
            for part, values in self.completed({}).items()
        }
        return {
            "method": self.method,
            "data": self.protocol.data,
            "space": {d.name: d.described() for d in self.space},
            "seeds": list(self.seeds),
            "folds": self.folds,
            "validation": self.protocol.validation,
            "settings": fixed,
            "search": self.search,
            "labels": self.protocol.labels,
            "network": dict(self.protocol.network),
            "training": dict(self.protocol.training),
            "protocol": self.protocol.fingerprint(self.method, fixed, content),
        }


def fold_size(dataset: Dataset, folds: int) -> int:
    """The size of the largest class-balanced validation sets that are disjoint ``folds`` times.

    Raises:
        ValueError: there are too few examples of a class.
    """
    counts = torch.bincount(dataset.y_train, minlength=dataset.classes)
    each = int(counts.min()) // folds
    if folds < 2 or not each:
        raise ValueError(
            f"folds must be from 2 to {int(counts.min())}, the examples of the smallest class; got "
            f"{folds}"
        )
    return dataset.classes * each
