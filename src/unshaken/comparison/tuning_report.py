"""The report of a search: one HTML file with the table, the pictures and how it was made."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from unshaken import pictures
from unshaken.comparison import page
from unshaken.comparison.making import making
from unshaken.comparison.table import spoken
from unshaken.comparison.tuning_summary import points_of, said_of
from unshaken.pictures import Tried
from unshaken.training.atomic import replace_bytes

_ROWS = 25
"""Rows of the table; ``summary.json`` has all of them."""


def write_report(path: Path, summary: Mapping[str, Any], log: Mapping[str, bool]) -> None:
    """Write the report as one HTML file that opens offline.

    Args:
        path: the file to write.
        summary: as :func:`~unshaken.comparison.tuning_summary.summarize` makes it.
        log: for each setting that was looked for whether its axis is logarithmic.
    """
    replace_bytes(path, render(summary, log).encode())


def render(summary: Mapping[str, Any], log: Mapping[str, bool]) -> str:
    """The HTML that :func:`write_report` writes."""
    names = list(log)
    head = _headline(summary, names)
    search, data = summary["search"], summary["data"]
    labels = "" if data.get("labels") is None else f", {data['labels']} labels"
    seeds = f"{len(search['seeds'])} seed{'s' if len(search['seeds']) > 1 else ''}"
    folds = f" × {search['folds']} folds" if search["folds"] > 1 else ""
    over = f"{data['name']}{labels} · {search['trials']} trials of {seeds}{folds} · {search['how']}"
    body = [
        f'<p class="over">{page.text(over)}</p>',
        f"<h1>{page.sentence(head)}.</h1>",
        f'<p class="lead">{page.sentence(_lead(summary))}</p>',
        _table(summary["rows"], names),
        f'<p class="under">{page.text(_under(summary))}</p>',
    ]
    drawn = []
    for count, (figure, caption) in enumerate(_figures(summary, log), 1):
        drawing = pictures.svg(figure, name=f"f{count}", label=caption)
        drawn.append(page.figure(drawing, caption))
    if drawn:
        inner = "".join(drawn)
        body.append(f'<section><h2>What was tried</h2><div class="figures">{inner}</div></section>')
    notes = [f"The search: {page.words(summary['search space'])}."]
    notes += [f"trial {row['trial']}: {f}" for row in summary["rows"] for f in row["failures"]]
    best = summary["best"] or {}
    record = {"method": summary["method"], "settings": best.get("settings")}
    body.append(making({k: v for k, v in summary.items() if k != "rows"}, [record], notes))
    return page.page(f"{head} ({data['name']}{labels})", body)


def _headline(summary: Mapping[str, Any], names: Sequence[str]) -> str:
    best = summary["best"]
    if best is None:
        return "No trial has given an error yet"
    alone = "+" not in summary["method"]
    chosen = ", ".join(
        f"{name.partition('.')[2] if alone else name} {_value(best['settings'], name):.3g}"
        for name in names
    )
    return f"{spoken(summary['method'])} is best with {chosen}"


def _lead(summary: Mapping[str, Any]) -> str:
    best = summary["best"]
    if best is None:
        return "Every run failed, or none has finished."
    error = f"{best['error_mean']:.2f}"
    if best["error_sem"] is not None:
        error += f" ± {best['error_sem']:.2f}"
    parts = [
        f"{error} % errors on training examples that were held out; the test examples were not "
        "looked at."
    ]
    for edge in summary["edges"]:
        said = said_of(edge)
        parts.append(f"{said[:1].upper()}{said[1:]}.")
    if summary["importance"]:
        shares = ", ".join(f"{k} {100 * v:.0f} %" for k, v in summary["importance"].items())
        parts.append(f"Share of each setting in the spread of the errors: {shares}.")
    return " ".join(parts)


def _under(summary: Mapping[str, Any]) -> str:
    parts = ["s.e.: standard error of the mean over seeds."]
    if summary["search"]["folds"] > 1:
        parts = ["s.e.: standard error of the mean over seeds, or over the folds of a single one."]
    if summary["search"]["pruned"]:
        parts.append("Given up: after the first seed it was clearly worse than the others.")
    if len(summary["rows"]) > _ROWS:
        parts.append(
            f"The best {_ROWS} of {len(summary['rows'])} points; summary.json has all of them."
        )
    parts.append(
        "The least of many errors is too good by chance: what the best settings are worth, "
        "unshaken compare tells on the test examples."
    )
    return " ".join(parts)


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    head = "".join(
        f'<th scope="col">{page.text(name)}</th>'
        for name in (*names, "validation error, %", "seeds", "time per step", "")
    )
    body = []
    for row in rows[:_ROWS]:
        mean, sem = row["error_mean"], row["error_sem"]
        error = "failed" if mean is None else f"{mean:.2f}"
        if sem is not None:
            error += f'<span class="pm"> ± {sem:.2f}</span>'
        step = row["seconds_per_step"]
        cells = [(v := _value(row["settings"], name), f"{v:g}") for name in names]
        shown = [
            *cells,
            ("" if mean is None else mean, error),
            (len(row["errors"]), str(len(row["errors"]))),
            ("" if step is None else step, "–" if step is None else f"{1000 * step:.2f} ms"),
            (row["pruned"], "given up" if row["pruned"] else ""),
        ]
        inner = "".join(f'<td data-value="{page.text(value)}">{text}</td>' for value, text in shown)
        body.append(f"<tr>{inner}</tr>")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Results">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _figures(summary: Mapping[str, Any], log: Mapping[str, bool]) -> Iterator[tuple[Figure, str]]:
    tried = [
        Tried(at, row["error_mean"], row["error_sem"], row["pruned"])
        for at, row in points_of(summary["rows"])
    ]
    if not tried:
        return
    method = summary["method"]
    for name, logarithmic in log.items():
        caption = (
            f"Each point is one choice of all settings, over its {name}; bars are ± one standard "
            "error, the ring is the best, crosses were given up after one seed. Where the best "
            "points lie at an edge, the range is too narrow."
        )
        yield pictures.choice(tried, name, log=logarithmic, method=method), caption
    for across, up in itertools.combinations(log, 2):
        caption = (
            f"The validation error over {across} and {up}: a broad light region means that the "
            "choice matters little. Figure 7 of the xVAT paper shows the accuracy, 100 % minus "
            "this, over λ (sparsity) and η (weight)."
        )
        yield pictures.surface(tried, (across, up), log=(log[across], log[up])), caption


def _value(settings: Mapping[str, Mapping[str, float]], name: str) -> float:
    part, _, setting = name.rpartition(".")
    return settings[part][setting]
