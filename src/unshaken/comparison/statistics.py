"""From run records to the rows of a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

Record = Mapping[str, Any]


def mean_and_error(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean, and its standard error where there are at least two values."""
    if not values:
        return None, None
    if len(values) == 1:
        return values[0], None
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def paired(values: Sequence[float], baseline: Sequence[float]) -> dict[str, float | None]:
    """Mean difference, its standard error, and the two-sided p of a paired t-test."""
    differences = [a - b for a, b in zip(values, baseline, strict=True)]
    mean, error = mean_and_error(differences)
    p = None
    if error:
        p = float(stats.ttest_rel(values, baseline).pvalue)
    elif error == 0 and mean == 0:
        p = 1.0
    return {"difference_mean": mean, "difference_sem": error, "p_value": p}


def rows(
    records: Sequence[Record], methods: Sequence[str], baseline: str = "baseline"
) -> list[dict[str, Any]]:
    """One row for each method, in their order.

    Errors in per cent, listed by increasing seed. Differences from the baseline pair runs of the
    same seed. ``cost_ratio`` is the median over seeds of the CPU time of a step over the
    baseline's.
    """
    done: dict[str, dict[int, Record]] = {method: {} for method in methods}
    failed: dict[str, list[str]] = {method: [] for method in methods}
    for record in records:
        if record.get("failed"):
            failed[record["method"]].append(f"seed {record['seed']}: {record['failed']}")
        else:
            done[record["method"]][record["seed"]] = record
    base = done.get(baseline, {})
    table = []
    for method in methods:
        runs = dict(sorted(done[method].items()))
        errors = [float(run["error"]) for run in runs.values()]
        mean, error = mean_and_error(errors)
        row: dict[str, Any] = {
            "method": method,
            "errors": errors,
            "seeds": list(runs),
            "error_mean": mean,
            "error_sem": error,
            "difference_mean": None,
            "difference_sem": None,
            "p_value": None,
            "seconds_per_step": _median([float(r["seconds_per_step"]) for r in runs.values()]),
            "cost_ratio": None,
            "failures": failed[method],
        }
        common = [seed for seed in runs if seed in base]
        if common:
            row["cost_ratio"] = _median(
                [runs[s]["seconds_per_step"] / base[s]["seconds_per_step"] for s in common]
            )
            if method != baseline:
                row.update(
                    paired([runs[s]["error"] for s in common], [base[s]["error"] for s in common])
                )
        table.append(row)
    return table


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
