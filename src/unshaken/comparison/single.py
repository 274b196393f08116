"""One run: a method and a seed on a protocol's data, and the record that is kept of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unshaken import models
from unshaken.alarm import AlarmWarning
from unshaken.comparison import gallery
from unshaken.comparison.evaluation import Evaluation
from unshaken.comparison.protocol import Protocol
from unshaken.data import Dataset, Split, load, split
from unshaken.methods import catalog
from unshaken.objective import Objective
from unshaken.regularizer import Term
from unshaken.training import Progress, train

SHOWN = 6
"""Examples in the pictures of worst perturbations."""


@dataclass
class Prepared:
    """The objective and data of one run, ready to train."""

    objective: Objective
    dataset: Dataset
    chosen: Split
    settings: dict[str, dict[str, float]]


def prepare(
    protocol: Protocol, method: str, seed: int, settings: Mapping[str, Mapping[str, float]]
) -> Prepared:
    """Load the data, split them, and build network and terms, all decided by the seed.

    Methods of one seed start from the same data, split and weights.
    """
    dataset = load(protocol.data, seed=seed, normalize=protocol.normalize)
    chosen = split(dataset, labels=protocol.labels, validation=protocol.validation, seed=seed)
    used = catalog.settings_for(method, {**protocol.methods, **settings})
    shape = catalog.Shape(dataset.channels, dataset.size, len(dataset.x_all))
    network = dict(protocol.network)
    if "dropout" in used:
        network["dropout"] = used["dropout"]["rate"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = models.build(
            network.pop("name"),
            channels=dataset.channels,
            size=dataset.size,
            classes=dataset.classes,
            **network,
        )
        terms = catalog.build(method, shape, used)
    return Prepared(Objective(model, *terms), dataset, chosen, used)


def evaluation(prepared: Prepared, judge: str) -> Evaluation:
    """Measures on the test set, or on the validation examples where settings are chosen."""
    data, chosen = prepared.dataset, prepared.chosen
    train_set = (data.x_train[chosen.labeled], data.y_train[chosen.labeled])
    if judge == "test":
        return Evaluation(train_set, (data.x_test, data.y_test))
    if not len(chosen.validation):
        raise ValueError("judge='validation' needs validation >= 1 examples, got 0")
    held = (data.x_train[chosen.validation], data.y_train[chosen.validation])
    return Evaluation(train_set, held, "validation")


def run(
    protocol: Protocol,
    method: str,
    seed: int,
    settings: Mapping[str, Mapping[str, float]],
    *,
    pictures: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Train once and describe the result in plain values.

    Args:
        protocol: what all methods share.
        method: a name of the catalog, or several joined by ``+``.
        seed: decides data, split, weights, batches and draws.
        settings: overrides of method settings, by method.
        pictures: folder for the arrays of this run's pictures.
        out: folder for checkpoints and weights.
        resume: go on from the newest checkpoint in ``out``.
        progress: shows how far the run is.
        threads: threads of PyTorch; None leaves them.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    prepared = prepare(protocol, method, seed, settings)
    measure = evaluation(prepared, protocol.judge)
    boundary = None
    if pictures is not None and prepared.dataset.plane is not None:
        boundary = gallery.BoundarySnapshots(prepared.dataset, prepared.chosen)
        measure.snapshots.append(boundary)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AlarmWarning)
        result = train(
            prepared.objective,
            prepared.dataset,
            prepared.chosen,
            protocol.config(seed),
            out=out,
            resume=resume,
            evaluate=measure,
            progress=progress,
            settings={"method": method, "network": dict(protocol.network), **prepared.settings},
        )
    for warning in caught:
        if not issubclass(warning.category, AlarmWarning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if pictures is not None:
        _keep_pictures(pictures, method, prepared, boundary)
    last = result.history[-1]
    return {
        "method": method,
        "seed": seed,
        "error": last[f"{protocol.judge}_error"],
        "train_error": last["train_error"],
        "seconds_per_step": result.seconds_per_step,
        "steps": result.steps,
        "settings": prepared.settings,
        "fingerprint": protocol.fingerprint(method, prepared.settings),
        "alarms": [str(w.message) for w in caught if issubclass(w.category, AlarmWarning)],
        "history": result.history,
    }


def _keep_pictures(
    folder: Path,
    method: str,
    prepared: Prepared,
    boundary: gallery.BoundarySnapshots | None,
) -> None:
    if boundary is not None:
        gallery.save(folder / "boundaries" / f"{method}.npz", boundary.arrays(method))
    if not prepared.dataset.size:
        return
    # Training examples, because a mask table has rows for no others.
    data = prepared.dataset
    index = prepared.chosen.labeled[: 4 * SHOWN]
    first = [int((data.y_train[index] == k).nonzero()[0]) for k in data.y_train[index].unique()]
    index = index[torch.tensor(first[:SHOWN])]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        arrays = gallery.panel_arrays(
            method,
            [t for t in prepared.objective.regularizers if isinstance(t, Term)],
            prepared.objective.model,
            data.x_train[index],
            data.y_train[index],
            index,
        )
    if arrays is not None:
        gallery.save(folder / "panels" / f"{method}.npz", arrays)
