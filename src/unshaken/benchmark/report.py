"""The measurement as one HTML file that opens offline, and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from unshaken import pictures
from unshaken.comparison import page
from unshaken.pictures.bars import Bar, bars
from unshaken.pictures.growth import growth
from unshaken.training.atomic import replace_bytes

Result = Mapping[str, Any]


def write_report(folder: Path, result: Result) -> None:
    """``report.html``, ``time.svg`` and ``memory.svg`` in the folder."""
    replace_bytes(folder / "report.html", render(result).encode())
    for name, figure, caption in cost_figures(result):
        drawn = pictures.svg(figure, label=caption, standalone=True)
        replace_bytes(folder / f"{name}.svg", drawn.encode())


def render(result: Result) -> str:
    """The page."""
    setting, plain = result["setting"], result["plain"]
    size = "×".join(str(n) for n in setting["size"])
    title = f"What a training step costs: {setting['model']}, batch {setting['batch_size']}"
    inputs = f"inputs {setting['channels']}{'×' + size if size else ''}"
    over = (
        f"{inputs} · {setting['optimizer']} · {setting['device']}, {_threads(setting)} · "
        f"precision {setting['precision']} · {result['rounds']} rounds, {result['clock']}"
    )
    lead = (
        f"A plain cross-entropy step takes {1000 * plain['seconds']:.3g} ms "
        f"({plain['examples_per_second']:,.0f} examples a second) and "
        f"{plain['peak_bytes'] / 2**20:.3g} MiB beyond weights and optimizer. Everything below is "
        "in units of it, measured in turns right beside it."
    )
    body = [
        f'<p class="over">{page.text(over)}</p>',
        f"<h1>{page.text(title)}</h1>",
        f'<p class="lead">{page.text(lead)}</p>',
        _table(result),
        f'<p class="under">{page.text(_legend(result))}</p>',
    ]
    drawn = [
        page.figure(pictures.svg(figure, name=name, label=caption), caption)
        for name, figure, caption in cost_figures(result)
    ]
    body.append(f'<section><h2>Time and memory</h2><div class="figures">{"".join(drawn)}</div>')
    body.append("</section>")
    grown = [
        page.figure(pictures.svg(figure, name=f"g{k}", label=caption), caption)
        for k, (figure, caption) in enumerate(growth_figures(result))
    ]
    if grown:
        body.append(
            "<section><h2>How the cost grows</h2><p>Each point in units of the plain step of the "
            f'same shape.</p><div class="figures">{"".join(grown)}</div></section>'
        )
    body.append(
        "<section><h2>How it was measured</h2>"
        f"{page.facts({**result['environment'], 'setting': setting})}</section>"
    )
    return page.page(title, body)


def _legend(result: Result) -> str:
    told = (
        "Time: median and quartiles of the rounds. Memory: the fullest moment of a step beyond "
        "what was held before it. Passes: arithmetic of all products ÷ that of one forward pass, "
        "double backward included. Textbook: the same values by passes of their own, as public "
        "implementations compute them. Compiled: whole steps as "
        "compiled code. Least: by the count of passes, a plain step having 3."
    )
    sources = [row["epoch"]["source"] for row in result["rows"] if row.get("epoch")]
    return f"{told} Theirs: {sources[0]}, on the hardware of its time." if sources else told


def _threads(setting: Mapping[str, Any]) -> str:
    return "1 thread" if setting["threads"] == 1 else f"{setting['threads']} threads"


def cost_figures(result: Result) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of time and memory."""
    rows = result["rows"]
    if not rows:
        return []
    time = [
        Bar(
            row["method"],
            row["library"]["ratio"]["median"],
            row["library"]["ratio"]["low"],
            row["library"]["ratio"]["high"],
            _inner(row, "textbook", "ratio", "median"),
            _inner(row, "least", "ratio"),
        )
        for row in rows
    ]
    memory = [
        Bar(
            row["method"],
            row["library"]["memory"],
            textbook=_inner(row, "textbook", "memory"),
        )
        for row in rows
    ]
    return [
        (
            "time",
            bars(time, title="Time of a step", axis="÷ plain step"),
            "Time of a step in units of a plain cross-entropy step (dashed).",
        ),
        (
            "memory",
            bars(memory, title="Peak memory of a step", axis="÷ plain step"),
            "Memory at the fullest moment of a step, beyond what was held before it, in units of "
            "a plain step's (dashed).",
        ),
    ]


def growth_figures(result: Result) -> list[tuple[Figure, str]]:
    """A figure for each axis along which the cost was followed."""
    found = []
    for axis in result.get("scaling") or ():
        lines = {
            name: [(point["x"], point["ratio"]) for point in points]
            for name, points in axis["series"].items()
        }
        figure = growth(lines, title=axis["title"], x=axis["x"], y="time ÷ plain step")
        found.append((figure, axis["caption"]))
    return found


def _table(result: Result) -> str:
    rows: Sequence[Result] = result["rows"]
    epochs = any(row.get("epoch") for row in rows)
    compiled = any(row.get("compiled") for row in rows)
    heads = ["method", "time", "quartiles", *(["compiled"] if compiled else [])]
    heads += ["textbook", "least", "ms", "examples/s"]
    heads += ["memory", "textbook", "passes", "textbook"]
    heads += ["s/epoch", "theirs"] if epochs else []
    lines = []
    for row in rows:
        ours, ratio = row["library"], row["library"]["ratio"]
        cells = [
            ratio["median"],
            f"{ratio['low']:.2f}-{ratio['high']:.2f}",
            *([_inner(row, "compiled", "ratio", "median")] if compiled else []),
            _inner(row, "textbook", "ratio", "median"),
            _inner(row, "least", "ratio"),
            1000 * ours["seconds"],
            ours["examples_per_second"],
            ours["memory"],
            _inner(row, "textbook", "memory"),
            ours["passes"],
            _inner(row, "textbook", "passes"),
        ]
        if epochs:
            cells += [_inner(row, "epoch", "seconds"), _inner(row, "epoch", "paper_seconds")]
        inner = "".join(_cell(cell) for cell in cells)
        name = page.text(row["method"])
        lines.append(f'<tr><td data-value="{name}"><span class="name">{name}</span></td>{inner}')
    top = "".join(f"<th>{head}</th>" for head in heads)
    return (
        '<div class="scroll"><table class="sortable"><thead><tr>'
        f"{top}</tr></thead><tbody>{'</tr>'.join(lines)}</tr></tbody></table></div>"
    )


def _cell(value: float | str | None) -> str:
    if value is None:
        return '<td data-value="" class="none">–</td>'
    shown = value if isinstance(value, str) else f"{value:.2f}" if value < 100 else f"{value:.0f}"
    return f'<td data-value="{page.text(value)}">{page.text(shown)}</td>'


def _inner(row: Result, *names: str) -> float | None:
    value: Any = row
    for name in names:
        value = None if value is None else value.get(name)
    return None if value is None else float(value)
