"""The measured steps as a table on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH = 80
HEADS = (
    "method",
    "time",
    "quartiles",
    "text-\nbook",
    "least",
    "mem-\nory",
    "text-\nbook",
    "units",
    "text-\nbook",
)


def print_table(result: Mapping[str, Any], width: int | None = None) -> None:
    """Time, memory and passes of every method; all but passes in units of the plain step."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    compiled = any("compiled" in row for row in result["rows"])
    for k, head in enumerate((*HEADS[:3], *(["com-\npiled"] if compiled else []), *HEADS[3:])):
        table.add_column(head, justify="right" if k else "left", no_wrap=True)
    for row in result["rows"]:
        ours, book, least = row["library"], row["textbook"], row["least"]
        ratio = ours["ratio"]
        table.add_row(
            row["method"],
            _two(ratio["median"]),
            f"{_two(ratio['low'])}-{_two(ratio['high'])}",
            *([_two(_median(row.get("compiled")))] if compiled else []),
            _two(book and book["ratio"]["median"]),
            _two(least and least["ratio"]),
            _two(ours["memory"]),
            _two(book and book["memory"]),
            _one(ours["passes"]),
            _one(book and book["passes"]),
        )
    console = Console(width=None if sys.stdout.isatty() else width or WIDTH, highlight=False)
    console.print(table)
    plain, setting = result["plain"], result["setting"]
    console.print(
        f"{setting['model']}, batch {setting['batch_size']}: a plain step takes "
        f"{1000 * plain['seconds']:.3g} ms ({plain['examples_per_second']:,.0f} examples/s) and "
        f"{plain['peak_bytes'] / 2**20:.3g} MiB. Time ({result['clock']}) and memory are ÷ the "
        f"plain step, median and quartiles of {result['rounds']} rounds; a unit is one pass over "
        "the network, a plain step has 3.",
    )
    _print_epochs(result, console)


def print_scaling(axes: Sequence[Mapping[str, Any]]) -> None:
    """Times of every axis, ÷ the plain step of the same shape."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    for axis in axes:
        table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
        places = sorted({p["x"] for points in axis["series"].values() for p in points})
        table.add_column(axis["x"], no_wrap=True)
        for x in places:
            table.add_column(f"{x:g}", justify="right", no_wrap=True)
        for name, points in axis["series"].items():
            at = {point["x"]: point["ratio"] for point in points}
            table.add_row(name, *(_two(at.get(x)) for x in places))
        console.print(table)


def _print_epochs(result: Mapping[str, Any], console: Console) -> None:
    rows = [row for row in result["rows"] if row.get("epoch", {}).get("paper_seconds") is not None]
    if not rows:
        return
    told = ", ".join(
        f"{row['method']} {row['epoch']['seconds']:.3g} ({row['epoch']['paper_seconds']:g})"
        for row in rows
    )
    console.print(f"Seconds per epoch ({rows[0]['epoch']['source']}, theirs): {told}")


def _median(found: Mapping[str, Any] | None) -> float | None:
    return None if found is None else found["ratio"]["median"]


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _one(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
