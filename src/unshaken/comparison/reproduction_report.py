"""A table or figure of the papers beside ours, in words and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from matplotlib.figure import Figure

from unshaken import pictures
from unshaken.comparison import page
from unshaken.comparison.recipe import Recipe


def table_of(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows in words, of all parts."""
    rows, heads, lines = summary["rows"], list[str](), list[list[str]]()
    for part in dict.fromkeys(row["part"] for row in rows):
        own = [row for row in rows if row["part"] == part]
        heads, cells = part_table(summary["measure"], own, origin(summary, part))
        lines += [
            [part, *line, row.get("augmentation", "")] for row, line in zip(own, cells, strict=True)
        ]
    return ["data", *heads, "augmentation"], lines


def part_table(
    measure: str, rows: Sequence[Mapping[str, Any]], where: Mapping[str, Any]
) -> tuple[list[str], list[list[str]]]:
    """Heads and rows in words, of one part.

    Seconds per epoch have their ratio to those of the first method that has published ones. The
    time of a step is left out where it is that of several processors.

    Args:
        measure: the recipe's.
        rows: as in a summary.
        where: the environment of the runs.
    """
    one = ", " not in where["processor"]
    steps = [
        f"{1000 * row['seconds_per_step']:.2f} ms" if one and row.get("seconds_per_step") else ""
        for row in rows
    ]
    seeds = [str(row.get("seeds") or "") for row in rows]
    if measure.startswith("seconds"):
        first = next((row for row in rows if row["published"] is not None), {})
        ratio = f"÷ {first.get('method', 'first')}"
        heads = ["method", "paper, s", ratio, "ours, s", ratio]
        cells = [[row["method"], *_seconds(row, first)] for row in rows]
    else:
        heads = ["method", "paper", "ours", "− baseline", "p"]
        cells = [[row["method"], *_numbers(row)] for row in rows]
    lines = [[*shown, *ends] for shown, *ends in zip(cells, seeds, steps, strict=True)]
    return [*heads, "seeds", "time per step"], lines


def origin(summary: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """The machines, versions and commits of a part's runs; of all where it was kept so."""
    found: Mapping[str, Any] = summary.get("environments", {}).get(part, summary["environment"])
    return found


def _numbers(row: Mapping[str, Any]) -> list[str]:
    published = "–" if row["published"] is None else f"{row['published']:.2f}"
    if row["missing"]:
        return [published, "not run", "", ""]
    ours = "–" if row["mean"] is None else _with_error(row["mean"], row["sem"])
    mean, sem, p = (row.get(key) for key in ("difference_mean", "difference_sem", "p_value"))
    difference = "" if mean is None else _with_error(mean, sem, "+")
    return [published, ours, difference, "" if p is None else f"{p:.1g}"]


def _seconds(row: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    shown = []
    for key in ("published", "mean"):
        own, one = row.get(key), first.get(key)
        shown.append("–" if own is None else f"{own:.4g}")
        shown.append("" if own is None or one is None else f"{own / one:.2f}")
    return shown


def _with_error(mean: float, sem: float | None, sign: str = "") -> str:
    """A mean with its standard error, where it has one."""
    return f"{mean:{sign}.2f}" + ("" if sem is None else f" ± {sem:.2f}")


def render(
    summary: Mapping[str, Any],
    recipe: Recipe,
    compared: Sequence[str],
    drawn: Sequence[tuple[Figure, str]],
) -> str:
    """The report as HTML that opens offline."""
    title = f"{recipe.title} ({recipe.name}, {summary['scale']} scale)"
    unit = recipe.measure if recipe.measure.startswith("seconds") else f"{recipe.measure} in %"
    over = f"{recipe.paper} · {unit}, mean ± standard error" if recipe.parts else recipe.paper
    heads, rows = table_of(summary)
    head = "".join(f'<th scope="col">{page.text(name)}</th>' for name in heads)
    lines = [
        "<tr>" + "".join(f"<td>{page.text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    body = [
        f'<p class="over">{page.text(over)}</p>',
        f"<h1>{page.text(recipe.title)}</h1>",
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        if lines
        else "",
        *(f"<p>{page.text(said)}</p>" for said in summary["unavailable"].values()),
        *(f"<p>{page.text(said)}</p>" for said in summary["failures"]),
        *_pictures(drawn),
        "<section><h2>Where this departs from the paper</h2><ul>",
        *(f"<li>{page.text(said)}</li>" for said in summary["departures"]),
        "</ul></section>",
        *_parts(compared),
        f"<section><h2>How this was made</h2>{page.facts(summary['environment'])}</section>",
    ]
    return page.page(title, body)


def _parts(compared: Sequence[str]) -> list[str]:
    """Where the report of each comparison lies."""
    lines = [
        f'<li><a href="{page.text(quote(folder))}/report.html">{page.text(folder)}</a></li>'
        for folder in compared
    ]
    head = "<section><h2>Every part</h2><ul>"
    return [head, *lines, "</ul></section>"] if lines else []


def _pictures(drawn: Sequence[tuple[Figure, str]]) -> list[str]:
    found = [
        page.figure(pictures.svg(figure, name=f"picture{k}", label=caption), caption)
        for k, (figure, caption) in enumerate(drawn)
    ]
    return ['<div class="figures">', *found, "</div>"] if found else []
