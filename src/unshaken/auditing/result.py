"""What an audit found, for people and for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Curve:
    """One family of movements.

    Attributes:
        unit: of degrees and thresholds.
        pixels: root mean square displacement of one unit (of small degrees), in pixels.
        degrees: where accuracy was measured.
        worst: accuracy in per cent under the worst direction found up to each degree.
        random: under a random direction of that degree.
        threshold: ``(N,)`` the least degree that changes the prediction; infinite where none did.
        tolerance: how far above the least degree along the directions tried a threshold may lie.
    """

    unit: str
    pixels: float
    degrees: list[float]
    worst: list[float]
    random: list[float]
    threshold: Tensor
    tolerance: float

    @property
    def median(self) -> float:
        """Of the thresholds; infinite where fewer than half of the predictions changed."""
        return median(self.threshold.tolist())

    @property
    def unchanged(self) -> float:
        """Per cent of the examples whose prediction no degree changed."""
        return 100 * float((self.threshold == math.inf).double().mean())


@dataclass(frozen=True)
class Moved:
    """An example and the least movement found that changes its prediction.

    Attributes:
        index: its place in the data.
        family: the kind of movement.
        degree: how far, in the family's unit.
        before, after: the predictions.
        label: the true class, if known.
        clean, moved: ``(C, *size)``.
        displacement: ``(n, *size)`` in pixels.
    """

    index: int
    family: str
    degree: float
    before: int
    after: int
    label: int | None
    clean: Tensor
    moved: Tensor
    displacement: Tensor


@dataclass(frozen=True)
class Audit:
    """How easily a classifier is shaken.

    Attributes:
        curves: by family of movements.
        sensitivity: by kind of change the rate ``(N,)`` at which each example's loss begins to
            rise (:func:`unshaken.auditing.sensitivity.sensitivities`).
        layers: by family what each layer makes of a small movement
            (:class:`unshaken.auditing.layers.Layers`).
        predictions: ``(N,)`` of the inputs as they are.
        labels: ``(N,)``, or None: then accuracies count what stays as predicted.
        shaken: the examples that are most easily shaken, of every family; rightly classified ones
            where labels are known.
        seconds: wall time.
        about: model, data, options, machine.
        classes: names of the classes, if known.
    """

    curves: Mapping[str, Curve]
    sensitivity: Mapping[str, Tensor]
    layers: Mapping[str, Sequence[Mapping[str, Any]]]
    predictions: Tensor
    labels: Tensor | None
    shaken: Sequence[Moved]
    seconds: float
    about: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] = ()

    @property
    def accuracy(self) -> float:
        """Per cent of the inputs as they are; 100 without labels."""
        if self.labels is None:
            return 100.0
        return 100 * float((self.predictions == self.labels).double().mean())

    def class_name(self, k: int) -> str:
        """The class as people call it, with its number where several are called so."""
        if k >= len(self.classes):
            return str(k)
        name = self.classes[k]
        return name if self.classes.count(name) == 1 else f"{name} ({k})"

    def by_class(self) -> dict[str, dict[str, float]]:
        """By class (the true one, else the predicted) the median threshold of each family."""
        own = self.predictions if self.labels is None else self.labels
        return {
            self.class_name(int(k)): {
                name: median(curve.threshold[own == k].tolist())
                for name, curve in self.curves.items()
            }
            for k in own.unique()
        }

    def easiest(self, family: str) -> Tensor:
        """The examples' places, the most easily shaken first."""
        return self.curves[family].threshold.argsort(stable=True)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures as plain values; an infinite threshold is None."""
        return {
            "about": dict(self.about),
            "examples": len(self.predictions),
            "accuracy": self.accuracy,
            "seconds": self.seconds,
            "movements": {
                name: {
                    "unit": c.unit,
                    "pixels_per_unit": c.pixels,
                    "tolerance": c.tolerance,
                    "median_threshold": _finite(c.median),
                    "unchanged_percent": c.unchanged,
                    "degrees": c.degrees,
                    "accuracy_worst": c.worst,
                    "accuracy_random": c.random,
                    "thresholds": [_finite(t) for t in c.threshold.tolist()],
                    "most_easily_shaken": self.easiest(name)[:20].tolist(),
                }
                for name, c in self.curves.items()
            },
            "sensitivity": {
                name: {"median": float(v.median()), "values": v.tolist()}
                for name, v in self.sensitivity.items()
            },
            "layers": {name: [dict(row) for row in rows] for name, rows in self.layers.items()},
            "classes": {
                name: {family: _finite(t) for family, t in row.items()}
                for name, row in self.by_class().items()
            },
            "predictions": self.predictions.tolist(),
            "labels": None if self.labels is None else self.labels.tolist(),
        }

    def summary(self, other: Audit | None = None) -> dict[str, Any]:
        """:meth:`to_dict`, with a second audit's and the comparison where there is one."""
        content = self.to_dict()
        if other is not None:
            content |= {"other": other.to_dict(), "comparison": compare(self, other)}
        return content

    def save(self, folder: Path | str, other: Audit | None = None) -> Path:
        """Write ``audit.json`` and ``report.html``; returns the latter's path.

        Args:
            folder: it is made.
            other: a second audit to show beside this one.
        """
        from unshaken.auditing.report import render
        from unshaken.comparison.folder import write_json
        from unshaken.training.atomic import replace_bytes

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "audit.json", self.summary(other))
        replace_bytes(folder / "report.html", render(self, other).encode())
        return folder / "report.html"

    def table(self) -> str:
        """The thresholds as text."""
        count = len(self.predictions)
        first = f"accuracy {self.accuracy:.2f} % on {count} examples"
        if self.labels is None:
            first = f"{count} examples without labels: accuracy counts unchanged predictions"
        lines = [
            first,
            f"{'movement':10s} {'median threshold':>22s} {'unchanged':>10s}   worst accuracy",
        ]
        for name, c in self.curves.items():
            middle = f"{c.median:.3g}" if c.median < math.inf else f"> {c.degrees[-1]:.3g}"
            lines.append(
                f"{name:10s} {middle + ' ' + c.unit:>22s} {c.unchanged:>8.1f} % "
                f"{c.worst[-1]:>8.1f} % at {c.degrees[-1]:.3g}"
            )
        return "\n".join(lines)


def compare(a: Audit, b: Audit) -> dict[str, dict[str, float | None]]:
    """How much further movements must go for ``b`` than for ``a``, example by example.

    By family the mean difference of the thresholds (what no degree changed counts as the largest
    degree) with its standard error, None of one example, and how many examples have the larger
    threshold in each.

    Raises:
        ValueError: they are not of the same examples and families.
    """
    if set(a.curves) != set(b.curves) or len(a.predictions) != len(b.predictions):
        raise ValueError("a and b must be audits of the same examples and families")
    if a.labels is not None and b.labels is not None and not torch.equal(a.labels, b.labels):
        raise ValueError("a and b must be audits of the same examples, but their labels differ")
    found: dict[str, dict[str, float | None]] = {}
    for name, curve in a.curves.items():
        other = b.curves[name]
        if curve.degrees != other.degrees:
            raise ValueError(f"a and b must look equally far: {name} has other degrees")
        top = curve.degrees[-1]
        difference = (other.threshold.clamp(max=top) - curve.threshold.clamp(max=top)).double()
        found[name] = {
            "difference": float(difference.mean()),
            "standard_error": _standard_error(difference),
            "larger": int((difference > 0).sum()),
            "smaller": int((difference < 0).sum()),
        }
    return found


def _standard_error(values: Tensor) -> float | None:
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
