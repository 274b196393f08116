"""From run records to the rows of a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

_ROUNDING = 1e-9
"""Spread, relative to the values, that rounding alone can make of equal differences."""


def mean_and_error(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean, and its standard error ``s / √n`` where there are at least two values."""
    if not values:
        return None, None
    if len(values) == 1:
        return values[0], None
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def paired(values: Sequence[float], baseline: Sequence[float]) -> dict[str, float | None]:
    """Mean difference, its standard error, and the two-sided p of a paired t-test.

    ``t = mean / error`` has Student's distribution with n − 1 degrees of freedom. Where all
    differences are equal there is no spread to judge them by: p is 1 if they are zero, else None.
    """
    differences = [a - b for a, b in zip(values, baseline, strict=True)]
    mean, error = mean_and_error(differences)
    p = None
    if mean is not None and error is not None:
        if error <= _ROUNDING * max(map(abs, (*values, *baseline))):
            error = 0.0
            p = 1.0 if abs(mean) <= _ROUNDING * max(map(abs, (*values, *baseline))) else None
        else:
            # Imported here: it takes half a second that a run need not wait for.
            from scipy import special

            p = 2 * float(special.stdtr(len(differences) - 1, -abs(mean / error)))
    return {"difference_mean": mean, "difference_sem": error, "p_value": p}


def rows(
    records: Sequence[Record], methods: Sequence[str], baseline: str = "baseline"
) -> list[dict[str, Any]]:
    """One row for each method, in their order.

    Errors in per cent, listed by increasing seed. Differences from the baseline pair runs of the
    same seed. ``cost_ratio`` is the median over seeds of the time of a step over the baseline's.
    ``failures`` says of each run without a result why, ``alarms`` what a run noticed. ``gains``
    says for each term, by name, what its adversary was worth in training: the mean divergence that
    it reached (``adversary``), that of a random perturbation of the same size (``random``), and the
    ratio of the two in each run (``ratio_mean``, ``ratio_sem``).
    """
    done: dict[str, dict[int, Record]] = {method: {} for method in methods}
    failed: dict[str, list[tuple[int, str]]] = {method: [] for method in methods}
    for record in records:
        if record.get("failed"):
            failed[record["method"]].append((record["seed"], record["failed"]))
        else:
            done[record["method"]][record["seed"]] = record
    base = done.get(baseline, {})
    return [
        _row(method, dict(sorted(done[method].items())), base, baseline)
        | {"failures": [f"seed {seed}: {reason}" for seed, reason in sorted(failed[method])]}
        for method in methods
    ]


def _row(
    method: str, runs: Mapping[int, Record], base: Mapping[int, Record], baseline: str
) -> dict[str, Any]:
    errors = [float(run["error"]) for run in runs.values()]
    mean, error = mean_and_error(errors)
    common = [seed for seed in runs if seed in base]
    difference = paired([], [])
    if method != baseline:
        difference = paired([runs[s]["error"] for s in common], [base[s]["error"] for s in common])
    return {
        "method": method,
        "errors": errors,
        "seeds": list(runs),
        "error_mean": mean,
        "error_sem": error,
        **difference,
        "seconds_per_step": _median([_seconds(run) for run in runs.values()]),
        "cost_ratio": _median([_seconds(runs[s]) / _seconds(base[s]) for s in common]),
        "gains": _gains(list(runs.values())),
        "alarms": [f"seed {s}: {a}" for s, run in runs.items() for a in run.get("alarms", ())],
    }


def _gains(runs: Sequence[Record]) -> dict[str, dict[str, float | None]]:
    names = dict.fromkeys(name for run in runs for name in run.get("reached", {}))
    found: dict[str, dict[str, float | None]] = {}
    for name in names:
        pairs = [run["reached"][name] for run in runs if name in run.get("reached", {})]
        ratios = [p["adversary"] / p["random"] for p in pairs if p["random"] > 0]
        mean, error = mean_and_error(ratios)
        found[name] = {
            "adversary": statistics.fmean(p["adversary"] for p in pairs),
            "random": statistics.fmean(p["random"] for p in pairs),
            "ratio_mean": mean,
            "ratio_sem": error,
        }
    return found


def _seconds(run: Record) -> float:
    # A clock too coarse for a very short run may read zero; a ratio has to stay finite.
    return max(float(run["seconds_per_step"]), 1e-9)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
