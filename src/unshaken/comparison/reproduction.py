"""Run a table or figure of the papers and put its numbers beside the published ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from unshaken import pictures
from unshaken.comparison.compare import NothingFinished, Report, Stopped, compare
from unshaken.comparison.drawings import drawings
from unshaken.comparison.environment import environment
from unshaken.comparison.folder import read_record, write_json
from unshaken.comparison.recipe import Part, Recipe
from unshaken.comparison.reproduction_report import render
from unshaken.comparison.single import Loader
from unshaken.comparison.statistics import mean_and_error, paired
from unshaken.data import DataError
from unshaken.training.atomic import replace_bytes


def reproduce(
    recipe: Recipe,
    scale: str,
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    threads: int | None = 1,
    engine: str = "processes",
    finished: Report | None = None,
    only_finished: bool = False,
    download: bool = False,
    parts: Sequence[str] = (),
) -> dict[str, Any]:
    """Run every part as a comparison in ``out/PART``; write ``summary.json``, ``report.html``.

    A figure's pictures are files of their own as well, ``out/NAME-1.svg`` and so on. A part whose
    data are missing is told of and left out; a second call does what is not done.

    Args:
        recipe: the table or figure.
        scale: ``full`` for the published budget, ``quick`` for one of minutes.
        seeds: one run of each method for each.
        out: the folder.
        jobs, threads, engine, finished, only_finished: as those of
            :func:`~unshaken.comparison.compare.compare`.
        download: whether to fetch published data that are missing.
        parts: names of the parts to run; all that the scale has unless given.

    Returns:
        What ``summary.json`` holds: ``rows``, ``pictures`` (file and caption of each),
        ``unavailable``, ``lost``, ``departures``, ...

    Raises:
        ValueError: the folder cannot be written, or the scale has no such part.
        NothingFinished: only finished runs are wanted and there is none.
        Stopped: a signal came.
    """
    rows: list[dict[str, Any]] = []
    unavailable: dict[str, str] = {}
    lost: list[str] = []
    failures: list[str] = []
    done: list[Part] = []
    compared: list[str] = []
    kept: dict[str, dict[str, list[dict[str, Any]]]] = {}
    chosen = recipe.parts_at(scale, parts)
    sizes = [len(seeds) * len(p.methods(scale)) for p in chosen if not p.points(scale)]
    sizes += [len(seeds) * len(_runs_at(at, p, scale)) for p in chosen for at in p.points(scale)]
    total, before = sum(sizes), 0
    for part in chosen:
        # Where settings are gone through, every point is a comparison of its own.
        points = part.points(scale) or [{}]
        for at in points:
            folder = out / part.name / _folder_of(at)
            where = " ".join(word for word in (part.name, _folder_of(at)) if word)
            told = None if finished is None else partial(_told, finished, where, before, total)
            before += len(seeds) * len(_runs_at(at, part, scale))
            try:
                result = compare(
                    part.at(scale),
                    _runs_at(at, part, scale),
                    seeds,
                    folder,
                    settings=_settings(at),
                    jobs=jobs,
                    threads=threads,
                    engine=engine,
                    finished=told,
                    only_finished=only_finished,
                    load=Loader(download=download),
                )
            except Stopped as stop:
                earlier = before - len(seeds) * len(_runs_at(at, part, scale))
                raise Stopped(stop.received, earlier + stop.done, total) from stop
            except NothingFinished:
                if not at:
                    rows += [row_of(recipe, part, m) for m in part.methods(scale)]
                continue
            except DataError as error:
                if only_finished and any(folder.glob("runs/*/*.json")):
                    raise DataError(f"{folder} holds runs, but not their data: {error}") from error
                unavailable[part.name] = str(error)
                rows += [row_of(recipe, part, method) for method in part.published]
                break
            failures += [
                f"{part.name}: {row['method']} failed with {failure}"
                for row in result.summary["rows"]
                for failure in row["failures"]
            ]
            lost += [f"{where}: {o.task.method}, seed {o.task.seed}: {o.lost}" for o in result.lost]
            compared.append(folder.relative_to(out).as_posix())
            found = kept.setdefault(part.name, {})
            for method, whole in ((row["method"], row["seeds"]) for row in result.summary["rows"]):
                found[method] = records_of(folder, method, whole)
                row = row_of(recipe, part, method, found[method], found.get("baseline", []))
                row["augmentation"] = str(result.summary["data"]["augmentation"])
                if at:
                    row |= {"at": at, "method": f"{method} {_folder_of(at)}"}
                rows.append(row)
        else:
            if part.name in kept:
                done.append(part)
        rows += [{**row_of(recipe, part, name), "missing": True} for name in part.missing]
    if only_finished and not kept and not unavailable:
        raise NothingFinished(f"{out} has no finished run of these seeds and parts")
    made = {
        name: [r["provenance"] for f in found.values() for r in f] for name, found in kept.items()
    }
    summary = {
        "name": recipe.name,
        "title": recipe.title,
        "paper": recipe.paper,
        "measure": recipe.measure,
        "scale": scale,
        "steps": {part.name: part.at(scale).training["steps"] for part in chosen},
        "rows": rows,
        "departures": [*recipe.departures_at(scale), *_smaller(recipe, chosen, scale)],
        "unavailable": unavailable,
        "lost": lost,
        "failures": failures,
        "environment": environment(jobs, threads, chain(*made.values())),
        "environments": {name: environment(jobs, threads, own) for name, own in made.items()},
    }
    drawn = list(drawings(recipe, done, kept, out, scale, rows))
    summary["pictures"] = list(_saved(drawn, recipe.name, out))
    write_json(out / "summary.json", summary)
    replace_bytes(out / "report.html", render(summary, recipe, compared, drawn).encode())
    return summary


def _runs_at(at: Mapping[str, float], part: Part, scale: str) -> list[str]:
    """The methods that are run at a point of a grid, or without one."""
    return sorted({_method(name) for name in at}) if at else part.methods(scale)


def _told(
    finished: Report,
    where: str,
    before: int,
    total: int,
    record: Mapping[str, Any],
    done: int,
    _: int,
) -> None:
    """Tell of a run with the part it belongs to, counted over all parts."""
    finished({**record, "method": f"{where}: {record['method']}"}, before + done, total)


def records_of(folder: Path, method: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The finished runs of a method."""
    found = [read_record(folder / "runs" / method / f"seed-{seed}.json") for seed in seeds]
    return [record for record in found if record is not None and "failed" not in record]


