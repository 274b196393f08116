"""Run a table or figure of the papers and put its numbers beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from unshaken import pictures
from unshaken.comparison import page
from unshaken.comparison.compare import Report, compare
from unshaken.comparison.environment import environment
from unshaken.comparison.folder import read_record, write_json
from unshaken.comparison.recipe import Part, Recipe
from unshaken.comparison.single import Loader
from unshaken.comparison.statistics import mean_and_error
from unshaken.data import DataError
from unshaken.training.atomic import replace_bytes


def reproduce(
    recipe: Recipe,
    scale: str,
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    threads: int | None = 1,
    engine: str = "processes",
    finished: Report | None = None,
    download: bool = False,
) -> dict[str, Any]:
    """Run every part as a comparison in ``out/PART``; write ``summary.json``, ``report.html``.

    A part whose data are missing is told of and left out; a second call does what is not done.

    Args:
        recipe: the table or figure.
        scale: ``full`` for the published budget, ``quick`` for one of minutes.
        seeds: one run of each method for each.
        out: the folder.
        jobs, threads, engine, finished: as those of :func:`~unshaken.comparison.compare.compare`.
        download: whether to fetch published data that are missing.

    Returns:
        What ``summary.json`` holds: ``rows``, ``unavailable``, ``lost``, ``departures``, ...

    Raises:
        ValueError: the recipe cannot be run yet, or the folder not be written.
        Stopped: a signal came.
    """
    if recipe.undrawn:
        raise ValueError(f"{recipe.name} cannot be made yet. {recipe.undrawn}")
    rows: list[dict[str, Any]] = []
    unavailable: dict[str, str] = {}
    lost: list[str] = []
    failures: list[str] = []
    done: list[Part] = []
    for part in recipe.parts:
        try:
            result = compare(
                part.at(scale),
                part.methods(scale),
                seeds,
                out / part.name,
                jobs=jobs,
                threads=threads,
                engine=engine,
                finished=finished,
                load=Loader(download=download),
            )
        except DataError as error:
            unavailable[part.name] = str(error)
            rows += [_row(recipe, part, method, [], scale) for method in part.published]
        else:
            done.append(part)
            failures += [
                f"{part.name}: {row['method']} failed with {failure}"
                for row in result.summary["rows"]
                for failure in row["failures"]
            ]
            lost += [f"{o.task.method}, seed {o.task.seed}: {o.lost}" for o in result.lost]
            for method in part.methods(scale):
                gone = [o.task.seed for o in result.lost if o.task.method == method]
                kept = [seed for seed in seeds if seed not in gone]
                records = records_of(out / part.name, method, kept)
                row = _row(recipe, part, method, records, scale)
                row["augmentation"] = str(result.summary["data"]["augmentation"])
                rows.append(row)
        rows += [
            {"part": part.name, "method": name, "published": value, "missing": True, "values": []}
            for name, value in part.missing.items()
        ]
    summary = {
        "name": recipe.name,
        "title": recipe.title,
        "paper": recipe.paper,
        "measure": recipe.measure,
        "scale": scale,
        "rows": rows,
        "departures": [*recipe.departures, *_quick(recipe, scale)],
        "unavailable": unavailable,
        "lost": lost,
        "failures": failures,
        "environment": environment(jobs, threads),
    }
    write_json(out / "summary.json", summary)
    replace_bytes(out / "report.html", render(summary, recipe, done, seeds, out).encode())
    return summary


def records_of(folder: Path, method: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The finished runs of a method."""
    found = [read_record(folder / "runs" / method / f"seed-{seed}.json") for seed in seeds]
    return [record for record in found if record is not None and "failed" not in record]


def _quick(recipe: Recipe, scale: str) -> list[str]:
    if scale == "full":
        return []
    steps = ", ".join(
        f"{p.name} {p.at(scale).training['steps']} of {p.protocol.training['steps']} steps"
        for p in recipe.parts
    )
    return [f"Quick scale, which tells nothing of the paper's numbers: {steps}."]


