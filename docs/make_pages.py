"""Fill the generated parts of the pages and draw their pictures. Nothing is typed by hand.

python docs/make_pages.py            # pages, and pictures from runs that it trains (a minute)
python docs/make_pages.py --check    # only say whether the pages are up to date
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import unshaken
from unshaken import fields, pictures
from unshaken.comparison import recipe as recipes
from unshaken.comparison.reproduction import row_of
from unshaken.comparison.reproduction_report import origin, part_table
from unshaken.data import load, split

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"


def papers() -> str:
    """Every table, published beside ours, and every figure whose runs were kept."""
    lines: list[str] = []
    for name in recipes.names():
        recipe = recipes.recipe(name)
        body = _figure(recipe) if recipe.draws else _table(recipe)
        if body:
            lines += [f"## {recipe.title}", "", *body]
            lines += ["Departures:", "", *(f"- {text}" for text in recipe.departures), ""]
    return "\n".join(lines)


def _table(recipe: recipes.Recipe) -> list[str]:
    """A table's parts."""
    lines = [f"`{recipe.name}`, {recipe.paper}: {recipe.measure}.", ""]
    # Of what a few steps measure only the time means something.
    timed = recipe.measure.startswith("seconds")
    scales = [scale for scale in recipes.SCALES if timed or scale != "quick"]
    for part in recipe.parts:
        stored = (summary for summary in map(_stored(recipe.name).get, scales) if summary)
        ours = next((s for s in stored if part.name in s["steps"]), None)
        ran = (
            {row["method"]: row for row in ours["rows"] if row["part"] == part.name} if ours else {}
        )
        names = dict.fromkeys([*ran, *part.published, *part.missing])
        rows = [ran.get(name, row_of(recipe, part, name)) for name in names]
        where = origin(ours, part.name) if ours else {"processor": ""}
        heads, cells = part_table(recipe.measure, rows, where)
        lines += [f"**{part.name}**", ""]
        lines += [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *cells)]
        lines += ["", *([_made(ours, part), ""] if ours else [])]
    return lines


def _figure(recipe: recipes.Recipe) -> list[str]:
    """A figure's pictures, of the largest scale that was kept."""
    kept = [summary for summary in map(_stored(recipe.name).get, recipes.SCALES) if summary]
    if not kept:
        return []
    lines = [f"`{recipe.name}`, {recipe.paper}.", ""]
    for picture in kept[0]["pictures"]:
        lines += [f"![{recipe.title}](images/papers/{picture['file']})", ""]
        lines += [picture["caption"], ""]
    for part in recipe.parts:
        lines += [_made(kept[0], part), ""] if part.name in kept[0]["steps"] else []
    return lines


def _stored(name: str) -> dict[str, dict[str, Any]]:
    """What was kept of `unshaken reproduce NAME`, by scale."""
    paths = {s: RESULTS / "papers" / f"{name}-{s}" / "summary.json" for s in recipes.SCALES}
    return {s: json.loads(path.read_text("utf-8")) for s, path in paths.items() if path.exists()}


def _made(summary: dict[str, Any], part: recipes.Part) -> str:
    """How our numbers of a part were made."""
    ran, wanted = summary["steps"][part.name], part.protocol.training["steps"]
    if part.at(summary["scale"]).training["steps"] != ran:
        raise ValueError(f"{summary['name']}: {part.name} was run for {ran} steps, not as it says")
    scale = "the published budget" if ran == wanted else f"{ran} of {wanted} steps"
    rows = [row for row in summary["rows"] if row["part"] == part.name and row["values"]]
    changed = ", ".join(sorted({row["augmentation"] for row in rows}))
    where = origin(summary, part.name)
    return (
        f"Ours: {scale}; {where['processor']}, {where['threads']} thread, torch {where['torch']}, "
        f"commit {where['commit']}; augmentation: {changed}."
    )


def help_text() -> str:
    """The program's help, as on a terminal of 80 columns."""
    from unshaken.cli import help
    from unshaken.cli.program import commands

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        return f"```text\n{help.of_program(commands())}\n```"
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


BLOCKS = {"papers.md": ("papers", papers), "command-line.md": ("help", help_text)}


