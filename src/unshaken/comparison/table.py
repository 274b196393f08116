"""The table of a comparison and the sentences that follow from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unshaken.comparison.page import text
from unshaken.pictures.curves import number
from unshaken.pictures.errors import Result, results
from unshaken.pictures.palette import look

LEVEL = 0.05

_SPOKEN = {
    "baseline": "plain training",
    "dropout": "dropout",
    "random": "the random control",
    "at-l2": "AT-L2",
    "at-linf": "AT-L∞",
    "vat": "VAT",
    "vmt-shift": "VMT-shift",
    "vmt-rotation": "VMT-rotation",
    "vmt-scale": "VMT-scale",
    "vmt-all": "VMT-all",
    "xat": "xAT",
    "xvat": "xVAT",
    "xvat-transductive": "transductive xVAT",
    "mask-steepest": "the steepest mask",
    "mask-worst": "the worst of several random masks",
    "mask-random": "random masks",
    "mat": "MAT",
    "mvat": "MVAT",
}

Row = Mapping[str, Any]


def holm(rows: Sequence[Row], baseline: str) -> dict[str, float]:
    """Holm's adjusted p-value of each method but the baseline: the i-th smallest of m p-values
    times m − i + 1, at least as large as the one before, at most 1 (Holm, 1979). A row that
    brings its own "p_holm" keeps it.
    """
    raw = {
        str(row.get("method", "")): p
        for row in rows
        if row.get("method") != baseline and (p := number(row.get("p_value"))) is not None
    }
    adjusted: dict[str, float] = {}
    least = 0.0
    for rank, (method, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (len(raw) - rank) * p))
        adjusted[method] = least
    for row in rows:
        own = number(row.get("p_holm"))
        if own is not None:
            adjusted[str(row.get("method", ""))] = own
    return adjusted


def headline(rows: Sequence[Row], baseline: str) -> str:
    """The result in one sentence."""
    found = results(rows)
    if not found:
        return "No run has finished yet"
    best = found[0]
    plain = next((result for result in found if result.method == baseline), None)
    if plain is None or len(found) == 1:
        return f"{_capital(spoken(best.method))} makes {percent(best)} errors"
    if best.method == baseline:
        return f"No method makes fewer errors than {spoken(baseline)}, {percent(best)}"
    return (
        f"{_capital(spoken(best.method))} makes {percent(best)} errors; "
        f"{spoken(baseline)} {percent(plain)}"
    )


_CONTROLS = {
    "random": "Random noise as large as VAT's, the control,",
    "random-tuned": "Random noise at its own best size",
    "random-movement": "Random movement as large as MVAT's",
    "mask-random": "Random masks",
    "relative-random": "Random change in proportion to the input",
}


def lead(rows: Sequence[Row], baseline: str) -> str:
    """What else the rows say: how many methods differ, what the control does, how many seeds."""
    found = results(rows)
    sentences = []
    adjusted = holm(rows, baseline)
    if adjusted:
        verdicts = [verdict(row, adjusted) for row in rows]
        count = f"{len(adjusted)} method{'s' if len(adjusted) > 1 else ''}"
        fewer, more = verdicts.count("fewer"), verdicts.count("more")
        sentences.append(
            f"Of {count} compared with {spoken(baseline)} on the same splits, "
            f"{fewer} make{'s' if fewer == 1 else ''} significantly fewer errors and "
            f"{more or 'none'} more "
            f"(p < {LEVEL} after Holm's correction)."
        )
    for name, what in _CONTROLS.items():
        control = next((result for result in found if result.method == name), None)
        if control is not None and found[0].method != name:
            sentences.append(f"{what} makes {percent(control)}.")
    if found and max(len(result.errors) for result in found) == 1:
        sentences.append(
            "One seed per method: there are no error bars, and differences may be chance."
        )
    return " ".join(sentences)


def verdict(row: Row, adjusted: Mapping[str, float]) -> str:
    """Whether the row's method makes significantly "fewer" or "more" errors, or "" for neither."""
    p = adjusted.get(str(row.get("method", "")))
    difference = number(row.get("difference_mean"))
    if p is None or difference is None or p >= LEVEL:
        return ""
    return "fewer" if difference < 0 else "more"


def spoken(method: str) -> str:
    """A method's name within a sentence."""
    return _SPOKEN.get(method, method)


def percent(result: Result) -> str:
    """Mean ± standard error, rounded to the standard error's first digit."""
    if result.sem is None:
        return f"{result.mean:.1f} %"
    digits = 1 if result.sem >= 0.095 or result.sem == 0 else 2 if result.sem >= 0.0095 else 3
    return f"{result.mean:.{digits}f} ± {result.sem:.{digits}f} %"


