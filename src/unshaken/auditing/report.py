"""An audit as one HTML file that opens offline."""

from __future__ import annotations

import math

import torch

from unshaken import pictures
from unshaken.auditing.result import Audit, Curve, Moved, compare
from unshaken.comparison import page
from unshaken.pictures.lines import Line, lines

TOP = 20
"""Classes that are listed."""


def render(audit: Audit, other: Audit | None = None) -> str:
    """The page; with another audit both stand side by side."""
    both = [audit] if other is None else [audit, other]
    names = [str(a.about.get("model", "model " + "AB"[k])) for k, a in enumerate(both)]
    title = "What shakes " + " and ".join(names)
    over = (
        f"{audit.about.get('data', 'data')} · {len(audit.predictions)} examples · "
        f"{audit.about.get('device', 'cpu')} · {audit.seconds:.0f} s"
    )
    body = [
        f'<p class="over">{page.text(over)}</p>',
        f"<h1>{page.text(title)}</h1>",
        f'<p class="lead">{page.text(_lead(audit))}</p>',
        _thresholds(both, names),
        f'<p class="under">{page.text(_LEGEND)}</p>',
        _curves(both, names),
    ]
    if other is not None:
        body.append(_difference(audit, other, names))
    for name, one in zip(names, both, strict=True):
        of = f" by {name}" if other is not None else ""
        body += [_shaken(one, of), _classes(one, of)]
    body += [_sensitivities(both, names), _layers(both, names)]
    facts = {k: v for k, v in audit.about.items() if not isinstance(v, dict)}
    for key, value in audit.about.items():
        if isinstance(value, dict):
            facts.update({f"{key}: {k}": v for k, v in value.items()})
    body.append(f"<section><h2>How this was made</h2>{page.facts(facts)}</section>")
    return page.page(title, [part for part in body if part])


_LEGEND = (
    "Threshold: the least degree found at which the prediction differs from that of the input as "
    "it is, an upper bound of the least there is; the median over examples. Unchanged: examples "
    "whose prediction no degree changed. Accuracy: at the largest degree, along the worst "
    "direction found and along a random one."
)


def _lead(audit: Audit) -> str:
    known = audit.labels is not None
    first = (
        f"Of the inputs as they are {audit.accuracy:.1f} % are classified rightly. "
        if known
        else "Without labels, accuracy means: predicted as without the movement. "
    )
    told = []
    for name, c in audit.curves.items():
        if c.median < math.inf:
            told.append(f"{_degree(c.median, c.unit)} of {name}")
    if not told:
        return first + "No movement that was looked at changes half of the predictions."
    return first + "Half of the predictions change within " + ", ".join(told) + "."


def _degree(value: float, unit: str) -> str:
    shown = f"{value:.3g}"
    return {"degrees": f"{shown}°", "per cent": f"{shown} %", "pixels": f"{shown} px"}[unit]


def _middle(curve: Curve) -> str:
    if curve.median < math.inf:
        return _degree(curve.median, curve.unit)
    return "> " + _degree(curve.degrees[-1], curve.unit)


def _row(cells: list[object], first: bool = True) -> str:
    inner = []
    for k, cell in enumerate(cells):
        shown = f"{cell:.3g}" if isinstance(cell, float) else page.text(cell)
        value = page.text(cell)
        inner.append(
            f'<td data-value="{value}">'
            + (f'<span class="name">{shown}</span>' if k == 0 and first else shown)
            + "</td>"
        )
    return f"<tr>{''.join(inner)}</tr>"


def _table(heads: list[str], rows: list[list[object]]) -> str:
    top = "".join(f"<th>{page.text(head)}</th>" for head in heads)
    inner = "".join(_row(row) for row in rows)
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{top}</tr></thead>'
        f"<tbody>{inner}</tbody></table></div>"
    )


def _thresholds(both: list[Audit], names: list[str]) -> str:
    rows: list[list[object]] = []
    for family in both[0].curves:
        for name, audit in zip(names, both, strict=True):
            c = audit.curves[family]
            label = family if len(both) == 1 else f"{family}, {name}"
            rows.append(
                [
                    label,
                    _middle(c),
                    f"{c.unchanged:.1f} %",
                    _degree(c.degrees[-1], c.unit),
                    f"{c.worst[-1]:.1f} %",
                    f"{c.random[-1]:.1f} %",
                    f"± {_degree(c.tolerance, c.unit)}",
                ]
            )
    heads = ["movement", "threshold", "unchanged", "largest degree", "accuracy, worst"]
    return _table([*heads, "accuracy, random", "tolerance"], rows)


def _curves(both: list[Audit], names: list[str]) -> str:
    figures = []
    for family, first in both[0].curves.items():
        drawn = []
        for k, (name, audit) in enumerate(zip(names, both, strict=True)):
            c = audit.curves[family]
            of = "" if len(both) == 1 else f" {name}"
            drawn.append(Line(f"worst{of}", [0.0, *c.degrees], [audit.accuracy, *c.worst], k))
            drawn.append(
                Line(f"random{of}", [0.0, *c.degrees], [audit.accuracy, *c.random], k, dashed=True)
            )
        caption = (
            f"Accuracy over the degree of {family}: in the worst direction found (solid) and in a "
            "random one (dashed)."
        )
        figure = lines(drawn, title=family, x=first.unit, y="accuracy (%)")
        figures.append(
            page.figure(pictures.svg(figure, name=f"c-{family}", label=caption), caption)
        )
    return (
        "<section><h2>How far it may go</h2>"
        f'<div class="figures">{"".join(figures)}</div></section>'
    )


