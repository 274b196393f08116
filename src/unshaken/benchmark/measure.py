"""One setting measured: time, memory and passes of every contender, as plain values."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from unshaken.benchmark import memory, work
from unshaken.benchmark.contenders import Contender, Kind, field_of
from unshaken.benchmark.papers import REPORTED
from unshaken.benchmark.setting import Setting
from unshaken.benchmark.timing import TURN, Times, clock_of, quartiles, race
from unshaken.benchmark.variants import Variant
from unshaken.comparison.environment import environment

PLAIN_UNITS = 3
"""Units of a plain step: one forward, input-gradient and weight-gradient pass."""

Progress = Callable[[int, int], None]


def measure(
    setting: Setting,
    variants: Sequence[Variant],
    rounds: int,
    *,
    textbook: bool = True,
    compiled: bool = False,
    turn: float = TURN,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Every variant beside its textbook and the least possible, in units of the plain step.

    Args:
        setting: network, batch, device.
        variants: what to measure.
        rounds: of the timing.
        textbook: whether to measure the textbooks too.
        compiled: whether to measure the library's steps as compiled code too; their memory and
            passes are not seen from outside.
        turn: seconds that one turn of the timing takes at least.
        progress: told of the turns that are done and of all.

    Returns:
        ``{"setting", "clock", "rounds", "environment", "plain", "rows"}``; times in seconds,
        memory in bytes, ratios to the plain step as median and quartiles over rounds.
    """
    clock = clock_of(setting.place, setting.threads)
    with _running_on(setting):
        field = field_of(setting, variants, textbook, compiled)
        with torch.no_grad():
            forward = work.flops(lambda: field.network(field.inputs))
        plain_costs = _costs(field.plain, setting, forward)
        costs = [_costs(contender, setting, forward) for contender in field.others]
        own, times = race(field, rounds, clock, turn=turn, progress=progress)
    plain = _result(own, plain_costs, plain_costs["peak_bytes"], setting)
    rows = []
    measured = list(zip(field.others, times, costs, strict=True))
    for variant in variants:
        mine = {
            contender.kind: (time, _result(time, cost, plain_costs["peak_bytes"], setting))
            for contender, time, cost in measured
            if contender.name == variant.name
        }
        rows.append(_row(variant, mine, setting))
    return {
        "setting": _told(setting),
        "clock": clock,
        "rounds": rounds,
        "forward_flops": forward,
        "environment": environment(1, setting.threads),
        "plain": plain,
        "rows": rows,
    }


def _costs(contender: Contender, setting: Setting, forward: int) -> dict[str, float]:
    """Memory of the most expensive step of a period, arithmetic of the mean one."""
    contender.step()  # the optimizer's state is made
    contender.clear()
    if contender.kind == "compiled":
        for _ in range(contender.period):
            contender.step()  # every choice of terms is compiled
        contender.clear()
        return {}
    peaks, flops = [], []
    for _ in range(contender.period):
        peaks.append(memory.peak(contender.work, setting.place))
        contender.clear()
    for _ in range(contender.period):
        flops.append(work.flops(contender.work))
        contender.clear()
    passes = statistics.fmean(flops) / forward if forward else float("nan")
    return {"peak_bytes": max(peaks), "passes": passes}


def _result(
    times: Times, costs: Mapping[str, float], plain_peak: float, setting: Setting
) -> dict[str, Any]:
    low, median, high = quartiles(times.ratios)
    seconds = statistics.median(times.seconds)
    found = {
        "ratio": {"median": median, "low": low, "high": high, "rounds": times.ratios},
        "seconds": seconds,
        "examples_per_second": setting.batch_size / seconds,
    }
    return {**found, "memory": costs["peak_bytes"] / plain_peak, **costs} if costs else found


def _row(
    variant: Variant, mine: Mapping[Kind, tuple[Times, dict[str, Any]]], setting: Setting
) -> dict[str, Any]:
    least = variant.count(setting.shape, setting.classes)
    row: dict[str, Any] = {
        "method": variant.name,
        "library": mine["library"][1],
        "textbook": None,
        "least": None if least is None else {"passes": least, "ratio": least / PLAIN_UNITS},
    }
    if "compiled" in mine:
        row["compiled"] = mine["compiled"][1]
    if "textbook" in mine:
        book = mine["textbook"][1]
        row["textbook"] = book
        row["of_textbook"] = {
            # Round by round, so that what slowed a round down slowed both.
            "ratio": statistics.median(
                a / b
                for a, b in zip(mine["library"][0].ratios, mine["textbook"][0].ratios, strict=True)
            ),
            "memory": row["library"]["memory"] / book["memory"],
        }
    reported = REPORTED.get(setting.name)
    if reported is not None:
        epoch = row["library"]["seconds"] * reported.examples / setting.batch_size
        paper = reported.seconds.get(variant.name)
        row["epoch"] = {"seconds": epoch, "paper_seconds": paper, "source": reported.source}
    return row


def _told(setting: Setting) -> dict[str, Any]:
    tf32 = {
        "convolutions": torch.backends.cudnn.allow_tf32,
        "matrix products": torch.backends.cuda.matmul.allow_tf32,
    }
    return {
        "model": setting.name,
        "batch_size": setting.batch_size,
        "channels": setting.channels,
        "size": list(setting.size),
        "classes": setting.classes,
        "optimizer": setting.optimizer,
        "mask_table_rows": setting.examples,
        "precision": setting.precision,
        "device": setting.device,
        "threads": setting.threads,
        **({"tf32": tf32} if setting.place.type == "cuda" else {}),
    }


@contextmanager
def _running_on(setting: Setting) -> Iterator[None]:
    """With the setting's threads and, where it is a GPU, on its device and stream."""
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        with torch.cuda.device(setting.place) if setting.place.type == "cuda" else nullcontext():
            yield
    finally:
        torch.set_num_threads(before)
