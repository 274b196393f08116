"""What a person sees while a comparison runs, and the table at its end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


class Live:
    """A bar with the last result on a terminal, a line for each result on a pipe."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._bar: Progress | None = None

    def __enter__(self) -> Live:
        if self._console.is_terminal and not self._quiet:
            self._bar = Progress(
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[last]}"),
                console=self._console,
                refresh_per_second=2,  # what draws it shares the processor with the runs
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=None, last="starting")
        return self

    def finished(self, record: Mapping[str, Any], done: int, total: int) -> None:
        """Show a finished run."""
        if self._quiet:
            return
        text = f"{record['method']}, seed {record['seed']}: "
        lost = record.get("failed")
        text += f"failed: {lost:.200}" if lost else f"{record['error']:.2f} %"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, last=text)
        else:
            print(f"[{done}/{total}] {text}", file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def print_table(summary: Mapping[str, Any]) -> None:
    """The rows of a summary as a table, best first; columns that nobody fills are left out."""
    names = ("method", "error %", "− baseline", "p", "cost", "seeds")
    rows = sorted(
        summary["rows"],
        key=lambda row: float("inf") if row["error_mean"] is None else row["error_mean"],
    )
    cells = [
        (
            row["method"],
            _pm(row["error_mean"], row["error_sem"]) or ("failed" if row["failures"] else "–"),
            _pm(row["difference_mean"], row["difference_sem"], sign="+"),
            "" if row["p_value"] is None else f"{row['p_value']:.2g}",
            "" if row["cost_ratio"] is None else f"{row['cost_ratio']:.2f} ×",
            str(len(row["errors"])),
        )
        for row in rows
    ]
    shown = [k for k in range(len(names)) if any(row[k] for row in cells)]
    print_columns([names[k] for k in shown], [[row[k] for k in shown] for row in cells])
    for row in rows:
        for failure in row["failures"]:
            print(f"{row['method']}, {failure}")
    alarms = [f"{row['method']} {len(row['alarms'])}" for row in rows if row["alarms"]]
    if alarms:
        print(f"alarms, which the report spells out: {', '.join(alarms)}")


def print_columns(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None = None,
    least: int = 2,
) -> None:
    """A table, the first column left and the others right.

    On a narrow terminal the last columns are left out, but for the ``least`` first ones, which is
    better than numbers cut in two. In a pipe nothing is, however long the names are.
    """
    console = Console(width=None if sys.stdout.isatty() else 200)
    unbound = console.options.update(width=10_000)
    for count in range(len(heads), 0, -1):
        table = Table(title=title)
        for k, head in enumerate(heads[:count]):
            table.add_column(head, justify="right" if k else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row[:count])
        if count <= least or console.measure(table, options=unbound).maximum <= console.width:
            console.print(table)
            return


def _pm(mean: float | None, error: float | None, sign: str = "") -> str:
    if mean is None:
        return ""
    # A mean that rounds to zero has no sign worth showing.
    text = f"{round(mean, 2) + 0.0:{sign}.2f}".replace("-", "−")
    return text if error is None else f"{text} ± {error:.2f}"
