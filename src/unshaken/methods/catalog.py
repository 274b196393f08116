"""Methods by the names that the command line knows, each with its default settings.

A new method is one file beside this one and one row in :data:`CATALOG`. Names joined by ``+``,
such as ``vat+vmt-shift``, train with several terms at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from unshaken import masks
from unshaken.adversaries import PowerIteration, WorstOf
from unshaken.divergences import KL, CrossEntropy
from unshaken.methods.at import AT
from unshaken.methods.mat import MAT, MVAT
from unshaken.methods.mean_teacher import MeanTeacher
from unshaken.methods.method import RANGES, Method, Range, Settings, Shape
from unshaken.methods.mixup import Mixup
from unshaken.methods.pi_model import PiModel
from unshaken.methods.random import Random
from unshaken.methods.stochastic import StochasticTransformations
from unshaken.methods.tangent_propagation import TangentPropagation
from unshaken.methods.temporal_ensembling import TemporalEnsembling
from unshaken.methods.vat import VAT
from unshaken.methods.vmt import VMT
from unshaken.methods.xat import XAT, XVAT
from unshaken.perturbations import Additive, Mask, Movement, Relative
from unshaken.perturbations.fields import Affine, Elastic, Field, Rotation, Scale, Shift
from unshaken.regularizer import Regularizer, Term
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
    "fits",
    "has_own_network",
    "names_for",
    "network_options",
    "parts",
    "require_fit",
    "settings_for",
    "training_changes",
]

_FINITE = {"radius": 1.0, "weight": 1.0, "steps": 1.0}
_PIXELS = {"radius": Range(0.02, 4.0)}
_ROWS = {"learning_rate": Range(1e-4, 1.0, searched=False)}


def _random(name: str) -> Callable[[Shape, Settings], list[Term]]:
    return lambda shape, s: [Random(Additive(2), s["radius"], weight=s["weight"], name=name)]


def _at(norm: float, name: str) -> Callable[[Shape, Settings], list[Term]]:
    return lambda shape, s: [AT(s["radius"], norm, s["weight"], name=name)]


def _vmt(name: str, *families: type[Shift | Rotation | Scale]) -> Callable[..., list[Term]]:
    def build(shape: Shape, s: Settings) -> list[Term]:
        return [VMT(*(family() for family in families), weight=s["weight"], name=name)]

    return build


def _generator(shape: Shape, s: Settings) -> masks.Generator:
    return masks.Generator(shape.channels, len(shape.size), learning_rate=s["learning_rate"])


def _table(shape: Shape, s: Settings) -> masks.Table:
    return masks.Table(shape.examples, shape.entries, learning_rate=s["learning_rate"])


def _random_mask(shape: Shape, s: Settings) -> list[Term]:
    mask = Mask(block=_whole(s, "block"))
    return [Random(mask, 1 - s["keep"], weight=s["weight"], name="mask-random")]


def _steepest_mask(shape: Shape, s: Settings) -> list[Term]:
    player = masks.Steepest(s["keep"], _whole(s, "steps"))
    block = _whole(s, "block")
    return [XVAT(player, weight=s["weight"], block=block, name="mask-steepest")]


def _worst_mask(shape: Shape, s: Settings) -> list[Term]:
    player = WorstOf(1 - s["keep"], _whole(s, "draws"))
    block = _whole(s, "block")
    return [XVAT(player, weight=s["weight"], block=block, name="mask-worst")]


def _relative(shape: Shape, s: Settings) -> list[Term]:
    player = PowerIteration(s["radius"])
    return [Regularizer(Relative(2), player, KL(), s["weight"], name="relative")]


def _elastic(shape: Shape) -> tuple[Field, Field]:
    """Affine movements and smooth deformations of at most 4 modes along each axis."""
    return Affine(), Elastic(max(2, min(4, *shape.size)))


def _whole(s: Settings, name: str) -> int:
    value = s[name]
    if value != int(value):
        raise ValueError(f"{name} must be a whole number, got {value:g}")
    return int(value)


_MASK = {"sparsity": 1.0, "scale": 1.0}
_NOISE = {"noise": 0.15, "ramp": 500.0}
_CONSISTENCY = {
    "weight": Range(0.1, 100.0),
    "noise": Range(0.02, 1.0),
    "ramp": Range(1.0, 10_000.0, searched=False),
}


def _network(shape: Shape) -> nn.Module:
    if shape.network is None:
        raise ValueError("shape must hold the network to be trained, got network=None")
    return shape.network


CATALOG: Mapping[str, Method] = {
    "baseline": Method("plain training", lambda shape, s: []),
    "dropout": Method(
        "dropout in the network",
        lambda shape, s: [],
        {"rate": 0.2},
        options=lambda s: {"dropout": s["rate"]},
    ),
    "random": Method(
        "random noise as large as VAT's (control)",
        _random("random"),
        {"radius": 1.0, "weight": 1.0},
    ),
    "random-tuned": Method(
        "random noise at its own best size (control)",
        _random("random-tuned"),
        {"radius": 2.0, "weight": 1.0},
    ),
    "random-movement": Method(
        "random affine movement as large as MVAT's (control)",
        lambda shape, s: [
            Random(Movement(Affine()), s["radius"], weight=s["weight"], name="random-movement")
        ],
        {"radius": 0.5, "weight": 1.0},
        axes=1,
        ranges=_PIXELS,
    ),
    "at-l2": Method("adversarial training, L2", _at(2, "at-l2"), {"radius": 1.0, "weight": 1.0}),
    "at-linf": Method(
        "adversarial training, L∞", _at(math.inf, "at-linf"), {"radius": 0.1, "weight": 1.0}
    ),
    "vat": Method(
        "virtual adversarial training",
        lambda shape, s: [VAT(s["radius"], weight=s["weight"])],
        {"radius": 1.0, "weight": 1.0},
    ),
    "vmt-shift": Method(
        "virtual movement: shift", _vmt("vmt-shift", Shift), {"weight": 1.0}, axes=1
    ),
    "vmt-rotation": Method(
        "virtual movement: rotation", _vmt("vmt-rotation", Rotation), {"weight": 1.0}, axes=2
    ),
    "vmt-scale": Method(
        "virtual movement: scale", _vmt("vmt-scale", Scale), {"weight": 1.0}, axes=1
    ),
    "vmt-all": Method(
        "virtual movement: random mixture of the three",
        _vmt("vmt-all", Shift, Rotation, Scale),
        {"weight": 1.0},
        axes=2,
    ),
    "xat": Method(
        "masks against the label, learned generator",
        lambda shape, s: [XAT(_generator(shape, s), s["sparsity"], s["scale"], weight=s["weight"])],
        {"weight": 0.5, "learning_rate": 1e-6, **_MASK},
    ),
    "xvat": Method(
        "masks against the clean prediction, learned generator",
        lambda shape, s: [
            XVAT(_generator(shape, s), s["sparsity"], s["scale"], weight=s["weight"])
        ],
        {"weight": 1.0, "learning_rate": 1e-6, **_MASK},
    ),
    "xvat-transductive": Method(
        "masks against the clean prediction, one for each example",
        lambda shape, s: [
            XVAT(
                _table(shape, s),
                s["sparsity"],
                s["scale"],
                weight=s["weight"],
                name="xvat-transductive",
            )
        ],
        {"weight": 1.0, "learning_rate": 1e-3, **_MASK},
        ranges=_ROWS,
    ),
    "mask-steepest": Method(
        "masks that erase what matters most, without labels",
        _steepest_mask,
        {"keep": 0.85, "weight": 1.0, "block": 1.0, "steps": 1.0},
    ),
    "mask-worst": Method(
        "the worst of several random masks, without labels",
        _worst_mask,
        {"keep": 0.7, "weight": 1.0, "block": 1.0, "draws": 4.0},
    ),
    "mask-random": Method(
        "random masks (control)", _random_mask, {"keep": 0.85, "weight": 1.0, "block": 1.0}
    ),
    "relative": Method(
        "worst change in proportion to the input, without labels",
        _relative,
        {"radius": 1.0, "weight": 1.0},
    ),
    "relative-random": Method(
        "random change in proportion to the input (control)",
        lambda shape, s: [
            Random(Relative(2), s["radius"], weight=s["weight"], name="relative-random")
        ],
        {"radius": 1.0, "weight": 1.0},
    ),
    "mat": Method(
        "finite worst movement, affine, with labels",
        lambda shape, s: [MAT(Affine(), radius=s["radius"], weight=s["weight"])],
        {"radius": 0.5, "weight": 1.0},
        axes=1,
        ranges=_PIXELS,
    ),
    "at-remembered": Method(
        "L2 noise remembered of each example, in a single pass",
        lambda shape, s: [AT(s["radius"], remember=shape.inputs, name="at-remembered")],
        {"radius": 1.0},
    ),
    "mat-remembered": Method(
        "affine movement remembered of each example, in a single pass",
        lambda shape, s: [
            MAT(Affine(), radius=s["radius"], remember=shape.inputs, name="mat-remembered")
        ],
        {"radius": 0.5},
        axes=1,
        ranges=_PIXELS,
    ),
    "mvat": Method(
        "finite worst movement, affine, without labels",
        lambda shape, s: [MVAT(Affine(), radius=s["radius"], weight=s["weight"])],
        {"radius": 0.5, "weight": 1.0},
        axes=1,
        ranges=_PIXELS,
    ),
    "mat-elastic": Method(
        "finite worst movement, affine and elastic, with labels",
        lambda shape, s: [
            MAT(
                *_elastic(shape),
                radius=s["radius"],
                steps=_whole(s, "steps"),
                weight=s["weight"],
                name="mat-elastic",
            )
        ],
        _FINITE,
        axes=1,
        ranges=_PIXELS,
    ),
    "mvat-elastic": Method(
        "finite worst movement, affine and elastic, without labels",
        lambda shape, s: [
            MVAT(
                *_elastic(shape),
                radius=s["radius"],
                steps=_whole(s, "steps"),
                finite=True,
                weight=s["weight"],
                name="mvat-elastic",
            )
        ],
        _FINITE,
        axes=1,
        ranges=_PIXELS,
    ),
    "random-elastic": Method(
        "random affine and elastic movement (control)",
        lambda shape, s: [
            Random(
                Movement(*_elastic(shape)), s["radius"], weight=s["weight"], name="random-elastic"
            )
        ],
        {"radius": 1.0, "weight": 1.0},
        axes=1,
        ranges=_PIXELS,
    ),
    "random-elastic-labels": Method(
        "random affine and elastic movement, with labels (control)",
        lambda shape, s: [
            Random(
                Movement(*_elastic(shape)),
                s["radius"],
                CrossEntropy(),
                s["weight"],
                name="random-elastic-labels",
            )
        ],
        {"radius": 1.0, "weight": 1.0},
        axes=1,
        ranges=_PIXELS,
    ),
    "pi-model": Method(
        "two noisy passes agree",
        lambda shape, s: [PiModel(s["weight"], s["noise"], name="pi-model", ramp=round(s["ramp"]))],
        {"weight": 10.0, **_NOISE},
        ranges=_CONSISTENCY,
    ),
    "mean-teacher": Method(
        "agrees with an average of its weights",
        lambda shape, s: [
            MeanTeacher(_network(shape), s["decay"], s["weight"], s["noise"], ramp=round(s["ramp"]))
        ],
        {"weight": 10.0, "decay": 0.99, **_NOISE},
        ranges={**_CONSISTENCY, "decay": Range(0.9, 0.999, searched=False)},
        training=lambda s: {"ema": s["decay"]},
    ),
    "temporal-ensembling": Method(
        "agrees with its earlier predictions of the example",
        lambda shape, s: [
            TemporalEnsembling(
                shape.examples, shape.classes, s["decay"], s["weight"], ramp=round(s["ramp"])
            )
        ],
        {"weight": 10.0, "decay": 0.6, "ramp": 500.0},
        ranges={**_CONSISTENCY, "decay": Range(0.3, 0.99, searched=False)},
    ),
    "stochastic": Method(
        "several noisy passes agree, and each chooses",
        lambda shape, s: [
            StochasticTransformations(
                round(s["passes"]),
                s["exclusivity"],
                s["weight"],
                s["noise"],
                ramp=round(s["ramp"]),
            )
        ],
        {"weight": 1.0, "passes": 4.0, "exclusivity": 0.1, **_NOISE},
        ranges={
            **_CONSISTENCY,
            "passes": Range(2.0, 5.0, log=False, searched=False),
            "exclusivity": Range(0.01, 1.0, searched=False),
        },
    ),
    "mixup": Method(
        "mixed inputs, mixed labels",
        lambda shape, s: [Mixup(s["alpha"])],
        {"alpha": 0.4},
        ranges={"alpha": Range(0.05, 4.0)},
    ),
    "tangent-prop": Method(
        "outputs flat along affine tangents",
        lambda shape, s: [TangentPropagation(Affine(), weight=s["weight"])],
        {"weight": 0.01},
        axes=1,
        ranges={"weight": Range(1e-4, 1.0)},
    ),
    "entropy": Method(
        "entropy minimization", lambda shape, s: [EntropyMinimization(s["weight"])], {"weight": 1.0}
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


def require_fit(name: str, size: Sequence[int]) -> None:
    """Raise ``ValueError`` where the method cannot perturb inputs with these spatial axes."""
    if not fits(name, size):
        need = max(CATALOG[part].axes for part in parts(name))
        raise ValueError(
            f"method {name!r} needs inputs (N, C, *size) with at least {need} spatial axes, got "
            f"{len(size)} (size {tuple(size)})"
        )


def names_for(size: Sequence[int]) -> list[str]:
    """Every single method that fits inputs with these spatial axes."""
    return [name for name in CATALOG if name not in PARTS and fits(name, size)]


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
