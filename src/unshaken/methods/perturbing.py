"""The catalog's rows: changes of the input, worst and random."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from unshaken import masks
from unshaken.adversaries import Adversary, PowerIteration, WorstOf
from unshaken.divergences import KL, CrossEntropy, Divergence
from unshaken.methods.at import AT
from unshaken.methods.mat import MAT, MVAT
from unshaken.methods.method import DIRECTION, Method, Range, Settings, Shape, which_kl, whole
from unshaken.methods.random import Random
from unshaken.methods.vat import VAT
from unshaken.methods.vmt import VMT
from unshaken.methods.xat import XAT, XVAT
from unshaken.perturbations import Additive, Mask, Movement, Relative
from unshaken.perturbations.fields import Affine, Elastic, Field, Rotation, Scale, Shift
from unshaken.regularizer import Regularizer, Term

_FINITE = {"radius": 1.0, "weight": 1.0, "steps": 1.0}
_PIXELS = {"radius": Range(0.02, 4.0)}
_ROWS = {
    "learning_rate": Range(1e-4, 1.0, searched=False),
    "sparse": Range(0.0, 1.0, log=False, searched=False),
}


def _random(name: str) -> Callable[[Shape, Settings], list[Term]]:
    def build(shape: Shape, s: Settings) -> list[Term]:
        return [Random(Additive(2), s["radius"], KL.named(which_kl(s)), s["weight"], name=name)]

    return build


def _at(norm: float, name: str) -> Callable[[Shape, Settings], list[Term]]:
    return lambda shape, s: [AT(s["radius"], norm, s["weight"], name=name)]


def _vmt(name: str, *families: type[Shift | Rotation | Scale]) -> Callable[..., list[Term]]:
    def build(shape: Shape, s: Settings) -> list[Term]:
        return [VMT(*(family() for family in families), weight=s["weight"], name=name)]

    return build


def _generator(shape: Shape, s: Settings) -> masks.Generator:
    return masks.Generator(shape.channels, len(shape.size), learning_rate=s["learning_rate"])


def _table(shape: Shape, s: Settings) -> masks.Table:
    rate, sparse = s["learning_rate"], bool(whole(s, "sparse"))
    return masks.Table(shape.examples, shape.entries, learning_rate=rate, sparse=sparse)


def _random_mask(shape: Shape, s: Settings) -> list[Term]:
    mask = Mask(block=whole(s, "block"))
    return [Random(mask, 1 - s["keep"], KL.named(which_kl(s)), s["weight"], name="mask-random")]


def _steepest_mask(shape: Shape, s: Settings) -> list[Term]:
    return [_erasing(masks.Steepest(s["keep"], whole(s, "steps")), s, "mask-steepest")]


def _worst_mask(shape: Shape, s: Settings) -> list[Term]:
    return [_erasing(WorstOf(1 - s["keep"], whole(s, "draws")), s, "mask-worst")]


def _erasing(player: Adversary, s: Settings, name: str) -> Term:
    """Masks of so many erased entries, which have no price."""
    block = whole(s, "block")
    return XVAT(player, divergence=which_kl(s), weight=s["weight"], block=block, name=name)


def _relative(shape: Shape, s: Settings) -> list[Term]:
    player = PowerIteration(s["radius"])
    return [Regularizer(Relative(2), player, KL.named(which_kl(s)), s["weight"], name="relative")]


def affine_and_elastic(shape: Shape) -> tuple[Field, Field]:
    """Affine movements and smooth deformations of at most 4 modes along each axis."""
    return Affine(), Elastic(max(2, min(4, *shape.size)))


def _elastic(
    kind: type[MAT] | type[MVAT], name: str, shape: Shape, s: Settings, **more: Any
) -> Term:
    """The worst affine and elastic movement at full size."""
    return kind(
        *affine_and_elastic(shape),
        radius=s["radius"],
        steps=whole(s, "steps"),
        finite=True,
        weight=s["weight"],
        name=name,
        **more,
    )


def _moved(
    name: str, fields: tuple[Field, ...], s: Settings, divergence: Divergence | None = None
) -> Term:
    """Random movements; without labels unless another divergence is given."""
    divergence = KL.named(which_kl(s)) if divergence is None else divergence
    return Random(Movement(*fields), s["radius"], divergence, s["weight"], name=name)


_MASK = {"sparsity": 1.0, "scale": 1.0}


ROWS: Mapping[str, Method] = {
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
        {"radius": 1.0, "weight": 1.0, **DIRECTION},
    ),
    "random-tuned": Method(
        "random noise at its own best size (control)",
        _random("random-tuned"),
        {"radius": 2.0, "weight": 1.0, **DIRECTION},
    ),
    "random-movement": Method(
        "random affine movement as large as MVAT's (control)",
        lambda shape, s: [_moved("random-movement", (Affine(),), s)],
        {"radius": 0.5, "weight": 1.0, **DIRECTION},
        axes=1,
        ranges=_PIXELS,
    ),
    "at-l2": Method("adversarial training, L2", _at(2, "at-l2"), {"radius": 1.0, "weight": 1.0}),
    "at-linf": Method(
        "adversarial training, L∞", _at(math.inf, "at-linf"), {"radius": 0.1, "weight": 1.0}
    ),
    "vat": Method(
        "virtual adversarial training",
        lambda shape, s: [VAT(s["radius"], divergence=which_kl(s), weight=s["weight"])],
        {"radius": 1.0, "weight": 1.0, **DIRECTION},
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
            XVAT(_generator(shape, s), s["sparsity"], s["scale"], which_kl(s), s["weight"])
        ],
        {"weight": 1.0, "learning_rate": 1e-6, **DIRECTION, **_MASK},
    ),
    "xvat-transductive": Method(
        "masks against the clean prediction, one for each example",
        lambda shape, s: [
            XVAT(
                _table(shape, s),
                s["sparsity"],
                s["scale"],
                which_kl(s),
                s["weight"],
                name="xvat-transductive",
            )
        ],
        {"weight": 1.0, "learning_rate": 1e-3, "sparse": 0.0, **DIRECTION, **_MASK},
        ranges=_ROWS,
    ),
    "mask-steepest": Method(
        "masks that erase what matters most, without labels",
        _steepest_mask,
        {"keep": 0.85, "weight": 1.0, "block": 1.0, "steps": 1.0, **DIRECTION},
    ),
    "mask-worst": Method(
        "the worst of several random masks, without labels",
        _worst_mask,
        {"keep": 0.7, "weight": 1.0, "block": 1.0, "draws": 4.0, **DIRECTION},
    ),
    "mask-random": Method(
        "random masks (control)",
        _random_mask,
        {"keep": 0.85, "weight": 1.0, "block": 1.0, **DIRECTION},
    ),
    "relative": Method(
        "worst change in proportion to the input, without labels",
        _relative,
        {"radius": 1.0, "weight": 1.0, **DIRECTION},
    ),
    "relative-random": Method(
        "random change in proportion to the input (control)",
        lambda shape, s: [
            Random(
                Relative(2), s["radius"], KL.named(which_kl(s)), s["weight"], name="relative-random"
            )
        ],
        {"radius": 1.0, "weight": 1.0, **DIRECTION},
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
        lambda shape, s: [
            MVAT(Affine(), radius=s["radius"], divergence=which_kl(s), weight=s["weight"])
        ],
        {"radius": 0.5, "weight": 1.0, **DIRECTION},
        axes=1,
        ranges=_PIXELS,
    ),
    "mat-elastic": Method(
        "finite worst movement, affine and elastic, with labels",
        lambda shape, s: [_elastic(MAT, "mat-elastic", shape, s)],
        _FINITE,
        axes=1,
        ranges=_PIXELS,
    ),
    "mvat-elastic": Method(
        "finite worst movement, affine and elastic, without labels",
        lambda shape, s: [_elastic(MVAT, "mvat-elastic", shape, s, divergence=which_kl(s))],
        {**_FINITE, **DIRECTION},
        axes=1,
        ranges=_PIXELS,
    ),
    "random-elastic": Method(
        "random affine and elastic movement (control)",
        lambda shape, s: [_moved("random-elastic", affine_and_elastic(shape), s)],
        {"radius": 1.0, "weight": 1.0, **DIRECTION},
        axes=1,
        ranges=_PIXELS,
    ),
    "random-movement-labels": Method(
        "random affine movement, with labels (control)",
        lambda shape, s: [_moved("random-movement-labels", (Affine(),), s, CrossEntropy())],
        {"radius": 0.5, "weight": 1.0},
        axes=1,
        ranges=_PIXELS,
    ),
    "random-elastic-labels": Method(
        "random affine and elastic movement, with labels (control)",
        lambda shape, s: [
            _moved("random-elastic-labels", affine_and_elastic(shape), s, CrossEntropy())
        ],
        {"radius": 1.0, "weight": 1.0},
        axes=1,
        ranges=_PIXELS,
    ),
}
