"""One row for each method: a new method adds one here and is tested with all the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unshaken import (
    AT,
    MAT,
    MVAT,
    VAT,
    VMT,
    XAT,
    XVAT,
    ClassBalance,
    EntropyMinimization,
    Random,
    Regularizer,
    fields,
    masks,
)
from unshaken.adversaries import Infinitesimal, PowerIteration, SteepestStep, WorstOf
from unshaken.divergences import KL, CrossEntropy
from unshaken.perturbations import Additive, Intensity, Mask, Movement, Relative
from unshaken.regularizer import Term

EXAMPLES = 8
"""Rows of mask tables; the largest batch of a contract."""

SHAPES = {"image": (2, 5, 7), "signal": (2, 9), "volume": (2, 4, 3, 5), "flat": (6,)}
EVERYWHERE = tuple(SHAPES)
SPATIAL = ("image", "signal", "volume")
PLANE = ("image", "volume")


@dataclass(frozen=True)
class Contract:
    """What a method is and what it promises."""

    make: Callable[[tuple[int, ...]], Term]
    """The method for inputs ``(N, *shape)``."""
    settings: tuple[str, ...]
    """What its repr must say."""
    labeled: bool = False
    on: tuple[str, ...] = EVERYWHERE
    """The kinds of inputs it is defined for."""
    draws: bool = False
    """Whether it draws random numbers of its own."""
    still: bool = False
    """Whether constant images make it zero: nothing moves there."""


def _generator(shape: tuple[int, ...]) -> masks.Generator:
    return masks.Generator(shape[0], len(shape) - 1)


def _table(shape: tuple[int, ...]) -> masks.Table:
    return masks.Table(EXAMPLES, shape[1:] if len(shape) > 1 else shape)


class _Light(Intensity):
    """Brightness and contrast; on a constant input the second one is no change."""

    def changes(self, x: Tensor) -> Tensor:
        level = x.flatten(1).mean(1).reshape(-1, *[1] * (x.dim() - 1))
        return torch.stack([torch.ones_like(x), x - level], 1)


CONTRACTS: dict[str, Contract] = {
    "random": Contract(
        lambda _: Random(Additive(2), 5.0), ("Random", "radius=5", "norm=2", "KL"), draws=True
    ),
    "random-movement": Contract(
        lambda _: Random(Movement(fields.Affine()), 0.5, weight=2.0),
        ("Random", "Affine()", "weight=2"),
        on=SPATIAL,
        draws=True,
        still=True,
    ),
    "random-mask": Contract(
        lambda _: Random(Mask(), 0.3), ("Random", "Mask", "radius=0.3"), draws=True
    ),
    "at-l2": Contract(
        lambda _: AT(0.3), ("AT", "norm=2", "radius=0.3", "CrossEntropy"), labeled=True
    ),
    "at-linf": Contract(
        lambda _: AT(0.05, math.inf), ("AT", "norm=inf", "radius=0.05"), labeled=True
    ),
    "vat-difference": Contract(
        lambda _: VAT(0.5), ("VAT", "radius=0.5", "steps=1", "'difference'"), draws=True
    ),
    "vat-exact": Contract(
        lambda _: VAT(0.5, steps=2, direction="exact"), ("VAT", "steps=2", "'exact'"), draws=True
    ),
    "vat-reverse": Contract(
        lambda _: VAT(0.5, divergence="reverse-kl"), ("VAT", "reverse=True"), draws=True
    ),
    "vmt-shift": Contract(
        lambda _: VMT(fields.Shift(), weight=3.0),
        ("VMT", "Shift()", "'raw'", "weight=3"),
        labeled=True,
        on=SPATIAL,
        still=True,
    ),
    "vmt-elastic": Contract(
        lambda _: VMT(fields.Elastic(modes=3), border="circular"),
        ("VMT", "Elastic(modes=3)", "border='circular'"),
        labeled=True,
        on=SPATIAL,
        still=True,
    ),
    "vmt-unit": Contract(
        lambda _: VMT(fields.Shift(), gradient="unit"),
        ("VMT", "gradient='unit'"),
        labeled=True,
        on=SPATIAL,
        still=True,
    ),
    "vmt-unit-detached": Contract(
        lambda _: VMT(fields.Affine(), gradient="unit-detached"),
        ("VMT", "gradient='unit-detached'"),
        labeled=True,
        on=SPATIAL,
        still=True,
    ),
    "vmt-all": Contract(
        lambda _: VMT(fields.Shift(), fields.Rotation(), fields.Scale()),
        ("VMT", "Shift()", "Rotation()", "Scale()", "mixture=True"),
        labeled=True,
        on=PLANE,
        draws=True,
        still=True,
    ),
    "gradient-penalty": Contract(
        lambda _: Regularizer(Additive(2), Infinitesimal(), CrossEntropy(), name="penalty"),
        ("Regularizer", "Additive", "Infinitesimal"),
        labeled=True,
    ),
    "xat-generator": Contract(
        lambda shape: XAT(_generator(shape)),
        ("XAT", "Generator", "sparsity=1", "weight=0.5"),
        labeled=True,
        draws=True,
    ),
    "xat-steepest": Contract(lambda _: XAT(masks.Steepest(0.7)), ("XAT", "keep=0.7"), labeled=True),
    "xvat-generator": Contract(
        lambda shape: XVAT(_generator(shape), sparsity=3.0),
        ("XVAT", "Generator", "sparsity=3", "KL"),
        draws=True,
    ),
    "xvat-reinforce": Contract(
        lambda shape: XVAT(masks.Generator(shape[0], len(shape) - 1, estimator="reinforce")),
        ("XVAT", "Generator", "estimator='reinforce'"),
        draws=True,
    ),
    "xvat-straight-through": Contract(
        lambda shape: XVAT(masks.Table(EXAMPLES, shape[1:] or shape, estimator="straight-through")),
        ("XVAT", "estimator='straight-through'"),
        draws=True,
    ),
    "xvat-table": Contract(
        lambda shape: XVAT(_table(shape)), ("XVAT", f"examples={EXAMPLES}"), draws=True
    ),
    "xvat-scale-2": Contract(
        lambda shape: XVAT(_generator(shape), scale=2.0), ("XVAT", "scale=2"), draws=True
    ),
    "xvat-smooth": Contract(
        lambda shape: XVAT(_generator(shape), smoothness=1.0, divergence="reverse-kl"),
        ("XVAT", "smoothness=1", "reverse=True"),
        draws=True,
    ),
    "xvat-steepest": Contract(
        lambda _: XVAT(masks.Steepest(0.6)), ("XVAT", "keep=0.6"), draws=True
    ),
    "xvat-blocks": Contract(
        lambda _: XVAT(masks.Steepest(0.6, steps=2), block=2),
        ("XVAT", "keep=0.6", "steps=2", "block=2"),
        on=SPATIAL,
        draws=True,
    ),
    "xvat-worst-of": Contract(
        lambda _: XVAT(WorstOf(0.4, draws=3)), ("XVAT", "radius=0.4", "draws=3"), draws=True
    ),
    "at-worst-of": Contract(
        lambda _: Regularizer(Additive(2), WorstOf(0.5), CrossEntropy()),
        ("WorstOf", "radius=0.5", "draws=4"),
        labeled=True,
        draws=True,
    ),
    "random-blocks": Contract(
        lambda _: Random(Mask(block=2), 0.3), ("Random", "Mask", "block=2"), on=SPATIAL, draws=True
    ),
    "mat": Contract(
        lambda _: MAT(fields.Affine(), radius=0.7, padding="zeros"),
        ("MAT", "Affine()", "radius=0.7", "padding='zeros'"),
        labeled=True,
        on=SPATIAL,
    ),
    "at-remembered": Contract(
        lambda shape: AT(0.3, remember=(EXAMPLES, *shape)),
        ("AT", "Remembered", "radius=0.3", f"examples={EXAMPLES}"),
        labeled=True,
        draws=True,
    ),
    "mat-remembered": Contract(
        lambda shape: MAT(fields.Affine(), radius=0.7, remember=(EXAMPLES, *shape)),
        ("MAT", "Remembered", "Affine()", "radius=0.7"),
        labeled=True,
        on=SPATIAL,
        draws=True,
    ),
    "xat-remembered": Contract(
        lambda shape: XAT(masks.Steepest(0.7), remember=(EXAMPLES, *shape)),
        ("XAT", "Remembered", "weight=0.5"),
        labeled=True,
        draws=True,
    ),
    "mvat": Contract(
        lambda _: MVAT(fields.Shift(), radius=0.7),
        ("MVAT", "Shift()", "radius=0.7", "TopEigenvector"),
        on=SPATIAL,
        draws=True,
        still=True,
    ),
    "mvat-many-fields": Contract(
        lambda _: MVAT(fields.Affine(), fields.Elastic(modes=3), radius=0.7),
        ("MVAT", "Affine()", "Elastic(modes=3)"),
        on=SPATIAL,
        draws=True,
        still=True,
    ),
    "mat-steps": Contract(
        lambda _: MAT(fields.Affine(), radius=0.7, steps=2, exact=True, padding="circular"),
        ("MAT", "radius=0.7", "steps=2", "exact=True", "padding='circular'"),
        labeled=True,
        on=SPATIAL,
    ),
    "mvat-finite": Contract(
        lambda _: MVAT(fields.Affine(), fields.Elastic(modes=2), radius=0.7, finite=True),
        ("MVAT", "Ascent", "radius=0.7", "steps=1", "Elastic(modes=2)"),
        on=SPATIAL,
        draws=True,
        still=True,
    ),
    "mvat-reverse": Contract(
        lambda _: MVAT(fields.Affine(), radius=0.7, divergence="reverse-kl"),
        ("MVAT", "TopEigenvector", "reverse=True"),
        on=SPATIAL,
        draws=True,
        still=True,
    ),
    "mvat-steps": Contract(
        lambda _: MVAT(fields.Affine(), radius=0.7, steps=2),
        ("MVAT", "steps=2", "PowerIteration"),
        on=SPATIAL,
        draws=True,
        still=True,
    ),
    "relative": Contract(
        lambda _: Regularizer(Relative(2, anchor=-1.0), PowerIteration(0.3), KL()),
        ("Relative", "norm=2", "radius=0.3"),
        draws=True,
    ),
    "relative-step": Contract(
        lambda _: Regularizer(Relative(math.inf), SteepestStep(0.1), CrossEntropy()),
        ("Relative", "norm=inf", "radius=0.1"),
        labeled=True,
    ),
    "entropy": Contract(lambda _: EntropyMinimization(0.5), ("EntropyMinimization", "weight=0.5")),
    "balance": Contract(lambda _: ClassBalance(), ("ClassBalance", "weight=1")),
    "intensity": Contract(
        lambda _: Regularizer(_Light(), SteepestStep(0.2), CrossEntropy()),
        ("SteepestStep", "radius=0.2"),
        labeled=True,
    ),
    "intensity-virtual": Contract(
        lambda _: Regularizer(_Light(), PowerIteration(0.2, direction="exact"), KL()),
        ("PowerIteration", "radius=0.2"),
        draws=True,
    ),
}

SEED = 11


def call(term: Term, model: torch.nn.Module, x: Tensor, y: Tensor, **options: Tensor) -> Tensor:
    """The term's value from a fixed random state, with everything any row may need."""
    torch.manual_seed(SEED)
    return term(model, x, y if term.labeled else None, index=torch.arange(len(x)), **options)


def supervised(terms: list[Term], model: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean cross-entropy, where no term stands in for it."""
    if any(term.replaces for term in terms):
        return x.new_zeros(())
    return torch.nn.functional.cross_entropy(model(x), y)


def tolerance(terms: list[Term]) -> float:
    """How close an objective is to the sum of its terms.

    Without a live pass a search by finite differences may take Jᵀ at its other end.
    """
    shifted = any(t.replaces for t in terms) and any(t.needs == "linearization" for t in terms)
    return 1e-6 if shifted else 1e-12


_FIRST = ("linearization", "input", "input-graph", "logits", "nothing")


def in_order(terms: list[Term], unlabeled: bool = False) -> list[Term]:
    """Terms in the order in which an objective draws for them.

    The labeled batch comes first, and of each batch what needs the graph of its clean pass.
    """
    return sorted(terms, key=lambda t: (unlabeled and not t.labeled, _FIRST.index(t.needs)))
