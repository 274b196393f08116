"""Methods by the names that the command line knows, each with its default settings.

A new method is one file beside this one and one row, in :mod:`~unshaken.methods.perturbing`,
:mod:`~unshaken.methods.combining` or :mod:`~unshaken.methods.comparing`. Names joined by ``+``,
such as ``vat+vmt-shift``, train with several terms at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from unshaken import models
from unshaken.methods import combining, comparing, perturbing
from unshaken.methods.combining import suggested
from unshaken.methods.method import RANGES, Method, Range, Settings, Shape
from unshaken.regularizer import Term
from unshaken.terms import ClassBalance, EntropyMinimization

__all__ = [
    "CATALOG",
    "PARTS",
    "RANGES",
    "Method",
    "Range",
    "Settings",
    "Shape",
    "adapt",
    "build",
    "build_network",
    "fits",
    "has_own_network",
    "names_for",
    "network_options",
    "parts",
    "require_fit",
    "settings_for",
    "suggested",
    "training_changes",
]

CATALOG: Mapping[str, Method] = {
    **perturbing.ROWS,
    **combining.ROWS,
    **comparing.ROWS,
    "entropy": Method(
        "entropy minimization",
        lambda shape, s: [EntropyMinimization(s["weight"], ramp=round(s["ramp"]))],
        {"weight": 1.0, "ramp": 0.0},
        ranges={"ramp": Range(0.0, 10_000.0, log=False, searched=False)},
    ),
    "balance": Method(
        "class balance", lambda shape, s: [ClassBalance(s["weight"])], {"weight": 1.0}
    ),
}

PARTS = ("entropy", "balance")
"""Terms that mean little alone: ``all`` leaves them out, ``+`` adds them."""


def parts(name: str) -> list[str]:
    """The catalog names that ``name`` joins.

    Raises:
        ValueError: if one of them is unknown.
    """
    names = name.split("+")
    for part in names:
        if part not in CATALOG:
            raise ValueError(
                f"method must be one of {', '.join(CATALOG)}, or several joined by +; got {part!r}"
            )
    return names


def fits(name: str, size: Sequence[int]) -> bool:
    """Whether the method can perturb inputs with these spatial axes."""
    return all(CATALOG[part].axes <= len(size) for part in parts(name))


def require_fit(name: str, size: Sequence[int], network: str | None = None) -> None:
    """Raise ``ValueError`` where the method does not suit inputs with these spatial axes.

    Or, where its name is given, a network that it cannot train.
    """
    if not fits(name, size):
        need = max(CATALOG[part].axes for part in parts(name))
        raise ValueError(
            f"method {name!r} needs inputs (N, C, *size) with at least {need} spatial axes, got "
            f"{len(size)} (size {tuple(size)})"
        )
    for part in parts(name):
        known = CATALOG[part].networks
        if network is not None and known and network not in known:
            raise ValueError(
                f"method {part!r} trains the network {' or '.join(known)} alone, got {network!r}"
            )


def names_for(size: Sequence[int], network: str = "mlp") -> list[str]:
    """Every single method that fits inputs with these spatial axes and a network of that name."""
    return [
        name
        for name, method in CATALOG.items()
        if name not in PARTS and fits(name, size) and network in (method.networks or (network,))
    ]


def settings_for(name: str, given: Mapping[str, Settings]) -> dict[str, dict[str, float]]:
    """The settings of each part: its defaults, overridden by what is given for it.

    Raises:
        ValueError: if a setting is unknown to its method.
    """
    result = {}
    for part in parts(name):
        known = CATALOG[part].settings
        extra = given.get(part, {})
        for key in extra:
            if key not in known:
                raise ValueError(
                    f"settings of {part} must be among {', '.join(known) or 'none'}; got {key!r}"
                )
        result[part] = {key: float(extra.get(key, default)) for key, default in known.items()}
    return result


def network_options(settings: Mapping[str, Settings]) -> dict[str, Any]:
    """What the methods ask of the network's builder, with the settings of each."""
    return _joined(settings, lambda method: method.options)


def training_changes(settings: Mapping[str, Settings]) -> dict[str, Any]:
    """What the methods change in the common training settings, with the settings of each."""
    return _joined(settings, lambda method: method.training)


def _joined(
    settings: Mapping[str, Settings],
    of: Callable[[Method], Callable[[Settings], Mapping[str, Any]]],
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for part, values in settings.items():
        result |= of(CATALOG[part])(values)
    return result


def adapt(network: nn.Module, shape: Shape, settings: Mapping[str, Settings]) -> nn.Module:
    """The network that the methods train, made from the common one."""
    for part, values in settings.items():
        change = CATALOG[part].adapt
        network = network if change is None else change(network, shape, values)
    return network


def build_network(
    network: Mapping[str, Any], shape: Shape, settings: Mapping[str, Settings]
) -> nn.Module:
    """The network that the methods train on data of a shape.

    Args:
        network: its name and options, as :func:`unshaken.models.build` takes them.
        shape: of the data; its classes are needed.
        settings: of each method.

    Raises:
        ValueError: as :func:`unshaken.models.build` does.
    """
    options = {**network, **network_options(settings)}
    name = options.pop("name")
    common = models.build(
        name, channels=shape.channels, size=shape.size, classes=shape.classes, **options
    )
    return adapt(common, shape, settings)


def has_own_network(settings: Mapping[str, Settings]) -> bool:
    """Whether a method trains another network than the common one."""
    adapted = any(CATALOG[part].adapt is not None for part in settings)
    return adapted or bool(network_options(settings))


def build(name: str, shape: Shape, settings: Mapping[str, Settings]) -> list[Term]:
    """The terms of a method for data of a shape.

    Raises:
        ValueError: if the data have too few spatial axes for it.
    """
    require_fit(name, shape.size)
    return [t for part in parts(name) for t in CATALOG[part].build(shape, settings[part])]
