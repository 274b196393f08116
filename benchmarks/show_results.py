"""Put the stored results into README.md and docs/ and draw the README's picture.

Nothing is typed by hand.

python benchmarks/show_results.py            # from benchmarks/results/NAME/summary.json
python benchmarks/show_results.py --check    # only say whether the pages are up to date
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from study_tables import KINDS, network, pm

from unshaken import pictures

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ("results", "performance", "scikit-learn", "audit")
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in DOCS))
FRONT = (
    *("baseline", "dropout", "mixup", "at-l2", "at-linf", "vat", "vmt-shift", "vmt-all", "xat"),
    *("xvat", "mvat", "few-labels", "few-labels-random", "random-tuned", "random-movement"),
    *("pi-model", "stochastic", "ladder", "vadd", "mean-teacher"),
)
"""Methods that the first page shows: each paper's own, one rival of each kind, and the controls."""
BLOCK = re.compile(r"(<!-- (\w+): ([a-z0-9_ -]+) -->\n).*?(<!-- end of \2 -->)", re.S)


def stored(*names: str) -> dict[str, Any]:
    """A stored result."""
    found: dict[str, Any] = json.loads(RESULTS.joinpath(*names).read_text("utf-8"))
    return found


def summary(name: str) -> dict[str, Any]:
    """A stored comparison."""
    return stored(name, "summary.json")


def table(name: str) -> str:
    """One comparison as a Markdown table with the line that says how it was made."""
    return compared(summary(name))


def front(name: str) -> str:
    """The first page's part of a comparison: its best, its worst, and one of each kind."""
    found = summary(name)
    return compared({**found, "rows": shown_first(found)}, of=len(found["rows"]))


