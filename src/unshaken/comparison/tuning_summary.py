"""What a search found, as ``summary.json`` and as options for ``train`` and ``compare``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from unshaken.comparison.checking import described
from unshaken.comparison.environment import environment
from unshaken.comparison.folder import plain, write_json
from unshaken.comparison.tuning import Tuning
from unshaken.comparison.tuning_space import settings_at
from unshaken.training.atomic import replace_bytes

_SEARCHES = {
    "tpe": "Optuna's tree-structured Parzen estimator",
    "grid": "every point of a grid",
    "random": "points drawn at random",
}


def summarize(
    tuning: Tuning, out: Path, jobs: int, threads: int | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``summary.json``, ``best.yaml`` and ``report.html``, and return the summary.

    Args:
        tuning: a search.
        out: its folder.
        jobs: runs at a time.
        threads: threads of PyTorch in each.
        options: the options of the program that decided data, network and budget, by name.
    """
    # Imported here: the report brings Matplotlib, for which no process that trains should wait.
    from unshaken.comparison.tuning_report import write_report

    plan = tuning.plan
    table = rows(tuning)
    best = next((row for row in table if row["error_mean"] is not None and not row["pruned"]), None)
    summary: dict[str, Any] = {
        "method": plan.method,
        "rows": table,
        "best": None
        if best is None
        else {
            "settings": plan.completed(best["settings"]),
            "error_mean": best["error_mean"],
            "error_sem": best["error_sem"],
            "trial": best["trial"],
        },
        "edges": [] if best is None else edges(tuning, best["settings"], ties(table)),
        "tied": len(ties(table)) - 1 if best is not None else 0,
        "importance": tuning.importance,
        "search": {
            "how": _SEARCHES[plan.search],
            "trials": len(tuning.trials),
            "pruned": sum(trial.pruned for trial in tuning.trials),
            "seeds": list(plan.seeds),
            "folds": plan.folds,
        },
        "search space": {d.name: d.described() for d in plan.space},
        "data": {**described(tuning.dataset, plan.protocol), "test examples": "not looked at"},
        "protocol": {
            "network": dict(plan.protocol.network),
            "training": dict(plan.protocol.training),
            "validation examples": plan.protocol.validation,
            "judged on": "validation",
            "normalization": plan.protocol.normalize or "the data's default",
        },
        "environment": environment(
            jobs, threads, [p for t in tuning.trials for p in (t.result or {})["provenance"]]
        ),
    }
    write_json(out / "summary.json", summary)
    if summary["best"] is not None:
        write_best(out / "best.yaml", plan.method, summary["best"], options)
    write_report(out / "report.html", summary, {d.name: d.log for d in plan.space})
    return summary


def rows(tuning: Tuning) -> list[dict[str, Any]]:
    """One row for each settings tried, best first; those given up early and failures at the end.

    Each has ``settings`` (the searched ones, by method), ``errors`` by seed, ``error_mean``,
    ``error_sem``, ``seconds_per_step``, ``pruned``, ``failures``, ``alarms`` and ``trial``.
    """
    found: dict[str, dict[str, Any]] = {}
    for trial in tuning.trials:
        settings = settings_at(tuning.plan.space, trial.point)
        result = dict(trial.result or {})
        for unshown in ("provenance", "score"):
            del result[unshown]
        row = {"settings": settings, "pruned": trial.pruned, **result, "trial": trial.number}
        key = json.dumps(settings, sort_keys=True)
        # Two trials of the same settings are the same runs; the whole one tells more.
        if key not in found or (found[key]["pruned"] and not trial.pruned):
            found[key] = row
    return sorted(found.values(), key=_order)


def _order(row: Mapping[str, Any]) -> tuple[bool, bool, float, int]:
    mean = row["error_mean"]
    return row["pruned"], mean is None, 0.0 if mean is None else mean, row["trial"]


def ties(table: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows with the least error, whose choice among them is chance."""
    whole = [row for row in table if row["error_mean"] is not None and not row["pruned"]]
    least = min((row["error_mean"] for row in whole), default=None)
    return [row for row in whole if row["error_mean"] == least]


def edges(
    tuning: Tuning,
    best: Mapping[str, Mapping[str, float]],
    tied: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The settings whose best value lies at an end of its range: a wider one may hold a better.

    Not those that another value, not at that end, is ``tied`` with.
    """
    found = []
    for d in tuning.plan.space:
        edge = d.edge(best[d.part][d.setting])
        everywhere = all(d.edge(row["settings"][d.part][d.setting]) == edge for row in tied)
        if edge and everywhere and d.low < d.high:
            value = best[d.part][d.setting]
            found.append({"setting": d.name, "value": value, "edge": edge, "range": d.described()})
    return found


def said_of(edge: Mapping[str, Any]) -> str:
    """One sentence on a value at the end of its range."""
    return (
        f"the best {edge['setting']}, {edge['value']:g}, lies at the {edge['edge']} edge of its "
        f"range {edge['range']}; a wider range may hold a better one"
    )


def write_best(
    path: Path, method: str, best: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """The best settings and what they were chosen for, as ``--config`` of train and compare."""
    content = {**{k: v for k, v in options.items() if v is not None}, "method": method}
    content["settings"] = best["settings"]
    error = f"{best['error_mean']:.2f}"
    if best["error_sem"] is not None:
        error += f" ± {best['error_sem']:.2f}"
    head = (
        f"# Chosen on validation examples: {error} % errors there.\n"
        "# unshaken train --config best.yaml, or unshaken compare --config best.yaml "
        f"--methods baseline,{method}\n"
    )
    text = yaml.safe_dump(plain(content), sort_keys=False, width=100)
    replace_bytes(path, (head + text).encode())


def points_of(
    table: Sequence[Mapping[str, Any]],
) -> list[tuple[dict[str, float], Mapping[str, Any]]]:
    """The rows that have an error, each with its settings by name, as ``vat.radius``."""
    return [
        ({f"{p}.{n}": v for p, s in row["settings"].items() for n, v in s.items()}, row)
        for row in table
        if row["error_mean"] is not None
    ]