def _row(
    recipe: Recipe, part: Part, method: str, records: Sequence[Mapping[str, Any]], scale: str
) -> dict[str, Any]:
    values = [_measured(recipe.measure, record) for record in records]
    mean, sem = mean_and_error(values)
    return {
        "part": part.name,
        "method": method,
        "published": part.published.get(method),
        "missing": False,
        "values": values,
        "mean": mean,
        "sem": sem,
        "seeds": len(values),
        "seconds_per_step": fmean(r["seconds_per_step"] for r in records) if records else None,
    }


def _measured(measure: str, record: Mapping[str, Any]) -> float:
    if measure == "error":
        return float(record["error"])
    if measure == "accuracy":
        return 100 - float(record["error"])
    last = record["history"][-1]
    return float(record["seconds_per_step"]) * last["step"] / last["epoch"]


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row in words: part, method, published, ours, seeds, time per step, augmentation."""
    value = row["published"]
    published = "–" if value is None else f"{value:.{2 if round(value, 2) == value else 3}f}"
    if row["missing"]:
        return [row["part"], row["method"], published, "not here yet", "", "", ""]
    ours = "–" if row["mean"] is None else f"{row['mean']:.2f}"
    if row.get("sem") is not None:
        ours += f" ± {row['sem']:.2f}"
    step = row["seconds_per_step"]
    time = "" if step is None else f"{1000 * step:.2f} ms"
    shown = [row["part"], row["method"], published, ours, str(row["seeds"] or ""), time]
    return [*shown, row.get("augmentation", "")]


HEADS = ("data", "method", "paper", "ours", "seeds", "time per step", "augmentation")


def render(
    summary: Mapping[str, Any],
    recipe: Recipe,
    done: Sequence[Part],
    seeds: Sequence[int],
    out: Path,
) -> str:
    """The report as HTML that opens offline."""
    title = f"{recipe.title} ({recipe.name}, {summary['scale']} scale)"
    unit = recipe.measure if recipe.measure.startswith("seconds") else f"{recipe.measure} in %"
    head = "".join(f'<th scope="col">{page.text(name)}</th>' for name in HEADS)
    lines = [
        "<tr>" + "".join(f"<td>{page.text(cell)}</td>" for cell in cells(row)) + "</tr>"
        for row in summary["rows"]
    ]
    body = [
        f'<p class="over">{page.text(f"{recipe.paper} · {unit}, mean ± standard error")}</p>',
        f"<h1>{page.text(recipe.title)}</h1>",
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>",
        *(f"<p>{page.text(said)}</p>" for said in summary["unavailable"].values()),
        *(f"<p>{page.text(said)}</p>" for said in summary["failures"]),
        *_drawings(recipe, done, seeds, out, summary["scale"]),
        "<section><h2>Where this departs from the paper</h2><ul>",
        *(f"<li>{page.text(said)}</li>" for said in summary["departures"]),
        "</ul></section><section><h2>Every part</h2><ul>",
        *(
            f"<li>{page.text(part.name)}: {page.text(f'{part.name}/report.html')}</li>"
            for part in done
        ),
        "</ul></section>",
        f"<section><h2>How this was made</h2>{page.facts(summary['environment'])}</section>",
    ]
    return page.page(title, body)


def _drawings(
    recipe: Recipe, done: Sequence[Part], seeds: Sequence[int], out: Path, scale: str
) -> list[str]:
    from unshaken.comparison import figures, gallery
    from unshaken.comparison.statistics import rows as rows_of

    found = []
    for part in done:
        methods = part.methods(scale)
        if recipe.draws == "boundaries":
            folder = out / part.name / "pictures" / "boundaries"
            pairs = list(figures.boundary_figures(gallery.boundaries(folder, methods)))
        elif recipe.draws == "training":
            records = [r for m in methods for r in records_of(out / part.name, m, seeds)]
            pairs = list(figures.training_figures(records, rows_of(records, methods), "baseline"))
        else:
            continue
        found += [
            page.figure(pictures.svg(figure, name=f"{part.name}{k}", label=caption), caption)
            for k, (figure, caption) in enumerate(pairs)
        ]
    return ['<div class="figures">', *found, "</div>"] if found else []
