"""The report of a comparison: one HTML file with the table, the pictures and how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unshaken import pictures
from unshaken.comparison import figures, page, table
from unshaken.comparison.making import making
from unshaken.pictures import Boundary, Panel
from unshaken.pictures.curves import number

Record = Mapping[str, Any]


def write_report(
    path: str | Path,
    summary: Mapping[str, Any],
    records: Sequence[Record],
    panels: Sequence[Panel] = (),
    boundaries: Sequence[Boundary] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Writes the report as one HTML file that opens offline, the same bytes for the same input.

    Whatever is missing (a second seed, a field's R, pictures) leaves out its part.

    Args:
        path: the file to write; its folder is created. An existing file is replaced as a whole.
        summary: the comparison's summary: "rows", "baseline", "data", "protocol", "environment".
        records: one per run: "method", "seed", "history", "settings", and "alarms" if there were.
        panels: worst perturbations to show.
        boundaries: decision boundaries over training, for data in the plane.
        notes: sentences for the end of the report.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = render(summary, records, panels, boundaries, notes)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(content, encoding="utf-8", newline="\n")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def render(
    summary: Mapping[str, Any],
    records: Sequence[Record],
    panels: Sequence[Panel] = (),
    boundaries: Sequence[Boundary] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The HTML that `write_report` writes."""
    rows = list(summary.get("rows") or ())
    baseline = str(summary.get("baseline") or "baseline")
    judge = _judge(summary)
    title = _title(summary)
    head = table.headline(rows, baseline)
    body = [f'<p class="over">{page.text(_overline(summary, records))}</p>']
    body.append(f"<h1>{page.sentence(head)}.</h1>")
    more = table.lead(rows, baseline)
    if more:
        body.append(f'<p class="lead">{page.sentence(more)}</p>')
    if rows:
        body.append(table.table(rows, baseline, judge))
        body.append(f'<p class="under">{page.text(_legend(rows, baseline))}</p>')
    several = any((number(row.get("error_sem")) or 0.0) > 0 for row in rows)
    lines = "Lines are means over seeds, bands ± one standard error." if several else ""
    sections = (
        ("Errors and their cost", "", figures.error_figures(rows, baseline, judge)),
        (
            "Over training",
            f"{lines} What happens in the first tenth of training may run off the top.",
            figures.training_figures(records, rows, baseline, judge),
        ),
        (
            "What the methods do to an input",
            "Each method's own worst perturbation of the same examples.",
            figures.worst_figures(panels),
        ),
        (
            "Decision boundaries",
            "The plane as the classifiers see it while they learn.",
            figures.boundary_figures(boundaries or ()),
        ),
    )
    count = 0
    for name, about, pairs in sections:
        drawn = []
        for figure, caption in pairs:
            count += 1
            drawing = pictures.svg(figure, name=f"f{count}", label=caption)
            drawn.append(page.figure(drawing, caption))
        if drawn:
            said = f"<p>{page.text(about.strip())}</p>" if about else ""
            inner = "".join(drawn)
            body.append(
                f'<section><h2>{name}</h2>{said}<div class="figures">{inner}</div></section>'
            )
    body.append(making(summary, records, notes))
    return page.page(f"{head} ({title})", body)


def _title(summary: Mapping[str, Any]) -> str:
    data = summary.get("data")
    values = data if isinstance(data, Mapping) else {"name": data}
    name, labels = values.get("name"), values.get("labels")
    known = f"{name or 'comparison'}"
    return known if labels is None else f"{known}, {labels} labels"


def _judge(summary: Mapping[str, Any]) -> str:
    """Which examples the errors are of."""
    protocol = summary.get("protocol")
    named = protocol.get("judged on") if isinstance(protocol, Mapping) else None
    return "validation" if named == "validation" else "test"


def _overline(summary: Mapping[str, Any], records: Sequence[Record]) -> str:
    """Data, labels, seeds, steps, augmentation: the protocol in one line."""
    parts = [_title(summary)]
    seeds = {record.get("seed") for record in records if record.get("seed") is not None}
    if seeds:
        parts.append(f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}")
    steps = {int(n) for record in records if (n := number(record.get("steps"))) is not None}
    if len(steps) == 1:
        parts.append(f"{steps.pop()} steps")
    if _judge(summary) == "validation":
        parts.append("judged on validation examples, not on test ones")
    for source in ("data", "protocol"):
        values = summary.get(source)
        for inner in (values, values.get("info") if isinstance(values, Mapping) else None):
            if isinstance(inner, Mapping) and inner.get("augmentation") is not None:
                parts.append(f"augmentation: {page.words(inner['augmentation']) or 'none'}")
                return " · ".join(parts)
    return " · ".join(parts)


def _legend(rows: Sequence[Record], baseline: str) -> str:
    parts = []
    if any(number(row.get("error_sem")) is not None for row in rows):
        parts.append("s.e.: standard error of the mean over seeds.")
    if any(number(row.get("difference_mean")) is not None for row in rows):
        parts.append(
            f"Differences compare each method with {baseline} seed by seed, on the same splits."
        )
    if any(row.get("gains") for row in rows):
        parts.append(
            "Divergence reached: how far each adversary raised its divergence in training, over"
            " what random perturbations of the same size did on the same examples; at 1 its search"
            " is worth nothing."
        )
    adjusted = table.holm(rows, baseline)
    compared = [row for row in rows if str(row.get("method", "")) in adjusted]
    if not all(table.verdict(row, adjusted) for row in compared):
        parts.append(
            "“Not shown” does not mean equal: the seeds are too few, or the difference too small,"
            " to tell."
        )
    return " ".join(parts)
