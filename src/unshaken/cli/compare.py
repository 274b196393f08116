"""``unshaken compare``: methods × seeds on one data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unshaken.cli.chosen import check_method, protocol_of, settings_of
from unshaken.cli.output import print_json
from unshaken.cli.runs import side_by_side, tell_lost

if TYPE_CHECKING:
    from unshaken.comparison.protocol import Protocol
    from unshaken.data import Dataset


def compare(
    data: str = "digits",
    labels: int | None = None,
    methods: list[str] | None = None,
    seeds: list[int] | None = None,
    out: str = "comparison",
    steps: int | None = None,
    batch_size: int | None = None,
    model: str | None = None,
    training: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    normalize: str | None = None,
    augment: str | None = None,
    validation: int | None = None,
    download: bool = False,
    jobs: int | None = None,
    threads: int = 1,
    engine: str = "processes",
    stack: str = "auto",
    only_finished: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Compare methods on one data set: the same splits, budget and first weights for all.

    A second call with the same options goes on where the first one stopped.

    Args:
        data: a data set's name, a folder of images, an .npz file, or hub:OWNER/NAME; the names are
            digits, moons, circles, sinusoids, mnist, svhn, cifar10, cifar100
        labels: how many labels are shown; as the data's protocol says (or all) unless given
        methods: names separated by commas or spaces; joined ones as vat+vmt-shift; auto for a
            sensible few that suit the data and the labels; all unless given, which is every
            single one that suits the data
        seeds: how many, 5 unless given, or which, as 0,3,7; how many means the first ones: 0 to 4
        out: folder that the runs fill; with summary.json, report.html and every finished run
        steps: optimizer steps of each run; as the data's protocol says unless given
        batch_size: labeled examples in a batch
        model: a network's name, or an import path package.module:function; the names are mlp,
            conv_tiny, conv_small, conv_large, moons_mlp
        training: more of the training, as --training.lr 0.001 --training.ema 0.99
        settings: settings of methods, as --settings.vat.radius 0.5
        normalize: none, unit, centered, standard or zca; the data's own unless given
        augment: what is done to each training batch, as shift:2,flip or none; as the data's
            protocol says unless given
        validation: hold out so many training examples and measure the errors on them
        download: fetch published data that are missing
        jobs: runs at a time; one on each GPU, or else on each core, unless given
        threads: threads of PyTorch in each run
        engine: processes of this machine, dask (a local cluster), or dask://HOST:PORT to share the
            runs out over the workers of that scheduler
        stack: auto trains up to 10 seeds of a method at once where the network is small and on the
            CPU: the same numbers but for rounding, in a fraction of the processor's time; a number
            for so many at once, which keeps more cores busy; off for one by one
        only_finished: start no run; table and report of those that are finished, also while
            another process does the others
        quiet: show no progress
        json: print the summary as one JSON object; progress stays on the error output
    """
    from unshaken import checks

    checks.integer(threads, "threads")
    if jobs is not None:
        checks.integer(jobs, "jobs")
    named = methods or ["all"]
    for name in named:
        if name not in ("all", "auto"):
            check_method("--methods", name)
    protocol = protocol_of(
        data,
        labels=labels,
        validation=validation,
        model=model,
        training=training,
        normalize=normalize,
        augment=augment,
        batch_size=batch_size,
        steps=steps,
    )

    from unshaken.comparison.compare import compare as run_all
    from unshaken.comparison.folder import require_folder, require_no_other
    from unshaken.comparison.live import Live, print_table
    from unshaken.comparison.single import Loader

    if not only_finished:
        require_folder(Path(out))
    require_no_other(Path(out), "a comparison")
    numbers = seeds or list(range(5))
    load = Loader(download=download)
    chosen = named
    if {"all", "auto"} & set(named):
        chosen = _expanded(named, protocol, load(protocol, numbers[0]))
    with Live(quiet=quiet) as live:
        result = run_all(
            protocol,
            chosen,
            numbers,
            Path(out),
            settings=settings_of(chosen, settings),
            jobs=side_by_side(jobs, threads, engine),
            threads=threads,
            engine=engine,
            stack=stack,
            finished=live.finished,
            only_finished=only_finished,
            load=load,
        )
    if json:
        print_json(result.summary)
    else:
        print_table(result.summary)
        print(f"report: {Path(out) / 'report.html'}")
    tell_lost(result.lost)
    failed = any(row["failures"] for row in result.summary["rows"])
    return 1 if result.lost or failed else 0


def _expanded(named: list[str], protocol: Protocol, dataset: Dataset) -> list[str]:
    """The methods that were named, with those that ``all`` and ``auto`` stand for."""
    from unshaken.methods import catalog

    unlabeled = protocol.config(0).unlabeled_batch_size > 0
    groups = {
        "all": catalog.names_for(dataset.size, protocol.network["name"]),
        "auto": catalog.suggested(dataset.size, protocol.labels, len(dataset.x_all), unlabeled),
    }
    own = [name for name in named if name not in groups]
    chosen: list[str] = []
    for name in named:
        listed = [m for m in groups.get(name, ()) if m not in own] if name in groups else [name]
        chosen += [m for m in listed if m not in chosen]
    return chosen
