"""The pictures of a report, each with the sentence that says what to see in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from unshaken import pictures
from unshaken.pictures import Boundary, Panel
from unshaken.pictures.curves import Histories, has, number
from unshaken.pictures.errors import results

Record = Mapping[str, Any]
Drawn = Iterator[tuple[Figure, str]]


_PANELS_PER_FIGURE = 2
_CONTROLS = (
    "random",
    "random-tuned",
    "random-movement",
    "mask-random",
    "relative-random",
    "random-elastic",
    "random-elastic-labels",
    "random-movement-labels",
    "few-labels-random",
    "dropout",
)

_CAPTIONS = {
    "additive": "The worst noise of each method and the input with it; where the noise gathers, the"
    " answer is most sensitive. Blue lowers a pixel, red raises it (of color images: darker and"
    " lighter than gray). The number is what the method maximized. Compare figure 5(b) of the xVAT"
    " paper.",
    "movement": "The worst movement of each method: the content goes along the arrows, its way"
    " drawn longer or shorter by the factor above. The moved image is I′(p) = I(p + V(p)): it"
    " samples from p + V, so that an arrow starts there and ends at p. The number is what the"
    " method maximized. Compare figure 1 of the VMT paper.",
    "mask": "The worst mask of each method (white kept, black taken away), and the input under it:"
    " a mask that beats chance covers what the answer depends on. The number is what the method"
    " maximized. Compare figure 5 of the xVAT paper.",
    "signals": "Signals before (gray) and after the worst perturbation, and beneath what was done:"
    " noise, mask, or the content's movement −V, since the moved signal is I′(p) = I(p + V(p)).",
}


def error_figures(rows: Sequence[Record], baseline: str, judge: str = "test") -> Drawn:
    """Each method's error, and the errors against the cost of a step."""
    found = results(rows)
    if found:
        bars = (
            "the thick bar is the mean ± one standard error, faint dots are the seeds"
            if max(len(result.errors) for result in found) > 1
            else "one seed each, so chance is not shown"
        )
        line = ""
        if any(result.method == baseline for result in found):
            line = f" Methods left of the dashed line make fewer errors than {baseline}."
        yield (
            pictures.errors(rows, baseline=baseline, judge=judge),
            f"{bars[0].upper()}{bars[1:]}.{line} Compare tables 2 and 3 of the VMT paper, tables 1,"
            " 2, 4 and 5 of the xVAT paper.",
        )
    if len([result for result in found if result.cost is not None]) > 1:
        yield (
            pictures.costs(rows, baseline=baseline, judge=judge),
            "A method on the dotted staircase is beaten by none in both error and time; what lies"
            " above it is dominated. Both papers report seconds per epoch.",
        )


def training_figures(
    records: Sequence[Record], rows: Sequence[Record], baseline: str, judge: str = "test"
) -> Drawn:
    """What changes over training: the error, the gap to the training loss, every R.

    ``judge`` says which examples are judged: "test" or "validation".
    """
    histories = _histories(records, judge)
    rivals = [r.method for r in results(rows) if r.method not in (baseline, *_CONTROLS)]
    strong = {baseline, "random", *rivals[:3]}
    said = "Drawn strongly: " + ", ".join(
        name for name in (baseline, "random", *rivals[:3]) if name in histories
    )
    kinds = (
        (
            f"{judge}_error",
            f"{judge.capitalize()} error",
            f"{judge} error, %",
            f"Who learns faster and who ends lower. {said}.",
        ),
        (
            "gap",
            "Generalization gap",
            f"{judge} loss − train loss",
            f"A regularizer that works keeps the {judge} loss near the training loss: lower is less"
            " overfitting. Compare figure 2(c) of the VMT paper.",
        ),
        *(
            (
                f"r_{field}",
                f"R of {field}",
                f"R_{field} on {judge} examples",
                f"How fast the loss changes under the worst infinitesimal {field}: lower is less"
                f" shaken. Compare figure {figure} of the VMT paper.",
            )
            for field, figure in (
                ("shift", "2(b) and 3(a)"),
                ("rotation", "3(b)"),
                ("scale", "3(c)"),
            )
        ),
    )
    for key, name, unit, caption in kinds:
        if not has(histories, key) or _moments(histories, key) < 2:
            continue
        log = key.startswith("r_") or (key == f"{judge}_error" and _wide(histories, key))
        unit = f"{unit} (log scale)" if log else unit
        drawing = pictures.curves(
            histories, key, title=name, ylabel=unit, log=log, emphasize=strong
        )
        yield drawing, caption


def worst_figures(panels: Sequence[Panel]) -> Drawn:
    """The worst perturbations, alike ones side by side."""
    groups: dict[tuple[str, tuple[int, ...]], list[Panel]] = {}
    for panel in panels:
        name = "signals" if panel.dimensions == 1 else str(panel.kind)
        groups.setdefault((name, tuple(panel.clean.shape[1:])), []).append(panel)
    told: set[str] = set()
    for kind in _CAPTIONS:
        draw = pictures.signals if kind == "signals" else pictures.worst
        for group in (group for (name, _), group in groups.items() if name == kind):
            for start in range(0, len(group), _PANELS_PER_FIGURE):
                some = group[start : start + _PANELS_PER_FIGURE]
                again = f"The same for {' and '.join(panel.method for panel in some)}."
                yield draw(some), again if kind in told else _CAPTIONS[kind]
                told.add(kind)


def boundary_figures(boundaries: Sequence[Boundary]) -> Drawn:
    """The decision boundaries, if there are any."""
    if boundaries:
        yield (
            pictures.boundaries(boundaries),
            "A good boundary (the line) passes between the groups of unlabeled points (dots), not"
            " merely between the few labeled ones (large marks). Compare figure 4 of the xVAT"
            " paper.",
        )


def _histories(records: Sequence[Record], judge: str) -> Histories:
    """The histories by method, each with its gap, in the order of the records."""
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for record in records:
        history = [dict(entry) for entry in record.get("history") or ()]
        for entry in history:
            judged, train = number(entry.get(f"{judge}_loss")), number(entry.get("train_loss"))
            if entry.get("gap") is None and judged is not None and train is not None:
                entry["gap"] = judged - train
        if history:
            found.setdefault(str(record.get("method", "")), []).append(history)
    return found


def _values(histories: Histories, key: str) -> Iterator[float]:
    for runs in histories.values():
        for history in runs:
            for entry in history:
                value = number(entry.get(key))
                if value is not None:
                    yield value


def _wide(histories: Histories, key: str) -> bool:
    """Whether positive values span more than a factor that a linear axis shows well."""
    values = list(_values(histories, key))
    return min(values) > 0 and max(values) / min(values) > 6


def _moments(histories: Histories, key: str) -> int:
    return max(
        sum(number(entry.get(key)) is not None for entry in history)
        for runs in histories.values()
        for history in runs
    )
