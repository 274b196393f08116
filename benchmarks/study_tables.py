"""The stored studies (masks, estimators, sparse networks, movements, audit) as Markdown.

python benchmarks/study_tables.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
CASES = {
    "digits-100": "digits, 100 labels",
    "digits-200": "digits, 200 labels alone",
    "mnist-1000": "mnist, 1000 labels alone",
    "mnist": "mnist, all labels",
    "sinusoids": "sinusoids",
    "mnist-100": "mnist, 100 labels",
    "digits-100-conv": "digits, 100 labels, conv_tiny",
    "mnist-100-conv": "mnist, 100 labels, conv_tiny",
    "cifar10-4000-conv": "cifar10, 4000 labels alone, conv_tiny",
}


def stored(name: str) -> dict[str, Any]:
    """A stored result."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return found


def pm(mean: float | None, error: float | None, sign: str = "", digits: int = 2) -> str:
    """A mean with its standard error."""
    if mean is None:
        return ""
    shown = f"{mean:{sign}.{digits}f}"
    return shown if error is None else f"{shown} ± {error:.{digits}f}"


def network(about: Mapping[str, Any]) -> str:
    """The network of a protocol, with its hidden layers where it is a multilayer perceptron."""
    found = about["network"]
    return " ".join([found["name"], *filter(None, ["-".join(map(str, found.get("widths", ())))])])


