"""The command line: ``unshaken train | compare``."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

USAGE_ERROR = 2
INTERRUPTED = 130


def train(
    data: str = "digits",
    method: str = "vat",
    labels: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    out: str = "run",
    resume: bool = False,
    network: str | None = None,
    training: dict[str, Any] | None = None,
    settings: dict[str, float] | None = None,
    normalize: str | None = None,
    threads: int | None = None,
    quiet: bool = False,
) -> None:
    """Train one classifier with one method.

    Args:
        data: digits, moons, circles, sinusoids, mnist, svhn, cifar10, cifar100; a folder of
            images, an .npz file, or hub:OWNER/NAME.
        method: a method's name, or several joined by +, as vat+vmt-shift.
        labels: how many labels are shown; all unless given here or by the data's protocol.
        epochs: passes over the labeled examples; the protocol's number of steps unless given.
        batch_size: labeled examples in a batch.
        seed: decides split, weights, batches and draws.
        out: folder for checkpoints, weights, summary.json and report.html.
        resume: go on from the newest checkpoint in the folder; with none there, start anew.
        network: mlp, conv_small, conv_large, moons_mlp, or an import path package.module:function.
        training: further fields of the training settings, as {"lr": 0.001, "ema": 0.99}.
        settings: settings of the method, as {"radius": 0.5}; of a joined one {"vat.radius": 0.5}.
        normalize: none, unit, centered, standard or zca; the data's own unless given.
        threads: threads of PyTorch; chosen by the size of the network unless given.
        quiet: show no progress.
    """
    from unshaken.comparison.compare import summarize
    from unshaken.comparison.single import run
    from unshaken.methods import catalog
    from unshaken.training import progress_for

    catalog.parts(method)
    protocol = _protocol(data, labels, network, training, normalize, batch_size)
    if epochs is not None:
        protocol = _with_epochs(protocol, epochs, seed)
    folder = Path(out)
    record = run(
        protocol,
        method,
        seed,
        _settings_of(method, settings),
        pictures=folder / "pictures",
        out=folder,
        resume=resume,
        progress=progress_for(quiet=quiet),
        threads=threads,
    )
    for alarm in record["alarms"]:
        print(f"unshaken: {alarm}", file=sys.stderr)
    summarize(protocol, [method], [record], folder)
    print(
        f"{method} on {data}: {record['error']:.2f} % test error after {record['steps']} steps; "
        f"report in {folder / 'report.html'}"
    )


def compare(
    data: str = "digits",
    labels: int | None = None,
    methods: list[str] | None = None,
    seeds: list[int] | None = None,
    out: str = "comparison",
    steps: int | None = None,
    batch_size: int | None = None,
    network: str | None = None,
    training: dict[str, Any] | None = None,
    settings: dict[str, dict[str, float]] | None = None,
    normalize: str | None = None,
    jobs: int | None = None,
    threads: int = 1,
    quiet: bool = False,
) -> None:
    """Compare methods on one data set: the same splits, budget and weights for all.

    Args:
        data: digits, moons, circles, sinusoids, mnist, svhn, cifar10, cifar100; a folder of
            images, an .npz file, or hub:OWNER/NAME.
        labels: how many labels are shown; all unless given here or by the data's protocol.
        methods: names separated by commas or spaces, joined ones as vat+vmt-shift; or all.
        seeds: how many seeds (5), or which (0,3,7).
        out: folder for summary.json, report.html and every finished run; a second call goes on.
        steps: training steps of each run; the protocol's unless given.
        batch_size: labeled examples in a batch.
        network: mlp, conv_small, conv_large, moons_mlp, or an import path package.module:function.
        training: further fields of the training settings, as {"lr": 0.001}.
        settings: settings by method, as {"vat": {"radius": 0.5}}.
        normalize: none, unit, centered, standard or zca; the data's own unless given.
        jobs: runs at a time; one for each core unless given, one on a GPU.
        threads: threads of PyTorch in each.
        quiet: show no progress.
    """
    from unshaken.comparison.compare import compare as run_all
    from unshaken.comparison.live import Live, print_table
    from unshaken.data import load
    from unshaken.methods import catalog

    protocol = _protocol(data, labels, network, training, normalize, batch_size)
    if steps is not None:
        protocol = protocol.with_changes(training={**protocol.training, "steps": steps})
    names = methods or ["all"]
    size = load(protocol.data, seed=0, normalize=protocol.normalize).size
    if "all" in names:
        at = names.index("all")
        rest = [name for name in names if name != "all"]
        every = [name for name in catalog.names_for(size) if name not in rest]
        names = rest[:at] + every + rest[at:]
    for name in names:
        catalog.require_fit(name, size)
    chosen = list(dict.fromkeys(names))
    numbers = _seeds(seeds)
    import torch

    workers = jobs or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    with Live(len(chosen) * len(numbers), quiet=quiet) as live:
        summary = run_all(
            protocol,
            chosen,
            numbers,
            Path(out),
            settings=settings,
            jobs=workers,
            threads=threads,
            finished=live.finished,
        )
    print_table(summary)
    print(f"report: {Path(out) / 'report.html'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 2 for a user's mistake, 130 when interrupted."""
    import jsonargparse

    words = _joined(list(sys.argv[1:] if arguments is None else arguments))
    try:
        jsonargparse.auto_cli(
            {"train": train, "compare": compare},
            args=words,
            prog="unshaken",
            as_positional=False,
            version=_version(),
        )
    except KeyboardInterrupt:
        print("unshaken: stopped; the same command goes on from what is finished", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as head does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _explain(error)
    return 0


def _explain(error: Exception) -> int:
    """One sentence for what a user can mend; a traceback for what only we can."""
    from unshaken.training import CheckpointError, Interrupted, NonFiniteError

    if os.environ.get("UNSHAKEN_DEBUG"):
        raise error
    if isinstance(error, Interrupted):
        print(f"unshaken: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, NonFiniteError):
        print(f"unshaken: error: {error}", file=sys.stderr)
        return 1
    if isinstance(error, (ValueError, TypeError, OSError, ImportError, CheckpointError)):
        print(f"unshaken: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    raise error


def _protocol(
    data: str,
    labels: int | None,
    network: str | None,
    training: dict[str, Any] | None,
    normalize: str | None,
    batch_size: int | None,
) -> Any:
    from unshaken.comparison.protocol import named

    protocol = named(data)
    changes: dict[str, Any] = {"training": {**protocol.training, **(training or {})}}
    if batch_size is not None:
        changes["training"]["batch_size"] = batch_size
    if labels is not None:
        changes["labels"] = labels
    if normalize is not None:
        changes["normalize"] = normalize
    if network is not None:
        changes["network"] = {"name": network}
    changed = protocol.with_changes(**changes)
    changed.config(0)
    return changed


def _with_epochs(protocol: Any, epochs: int, seed: int) -> Any:
    from unshaken import checks
    from unshaken.data import load, split

    checks.integer(epochs, "epochs")
    dataset = load(protocol.data, seed=seed, normalize=protocol.normalize)
    chosen = split(dataset, labels=protocol.labels, validation=protocol.validation, seed=seed)
    per_epoch = -(-len(chosen.labeled) // protocol.training["batch_size"])
    return protocol.with_changes(training={**protocol.training, "steps": epochs * per_epoch})


def _settings_of(method: str, settings: dict[str, float] | None) -> dict[str, dict[str, float]]:
    """``{"radius": 1}`` for a single method, ``{"vat.radius": 1}`` for a joined one."""
    found: dict[str, dict[str, float]] = {}
    for key, value in (settings or {}).items():
        part, dot, name = key.rpartition(".")
        if not dot and "+" in method:
            raise ValueError(f"settings of {method} must be named as vat.radius, got {key!r}")
        found.setdefault(part if dot else method, {})[name] = value
    return found


def _seeds(seeds: list[int] | None) -> list[int]:
    """One number N means the seeds 0..N-1, several are the seeds themselves."""
    from unshaken import checks

    given = seeds or [5]
    if len(given) == 1:
        return list(range(checks.integer(given[0], "seeds")))
    return [checks.integer(seed, "seeds", low=0) for seed in given]


_LISTS = {"--methods": str, "--seeds": int}


def _joined(words: list[str]) -> list[str]:
    """``--methods a,b`` or ``--methods a b`` as the list that the parser wants."""
    result: list[str] = []
    k = 0
    while k < len(words):
        option, equals, value = words[k].partition("=")
        k += 1
        if option not in _LISTS:
            result.append(words[k - 1])
            continue
        values = [value] if equals else []
        while k < len(words) and not equals and not words[k].startswith("-"):
            values.append(words[k])
            k += 1
        items = [item for item in re.split(r"[\s,\[\]'\"]+", " ".join(values)) if item]
        if _LISTS[option] is int and all(re.fullmatch(r"\d+", item) for item in items):
            result += [option, json.dumps([int(item) for item in items])]
        else:
            result += [option, json.dumps(items)]
    return result


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("unshaken")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
