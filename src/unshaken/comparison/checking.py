"""All mistakes in names, settings, data and network come to light before the first run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from unshaken import checks, data, models
from unshaken.comparison.mistakes import is_mistake
from unshaken.comparison.protocol import Protocol
from unshaken.comparison.single import Settings, shape_of
from unshaken.data import Dataset
from unshaken.data.paged import Paged
from unshaken.methods import catalog


def check(
    protocol: Protocol, methods: Sequence[str], settings: Settings, dataset: Dataset, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """The settings of every method, by method and part, once all of them can be trained.

    Raises:
        ValueError, TypeError: a name is unknown, a setting is out of range, the data or the
            network do not suit a method, or there are too few labels.
    """
    protocol.split(dataset, seed)
    if protocol.judge == "validation" and not protocol.validation:
        raise ValueError("judge='validation' needs validation >= 1 examples, got 0")
    if protocol.test is not None:
        checks.integer(protocol.test, "test")
    if protocol.augmentation() is not None and not dataset.size:
        raise ValueError(
            f"augment needs inputs (N, C, *size), got plain vectors of {dataset.channels} values"
        )
    shift = protocol.augment.get("shift", 0) if protocol.augment else 0
    if shift and shift >= min(dataset.size):
        raise ValueError(
            f"augment: shift must be less than the {min(dataset.size)} pixels of the shortest "
            f"axis, got {shift}"
        )
    common: nn.Module | None = None
    found: dict[str, dict[str, dict[str, float]]] = {}
    for method in methods:
        catalog.require_fit(method, dataset.size, protocol.network["name"])
        used = protocol.settings_of(method, settings)
        own = catalog.has_own_network(used)
        with torch.random.fork_rng(devices=[]):
            if own or common is None:
                network = _network(protocol, used, dataset)
                common = common if own else network
            else:
                network = common
            shape = replace(shape_of(dataset), examples=1, network=network)
            try:
                terms = catalog.build(method, shape, used)
            except (ValueError, TypeError) as error:
                if not is_mistake(error):
                    raise
                raise ValueError(f"settings of {method}: {error}") from error
        for term in terms:
            term.check(dataset.x_train[:1])
        found[method] = used
    return found


def _network(protocol: Protocol, settings: Settings, dataset: Dataset) -> nn.Module:
    """The network that methods with these settings train, tried on two examples."""
    name = protocol.network.get("name")
    try:
        model = catalog.build_network(protocol.network, shape_of(dataset), settings)
    except (ValueError, TypeError) as error:
        if not is_mistake(error):
            raise
        raise ValueError(f"network: {error}") from error
    x = dataset.x_train[:2]
    try:
        with torch.no_grad():
            outputs = model.eval()(x)
    except Exception as error:
        raise ValueError(
            f"network {name!r} must take inputs of shape {tuple(x.shape)}, but it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    expected = (len(x), dataset.classes)
    if not isinstance(outputs, torch.Tensor) or tuple(outputs.shape) != expected:
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise ValueError(
            f"network {name!r} must give outputs of shape {expected} for inputs of shape "
            f"{tuple(x.shape)}, got {got}"
        )
    if any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules()):
        config = protocol.config(0, settings)
        for size in ("batch_size", "unlabeled_batch_size"):
            if getattr(config, size) == 1:
                raise ValueError(f"{size} must be at least 2 for a network with batch norm, got 1")
    return model


def identity(dataset: Dataset, protocol: Protocol) -> str:
    """What tells data and network from others of the same names.

    Sets that ship or were published are what their name says, and so are the library's networks.
    Files of the user's own are known by their content, wherever they lie: a changed file is other
    data; networks of the user's own by their source.
    """
    found = protocol.data if protocol.data in data.NAMES else _content(dataset)
    name = protocol.network.get("name", "")
    if ":" in name:
        with torch.random.fork_rng(devices=[]):
            network = catalog.build_network(protocol.network, shape_of(dataset), {})
        found += f" {hashlib.sha256(models.source(name, network).encode()).hexdigest()}"
    return found


def _content(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    tensors = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    for tensor in (*tensors, dataset.x_unlabeled):
        if isinstance(tensor, Paged):
            digest.update(tensor.identity().encode())
        elif tensor is not None:
            digest.update(repr((tensor.shape, tensor.dtype)).encode())
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def described(dataset: Dataset, protocol: Protocol) -> Mapping[str, object]:
    """The data in words, for the summary and the report."""
    unlabeled = 0 if dataset.x_unlabeled is None else len(dataset.x_unlabeled)
    return {
        "name": protocol.data,
        "labels": protocol.labels,
        "classes": dataset.classes,
        "inputs": " × ".join(str(n) for n in dataset.x_train.shape[1:]),
        "training examples": len(dataset.x_train),
        "further unlabeled examples": unlabeled or None,
        "test examples": len(dataset.x_test),
        "augmentation": str(protocol.augmentation() or "none"),
        **{k: v for k, v in dataset.info.items() if k != "augmentation" and v},
    }
