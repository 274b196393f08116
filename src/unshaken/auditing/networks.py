"""Trained classifiers from wherever they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unshaken.data import Dataset, Standardization, Whitening, read_normalization
from unshaken.methods import catalog
from unshaken.training import load_model_weights


def classifier(name: str, dataset: Dataset, network: str | None = None) -> nn.Module:
    """A trained network.

    Args:
        name: a run's folder, a checkpoint, a safetensors file or a state dict that ``torch.save``
            wrote (nothing in any of them is executed), or ``timm:NAME`` for a pretrained model of
            timm (``timm:NAME:random`` for an untrained one).
        dataset: the data, for the network's inputs and classes.
        network: a network's name or an import path ``package.module:function``, for what does not
            tell by itself how its network is made, as a run's folder does.

    Raises:
        ValueError: the network is not known or the weights do not fit it.
        CheckpointError: the file is missing or damaged.
    """
    if name.startswith("timm:"):
        return _from_timm(name.removeprefix("timm:"), dataset)
    path = Path(name)
    weights = load_model_weights(path)
    _, settings = _run_of(path)
    options = dict(settings.get("network") or {})
    if not options:
        if network is None:
            raise ValueError(
                f"model must say how the network of {name} is made: a name or "
                "package.module:function; only a run's folder tells by itself"
            )
        settings, options = {}, {"name": network}
    parts = catalog.parts(settings.get("method", "baseline"))
    own = {part: settings.get(part, {}) for part in parts}
    shape = catalog.Shape(
        dataset.channels, dataset.size, len(dataset.x_all), classes=dataset.classes
    )
    model = catalog.build_network(options, shape, own)
    try:
        model.load_state_dict(_named_as_in(model, weights))
    except RuntimeError as error:
        raise ValueError(
            f"model: the weights of {name} do not fit the network for inputs "
            f"{dataset.channels} × {dataset.size} and {dataset.classes} classes: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    return model


def _named_as_in(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without what a wrapper put before every name of the network's, if one did.

    DistributedDataParallel puts ``module.``, ``torch.compile`` ``_orig_mod.``, a Lightning module
    the name of its attribute, beside which it may have weights of its own.
    """
    wanted = model.state_dict().keys()
    if not wanted or wanted <= weights.keys():
        return weights
    one = next(iter(wanted))
    for prefix in [name.removesuffix(one) for name in weights if name.endswith(one)]:
        inner = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        if inner.keys() == wanted:
            return inner
    return weights


def normalization_of(name: str) -> str | Standardization | Whitening | None:
    """How the inputs of a run were scaled, by its folder; None where there is no such folder.

    Raises:
        DataError: the folder's file is damaged.
    """
    folder, settings = _run_of(Path(name))
    if folder is None or not settings.get("network"):
        return None
    file = folder / "normalization.safetensors"
    return read_normalization(file) if file.is_file() else "none"


def _run_of(path: Path) -> tuple[Path | None, dict[str, Any]]:
    """The run's folder in which the path lies, if it does, and the settings that it tells of."""
    for folder in (path, path.parent, path.parent.parent):
        file = folder / "config.json"
        if file.is_file():
            content = json.loads(file.read_text("utf-8"))
            found = content.get("settings", {})
            return folder, dict(found) if isinstance(found, dict) else {}
    return None, {}


def _from_timm(name: str, dataset: Dataset) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"model timm:{name} needs the package timm (and torchvision): pip install "
            f"'unshaken[timm]' ({error})"
        ) from error
    name, _, how = name.partition(":")
    model: nn.Module = timm.create_model(
        name, pretrained=how != "random", num_classes=dataset.classes, in_chans=dataset.channels
    )
    return model
