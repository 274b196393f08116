"""The regularizers of an estimator, from a name, terms, or nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from unshaken.adversaries import PowerIteration, Random, SteepestStep
from unshaken.divergences import CrossEntropy, Divergence, SquaredError
from unshaken.methods import catalog
from unshaken.perturbations import Additive
from unshaken.regularizer import Regularizer, Term

ADDITIVE = ("random", "random-tuned", "at-l2", "at-linf", "at-remembered", "vat")
"""Methods whose radius is a length in the space of the inputs."""

SHARE = 0.25
"""Unless given, a perturbation's length ÷ that of a typical standardized row, ``√features``."""


def classifier_terms(
    regularizer: Any, shape: catalog.Shape, radius: float | None, weight: float | None
) -> list[Term]:
    """The terms for ``regularizer``: a catalog name, a term, several of them, or None.

    Raises:
        ValueError, TypeError: it is nothing of that, or the settings do not suit it.
    """
    given = _given(regularizer, radius, weight)
    if given is not None:
        return given
    names = catalog.parts(regularizer)
    settings: dict[str, dict[str, float]] = {}
    for name in names:
        known = catalog.CATALOG[name].settings
        own = settings.setdefault(name, {})
        if name in ADDITIVE:
            own["radius"] = default_radius(shape, infinite=name == "at-linf")
        if radius is not None and "radius" in known:
            own["radius"] = radius
        if weight is not None and "weight" in known and name not in catalog.PARTS:
            own["weight"] = weight
    return catalog.build(regularizer, shape, catalog.settings_for(regularizer, settings))


def regressor_terms(
    regularizer: Any, shape: catalog.Shape, radius: float | None, weight: float | None
) -> list[Term]:
    """As :func:`classifier_terms`, with the squared error as divergence.

    The labels that the terms get hold each row's weight beside its targets.
    """
    given = _given(regularizer, radius, weight)
    if given is not None:
        for term in given:
            divergence = getattr(term, "divergence", None)
            if isinstance(divergence, CrossEntropy):
                raise ValueError(
                    f"regularizer: {term.name} compares with classes; give it a divergence for "
                    "regression, as divergence=SquaredError(labeled=True)"
                )
            if isinstance(divergence, Divergence) and divergence.labeled:
                term.divergence = Weighted(divergence)
        return given
    if regularizer not in _REGRESSION:
        known = ", ".join(_REGRESSION)
        raise ValueError(
            f"regularizer must be one of {known}, a term with a divergence for regression, or "
            f"None; got {regularizer!r}"
        )
    size = default_radius(shape, infinite=regularizer == "at-linf") if radius is None else radius
    return [_REGRESSION[regularizer](size, 1.0 if weight is None else weight)]


def default_radius(shape: catalog.Shape, *, infinite: bool = False) -> float:
    """A quarter of a typical standardized row's length; in the maximum norm a quarter of 1."""
    features = shape.channels * math.prod(shape.size)
    return SHARE if infinite else SHARE * math.sqrt(features)


class Weighted(Divergence):
    """``w D(f(x'), t)`` for targets that come with a weight each: ``(N, T + 1)``.

    Args:
        divergence: D, labeled; by default the squared error.
    """

    labeled = True

    def __init__(self, divergence: Divergence | None = None) -> None:
        super().__init__()
        self.divergence = SquaredError(labeled=True) if divergence is None else divergence

    def target(self, logits: Tensor, y: Tensor | None) -> Tensor:
        if y is None:
            raise ValueError("y must hold targets and their weights, got y=None")
        return y

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        values, weights = target[:, :-1], target[:, -1]
        distance: Tensor = self.divergence(logits, self.divergence.target(logits, values))
        return weights * distance


def _given(regularizer: Any, radius: float | None, weight: float | None) -> list[Term] | None:
    """Terms that need no name; None for a name."""
    if isinstance(regularizer, str):
        return None
    if radius is not None or weight is not None:
        raise ValueError(
            "radius and weight belong to a regularizer given by name; give them to the term itself"
        )
    if regularizer is None:
        return []
    terms = [regularizer] if isinstance(regularizer, Term) else regularizer
    if not isinstance(terms, Sequence) or not all(isinstance(term, Term) for term in terms):
        raise TypeError(
            "regularizer must be a method's name, an unshaken term, a list of terms, or None; "
            f"got {regularizer!r}"
        )
    return copy.deepcopy(list(terms))


_REGRESSION: Mapping[str, Callable[[float, float], Regularizer]] = {
    "vat": lambda radius, weight: Regularizer(
        Additive(2), PowerIteration(radius), SquaredError(), weight, name="vat"
    ),
    "random": lambda radius, weight: Regularizer(
        Additive(2), Random(radius), SquaredError(), weight, name="random"
    ),
    "at-l2": lambda radius, weight: Regularizer(
        Additive(2), SteepestStep(radius), Weighted(), weight, name="at-l2"
    ),
    "at-linf": lambda radius, weight: Regularizer(
        Additive(math.inf), SteepestStep(radius), Weighted(), weight, name="at-linf"
    ),
}