def filled(page: str) -> tuple[str, str]:
    """The page as it is, and as it should be."""
    name, make = BLOCKS[page]
    text = (DOCS / page).read_text("utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    return text, re.sub(pattern, lambda _: f"{begin}\n{make()}\n\n{end}", text, flags=re.S)


def draw() -> None:
    """The pictures of the page on the idea, and the papers' figures from where they are kept."""
    folder = DOCS / "images" / "papers"
    folder.mkdir(exist_ok=True)
    for path in sorted((RESULTS / "papers").glob("*/*.svg")):
        shutil.copyfile(path, folder / path.name)
    _save("fields", pictures.fields_figure(_fields()))
    _save("worst", pictures.worst(_worst(), examples=4))
    _save("moons", pictures.boundaries([_moons("plain", 0.0), _moons("VAT", 0.22)]))


def _fields() -> dict[str, np.ndarray]:
    size = (15, 15)
    chosen = {
        "shift": fields.Shift().basis(size)[1],
        "rotation": fields.Rotation().basis(size)[0],
        "scale": fields.Scale().basis(size).sum(0) / 2**0.5,
        "shear": fields.Shear().basis(size)[0],
        "elastic": fields.Elastic(modes=3).basis(size)[-1],
    }
    return {name: field.numpy() for name, field in chosen.items()}


def _worst() -> list[pictures.Panel]:
    torch.manual_seed(0)
    data = load("digits")
    model = unshaken.models.mlp([64, 256, 128, 10])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(200):
        rows = torch.randint(len(data.x_train), (64,))
        loss = nn.functional.cross_entropy(model(data.x_train[rows]), data.y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    x, y = data.x_test[:4], data.y_test[:4]
    panels = []
    for name, term, kind, note in (
        ("VAT", unshaken.VAT(radius=1.5), "additive", "length 1.5"),
        ("MAT", unshaken.MAT(fields.Affine(), radius=0.7), "movement", "0.7 pixels"),
    ):
        worst = term.worst(model, x, y) if term.labeled else term.worst(model, x)
        moved = worst.displacement if kind == "movement" else None
        panels.append(
            pictures.Panel(
                name, kind, x, worst.perturbed.detach(), moved, None, worst.value.detach(), note
            )
        )
    return panels


def _moons(name: str, radius: float) -> pictures.Boundary:
    torch.manual_seed(0)
    data = load("moons", seed=0)
    chosen = split(data, labels=None, seed=0)
    x, y = data.x_train[chosen.labeled], data.y_train[chosen.labeled]
    u = data.x_unlabeled if data.x_unlabeled is not None else data.x_train[chosen.unlabeled]
    points = u @ data.plane.T
    edge = float(points.abs().max()) * 1.2
    low, high = -edge, edge
    axis = torch.linspace(low, high, 60)
    across, up = torch.meshgrid(axis, axis, indexing="xy")
    grid = torch.stack([across.flatten(), up.flatten()], 1) @ data.plane
    model = unshaken.models.moons_mlp()
    terms = [unshaken.VAT(radius=radius)] if radius else []
    objective = unshaken.Objective(model, *terms)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    steps, maps = [0, 100, 400, 1000], []
    for step in range(steps[-1] + 1):
        if step in steps:
            with torch.no_grad():
                probability = model.eval()(grid).softmax(1)[:, 1].reshape(60, 60)
            model.train()
            maps.append(probability.numpy())
        optimizer.zero_grad()
        objective(x, y, unlabeled=u if terms else None).backward()
        optimizer.step()
    return pictures.Boundary(
        name,
        steps,
        np.stack(maps),
        (low, high, low, high),
        points.numpy(),
        (x @ data.plane.T).numpy(),
        y.numpy(),
    )


def _save(name: str, figure: object) -> None:
    drawn = pictures.svg(figure, name=name, standalone=True)
    (DOCS / "images" / f"{name}.svg").write_text(drawn, "utf-8")


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    old = 0
    for page in BLOCKS:
        text, wanted = filled(page)
        if options.check and text != wanted:
            print(f"{page} is out of date: run python docs/make_pages.py")
            old = 1
        elif not options.check:
            (DOCS / page).write_text(wanted, "utf-8")
    if not options.check:
        draw()
    return old


if __name__ == "__main__":
    sys.exit(main())
