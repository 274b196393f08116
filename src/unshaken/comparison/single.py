"""One run: a method and a seed on a protocol's data, and the record that is kept of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unshaken import data
from unshaken.alarm import AlarmWarning, Reached
from unshaken.comparison.environment import provenance
from unshaken.comparison.evaluation import Evaluation
from unshaken.comparison.keepsakes import keep_pictures, watch_boundary, watch_masks
from unshaken.comparison.protocol import Protocol
from unshaken.data import Dataset, Split
from unshaken.methods import catalog
from unshaken.objective import Objective
from unshaken.training import Progress, Result, train

LARGE = 1_000_000
"""Parameters from which on several threads are worth their overhead."""

Settings = Mapping[str, Mapping[str, float]]


class Loader:
    """Loads data and remembers the last set: runs of one seed share it, whatever the method.

    Args:
        download: whether to fetch published files that are missing.
    """

    def __init__(self, *, download: bool = False) -> None:
        self._download = download
        self._key: tuple[object, ...] = ()
        self._found: Dataset | None = None

    def __call__(self, protocol: Protocol, seed: int) -> Dataset:
        """The protocol's data as the seed gives them."""
        key = (protocol.data, seed, protocol.normalize)
        if self._found is None or key != self._key:
            self._found = None  # two sets at once may be more than the memory holds
            self._found = data.load(
                protocol.data,
                seed=seed,
                normalize=protocol.normalize,
                download=self._download,
            )
            self._key = key
        return self._found


@dataclass
class Prepared:
    """The objective and data of one run, ready to train."""

    objective: Objective
    dataset: Dataset
    chosen: Split
    settings: dict[str, dict[str, float]]


def prepare(
    protocol: Protocol, method: str, seed: int, settings: Settings, load: Loader | None = None
) -> Prepared:
    """Load the data, split them, and build network and terms, all decided by the seed.

    Methods of one seed start from the same data, split and weights.
    """
    dataset = (load or Loader())(protocol, seed)
    chosen = protocol.split(dataset, seed)
    used = protocol.settings_of(method, settings)
    shape = shape_of(dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = catalog.build_network(protocol.network, shape, used)
        known = replace(shape, labeled=len(chosen.labeled), network=model)
        terms = catalog.build(method, known, used)
    return Prepared(Objective(model, *terms), dataset, chosen, used)


def shape_of(dataset: Dataset) -> catalog.Shape:
    """What methods must know of the data."""
    return catalog.Shape(
        dataset.channels, dataset.size, len(dataset.x_all), classes=dataset.classes
    )


def evaluation(prepared: Prepared, judge: str, test: int | None = None) -> Evaluation:
    """Measures on the first test examples, or on the validation examples to choose settings."""
    found, chosen = prepared.dataset, prepared.chosen
    test_set = (found.x_test[:test], found.y_test[:test])
    # No more than Evaluation looks at: all of them may be more than the memory holds.
    first = chosen.labeled[: len(test_set[1]) if judge == "test" else len(chosen.validation)]
    train_set = (found.x_train[first], found.y_train[first])
    if judge == "test":
        return Evaluation(train_set, test_set)
    if not len(chosen.validation):
        raise ValueError("judge='validation' needs validation >= 1 examples, got 0")
    held = (found.x_train[chosen.validation], found.y_train[chosen.validation])
    return Evaluation(train_set, held, "validation")


def run(
    protocol: Protocol,
    method: str,
    seed: int,
    settings: Settings,
    *,
    pictures: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
    device: str | None = None,
    load: Loader | None = None,
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
        threads: threads of PyTorch; None for one where the network is small.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; None takes a GPU where there is one.
        load: where the data come from; several runs may share it.
    """
    prepared = prepare(protocol, method, seed, settings, load)
    measure = evaluation(prepared, protocol.judge, protocol.test)
    boundary = watch_boundary(measure, method, prepared, pictures, out, resume)
    watch_masks(measure, method, prepared, pictures, out, resume)
    with (
        few_threads(threads, prepared.objective.model),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always", AlarmWarning)
        result = train(
            prepared.objective,
            prepared.dataset,
            prepared.chosen,
            protocol.config(seed, prepared.settings),
            out=out,
            resume=resume,
            evaluate=measure,
            progress=progress,
            device=device,
            augment=protocol.augmentation(),
            settings={
                "method": method,
                "network": dict(protocol.network),
                **({"augment": dict(protocol.augment)} if protocol.augment else {}),
                **prepared.settings,
            },
        )
        if pictures is not None:
            keep_pictures(pictures, method, prepared, result.model, boundary)
    alarms = [str(w.message) for w in caught if issubclass(w.category, AlarmWarning)]
    for other in caught:
        if not issubclass(other.category, AlarmWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    alarm = prepared.objective.alarm
    reached = {} if alarm is None else alarm.reached
    return describe(protocol, method, seed, prepared, result, alarms, reached)


def describe(
    protocol: Protocol,
    method: str,
    seed: int,
    prepared: Prepared,
    result: Result,
    alarms: Sequence[str],
    reached: Mapping[str, Reached],
) -> dict[str, Any]:
    """The record of a run; ``reached`` is what the alarm's probes found of each term."""
    last = result.history[-1]
    return {
        "method": method,
        "seed": seed,
        "error": last[f"{protocol.judge}_error"],
        "train_error": last["train_error"],
        "seconds_per_step": result.seconds_per_step,
        "steps": result.steps,
        "settings": prepared.settings,
        "alarms": list(dict.fromkeys(alarms)),
        "reached": {name: asdict(found) for name, found in reached.items()},
        "provenance": provenance(),
        "history": result.history,
    }


@contextmanager
def few_threads(count: int | None, model: nn.Module) -> Iterator[None]:
    """Inside, PyTorch has ``count`` threads; None for as many as the network is worth."""
    before = torch.get_num_threads()
    if count is None and sum(p.numel() for p in model.parameters()) < LARGE:
        # On a small network several threads wait for each other longer than they work, except
        # for convolutions, whose weights are few and whose work is large.
        layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        count = None if any(isinstance(m, layers) for m in model.modules()) else 1
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
