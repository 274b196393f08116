"""``unshaken tune``: the settings of a method, chosen on validation examples."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unshaken.cli.chosen import check_known, check_method, protocol_of, settings_of
from unshaken.cli.output import print_json
from unshaken.cli.runs import side_by_side, tell_lost
from unshaken.cli.values import Mistake

_FIFTH = 5
"""Unless told otherwise, one of so many parts of the training examples validates."""


def tune(
    data: str = "digits",
    labels: int | None = None,
    method: str = "vat",
    trials: int = 40,
    seeds: list[int] | None = None,
    out: str = "tuning",
    search: str = "tpe",
    space: dict[str, Any] | None = None,
    folds: int | None = None,
    validation: int | None = None,
    settings: dict[str, Any] | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    model: str | None = None,
    training: dict[str, Any] | None = None,
    normalize: str | None = None,
    augment: str | None = None,
    finish_all: bool = False,
    download: bool = False,
    jobs: int | None = None,
    threads: int = 1,
    engine: str = "processes",
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Choose the settings of a method on held-out training examples, never on the test set.

    A second call with the same options goes on where the first one stopped; several processes or
    machines may share the folder.

    Args:
        data: a data set's name, a folder of images, an .npz file, or hub:OWNER/NAME; the names are
            digits, moons, circles, sinusoids, mnist, svhn, cifar10, cifar100
        labels: how many labels are shown; as the data's protocol says (or all) unless given
        method: a method's name, or several joined by +; as vat+vmt-shift
        trials: how many choices are tried; of a grid at most so many, but two values of each
            setting at least
        seeds: how many, 3 unless given, or which, as 0,3,7; each choice is trained with all of
            them, and how many means the first ones: 0 to 2
        out: folder that the search fills; with summary.json, best.yaml, report.html and the study
        search: tpe (Optuna's estimator), grid or random
        space: where settings are looked for; as --space.vat.radius 0.01:10:log, or values as
            0.1,0.3,1, or default; the papers' ranges of the method's settings unless given
        folds: cross-validation with so many disjoint validation sets
        validation: hold out so many training examples; a fifth unless given
        settings: settings that are not looked for, as --settings.vat.weight 1
        steps: optimizer steps of each run; as the data's protocol says unless given
        batch_size: labeled examples in a batch
        model: a network's name, or an import path package.module:function; the names are mlp,
            conv_tiny, conv_small, conv_large, moons_mlp
        training: more of the training, as --training.lr 0.001 --training.ema 0.99
        normalize: none, unit, centered, standard or zca; the data's own unless given
        augment: what is done to each training batch, as shift:2,flip or none; as the data's
            protocol says unless given
        finish_all: train every choice with every seed, also those that are clearly worse than
            others after the first one; a grid always does
        download: fetch published data that are missing
        jobs: runs at a time; one on each GPU, or else on each core, unless given
        threads: threads of PyTorch in each run
        engine: processes of this machine, dask (a local cluster), or dask://HOST:PORT to share the
            runs out over the workers of that scheduler
        quiet: show no progress
        json: print the summary as one JSON object; progress stays on the error output
    """
    from unshaken import checks

    checks.integer(threads, "threads")
    checks.integer(trials, "trials")
    if jobs is not None:
        checks.integer(jobs, "jobs")
    if folds is not None:
        checks.integer(folds, "folds", low=2)
        if validation is not None:
            raise Mistake(
                f"--folds and --validation both say what is held out: got {folds} and {validation}"
            )
    check_method("--method", method)
    fixed = settings_of([method], settings)
    options: dict[str, Any] = {
        "data": data,
        "labels": labels,
        "steps": steps,
        "batch_size": batch_size,
        "model": model,
        "training": training,
        "normalize": normalize,
        "augment": augment,
    }
    protocol = protocol_of(validation=validation, **options)

    from unshaken.comparison.folder import require_folder
    from unshaken.comparison.live import Live
    from unshaken.comparison.single import Loader
    from unshaken.comparison.tuning import tune as search_for
    from unshaken.comparison.tuning_plan import Plan, fold_size
    from unshaken.comparison.tuning_space import space_of
    from unshaken.comparison.tuning_study import SEARCHES, optuna_or_raise
    from unshaken.comparison.tuning_summary import summarize

    check_known("--search", search, SEARCHES)
    optuna_or_raise()
    dimensions = space_of(method, space, fixed)
    folder = Path(out)
    require_folder(folder)
    numbers = seeds or list(range(3))
    load = Loader(download=download)
    if validation is None:
        size = fold_size(load(protocol, numbers[0]), folds or _FIFTH)
        protocol = protocol.with_changes(validation=size, judge="validation")
    plan = Plan(
        protocol,
        method,
        dimensions,
        numbers,
        folds or 1,
        search,
        trials,
        fixed,
        prune=not finish_all,
    )
    workers = side_by_side(jobs, threads, engine)
    with Live(quiet=quiet) as live:
        found = search_for(
            plan,
            folder,
            jobs=workers,
            threads=threads,
            engine=engine,
            finished=live.finished,
            load=load,
        )
    summary = summarize(found, folder, workers, threads, options)
    if json:
        print_json(summary)
    else:
        _print(summary, folder)
    tell_lost(found.lost)
    return 1 if found.lost or summary["best"] is None else 0


def _print(summary: Mapping[str, Any], folder: Path) -> None:
    from unshaken.comparison.tuning_summary import said_of

    best = summary["best"]
    if best is None:
        print("unshaken: no trial gave an error", file=sys.stderr)
    else:
        chosen = ", ".join(
            f"{name} {best['settings'][name.rpartition('.')[0]][name.rpartition('.')[2]]:g}"
            for name in summary["search space"]
        )
        error = f"{best['error_mean']:.2f}"
        if best["error_sem"] is not None:
            error += f" ± {best['error_sem']:.2f}"
        print(f"best of {len(summary['rows'])}: {chosen}, {error} % validation error")
        if summary["tied"]:
            print(f"as good as {summary['tied']} of the others, of which it was tried first")
        print(f"settings: {folder / 'best.yaml'}")
    print(f"report: {folder / 'report.html'}")
    for edge in summary["edges"]:
        print(f"unshaken: {said_of(edge)}", file=sys.stderr)
