"""Put the stored results into README.md and docs/results.md and draw the README's picture.

Nothing is typed by hand.

python benchmarks/show_results.py            # from benchmarks/results/NAME/summary.json
python benchmarks/show_results.py --check    # only say whether README.md is up to date
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from unshaken import pictures

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
BLOCK = re.compile(r"(<!-- results: ([a-z0-9 -]+) -->\n).*?(<!-- end of results -->)", re.S)


def summary(name: str) -> dict[str, Any]:
    """A stored comparison."""
    found: dict[str, Any] = json.loads((RESULTS / name / "summary.json").read_text("utf-8"))
    return found


def pm(mean: float | None, error: float | None, sign: str = "") -> str:
    """A mean with its standard error."""
    if mean is None:
        return ""
    return f"{mean:{sign}.2f}" + ("" if error is None else f" ± {error:.2f}")


def table(name: str) -> str:
    """One comparison as a Markdown table with the line that says how it was made."""
    found = summary(name)
    rows = sorted(found["rows"], key=lambda row: row["error_mean"])
    labels = found["data"]["labels"]
    title = found["data"]["name"] + (f", {labels} labels" if labels else "")
    seeds = len(rows[0]["errors"])
    lines = [
        f"**{title}** ({seeds} seeds; {found['protocol']['training']['steps']} steps)",
        "",
        "| method | error % | paired difference | p | step ÷ baseline |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        p = "" if row["p_value"] is None else f"{row['p_value']:.1g}"
        ratio = "" if row["cost_ratio"] is None else f"{row['cost_ratio']:.1f}"
        lines.append(
            f"| {row['method']} | {pm(row['error_mean'], row['error_sem'])} | "
            f"{pm(row['difference_mean'], row['difference_sem'], '+')} | {p} | {ratio} |"
        )
    where = found["environment"]
    lines += [
        "",
        f"{where['processor']}, {where['threads']} thread, torch {where['torch']}, "
        f"commit {where['commit']}; augmentation: {found['data']['augmentation']}.",
    ]
    return "\n".join(lines)


def filled(text: str) -> str:
    """README with its results replaced by the stored ones."""

    def block(match: re.Match[str]) -> str:
        tables = "\n\n".join(table(name) for name in match[2].split())
        return f"{match[1]}\n{tables}\n\n{match[3]}"

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
    drawn = pictures.svg(pictures.errors(summary("digits")["rows"]), name="digits", standalone=True)
    (folder / "digits.svg").write_text(drawn, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
