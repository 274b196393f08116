"""Networks by name, for the command line and for files of settings."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from unshaken import checks
from unshaken.models.conv_large import conv_large
from unshaken.models.conv_small import conv_small
from unshaken.models.conv_tiny import conv_tiny
from unshaken.models.mlp import mlp
from unshaken.models.moons_mlp import moons_mlp

NAMES = ("mlp", "conv_tiny", "conv_small", "conv_large", "moons_mlp")

_TOLD = ("channels", "size", "classes")


def build(
    name: str,
    *,
    channels: int,
    size: Sequence[int],
    classes: int,
    widths: Sequence[int] | None = None,
    dropout: float | None = None,
) -> nn.Module:
    """The network called ``name``, made for examples ``(N, channels, *size)``.

    Args:
        name: one of :data:`NAMES`, or ``"package.module:function"``. The function (or class) is
            called with those of the keyword arguments ``channels``, ``size`` and ``classes`` that
            it has, and with ``widths`` and ``dropout`` if they are given here, and returns the
            network. Importing runs the module:
            take an import path from the user only, never from a file that came from elsewhere.
        channels: channels of an example; all its numbers if ``size`` is empty.
        size: its sizes, such as ``(32, 32)``; empty for plain vectors.
        classes: number of classes.
        widths: hidden units of each layer of ``mlp``. Unless given, the papers' (1200, 600, 300,
            150) for 784 inputs or more, and (256, 128) for fewer.
        dropout: probability; unless given, the network's own (0.5 in conv_small and conv_large).

    Raises:
        TypeError: if a number is of a wrong type, or the function returns no network.
        ValueError: if the name is unknown, cannot be imported or called, or the examples or options
            do not suit the network.
    """
    checks.integer(channels, "channels")
    checks.integer(classes, "classes", low=2)
    size = tuple(checks.integer(length, "each entry of size") for length in size)
    given = {"widths": widths, "dropout": dropout}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if ":" in name:
        return _imported(name, channels=channels, size=size, classes=classes, **options)
    if name not in NAMES:
        raise ValueError(
            f"model must be one of {', '.join(NAMES)}, or an import path package.module:function; "
            f"got {name!r}"
        )
    features = channels * math.prod(size)
    if name == "mlp":
        hidden = options.pop("widths", (1200, 600, 300, 150) if features >= 784 else (256, 128))
        return mlp([features, *hidden, classes], **options)
    if "widths" in options:
        raise ValueError(f"widths belong to mlp; {name} has fixed ones, got widths={widths!r}")
    if name == "moons_mlp":
        if (features, classes) != (100, 2):
            raise ValueError(
                "moons_mlp takes 100 features and 2 classes, "
                f"got {features} and {classes}; use mlp with widths=(100,)"
            )
        return moons_mlp(**options)
    if name == "conv_tiny":
        return conv_tiny(channels, classes, size, **options)
    network = (conv_small if name == "conv_small" else conv_large)(channels, classes, **options)
    network.check((1, channels, *size))
    return network


def source(name: str, network: nn.Module) -> str:
    """What tells a network of the user's own from an earlier one under the same import path.

    The files of the function, of every class in the network and of their base classes, and of what
    these files import, but for what is installed; its layers with their options, and the shapes of
    its parameters and buffers.

    Args:
        name: ``package.module:function``.
        network: what it made.
    """
    path, _, attribute = name.partition(":")
    module = importlib.import_module(path)
    kinds = {kind for layer in network.modules() for kind in type(layer).__mro__}
    found: dict[str, ModuleType] = {}
    ahead = [module, getattr(module, attribute), *kinds]
    while ahead:
        each = ahead.pop()
        home = each if isinstance(each, ModuleType) else sys.modules.get(_home(each))
        if home is None or home.__name__ in found or not _is_own(home):
            continue
        found[home.__name__] = home
        ahead += [v for v in vars(home).values() if isinstance(v, ModuleType) or _home(v)]
    texts = [
        name,
        repr(network),
        *(f"{k} {tuple(v.shape)}" for k, v in network.state_dict().items()),
    ]
    for _, home in sorted(found.items()):
        with suppress(OSError, TypeError):
            texts.append(Path(str(home.__file__)).read_text("utf-8"))
    return "\n".join(texts)


def _home(value: Any) -> str:
    """The name of the module that a class or function comes from; nothing of other values."""
    found = getattr(value, "__module__", None) if callable(value) else None
    return found if isinstance(found, str) else ""


def _is_own(module: ModuleType) -> bool:
    """Whether a module is the user's, and neither installed nor Python's."""
    file = getattr(module, "__file__", None)
    if not file or module.__name__.partition(".")[0] in ("torch", "unshaken"):
        return False
    places = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return not any(Path(file).resolve().is_relative_to(Path(place).resolve()) for place in places)


def _imported(path: str, **options: Any) -> nn.Module:
    module, _, attribute = path.partition(":")
    told, shape = list(options), (options["channels"], *options["size"])
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"model {path!r} must name a function that can be imported, as "
            f"package.module:function; {error}; is its folder on PYTHONPATH?"
        ) from error
    try:
        signature = inspect.signature(function)
        taken = signature.parameters
        if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            # What a network of a fixed size does not ask for it need not be told.
            options = {k: v for k, v in options.items() if k in taken or k not in _TOLD}
        signature.bind(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"model {path!r} must be a function of keyword arguments among {', '.join(told)}, "
            f"which gives the network; {error}"
        ) from error
    network = function(**options)
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"model {path!r} must return a torch.nn.Module, got {type(network).__name__}"
        )
    if any(isinstance(p, UninitializedParameter) for p in network.parameters()):
        # Lazy layers take their sizes from a batch.
        with torch.no_grad():
            network(torch.zeros(2, *shape))
    return network
