"""The pictures of a recipe, from its stored runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from unshaken import pictures
from unshaken.comparison import figures, gallery
from unshaken.comparison.recipe import Part, Recipe
from unshaken.comparison.single import Loader
from unshaken.comparison.statistics import rows as rows_of

Drawn = Iterator[tuple[Figure, str]]
Records = Mapping[str, Sequence[Mapping[str, Any]]]


def drawings(
    recipe: Recipe,
    done: Sequence[Part],
    records: Mapping[str, Records],
    out: Path,
    scale: str,
    rows: Sequence[Mapping[str, Any]],
) -> Drawn:
    """Every picture with its caption.

    Args:
        recipe: the table or figure.
        done: its parts that were run.
        records: the finished runs of each part, by method.
        out: its folder.
        scale: of its runs.
        rows: its table.
    """
    if recipe.draws == "fields":
        yield from _fields()
    kinds: Mapping[str, Callable[[Part, Path, Records, str], Drawn]] = {
        "training": _training,
        "boundaries": _boundaries,
        "weights": _weights,
        "masks": _masks,
    }
    for part in done:
        if recipe.draws in kinds:
            # Pictures of a method without a finished run are those of earlier settings.
            found = {method: runs for method, runs in records[part.name].items() if runs}
            yield from kinds[recipe.draws](part, out / part.name, found, scale)
        elif recipe.draws == "surface":
            yield from _surface(part, [row for row in rows if row["part"] == part.name], scale)


def _training(part: Part, folder: Path, records: Records, scale: str) -> Drawn:
    dataset = Loader()(part.at(scale), 0)
    if len(dataset.size) == 1:
        signals, names = [], []
        for k in range(dataset.classes):
            for example in dataset.x_train[(dataset.y_train == k).nonzero()[:2, 0]]:
                signals.append(example[0].double().numpy())
                names.append(f"class {k}")
        drawing = pictures.samples(signals, names, title="Samples")
        yield drawing, "Two training examples of each class. Compare figure 2(a) of the VMT paper."
    every = [record for found in records.values() for record in found]
    yield from figures.training_figures(every, rows_of(every, list(records)), "baseline")


def _boundaries(part: Part, folder: Path, records: Records, scale: str) -> Drawn:
    found = gallery.boundaries(folder / "pictures" / "boundaries", list(records))
    yield from figures.boundary_figures(found)


def _weights(part: Part, folder: Path, records: Records, scale: str) -> Drawn:
    kept = {
        method: arrays
        for method in records
        for arrays in gallery.load(folder / "pictures" / "weights", [method])
    }
    names = list(next(iter(kept.values()), {}))
    # The first, a middle, and the last layer that is not the classifier itself.
    chosen = list(dict.fromkeys([*names[:1], *names[len(names) // 2 :][:1], *names[-2:-1]]))
    layers = {
        f"layer {names.index(name) + 1}": {m: arrays[name] for m, arrays in kept.items()}
        for name in chosen
    }
    if layers:
        yield (
            pictures.histograms(layers, title="Weights after training"),
            "How the weights of three layers are distributed, first seed: narrow around zero means"
            " many weights that matter little. Compare figure 6 of the xVAT paper.",
        )


def _masks(part: Part, folder: Path, records: Records, scale: str) -> Drawn:
    for method in records:
        for arrays in gallery.load(folder / "pictures" / "masks", [method]):
            yield (
                pictures.evolution(
                    arrays["steps"].tolist(),
                    arrays["log_alpha"],
                    arrays["x"],
                    title=f"Masks of {method} over training",
                ),
                "Bright log α: the mask keeps the entry. Compare figure 5(a) of the xVAT paper.",
            )
    panels = gallery.panels(folder / "pictures" / "panels", list(records))
    yield from figures.worst_figures(panels)


def _surface(part: Part, rows: Sequence[Mapping[str, Any]], scale: str) -> Drawn:
    names = tuple(part.grid_at(scale))
    points = [
        pictures.Tried(row["at"], 100 - row["mean"], row["sem"])
        for row in rows
        if row.get("at") and row["mean"] is not None
    ]
    if points and len(names) == 2:
        words = " and ".join(f"{name.rpartition('.')[2]}" for name in names)
        yield (
            pictures.surface(points, (names[0], names[1]), log=(True, True)),
            f"The test error over {words}: the paper's λ is the price of an entry, sparsity, and "
            "its η the weight. Compare figure 7 of the xVAT paper, which shows accuracies.",
        )


def _fields() -> Drawn:
    from unshaken import fields

    families = {"shift": fields.Shift(), "rotation": fields.Rotation(), "scale": fields.Scale()}
    lattice = {}
    for name, family in families.items():
        basis = family.basis((15, 15))
        lattice[name] = basis.sum(0) / len(basis) ** 0.5  # the families are orthonormal
    yield (
        pictures.fields_figure(lattice),
        "A unit field of each family; of shift and scale, which have one along each axis, equal"
        " parts of both. Compare figure 1 of the VMT paper.",
    )
