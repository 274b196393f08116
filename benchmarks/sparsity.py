"""Accuracy over remaining weights: L0 gates with and without training against small changes.

    OMP_NUM_THREADS=1 python benchmarks/sparsity.py          # run what is missing, then draw
    OMP_NUM_THREADS=1 python benchmarks/sparsity.py --draw   # only the picture, from stored runs

Digits with 200 labels and nothing else: network and training of the protocol that ships, but for
more steps. Every weight of the network has a hard-concrete gate, which the term L0
pays for; after training the network is pruned, and its test error and the share of its weights
that are not zero are kept. One run for each method, price and seed, in ``results/sparsity.jsonl``;
the table goes to ``results/sparsity.json`` and the picture to ``results/sparsity.svg``. Prices are
a grid, none is chosen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unshaken import Objective
from unshaken.comparison.environment import environment
from unshaken.comparison.folder import write_json
from unshaken.comparison.protocol import Protocol, named
from unshaken.comparison.single import Loader, prepare
from unshaken.comparison.statistics import mean_and_error, paired
from unshaken.regularizer import Term
from unshaken.sparsity import L0, add_gates, prune, remaining
from unshaken.training import train

METHODS = ("baseline", "vat", "xvat")
SETTINGS = {"vat": {"radius": 1.0}, "xvat": {"learning_rate": 1e-3}}
PRICES = (0.0, 1.0, 3.0, 10.0, 30.0)
SEEDS = range(5)
STEPS = 1000
RESULTS = Path(__file__).parent / "results"


def protocol() -> Protocol:
    found = named("digits")
    training = {**found.training, "steps": STEPS, "evaluate_every": 0, "unlabeled_batch_size": 0}
    return found.with_changes(labels=200, training=training, methods=SETTINGS)


def one(method: str, price: float, seed: int, load: Loader) -> dict[str, Any]:
    """Train with gates, prune, and measure."""
    found = protocol()
    prepared = prepare(found, method, seed, {}, load)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = add_gates(prepared.objective.model)
    terms = [term for term in prepared.objective.regularizers if isinstance(term, Term)]
    objective = Objective(model, *terms, *([L0(price)] if price else []))
    data = prepared.dataset
    result = train(objective, data, prepared.chosen, found.config(seed), device="cpu")
    kept = remaining(result.model)
    small = prune(result.model).eval()
    with torch.no_grad():
        wrong = small(data.x_test).argmax(1) != data.y_test
    layers = [m.weight for m in small.modules() if isinstance(m, nn.Linear)]
    zero = sum(int((weight == 0).sum()) for weight in layers)
    return {
        "method": method,
        "price": price,
        "seed": seed,
        "error": 100 * wrong.double().mean().item(),
        "remaining": 100 * kept,
        "weights": sum(weight.numel() for weight in layers) - zero,
        "of": sum(weight.numel() for weight in layers),
        "seconds_per_step": result.seconds_per_step,
    }


def runs(path: Path, train_missing: bool) -> list[dict[str, Any]]:
    """All runs, seed by seed."""
    stored = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["method"], row["price"], row["seed"]): row for row in stored}
    load = Loader()
    for seed in SEEDS:
        for price in PRICES:
            for method in METHODS:
                if (method, price, seed) not in done and train_missing:
                    row = one(method, price, seed, load)
                    done[method, price, seed] = row
                    with path.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    return list(done.values())


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard error of each method at each price, and the difference from baseline."""
    found = []
    for price in PRICES:
        base = {r["seed"]: r for r in rows if r["price"] == price and r["method"] == "baseline"}
        for method in METHODS:
            mine = [r for r in rows if r["price"] == price and r["method"] == method]
            both = [r for r in mine if r["seed"] in base]
            error, sem = mean_and_error([r["error"] for r in mine])
            left, left_sem = mean_and_error([r["remaining"] for r in mine])
            row = {"method": method, "price": price, "seeds": len(mine)}
            row |= {"error_mean": error, "error_sem": sem}
            row |= {"remaining_mean": left, "remaining_sem": left_sem}
            if method != "baseline":
                row |= paired([r["error"] for r in both], [base[r["seed"]]["error"] for r in both])
            found.append(row)
    return found


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Error over remaining weights, a line for each method."""
    from matplotlib.figure import Figure

    from unshaken.pictures.palette import look

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for method in METHODS:
        mine = [row for row in rows if row["method"] == method and row["error_mean"] is not None]
        style = look(method)
        axes.errorbar(
            [row["remaining_mean"] for row in mine],
            [row["error_mean"] for row in mine],
            [row["error_sem"] or 0 for row in mine],
            [row["remaining_sem"] or 0 for row in mine],
            color=style.color,
            linestyle=style.dashes,
            marker=style.marker,
            label=f"{method} + L0",
            capsize=2,
        )
    axes.set(xscale="log", xlabel="remaining weights, %", ylabel="test error, %")
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = table(runs(RESULTS / "sparsity.jsonl", not options.draw))
    if not options.draw:
        setting = protocol()
        about = {"labels": setting.labels, "network": dict(setting.network), "methods": SETTINGS}
        about |= {"training": dict(setting.training), "prices": list(PRICES)}
        content = {"protocol": about, "rows": found, "environment": environment(1, 1)}
        write_json(RESULTS / "sparsity.json", content)
    draw(found, RESULTS / "sparsity.svg")


if __name__ == "__main__":
    main()
