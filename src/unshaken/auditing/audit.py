"""The audit of a trained classifier."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unshaken import checks
from unshaken.auditing import search as searching
from unshaken.auditing.examples import examples_of
from unshaken.auditing.families import Family, families_for
from unshaken.auditing.layers import Layers
from unshaken.auditing.result import Audit, Curve, Moved
from unshaken.auditing.sensitivity import input_gradient, outputs_of, sensitivities
from unshaken.perturbations.warp import PADDINGS, warp

SHOWN = 4
"""Examples that are shown, of each family: rightly classified ones, where labels are known."""

INSIDE = 128
"""Examples whose way through the layers is followed: a mean over them settles soon."""

QUICK: Mapping[str, Any] = {"families": ("shift", "rotation"), "steps": 4, "directions": 0}
"""What a quick audit looks at: at most 22 passes for each family, and none into the network."""

Progress = Callable[[str, int, int], None]
"""Told after every batch: the part or family, how many examples' work is done, of how many."""


def audit(
    model: nn.Module,
    data: Any,
    *,
    families: Sequence[str] | None = None,
    examples: int | None = 500,
    steps: int | None = None,
    directions: int | None = None,
    largest: Mapping[str, float] | None = None,
    layers: Sequence[str] | bool | None = None,
    quick: bool = False,
    padding: str = "border",
    batch_size: int = 64,
    device: str | torch.device | None = None,
    seed: int = 0,
    classes: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """How far a movement must go before a trained classifier changes its answer.

    For each family the degrees are scanned from small to large along several directions, the worst
    one to first order among them, and the step in which a prediction changes is halved five times.
    A threshold is therefore an upper bound: a direction that was not tried may need less. Movements
    are exact (a rotation rotates) and resample the input by linear interpolation. Memory is that
    of one batch.

    Args:
        model: from ``(N, C, *size)`` to outputs ``(N, classes)``; put in evaluation mode and back.
        data: ``(x, y)`` or ``x`` alone, as tensors or arrays, a loader of such batches, a torch
            ``Dataset`` of such examples, or a :class:`unshaken.data.Dataset` (its test set).
            Without labels accuracies count what stays as predicted.
        families: ``"shift"`` (pixels), ``"rotation"`` (degrees), ``"scale"`` (per cent),
            ``"affine"``, ``"elastic"`` (pixels, root mean square); all that suit unless given.
        examples: how many are looked at, the first ones; None for all.
        steps: degrees of the scan, 16 unless given.
        directions: directions to try beside the worst one and its opposite, in families that have
            more than one parameter, 14 unless given. Work is at most
            ``steps × (directions + 3)`` passes for each.
        largest: by family how far to look, in its unit.
        layers: whether to look into the network, or the names of the modules to look at; the first
            128 examples suffice for that; unless given it does, but not in a quick audit.
        quick: shift and rotation alone, four degrees, the worst direction and its opposite; for
            large networks. What is given beside it holds.
        padding: what lies outside of an input: ``"border"``, ``"zeros"``, ``"reflection"``,
            ``"circular"``.
        batch_size: examples that pass the network at once.
        device: ``"cpu"``, ``"cuda"``; that of the model unless given.
        seed: of the random directions, which also depend on how many examples there are.
        classes: names of the classes, for the report; one that comes twice stands there with its
            number.
        about: what else the report should tell.
        progress: told after every batch: the part or family, how many examples' work is done, and
            of how many.

    Raises:
        TypeError, ValueError: the model is no module, the data are nothing of the kind, inputs have
            no spatial axes, or an option is unknown.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    steps = steps if steps is not None else QUICK["steps"] if quick else 16
    directions = directions if directions is not None else QUICK["directions"] if quick else 14
    layers = not quick if layers is None else layers
    for value, name in ((steps, "steps"), (batch_size, "batch_size")):
        checks.integer(value, name)
    checks.integer(directions, "directions", low=0)
    checks.integer(seed, "seed", low=0)
    checks.choice(padding, "padding", PADDINGS)
    families = [families] if isinstance(families, str) else families
    layers = [layers] if isinstance(layers, str) else layers
    begin = time.monotonic()
    x, y = examples_of(data, examples)
    found = families_for(families, tuple(x.shape[2:]), padding)
    if quick and families is None:
        found = [family for family in found if family.name in QUICK["families"]]
    for name, degree in (largest or {}).items():
        if name not in {family.name for family in found}:
            raise ValueError(f"largest must name families that are looked at, got {name!r}")
        checks.number(degree, f"largest: {name}", low=0.0, open_low=True)
    like = next(model.parameters(), torch.zeros(()))
    if like.is_floating_point():
        x = x.to(like.dtype)
    place = like.device if device is None else torch.device(device)
    modes = [(module, module.training) for module in model.modules()]
    model.to(place).eval()
    try:
        # Tensors of inference mode know no gradient.
        with torch.inference_mode(False):
            x = x.clone() if x.is_inference() else x
            result = _Work(model, x, y, place, batch_size, padding, seed, progress).run(
                found, steps, directions, largest or {}, layers
            )
    finally:
        model.to(like.device)
        for module, training in modes:
            module.training = training
    told = {
        "examples": len(x),
        "batch size": batch_size,
        "degrees of the scan": steps,
        "further directions": directions,
        "padding": padding,
        "device": str(place),
        **(about or {}),
    }
    return Audit(
        **result,
        labels=y,
        seconds=time.monotonic() - begin,
        about=told,
        classes=tuple(classes),
    )


class _Work:
    """One audit under way."""

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None,
        place: torch.device,
        batch_size: int,
        padding: str,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self.model, self.x, self.y, self.place = model, x, y, place
        self.batch_size, self.padding = batch_size, padding
        self.seed, self.progress = seed, progress

    def run(
        self,
        families: list[Family],
        steps: int,
        directions: int,
        largest: Mapping[str, float],
        layers: Sequence[str] | bool,
    ) -> dict[str, Any]:
        clean, steepest, rates = self._start(families)
        inside: Mapping[str, Any] = {}
        if layers:
            inside = self._layers(families, None if isinstance(layers, bool) else list(layers))
        curves, shaken = {}, []
        for family in families:
            degrees = searching.degrees_of(family, largest.get(family.name), steps)
            # What one family is found to do depends neither on the others nor on the batches.
            generator = torch.Generator().manual_seed(self.seed)
            looked = searching.directions_of(family, steepest[family.name], directions, generator)
            found = searching.search(
                family,
                self.x,
                clean,
                self,
                looked,
                degrees,
                generator,
                self.padding,
                partial(self._told_share, family.name),
            )
            curves[family.name] = self._curve(family, found, clean)
            shaken += self._shown(family, found, clean)
            self._told(family.name, len(self.x), len(self.x))
        return {
            "curves": curves,
            "sensitivity": rates,
            "layers": inside,
            "predictions": clean,
            "shaken": shaken,
        }

    def __call__(self, x: Tensor) -> Tensor:
        """The classes that the model predicts."""
        with torch.no_grad():
            return outputs_of(self.model, x.to(self.place)).argmax(1)

    def _start(self, families: list[Family]) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Predictions, by family the worst directions to first order, and sensitivities."""
        clean, directions, parts = [], [], []
        for k, x in enumerate(self.x.split(self.batch_size)):
            x = x.to(self.place)
            # What is to be left is the prediction, be it right or wrong.
            outputs, g = input_gradient(self.model, x)
            predicted, own = outputs.argmax(1), g
            if self.y is not None:
                labels = self.y[k * self.batch_size :][: len(x)].to(self.place)
                labels = checks.labels(labels, len(x), outputs, "labels")
                wrong = (labels != predicted).nonzero().flatten()
                if len(wrong):
                    _, other = input_gradient(self.model, x[wrong], labels[wrong])
                    own = g.index_copy(0, wrong, other)
            parts.append({n: v.cpu() for n, v in sensitivities(x, own, families).items()})
            clean.append(predicted.cpu())
            directions.append({f.name: f.steepest(x, g).cpu() for f in families})
            self._told("start", min((k + 1) * self.batch_size, len(self.x)), len(self.x))
        return torch.cat(clean), _joined(directions), _joined(parts)

    def _layers(self, families: list[Family], names: list[str] | None) -> Mapping[str, Any]:
        layers, some = Layers(self.model, names), self.x[:INSIDE]
        generator = torch.Generator().manual_seed(self.seed)
        for k, x in enumerate(some.split(self.batch_size)):
            layers.add(self.model, x.to(self.place), families, generator, self.padding)
            self._told("layers", min((k + 1) * self.batch_size, len(some)), len(some))
        return layers.result()

    def _curve(self, family: Family, found: searching.Found, clean: Tensor) -> Curve:
        right = torch.ones_like(clean, dtype=torch.bool) if self.y is None else clean == self.y
        goal = clean if self.y is None else self.y

        def percent(mask: Tensor) -> float:
            return 100 * float(mask.double().mean())

        return Curve(
            unit=family.unit,
            pixels=family.pixels(1.0),
            degrees=found.degrees,
            worst=[percent(right & (found.threshold > d)) for d in found.degrees],
            random=[percent(p == goal) for p in found.random],
            threshold=found.threshold,
            tolerance=searching.tolerance(found.degrees),
        )

    def _shown(self, family: Family, found: searching.Found, clean: Tensor) -> list[Moved]:
        rows = found.threshold.argsort(stable=True)
        rows = rows[found.threshold[rows] < float("inf")]
        if self.y is not None:
            # What is wrong already, at the edge of another class, tells little.
            rows = rows[clean[rows] == self.y[rows]]
        rows = rows[:SHOWN]
        if not len(rows):
            return []
        x = self.x[rows]
        v = family.displacement(x, found.direction[rows], found.threshold[rows])
        moved = warp(x, v, self.padding)
        return [
            Moved(
                index=int(i),
                family=family.name,
                degree=float(found.threshold[i]),
                before=int(clean[i]),
                after=int(found.changed_to[i]),
                label=None if self.y is None else int(self.y[i]),
                clean=x[k],
                moved=moved[k],
                displacement=v[k],
            )
            for k, i in enumerate(rows.tolist())
        ]

    def _told_share(self, what: str, share: float) -> None:
        """All examples are told of when the family is done."""
        self._told(what, min(int(share * len(self.x)), len(self.x) - 1), len(self.x))

    def _told(self, what: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(what, done, total)


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Of every batch, as one."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