def _spread(standard_error: float | None) -> str:
    return "" if standard_error is None else f" ± {standard_error:.2g}"


def _difference(a: Audit, b: Audit, names: list[str]) -> str:
    rows: list[list[object]] = [
        [
            family,
            f"{d['difference']:+.3g}{_spread(d['standard_error'])} {a.curves[family].unit}",
            d["larger"],
            d["smaller"],
        ]
        for family, d in compare(a, b).items()
    ]
    heads = ["movement", f"{names[1]} − {names[0]}", "examples larger", "examples smaller"]
    return (
        "<section><h2>The same examples, two models</h2><p>Difference of the thresholds, mean ± "
        "standard error over examples; what no degree changed counts as the largest degree.</p>"
        f"{_table(heads, rows)}</section>"
    )


def _shaken(audit: Audit, of: str) -> str:
    figures = []
    for family in audit.curves:
        found = [m for m in audit.shaken if m.family == family]
        if not found:
            continue
        unit = audit.curves[family].unit
        panel = pictures.Panel(
            family,
            "movement",
            torch.stack([m.clean for m in found]),
            torch.stack([m.moved for m in found]),
            torch.stack([m.displacement for m in found]),
            None,
            torch.tensor([m.degree for m in found]),
            unit,
        )
        draw = pictures.signals if found[0].clean.dim() == 2 else pictures.worst
        figure = draw([panel], examples=len(found))
        caption = "; ".join(_told(audit, m, unit) for m in found) + "."
        drawn = pictures.svg(figure, name=f"s-{family}{len(of)}", label=caption)
        figures.append(page.figure(drawn, caption))
    if not figures:
        return ""
    return (
        f"<section><h2>Most easily shaken{page.text(of)}</h2><p>The examples that the smallest "
        "movements change, each with its movement as arrows and what becomes of it.</p>"
        f'<div class="figures">{"".join(figures)}</div></section>'
    )


def _told(audit: Audit, moved: Moved, unit: str) -> str:
    label = "" if moved.label is None else f" (is {audit.class_name(moved.label)})"
    return (
        f"example {moved.index}{label}: {audit.class_name(moved.before)} → "
        f"{audit.class_name(moved.after)} at {_degree(moved.degree, unit)}"
    )


def _classes(audit: Audit, of: str) -> str:
    found = audit.by_class()
    families = list(audit.curves)
    order = sorted(found, key=lambda name: min(found[name].values(), default=math.inf))[:TOP]
    rows: list[list[object]] = [
        [
            name,
            *(
                _degree(found[name][f], audit.curves[f].unit)
                if found[name][f] < math.inf
                else "> " + _degree(audit.curves[f].degrees[-1], audit.curves[f].unit)
                for f in families
            ),
        ]
        for name in order
    ]
    return (
        f"<section><h2>Classes{page.text(of)}</h2><p>Median thresholds of each class.</p>"
        f"{_table(['class', *families], rows)}</section>"
    )


def _sensitivities(both: list[Audit], names: list[str]) -> str:
    heads = ["change"]
    heads += ["median", "largest tenth"] if len(both) == 1 else names
    rows: list[list[object]] = []
    for kind in both[0].sensitivity:
        values = [audit.sensitivity[kind] for audit in both]
        if len(both) == 1:
            rows.append([kind, float(values[0].median()), float(values[0].quantile(0.9))])
        else:
            rows.append([kind, *(float(v.median()) for v in values)])
    return (
        "<section><h2>Sensitivity in the limit</h2><p>The rate at which the loss of an example "
        "begins to rise: for movements per pixel (root mean square), for additive changes per unit "
        "of their norm, for masks by erasing one entry.</p>"
        f"{_table(heads, rows)}</section>"
    )


def _layers(both: list[Audit], names: list[str]) -> str:
    figures = []
    for k, (name, audit) in enumerate(zip(names, both, strict=True)):
        if not audit.layers:
            continue
        of = "" if len(both) == 1 else f", {name}"
        for key, title in (
            ("change", "Change of each layer"),
            ("equivariance error", "Equivariance error of each layer"),
        ):
            drawn, marks = [], [str(row["layer"]) for row in next(iter(audit.layers.values()))]
            for c, (family, rows) in enumerate(audit.layers.items()):
                points = [(i, row[key]) for i, row in enumerate(rows) if row[key] is not None]
                if points:
                    drawn.append(Line(family, [p[0] for p in points], [p[1] for p in points], c))
            if not drawn:
                continue
            caption = _CAPTIONS[key]
            figure = lines(drawn, title=title + of, x="layer", y=key, marks=marks)
            drawing = pictures.svg(figure, name=f"l{k}-{key.split()[0]}", label=caption)
            figures.append(page.figure(drawing, caption))
    if not figures:
        return ""
    return (
        "<section><h2>Where invariance is won or lost</h2><p>What a movement of half a pixel (root "
        f'mean square) changes in each layer.</p><div class="figures">{"".join(figures)}</div>'
        "</section>"
    )


_CAPTIONS = {
    "change": (
        "‖h(x') − h(x)‖ / ‖h(x)‖ per pixel: where it falls, the movement is made invisible."
    ),
    "equivariance error": (
        "‖h(x') − h(x)'‖ / ‖h(x)' − h(x)‖ of layers with spatial outputs: 0 where the output "
        "merely moves along with the input."
    ),
}
