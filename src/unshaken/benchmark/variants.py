"""What is measured: the methods of the catalog and some more, one row each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unshaken.benchmark.textbook import (
    DoubleBackward,
    Masked,
    Power,
    RandomControl,
    Steepest,
    Textbook,
)
from unshaken.methods import MVAT, VMT, catalog
from unshaken.methods.catalog import Shape
from unshaken.perturbations.fields import Affine, Shift
from unshaken.regularizer import Regularizer, Term

Terms = Callable[[Shape], list[Term]]
Count = Callable[[Shape, int], float]


def _from_catalog(name: str, shape: Shape) -> list[Term]:
    return catalog.build(name, shape, catalog.settings_for(name, {}))


def _closed_form(shape: Shape, classes: int) -> float:
    """MVAT's curvature takes a pass for each field or for each output, whichever are fewer."""
    return 6 + min(len(Affine().basis(shape.size)), classes)


@dataclass(frozen=True)
class Variant:
    """One method as it is measured.

    Attributes:
        name: as the command line knows it.
        least: the fewest units a step needs, a unit being one forward, input-gradient or
            weight-gradient pass; a plain step has 3. A function of the data's shape and the
            number of classes where it depends on them, None where nobody has counted.
        textbook: how public implementations compute it; None where there is none.
        terms: the regularizers; by default the catalog's, at its settings.
        axes: how many spatial axes the inputs need, for a variant that the catalog lacks.
        period: steps after which its cost repeats.
    """

    name: str
    least: float | Count | None = None
    textbook: type[Textbook] | None = None
    terms: Terms | None = None
    axes: int = 0
    period: int = 1

    def count(self, shape: Shape, classes: int) -> float | None:
        """The least number of units for data of a shape."""
        return self.least(shape, classes) if callable(self.least) else self.least

    def build(self, shape: Shape) -> list[Term]:
        """The terms for data of a shape."""
        return _from_catalog(self.name, shape) if self.terms is None else self.terms(shape)

    def build_textbook(self, terms: Sequence[Term]) -> Textbook | None:
        """The textbook's way of the same terms."""
        if self.textbook is None or len(terms) != 1 or not isinstance(terms[0], Regularizer):
            return None
        return self.textbook(terms[0])

    def fits(self, size: Sequence[int]) -> bool:
        """Whether it is defined for inputs with these spatial axes."""
        if self.name in catalog.CATALOG:
            return catalog.fits(self.name, size)
        return len(size) >= self.axes


VARIANTS = (
    Variant("baseline", 3),
    Variant("dropout", 3),
    Variant("random", 6, RandomControl),
    Variant("random-tuned", 6, RandomControl),
    Variant("random-movement", 6, RandomControl),
    Variant("at-l2", 6, Steepest),
    Variant("at-linf", 6, Steepest),
    Variant("vat", 8, Power),
    Variant("vmt-shift", 6, DoubleBackward),
    Variant("vmt-rotation", 6, DoubleBackward),
    Variant("vmt-scale", 6, DoubleBackward),
    Variant("vmt-all", 6, DoubleBackward),
    Variant("xat", 6, Masked),
    Variant("xvat", 6, Masked),
    Variant("xvat-transductive", 6, Masked),
    Variant("mask-steepest", 8),
    Variant("mask-worst", 10),
    Variant("mask-random", 6, RandomControl),
    Variant("relative", 8, Power),
    Variant("relative-random", 6, RandomControl),
    Variant("mat", 6, Steepest),
    Variant("at-remembered", 3),
    Variant("mat-remembered", 3),
    Variant("mvat", _closed_form),
    Variant("mat-elastic", 8),
    Variant("mvat-elastic", 8),
    Variant("random-elastic", 6, RandomControl),
    Variant("random-elastic-labels", 6),
    Variant("random-movement-labels", 6),
    # Beyond the catalog: give terms=, and axes= where inputs must have some.
    Variant("vmt-affine", 6, DoubleBackward, lambda _: [VMT(Affine())], axes=1),
    Variant("vmt-shift every=3", 4, None, lambda _: [VMT(Shift(), every=3)], axes=1, period=3),
    Variant("mvat-power", 8, terms=lambda _: [MVAT(Affine(), radius=0.5, steps=1)], axes=1),
)


def named(name: str) -> Variant:
    """The row of that name; one of the catalog's needs none.

    Raises:
        ValueError: if the name is unknown.
    """
    for variant in VARIANTS:
        if variant.name == name:
            return variant
    catalog.parts(name)
    return Variant(name)


def names_for(size: Sequence[int], network: str = "mlp") -> list[str]:
    """Every variant for inputs with these spatial axes: the catalog's, then the others."""
    own = [v.name for v in VARIANTS if v.name not in catalog.CATALOG and v.fits(size)]
    return catalog.names_for(size, network) + own
