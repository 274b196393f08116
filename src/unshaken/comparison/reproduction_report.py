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
    """Heads and rows in words; times have their ratio to those of their part's first method."""
    rows = summary["rows"]
    if summary["measure"].startswith("seconds"):
        first = {row["part"]: row for row in reversed(rows) if row["published"] is not None}
        heads = ["data", "method", "paper, s", "÷ first", "ours, s", "÷ first", "seeds"]
        return [*heads, "time per step"], [_times(row, first.get(row["part"], row)) for row in rows]
    heads = ["data", "method", "paper", "ours", "− baseline", "p", "seeds", "time per step"]
    heads += ["augmentation"]
    return heads, [_numbers(row) for row in rows]


def _numbers(row: Mapping[str, Any]) -> list[str]:
    published = "–" if row["published"] is None else f"{row['published']:.2f}"
    if row["missing"]:
        return [row["part"], row["method"], published, "not run", *[""] * 5]
    ours = "–" if row["mean"] is None else with_error(row["mean"], row["sem"])
    shown = [row["part"], row["method"], published, ours, *difference_of(row)]
    return [*shown, str(row["seeds"] or ""), _step(row), row.get("augmentation", "")]


def with_error(mean: float, sem: float | None, sign: str = "") -> str:
    """A mean with its standard error, where it has one."""
    return f"{mean:{sign}.2f}" + ("" if sem is None else f" ± {sem:.2f}")


def difference_of(row: Mapping[str, Any]) -> list[str]:
    """A row's paired difference from the baseline, and p of its t-test."""
    if row.get("difference_mean") is None:
        return ["", ""]
    p = row["p_value"]
    difference = with_error(row["difference_mean"], row["difference_sem"], "+")
    return [difference, "" if p is None else f"{p:.1g}"]


def _times(row: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    shown = [row["part"], row["method"]]
    for key in ("published", "mean"):
        own, one = row[key], first[key]
        shown.append("–" if own is None else f"{own:.4g}")
        shown.append("" if own is None or one is None else f"{own / one:.2f}")
    return [*shown, str(row["seeds"] or ""), _step(row)]


def _step(row: Mapping[str, Any]) -> str:
    seconds = row["seconds_per_step"]
    return "" if seconds is None else f"{1000 * seconds:.2f} ms"


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