def table(rows: Sequence[Row], baseline: str, judge: str = "test") -> str:
    """The rows as an HTML table, best first; a column that nobody fills is left out.

    ``judge`` says which examples the errors are of: "test" or "validation".
    """
    order = {result.method: result for result in results(rows)}
    by_name = {str(row.get("method", "")): row for row in rows}
    names = [*order, *(name for name in by_name if name not in order)]
    adjusted = holm(rows, baseline)
    spread = "mean ± s.e." if any(result.sem is not None for result in order.values()) else ""
    columns = [
        _Column("method", "", [_method(name) for name in names]),
        _Column(f"{judge} error, %", spread, [_error(order.get(name)) for name in names]),
        _Column(
            f"difference from {baseline}",
            "paired, mean ± s.e.",
            [_difference(by_name[name]) for name in names],
        ),
        _Column("p", "uncorrected", [_p(number(by_name[name].get("p_value"))) for name in names]),
        _Column(
            "errors",
            f"p < {LEVEL} after Holm",
            [_verdict(by_name[name], adjusted) for name in names],
        ),
        _Column(
            "divergence reached",
            "÷ random's, in training",
            [_gain(by_name[name]) for name in names],
        ),
        _Column("step cost", f"÷ {baseline}", [_cost(by_name[name]) for name in names]),
        _Column("time", "per step", [_time(by_name[name]) for name in names]),
        _Column("seeds", "", [_seeds(order.get(name)) for name in names]),
    ]
    kept = [column for column in columns if any(shown for _, shown in column.cells)]
    head = "".join(
        f'<th scope="col">{text(c.name)}{f"<small>{text(c.unit)}</small>" if c.unit else ""}</th>'
        for c in kept
    )
    body = []
    for i, name in enumerate(names):
        cells = "".join(
            f'<td data-value="{text(value)}">{shown or "–"}</td>'
            for value, shown in (column.cells[i] for column in kept)
        )
        body.append(f'<tr class="base">{cells}</tr>' if name == baseline else f"<tr>{cells}</tr>")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Results">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


Cell = tuple[object, str]  # what to sort by, and HTML


class _Column:
    def __init__(self, name: str, unit: str, cells: list[Cell]) -> None:
        self.name, self.unit, self.cells = name, unit, cells


def _capital(sentence: str) -> str:
    return sentence if sentence[:2] in ("xA", "xV") else sentence[:1].upper() + sentence[1:]


def _method(name: str) -> Cell:
    swatch = f'<span class="key" style="background:var(--u-{look(name).key})"></span>'
    return name, f'{swatch}<span class="name">{text(name)}</span>'


def _plus_minus(mean: float, sem: float | None, sign: bool = False) -> str:
    digits = 3 if sem is not None and 0 < sem < 0.0095 else 2
    shown = f"{mean:+.{digits}f}" if sign else f"{mean:.{digits}f}"
    shown = shown.replace("-", "−")
    return shown if sem is None else f'{shown}<span class="pm"> ± {sem:.{digits}f}</span>'


def _error(result: Result | None) -> Cell:
    return ("", "") if result is None else (result.mean, _plus_minus(result.mean, result.sem))


def _difference(row: Row) -> Cell:
    mean, sem = number(row.get("difference_mean")), number(row.get("difference_sem"))
    return ("", "") if mean is None else (mean, _plus_minus(mean, sem, sign=True))


def _p(value: float | None) -> Cell:
    if value is None:
        return "", ""
    return value, "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def _verdict(row: Row, adjusted: Mapping[str, float]) -> Cell:
    if str(row.get("method", "")) not in adjusted:
        return "", ""
    kind = verdict(row, adjusted)
    p = adjusted[str(row.get("method", ""))]
    mark = {"fewer": "▼ fewer", "more": "▲ more", "": "not shown"}[kind]
    return p, f'<span class="{kind or "none"}" title="adjusted p = {p:.2g}">{mark}</span>'


def _gain(row: Row) -> Cell:
    found = row.get("gains")
    gains = found.values() if isinstance(found, Mapping) else ()
    pairs = [(number(g.get("ratio_mean")), number(g.get("ratio_sem"))) for g in gains]
    shown = [(mean, f"{_plus_minus(mean, sem)} ×") for mean, sem in pairs if mean is not None]
    if not shown:
        return "", ""
    return max(mean for mean, _ in shown), "; ".join(cell for _, cell in shown)


def _cost(row: Row) -> Cell:
    value = number(row.get("cost_ratio"))
    return ("", "") if value is None else (value, f"{value:.2f} ×")


def _time(row: Row) -> Cell:
    value = number(row.get("seconds_per_step"))
    if value is None:
        return "", ""
    return value, f"{1000 * value:.2f} ms" if value < 0.1 else f"{value:.2f} s"


def _seeds(result: Result | None) -> Cell:
    return (len(result.errors), str(len(result.errors))) if result and result.errors else ("", "")
