"""Many methods × many seeds on one data set: run, keep, go on, and sum up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib

from unshaken.comparison import gallery
from unshaken.comparison.environment import environment
from unshaken.comparison.protocol import Protocol
from unshaken.comparison.report import write_report
from unshaken.comparison.single import run
from unshaken.comparison.statistics import rows
from unshaken.methods import catalog
from unshaken.training import Interrupted, NonFiniteError

Settings = Mapping[str, Mapping[str, float]]
Report = Callable[[dict[str, Any], int, int], None]


def compare(
    protocol: Protocol,
    methods: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    *,
    settings: Settings | None = None,
    jobs: int = 1,
    threads: int | None = 1,
    finished: Report | None = None,
) -> dict[str, Any]:
    """Train every method with every seed and write ``summary.json`` and ``report.html``.

    Each finished run is one file ``out/runs/METHOD/seed-S.json``, written whole or not at all: a
    call that is interrupted, on purpose or not, loses the runs under way and a second call does
    the rest. A run counts as finished only for the same protocol and settings. A run whose loss
    is not finite is kept as a failure of its method and does not stop the others.

    Args:
        protocol: what all methods share.
        methods: names of the catalog, or several joined by ``+``.
        seeds: one run of each method for each; runs of one seed share data, split and weights.
        out: the comparison's folder.
        settings: overrides of method settings, by method.
        jobs: processes at a time.
        threads: threads of PyTorch in each; None leaves them.
        finished: called with each record, how many runs are done, and how many there are.

    Returns:
        The summary that is written.
    """
    given = settings or {}
    # All mistakes in names and settings come to light before the first run.
    wanted = {
        method: protocol.fingerprint(
            method, catalog.settings_for(method, {**protocol.methods, **given})
        )
        for method in methods
    }
    records: list[dict[str, Any]] = []
    missing: list[tuple[str, int]] = []
    for seed in seeds:
        for method in methods:
            record = _read(_path(out, method, seed))
            if record is not None and record.get("fingerprint") == wanted[method]:
                records.append(record)
            else:
                missing.append((method, seed))
    total = len(records) + len(missing)
    for method, seed in missing:
        _path(out, method, seed).parent.mkdir(parents=True, exist_ok=True)
    for record in _runs(protocol, missing, given, out, jobs, threads, wanted, seeds[0]):
        records.append(record)
        if finished is not None:
            finished(record, len(records), total)
    return summarize(protocol, methods, records, out, jobs)


def summarize(
    protocol: Protocol,
    methods: Sequence[str],
    records: Sequence[dict[str, Any]],
    out: Path,
    jobs: int = 1,
) -> dict[str, Any]:
    """Write ``summary.json`` and ``report.html`` for finished runs, and return the summary."""
    order = {method: k for k, method in enumerate(methods)}
    ordered = sorted(records, key=lambda r: (order[r["method"]], r["seed"]))
    summary = {
        "rows": rows(ordered, methods),
        "baseline": "baseline",
        "data": {"name": protocol.data, "labels": protocol.labels, "augmentation": "none"},
        "protocol": {
            "network": dict(protocol.network),
            "training": dict(protocol.training),
            "validation": protocol.validation,
            "judged on": protocol.judge,
            "normalization": protocol.normalize or "the data's default",
            "settings": protocol.note,
        },
        "environment": environment(jobs),
    }
    _write(out / "summary.json", summary)
    write_report(
        out / "report.html",
        summary,
        ordered,
        gallery.panels(out / "pictures" / "panels", methods),
        gallery.boundaries(out / "pictures" / "boundaries", methods),
    )
    return summary


def _runs(
    protocol: Protocol,
    missing: Sequence[tuple[str, int]],
    settings: Settings,
    out: Path,
    jobs: int,
    threads: int | None,
    fingerprints: Mapping[str, str],
    pictured: int,
) -> Iterator[dict[str, Any]]:
    tasks = (
        joblib.delayed(_one)(
            protocol,
            method,
            seed,
            settings,
            _path(out, method, seed),
            out / "pictures" if seed == pictured else None,
            threads,
            fingerprints[method],
        )
        for method, seed in missing
    )
    jobs = max(1, min(jobs, len(missing)))
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    for record in parallel(tasks):
        if record is None:
            raise KeyboardInterrupt
        yield record


def _one(
    protocol: Protocol,
    method: str,
    seed: int,
    settings: Settings,
    path: Path,
    pictures: Path | None,
    threads: int | None,
    fingerprint: str,
) -> dict[str, Any] | None:
    """One run in a process of its own; None where it was interrupted."""
    try:
        record = run(protocol, method, seed, settings, pictures=pictures, threads=threads)
    except Interrupted:
        return None
    except NonFiniteError as error:
        record = {
            "method": method,
            "seed": seed,
            "failed": str(error),
            "fingerprint": fingerprint,
            "history": [],
        }
    _write(path, record)
    return record


def _path(out: Path, method: str, seed: int) -> Path:
    return out / "runs" / method / f"seed-{seed}.json"


def _read(path: Path) -> dict[str, Any] | None:
    """A record, or None where there is none that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "method" in found else None


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(value, indent=1, allow_nan=False), "utf-8")
    partial.replace(path)
