"""The catalog's rows: several terms together, with the settings at which they suit each other."""

from __future__ import annotations

from collections.abc import Mapping

from unshaken.divergences import KL
from unshaken.methods.mat import MVAT
from unshaken.methods.method import DIRECTION, Method, Range, Settings, Shape, which_kl
from unshaken.methods.perturbing import affine_and_elastic
from unshaken.methods.random import Random
from unshaken.methods.vat import VAT
from unshaken.methods.vmt import VMT
from unshaken.perturbations import Movement
from unshaken.perturbations.fields import Shift
from unshaken.regularizer import Term
from unshaken.terms import ClassBalance, EntropyMinimization

_SURE = {"entropy": 0.3, "balance": 1.0, "ramp": 0.0}
_SURE_RANGES = {
    "entropy": Range(0.01, 3.0),
    "balance": Range(0.1, 10.0, searched=False),
    "ramp": Range(0.0, 10_000.0, log=False, searched=False),
}
_SHARE = {"share": Range(0.01, 0.2)}


def _pixels(shape: Shape, s: Settings) -> float:
    """A share of the mean length of the spatial axes."""
    return s["share"] * sum(shape.size) / len(shape.size)


def _sure(s: Settings) -> list[Term]:
    """The ramp is that of entropy minimization alone."""
    sure = EntropyMinimization(s["entropy"], ramp=round(s["ramp"]))
    return [sure, ClassBalance(s["balance"])]


def _movement(shape: Shape, s: Settings) -> list[Term]:
    fields, radius = affine_and_elastic(shape), _pixels(shape, s)
    worst = MVAT(
        *fields,
        radius=radius,
        finite=True,
        divergence=which_kl(s),
        weight=s["weight"],
        name="few-labels",
    )
    return [worst, *_sure(s)]


def _random(shape: Shape, s: Settings) -> list[Term]:
    movement, radius = Movement(*affine_and_elastic(shape)), _pixels(shape, s)
    kl = KL.named(which_kl(s))
    return [Random(movement, radius, kl, s["weight"], name="few-labels-random"), *_sure(s)]


ROWS: Mapping[str, Method] = {
    "few-labels": Method(
        "worst movements, sure and balanced predictions: images, signals with few labels",
        _movement,
        {"share": 0.075, "weight": 1.0, **DIRECTION, **_SURE},
        axes=1,
        ranges={**_SHARE, **_SURE_RANGES},
    ),
    "few-labels-random": Method(
        "random movements in place of the worst (control)",
        _random,
        {"share": 0.075, "weight": 1.0, **DIRECTION, **_SURE},
        axes=1,
        ranges={**_SHARE, **_SURE_RANGES},
    ),
    "few-labels-vat": Method(
        "VAT, sure and balanced predictions: any inputs with few labels",
        lambda shape, s: [
            VAT(s["radius"], divergence=which_kl(s), weight=s["weight"], name="few-labels-vat"),
            *_sure(s),
        ],
        {"radius": 1.0, "weight": 2.0, **DIRECTION, **_SURE, "entropy": 0.1},
        ranges=_SURE_RANGES,
    ),
    "vat-vmt": Method(
        "VAT and virtual movement (shift) together",
        lambda shape, s: [
            VAT(s["radius"], divergence=which_kl(s), weight=s["weight"]),
            VMT(Shift(), weight=s["movement"]),
        ],
        {"radius": 1.0, "weight": 1.0, "movement": 1.0, **DIRECTION},
        axes=1,
        ranges={"movement": Range(0.005, 20.0)},
    ),
}


def suggested(
    size: tuple[int, ...], labels: int | None, examples: int, unlabeled: bool
) -> list[str]:
    """A sensible set of methods for data: one of each kind that suits them, with its control.

    Few labels are less than one in five where the rest is shown unlabeled. What is taken then and
    otherwise follows from the tables in ``docs/results.md``; ``docs/choosing.md`` says why.

    Args:
        size: spatial axes of the inputs.
        labels: how many labels are shown; None for all.
        examples: how many training examples there are.
        unlabeled: whether training sees unlabeled inputs.

    Returns:
        Names of the catalog, the baseline first.
    """
    few = unlabeled and labels is not None and 5 * labels < examples
    if few:
        moving = ["few-labels", "few-labels-random"] if size else []
        return ["baseline", "random-tuned", "vat", "few-labels-vat", *moving]
    chosen = ["baseline", "random-tuned", "at-l2", "vat"]
    if len(size) == 1:
        return [*chosen, "vmt-shift", "vat-vmt"]
    if size:
        return [*chosen, "vmt-all", "random-movement-labels", "mat"]
    return chosen