def _folder_of(at: Mapping[str, float]) -> str:
    """A point of a grid in words, for a folder and for a table."""
    return " ".join(f"{name.rpartition('.')[2]}={value:g}" for name, value in at.items())


def _method(name: str) -> str:
    return name.rpartition(".")[0]


def _settings(at: Mapping[str, float]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, value in at.items():
        found.setdefault(_method(name), {})[name.rpartition(".")[2]] = value
    return found


def _smaller(recipe: Recipe, chosen: Sequence[Part], scale: str) -> list[str]:
    """How the scale departs from the published budget."""
    if scale == "full" or not chosen:
        return []
    steps = "; ".join(f"{p.name} {', '.join(_changed(p, scale))}" for p in chosen)
    if scale == "quick":
        return [f"Quick scale, which tells nothing of the paper's numbers: {steps}."]
    left = [part.name for part in recipe.parts if part.reduced is None]
    without = f" Left out at this scale: {', '.join(left)}." if left else ""
    return [f"Reduced scale: {steps}.{without}"]


def _changed(part: Part, scale: str) -> list[str]:
    """What is smaller at a scale, in words."""
    now, published = part.at(scale), part.protocol.training
    found = [f"{now.training['steps']} of {published['steps']} steps"]
    for key, word in (("batch_size", "labeled"), ("unlabeled_batch_size", "unlabeled")):
        own, wanted = now.training.get(key), published.get(key)
        if own != wanted and None not in (own, wanted):
            found.append(f"batches of {own} {word} in place of {wanted}")
    if now.test is not None:
        found.append(f"{now.test} test examples")
    return found


def row_of(
    recipe: Recipe,
    part: Part,
    method: str,
    records: Sequence[Mapping[str, Any]] = (),
    baseline: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A method's numbers; errors and accuracies minus those of the baseline's runs of its seeds."""
    values = [_measured(recipe.measure, record) for record in records]
    mean, sem = mean_and_error(values)
    plain = {r["seed"]: r for r in baseline}
    pairs = [(r, plain[r["seed"]]) for r in records if r["seed"] in plain]
    if method == "baseline" or recipe.measure.startswith("seconds"):
        pairs = []
    return {
        "part": part.name,
        "method": method,
        "published": {**part.published, **part.missing}.get(method),
        "missing": False,
        "values": values,
        "mean": mean,
        "sem": sem,
        "seeds": len(values),
        **paired(*([_measured(recipe.measure, pair[k]) for pair in pairs] for k in (0, 1))),
        "seconds_per_step": fmean(r["seconds_per_step"] for r in records) if records else None,
    }


def _measured(measure: str, record: Mapping[str, Any]) -> float:
    if measure == "error":
        return float(record["error"])
    if measure == "accuracy":
        return 100 - float(record["error"])
    last = record["history"][-1]
    return float(record["seconds_per_step"]) * last["step"] / last["epoch"]


def _saved(drawn: Sequence[tuple[Figure, str]], name: str, out: Path) -> Iterator[dict[str, str]]:
    """Write each picture to a file of its own; those of an earlier call that drew more go."""
    for old in out.glob(f"{name}-*.svg"):
        if old.name not in {f"{name}-{k}.svg" for k in range(1, len(drawn) + 1)}:
            old.unlink()
    for k, (figure, caption) in enumerate(drawn, 1):
        file = f"{name}-{k}.svg"
        content = pictures.svg(figure, name=f"{name}-{k}", label=caption, standalone=True)
        replace_bytes(out / file, content.encode())
        yield {"file": file, "caption": caption}
