"""Several seeds of a method trained as one: when that pays, and the records they give."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unshaken.alarm import EARLY_CALLS, AlarmWarning
from unshaken.comparison.keepsakes import keep_pictures, watch_boundary
from unshaken.comparison.protocol import Protocol
from unshaken.comparison.single import (
    Loader,
    Settings,
    describe,
    evaluation,
    few_threads,
    prepare,
    shape_of,
)
from unshaken.data import Dataset
from unshaken.data.paged import Paged
from unshaken.methods import catalog
from unshaken.objective import Objective
from unshaken.training import NonFiniteError, train
from unshaken.training.stacked import Member, can_stack, stack_for, train_stacked

WIDEST = 10
"""Seeds in one stack: it must not depend on the number of processes, as the numbers must not."""

LARGEST = 100_000
"""Parameters up to which a network is small: its step is mostly overhead, which a stack shares."""

MEMORY = 256 * 2**20
"""Bytes that the data of all seeds of a stack may take."""

TIMED = 80
"""Steps of a run by itself that its seconds per step are taken from."""


def suits(
    protocol: Protocol,
    method: str,
    settings: Settings,
    dataset: Dataset,
    count: int,
) -> bool:
    """Whether ``count`` seeds of a method are trained as one: small networks on the CPU.

    Args:
        protocol: what all methods share.
        method: a name of the catalog, or several joined by ``+``.
        settings: every setting of each of its parts.
        dataset: the protocol's data.
        count: how many seeds.
    """
    config = protocol.config(0, settings)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if count < 2 or several or torch.cuda.is_available() or not can_stack(config):
        return False
    x = dataset.x_all
    if isinstance(x, Paged) or count * x.nbytes > MEMORY:
        return False
    with torch.random.fork_rng(devices=[]):
        shape = shape_of(dataset)
        model = catalog.build_network(protocol.network, shape, settings)
        if sum(p.numel() for p in model.parameters()) > LARGEST:
            return False
        shape = replace(shape, examples=1, network=model)
        objective = Objective(model, *catalog.build(method, shape, settings))
    return stack_for([objective], config) is not None


def run_stack(
    protocol: Protocol,
    method: str,
    runs: Sequence[tuple[Settings, int]],
    *,
    pictures: Path | None = None,
    threads: int | None = None,
    load: Loader | None = None,
) -> list[dict[str, Any]] | None:
    """Train all runs as one and describe each as :func:`unshaken.comparison.single.run` does.

    The numbers are those of single runs but for the rounding of each step, which training may
    magnify; seconds per step are those of a run by itself, timed for a moment.

    Args:
        protocol: what all methods share.
        method: a name of the catalog, or several joined by ``+``.
        runs: settings by method and a seed, for each. Settings may differ in weight and radius.
        pictures: folder for the arrays of the first run's pictures.
        threads: threads of PyTorch; None for one where the network is small.
        load: where the data come from.

    Returns:
        A record for each run, where its loss was not finite one that says so; None where they
        cannot be trained as one.
    """
    load = load or Loader()
    every = [prepare(protocol, method, seed, settings, load) for settings, seed in runs]
    configs = [protocol.config(seed, p.settings) for p, (_, seed) in zip(every, runs, strict=True)]
    measures = [evaluation(p, protocol.judge, protocol.test) for p in every]
    boundary = watch_boundary(measures[0], method, every[0], pictures)
    members = [
        Member(p.objective, p.dataset, p.chosen, config, measure)
        for p, config, measure in zip(every, configs, measures, strict=True)
    ]
    with few_threads(threads, every[0].objective.model):
        alone = [replace(m, objective=copy.deepcopy(m.objective)) for m in members]
        trained = train_stacked(members, augment=protocol.augmentation())
        if trained is None:
            return None
        seconds = _seconds_alone(alone, protocol)
        if pictures is not None and trained[0].result is not None:
            keep_pictures(pictures, method, every[0], trained[0].result.model, boundary)
    records: list[dict[str, Any]] = []
    for (_, seed), prepared, one in zip(runs, every, trained, strict=True):
        if one.result is None:
            records.append({"method": method, "seed": seed, "failed": str(one.failure)})
            continue
        result = replace(one.result, seconds_per_step=seconds)
        record = describe(protocol, method, seed, prepared, result, one.alarms, one.reached)
        record["provenance"] = {**record["provenance"], "stack": len(runs)}
        records.append(record)
    return records


def _seconds_alone(members: Sequence[Member], protocol: Protocol) -> float:
    """Seconds per step of the first run that gets far enough, trained by itself."""
    for member in members:
        alarm, config = member.objective.alarm, member.config
        if alarm is not None:
            # Its probes are frequent in the first calls, which most of a run is not.
            alarm.calls = EARLY_CALLS
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AlarmWarning)
                return train(
                    member.objective,
                    member.dataset,
                    member.split,
                    replace(config, steps=min(config.steps, TIMED), evaluate_every=0),
                    device="cpu",
                    augment=protocol.augmentation(),
                ).seconds_per_step
        except NonFiniteError:
            continue
    return float("nan")
