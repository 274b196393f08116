"""``unshaken reproduce``: the tables and figures of the papers, run again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unshaken.cli.chosen import check_known
from unshaken.cli.output import print_json
from unshaken.cli.runs import side_by_side
from unshaken.cli.values import Mistake


def reproduce(
    name: str | None = None,
    list: bool = False,
    scale: str = "quick",
    seeds: list[int] | None = None,
    parts: list[str] | None = None,
    out: str = "reproduction",
    data_folder: str | None = None,
    download: bool = False,
    jobs: int | None = None,
    threads: int = 1,
    engine: str = "processes",
    only_finished: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Run a table or figure of the two papers and print its numbers beside the published ones.

    A second call with the same options goes on where the first one stopped.

    Args:
        name: the table or figure, as vmt-table-2; the first word after reproduce may be it
        list: print every table and figure
        scale: quick (minutes, to see that it runs), reduced (hours on a CPU) or full (the
            published budget)
        seeds: how many, or which (0,3,7); unless given as many as the paper, 2 at the quick scale,
            3 at the reduced one
        parts: data sets of the table, as mnist; all that the scale has unless given
        out: folder in which each table and figure has its own
        data_folder: where the published data are; else the environment variable UNSHAKEN_DATA
        download: fetch published data that are missing
        jobs: runs at a time; one on each GPU, or else on each core, unless given
        threads: threads of PyTorch in each run
        engine: processes of this machine, dask (a local cluster), or dask://HOST:PORT
        only_finished: start no run; numbers and report of those that are finished, also while
            another process does the others
        quiet: show no progress
        json: print the summary as one JSON object; progress stays on the error output
    """
    from unshaken import checks
    from unshaken.comparison import recipe as recipes

    if list:
        if json:
            print_json({name: recipes.recipe(name).title for name in recipes.names()})
        else:
            _print_names()
        return 0
    if name is None:
        raise Mistake("--name must say which table or figure; unshaken reproduce --list lists them")
    check_known("--scale", scale, recipes.SCALES)
    checks.integer(threads, "threads")
    if jobs is not None:
        checks.integer(jobs, "jobs")
    found = recipes.recipe(name)
    found.parts_at(scale, parts or ())

    from unshaken.comparison.folder import require_folder
    from unshaken.comparison.live import Live
    from unshaken.comparison.reproduction import reproduce as run

    if data_folder is not None:
        # Processes that this one starts look there too.
        os.environ["UNSHAKEN_DATA"] = data_folder
    folder = Path(out) / f"{name}-{scale}"
    if not only_finished:
        require_folder(folder)
    with Live(quiet=quiet) as live:
        summary = run(
            found,
            scale,
            seeds or [*range(found.runs_at(scale))],
            folder,
            jobs=side_by_side(jobs, threads, engine),
            threads=threads,
            engine=engine,
            finished=live.finished,
            only_finished=only_finished,
            download=download,
            parts=parts or (),
        )
    if json:
        print_json(summary)
    else:
        _print(summary)
        for picture in summary["pictures"]:
            print(f"picture: {folder / picture['file']}")
        print(f"report: {folder / 'report.html'}")
    for said in summary["unavailable"].values():
        said = said.replace("pass download=True", "add --download")
        print(f"unshaken: error: {said}", file=sys.stderr)
    for said in summary["lost"]:
        print(f"unshaken: error: {said}; the same command tries again", file=sys.stderr)
    return 1 if summary["unavailable"] or summary["lost"] else 0


def _print_names() -> None:
    from unshaken.comparison.recipe import names, recipe

    for name in names():
        found = recipe(name)
        print(f"{name.ljust(16)}{found.title}")


def _print(summary: Mapping[str, Any]) -> None:
    from unshaken.comparison.live import print_columns
    from unshaken.comparison.reproduction_report import table_of

    title = f"{summary['name']}: {summary['measure']}, {summary['scale']} scale"
    if summary["rows"]:
        heads, rows = table_of(summary)
        print_columns(heads, rows, title, least=4)
    for said in summary["failures"]:
        print(said)
    for said in summary["departures"]:
        print(f"- {said}")