def shown_first(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a comparison that the first page shows."""
    errors = [row["error_mean"] for row in found["rows"] if row["errors"]]
    ends = min(errors), max(errors)
    return [row for row in found["rows"] if row["method"] in FRONT or row["error_mean"] in ends]


def remembered(name: str) -> str:
    """One comparison of remembered adversaries with fresh ones."""
    return compared(stored("remembered.json")[name])


def costs(name: str) -> str:
    """What a step of each method costs on one network."""
    found = stored(f"bench-{name}.json")
    setting, where = found["setting"], found["environment"]
    compiled = any("compiled" in row for row in found["rows"])
    heads = ["method", "time", "quartiles", *(["compiled"] if compiled else [])]
    heads += ["textbook", "least", "memory", "textbook", "units"]
    lines = [
        f"**{setting['model']}**, batch {setting['batch_size']}",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for row in found["rows"]:
        own, other, least = row["library"], row["textbook"], row["least"]
        cells = [
            row["method"],
            f"{own['ratio']['median']:.2f}",
            f"{own['ratio']['low']:.2f}-{own['ratio']['high']:.2f}",
            *(
                [f"{row['compiled']['ratio']['median']:.2f}" if "compiled" in row else ""]
                * compiled
            ),
            f"{other['ratio']['median']:.2f}" if other else "",
            f"{least['ratio']:.2f}" if least else "",
            f"{own['memory']:.2f}",
            f"{other['memory']:.2f}" if other else "",
            f"{own['passes']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"{found['clock']} and memory ÷ the plain step, {found['rounds']} interleaved rounds; "
        f"{where['processor']}, {where['threads']} thread, torch {where['torch']}, commit "
        f"{where['commit']}.",
    ]
    return "\n".join(lines)


def compared(found: dict[str, Any], of: int | None = None) -> str:
    """A comparison's summary as a table; ``of`` so many methods, where these are not all."""
    rows = sorted(
        (row for row in found["rows"] if row["errors"]), key=lambda row: row["error_mean"]
    )
    failed = [row["method"] for row in found["rows"] if not row["errors"]]
    labels = found["data"]["labels"]
    title = found["data"]["name"] + (f", {labels} labels" if labels else "")
    seeds = max(len(row["errors"]) for row in rows)
    size = f"{seeds} seeds; {found['protocol']['training']['steps']} steps"
    lines = [
        f"**{title}** ({size}" + (f"; {len(rows)} of {of} methods)" if of else ")"),
        "",
        "| method | error % | paired difference | p | step ÷ baseline |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        p = "" if row["p_value"] is None else f"{row['p_value']:.1g}"
        ratio = "" if row["cost_ratio"] is None else f"{row['cost_ratio']:.1f}"
        few = f" ({len(row['errors'])} seeds)" if len(row["errors"]) < seeds else ""
        lines.append(
            f"| {row['method']}{few} | {pm(row['error_mean'], row['error_sem'])} | "
            f"{pm(row['difference_mean'], row['difference_sem'], '+')} | {p} | {ratio} |"
        )
    where = found["environment"]
    if failed:
        lines += ["", f"No run of {', '.join(failed)} kept a finite loss."]
    note = found["data"]["note"]
    lines += [
        "",
        (f"Data: {note}. " if note else "")
        + f"Network: {network(found['protocol'])}. {where['processor']}, "
        f"{where['threads']} thread, torch {where['torch']}, commit {where['commit']}; "
        f"augmentation: {found['data']['augmentation']}.",
    ]
    return "\n".join(lines)


def growth(name: str) -> str:
    """How the cost of a step grows along every axis that was followed."""
    found = stored(f"bench-{name}.json")
    shown = []
    for axis in found["scaling"]:
        places = sorted({point["x"] for points in axis["series"].values() for point in points})
        shown += [
            f"**{axis['title']}** ({axis['caption'].rstrip('.')})",
            "",
            f"| {' | '.join([axis['x'], *(f'{x:g}' for x in places)])} |",
            "|---" * (len(places) + 1) + "|",
        ]
        for method, points in axis["series"].items():
            at = {point["x"]: f"{point['ratio']:.2f}" for point in points}
            shown.append(f"| {' | '.join([method, *(at.get(x, '') for x in places)])} |")
        shown.append("")
    where = found["environment"]
    shown.append(
        f"Time ÷ the plain step of the same shape, {found['rounds']} rounds; {where['processor']}, "
        f"{where['threads']} thread, torch {where['torch']}, commit {where['commit']}."
    )
    return "\n".join(shown)


def stacks(data: str) -> str:
    """What training several seeds as one saves."""
    found = stored("stacked_seeds.json")
    rows = [row for row in found["steps"] if row["data"] == data]
    lines = [
        "| network | method | seeds | one by one (ms) | stacked (ms) | ratio | "
        "compiled (ms) | ratio |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        widths = "-".join(map(str, row["network"].get("widths", [row["network"]["name"]])))
        cells = [widths, row["method"], str(row["seeds"])]
        cells += [f"{row[f'{kind} (ms)']:.1f}" for kind in ("one by one", "stacked")]
        cells.append(f"{row['ratio']:.2f}")
        compiled, ratio = row.get("compiled (ms)"), row.get("compiled ratio")
        cells += ["", ""] if compiled is None else [f"{compiled:.1f}", f"{ratio:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    where = found["environment"]
    lines += [
        "",
        f"CPU time of a step of all seeds; {where['processor']}, {where['threads']} thread, torch "
        f"{where['torch']}, commit {where['commit']}.",
    ]
    return "\n".join(lines)


def tables(part: str) -> str:
    """Fits of the scikit-learn estimator and of others, by data set."""
    lines = (RESULTS / "tables.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    where = rows[0]["environment"]
    rows = [row for row in rows[1:] if row["part"] == part]
    data, methods = (list(dict.fromkeys(row[key] for row in rows)) for key in ("data", "method"))
    errors = {
        (method, name): {
            row["seed"]: row["error"]
            for row in rows
            if (row["method"], row["data"]) == (method, name)
        }
        for method in methods
        for name in data
    }
    seconds = {
        method: np.median([row["seconds"] for row in rows if row["method"] == method])
        for method in methods
    }
    shown = [
        f"| {' | '.join(['estimator', *data, 'mean', 'CPU s'])} |",
        "|---" * (len(data) + 3) + "|",
    ]
    for method in methods:
        each = [list(errors[method, name].values()) for name in data]
        cells = [pm(float(np.mean(e)), float(np.std(e, ddof=1) / len(e) ** 0.5)) for e in each]
        mean = f"{np.mean([np.mean(e) for e in each]):.2f}"
        shown.append(f"| {' | '.join([method, *cells, mean, f'{seconds[method]:.2f}'])} |")
    first = methods[0]
    shown += [
        "",
        f"Paired differences, {first} − the other, mean ± standard error over splits:",
        "",
    ]
    shown += [f"| {' | '.join(['other', *data])} |", "|---" * (len(data) + 1) + "|"]
    for method in methods[1:]:
        cells = []
        for name in data:
            a, b = errors[first, name], errors[method, name]
            gap = [a[seed] - b[seed] for seed in a if seed in b]
            cells.append(pm(float(np.mean(gap)), float(np.std(gap, ddof=1) / len(gap) ** 0.5), "+"))
        shown.append(f"| {' | '.join([method, *cells])} |")
    splits = len({row["seed"] for row in rows})
    shown += [
        "",
        f"{splits} splits; {where['processor']}, {where['threads']} thread, torch "
        f"{where['torch']}, commit {where['commit']}.",
    ]
    return "\n".join(shown)


def filled(text: str) -> str:
    """README with its results replaced by the stored ones."""

    def block(match: re.Match[str]) -> str:
        kinds = {"results": table, "front": front, "costs": costs, "remembered": remembered}
        kinds |= {"tables": tables, "growth": growth, "stacks": stacks}
        make = {**kinds, **KINDS}[match[2]]
        shown = "\n\n".join(make(name) for name in match[3].split())
        return f"{match[1]}\n{shown}\n\n{match[4]}"

    return BLOCK.sub(block, text)


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    old = 0
    for path in PAGES:
        text = path.read_text("utf-8")
        wanted = filled(text)
        if options.check and wanted != text:
            print(f"{path.name} is out of date: run python benchmarks/show_results.py")
            old = 1
        elif not options.check:
            path.write_text(wanted, "utf-8")
    if options.check:
        return old
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    rows = shown_first(summary("digits"))
    drawn = pictures.svg(pictures.errors(rows), name="digits", standalone=True)
    (folder / "digits.svg").write_text(drawn, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