def masks(name: str) -> str:
    """One case of the masks' study."""
    found = stored("masks")[CASES[name]]
    about, seeds, where = found["protocol"], found["seeds"], found["environment"]
    head = ["method", "chosen", "error %", "minus control, each at its best"]
    head += ["at the adversary's size", "divergence ÷ random's", "step ÷ baseline"]
    lines = [
        f"**{CASES[name]}** ({seeds['reported']} seeds, {about['training']['steps']} steps)",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for row in found["rows"]:
        chosen = ", ".join(f"{k} {v:g}" for k, v in row["chosen"].items())
        gain = next(iter(row["gains"].values()), {})
        cells = [
            row["method"],
            chosen,
            pm(row["error_mean"], row["error_sem"]),
            _difference(row["against its control"].get("each at its best")),
            _difference(row["against its control"].get("both at the adversary's")),
            pm(gain.get("ratio_mean"), gain.get("ratio_sem"), digits=1),
            "" if row["cost_ratio"] is None else f"{row['cost_ratio']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"{_chosen(found)}; {_made(where)}."]
    return "\n".join(lines)


def movements(name: str) -> str:
    """One case of the movements' study."""
    found = stored("movements")[CASES[name]]
    about, seeds, where = found["protocol"], found["seeds"], found["environment"]
    head = ["method", "chosen", "error %", "worst seed", "minus its control"]
    head += ["divergence ÷ random's", "steps", "CPU s of a run"]
    lines = [
        f"**{CASES[name]}** ({seeds['reported']} seeds)",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for row in found["rows"]:
        gain = next(iter(row["gains"].values()), {})
        fewer = len(row["errors"]) < seeds["reported"]
        cells = [
            row["method"] + (f" ({len(row['errors'])} seeds)" if fewer else ""),
            ", ".join(f"{k} {v:g}" for k, v in row["chosen"].items()),
            pm(row["error_mean"], row["error_sem"]),
            f"{max(row['errors']):.2f}",
            _difference(row["against its control"].get("each at its best")),
            pm(gain.get("ratio_mean"), gain.get("ratio_sem"), digits=1),
            str(row["steps"]),
            f"{row['steps'] * row['seconds_per_step']:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    chosen_on = "Nothing was chosen in this case"
    if any(found["chosen on"].values()):
        chosen_on = _chosen(found)
    augmented = f"augmentation: {about['augmentation']}; " if "augmentation" in about else ""
    lines += ["", f"Network: {network(about)}. {chosen_on}; {augmented}{_made(where)}."]
    return "\n".join(lines)


def direction(name: str) -> str:
    """One case of the study of KL's direction: a method in both, and beside its control in both."""
    found = stored("direction")[CASES[name]]
    about, seeds, where = found["protocol"], found["seeds"], found["environment"]
    row_of = {row["method"]: row for row in found["rows"]}
    head = ["method", "KL[p ‖ q]", "KL[q ‖ p]", "the second minus the first"]
    head += ["minus its control, KL[p ‖ q]", "minus its control, KL[q ‖ p]"]
    plain = row_of["baseline"]
    lines = [
        f"**{CASES[name]}** ({seeds['reported']} seeds, {about['training']['steps']} steps); "
        f"error %, the baseline's {pm(plain['error_mean'], plain['error_sem'])}",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for method, row in row_of.items():
        back = row_of.get(f"{method}, reversed")
        if back is None:
            continue
        cells = [method]
        for each in (row, back):
            chosen = "".join(f" ({k} {v:g})" for k, v in each["chosen"].items())
            cells.append(pm(each["error_mean"], each["error_sem"]) + chosen)
        cells.append(_difference(back["against its control"].get("each at its best")))
        for suffix in ("", ", reversed"):
            beside = [r for m, r in row_of.items() if m.startswith(f"{method}{suffix} beside ")]
            gain = beside[0]["against its control"] if beside else {}
            cells.append(_difference(gain.get("each at its best")))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"{_chosen(found)}; {_made(where)}."]
    return "\n".join(lines)


def _difference(found: Mapping[str, Any] | None) -> str:
    if not found or found["difference_mean"] is None:
        return ""
    shown = pm(found["difference_mean"], found["difference_sem"], "+")
    return f"{shown} (p {found['p_value']:.1g})" if found["p_value"] is not None else shown


def estimators(name: str) -> str:
    """The estimators on one problem: ``blocks`` or ``pixels``."""
    content = stored("estimators")
    found, setting = content[name], content["setting"]
    lines = [
        f"**A mask of {found['entries']} entries**, {setting['examples']} {setting['data']}; "
        f"reference: {found['reference']}",
        "",
        "| estimator | bias | of chance | variance of a draw | cost of a draw | error at cost 10 | "
        "at cost 1000 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        error = row["error"]
        cells = [row["estimator"], f"{row['bias']:.2f}", f"{row['bias noise']:.2f}"]
        cells += [f"{row['variance']:.1f}", f"{row['cost']:.1f}"]
        cells += [f"{error['10']:.2f}", f"{error['1000']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"In units of the gradient and of an evaluation; {_made(content['environment'])}.",
    ]
    return "\n".join(lines)


def sparsity(name: str) -> str:
    """Error over remaining weights; ``name`` is that of the data."""
    content = stored("sparsity")
    about = content["protocol"]
    lines = [
        f"**{name}, {about['labels']} labels** ({about['training']['steps']} steps)",
        "",
        "| price | method | remaining weights % | error % | minus baseline |",
        "|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        cells = [
            f"{row['price']:g}",
            row["method"],
            pm(row["remaining_mean"], row["remaining_sem"], digits=1),
            pm(row["error_mean"], row["error_sem"]),
            _difference(row if "difference_mean" in row else None),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"{content['rows'][0]['seeds']} seeds; {_made(content['environment'])}."]
    return "\n".join(lines)


def audited(name: str) -> str:
    """What the audit of a large network took."""
    found = stored(name)
    largest = found["most memory, MB"] - found["inputs, MB"]
    return (
        f"**ResNet-50** ({found['parameters'] / 1e6:.1f} million parameters), {found['examples']} "
        f"images of {found['size']} × {found['size']}, `--quick`, batches of "
        f"{found['batch size']}: {found['CPU seconds'] / 60:.0f} CPU-minutes; each image passed "
        f"the network {found['passes']:.0f} times; at most {largest / 1024:.1f} GB beside the "
        f"images, PyTorch and the weights included. {_made(found['environment'])}; "
        "`benchmarks/large_audit.py`."
    )


def _chosen(found: Mapping[str, Any]) -> str:
    """What the settings of a study's case were chosen on."""
    held, seeds = found["protocol"]["validation examples"], found["seeds"]["chosen with"]
    held = held if isinstance(held, str) else f"{held} held-out training examples"
    return f"Chosen on {held} with {seeds} other seed{'s' * (seeds > 1)}"


def _made(where: Mapping[str, Any]) -> str:
    return (
        f"{where['processor']}, {where['threads']} thread, torch {where['torch']}, "
        f"commit {where['commit']}"
    )


KINDS: Mapping[str, Callable[[str], str]] = {
    "masks": masks,
    "movements": movements,
    "direction": direction,
    "estimators": estimators,
    "sparsity": sparsity,
    "audited": audited,
}


def main() -> None:
    kinds = ("masks", "movements", "direction")
    names = [(k, name) for k in kinds for name, case in CASES.items() if case in stored(k)]
    names += [("estimators", "blocks"), ("estimators", "pixels")]
    names += [("sparsity", "digits")] if (RESULTS / "sparsity.json").exists() else []
    names += [("audited", "large_audit")]
    print("\n\n".join(KINDS[kind](name) for kind, name in names))


if __name__ == "__main__":
    main()
