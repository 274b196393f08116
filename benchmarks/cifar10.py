"""VMT's Table 3: conv-small on CIFAR-10, its errors and seconds per epoch.

    python benchmarks/cifar10.py timing     # seconds per step of each method, alone on the GPU
    python benchmarks/cifar10.py grid       # settings, on 5000 validation examples
    python benchmarks/cifar10.py compare    # 80 epochs of each method, judged on the test set
    python benchmarks/cifar10.py sum        # the summary of the runs that are finished

Needs a GPU, and CIFAR-10 in the folder that UNSHAKEN_DATA names. A call that is stopped loses the
runs under way; a second one does the rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch

from unshaken import MVAT, Objective, fields
from unshaken.benchmark.papers import REPORTED
from unshaken.comparison.compare import compare, summarize
from unshaken.comparison.environment import environment
from unshaken.comparison.folder import read_record, write_json
from unshaken.comparison.protocol import Protocol
from unshaken.comparison.single import Loader, prepare
from unshaken.comparison.tasks import Task
from unshaken.comparison.workers import outcomes
from unshaken.training import TrainingConfig
from unshaken.training.optimizers import build_optimizer

BATCH = 128
METHODS = (
    "baseline",
    "random-tuned",
    "at-l2",
    "vat",
    "vmt-shift",
    "vmt-rotation",
    "vmt-scale",
    "vmt-all",
    "xvat",
    "mat",
    "mvat",
)
PAPER = REPORTED["conv_small"].seconds
"""Seconds per epoch in the paper's Table 3."""

FINE = {"weight": (0.3, 1.0, 3.0)}
GRID: dict[str, dict[str, tuple[float, ...]]] = {
    "vmt-all": FINE,
    "vmt-shift": FINE,
    "vmt-rotation": FINE,
    "vmt-scale": FINE,
    "vat": {"radius": (1.0, 3.0, 8.0)},
    "at-l2": {"radius": (0.3, 1.0, 3.0)},
    "mat": {"radius": (0.3, 0.6, 1.2)},
    "mvat": {"radius": (0.3, 0.6, 1.2)},
    "xvat": {"weight": (0.3, 1.0, 3.0)},
    "random-tuned": {"radius": (3.0, 8.0, 20.0)},
}


def protocol(epochs: int, validation: int = 0, note: str = "") -> Protocol:
    """The fixed part: the paper's, and what it leaves open (batch, rate, decay, schedule)."""
    per_epoch = (50_000 - validation) // BATCH
    return Protocol(
        data="cifar10",
        network={"name": "conv_small"},
        training={
            "steps": epochs * per_epoch,
            "batch_size": BATCH,
            "optimizer": "sgd",
            "lr": 0.1,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "schedule": "cosine",
            "evaluate_every": 0 if validation else max(1, epochs // 16) * per_epoch,
        },
        validation=validation,
        judge="validation" if validation else "test",
        normalize="standard",
        note=note,
    )


def timing(out: Path, steps: int, rounds: int) -> None:
    """Interleaved rounds of every method, each in its own turn on the GPU."""
    device = torch.device("cuda")
    config = TrainingConfig.from_dict({**protocol(1).training, "seed": 0})
    load = Loader()
    objectives: dict[str, Objective] = {}
    for method in METHODS:
        prepared = prepare(protocol(1), method, 0, {}, load)
        objectives[method] = prepared.objective.to(device).train()
        x = prepared.dataset.x_train[: 16 * BATCH].to(device)
        y = prepared.dataset.y_train[: 16 * BATCH].to(device)
    network = prepare(protocol(1), "baseline", 0, {}, load).objective.model
    term = MVAT(fields.Affine(), radius=0.5, steps=1)
    objectives["mvat, one power step"] = Objective(network, term).to(device).train()
    found: dict[str, Any] = {}
    for precision in ("float32", "bfloat16 autocast"):
        cast = precision != "float32"
        times: dict[str, list[float]] = {name: [] for name in objectives}
        for turn in range(rounds + 1):
            for name, objective in objectives.items():
                optimizer = build_optimizer(objective, config)
                begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
                for k in range(steps + 8):
                    if k == 8:  # the optimizer and the caches are warm
                        begin.record()
                    part = slice(k % 16 * BATCH, (k % 16 + 1) * BATCH)
                    optimizer.zero_grad()
                    with torch.autocast("cuda", torch.bfloat16) if cast else nullcontext():
                        loss = objective(x[part], y[part])
                    loss.backward()
                    optimizer.step()
                end.record()
                torch.cuda.synchronize()
                if turn:  # the first turn chooses kernels
                    times[name].append(begin.elapsed_time(end) / steps / 1000)
        plain = statistics.median(times["baseline"])
        found[precision] = [
            {
                "method": name,
                "seconds_per_step": statistics.median(rows),
                "seconds_per_step_rounds": rows,
                "seconds_per_epoch": statistics.median(rows) * 50_000 / BATCH,
                "ratio": statistics.median(rows) / plain,
                "paper_seconds_per_epoch": PAPER.get(name),
                "paper_ratio": PAPER[name] / PAPER["baseline"] if name in PAPER else None,
            }
            for name, rows in times.items()
        ]
        for row in found[precision]:
            print(f"{precision:18s} {row['method']:22s}", end=" ")
            print(f"{1000 * row['seconds_per_step']:7.3f} ms  {row['ratio']:.2f}", flush=True)
    write_json(
        out / "timing.json",
        {
            "what": f"device events around {steps} steps of batch {BATCH} (forward, backward, "
            f"optimizer), inputs on the GPU; median of {rounds} interleaved rounds, one process",
            "tf32": {
                "convolutions": torch.backends.cudnn.allow_tf32,
                "matrix products": torch.backends.cuda.matmul.allow_tf32,
            },
            "environment": environment(1, torch.get_num_threads()),
            **found,
        },
    )


def points(methods: Sequence[str]) -> list[tuple[str, dict[str, float]]]:
    """The grid, the middle of each method's range first: a call may be stopped early."""
    found: list[tuple[int, str, dict[str, float]]] = []
    for method, axes in GRID.items():
        for name, values in axes.items() if method in methods else ():
            order = sorted(range(len(values)), key=lambda k: abs(k - len(values) // 2))
            found += [(place, method, {name: values[k]}) for place, k in enumerate(order)]
    first = [("baseline", dict[str, float]())] if "baseline" in methods else []
    return first + [(method, setting) for _, method, setting in sorted(found, key=lambda f: f[0])]


def grid(out: Path, methods: Sequence[str], epochs: int, jobs: int, seconds: float) -> None:
    """Train on 45 000 examples, judge on the other 5000, and append each result to a file."""
    path, begin = out / "settings.jsonl", time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    seen = {(row["method"], json.dumps(row["settings"]), row["epochs"]) for row in done}
    fixed = protocol(epochs, validation=5000)
    tasks = [
        Task(fixed, method, 0, {method: settings}, None, 1)
        for method, settings in points(methods)
        if (method, json.dumps(settings), epochs) not in seen
    ]
    with closing(outcomes(tasks, jobs, Loader())) as coming:
        for outcome in coming:
            record = outcome.record or {"failed": outcome.lost}
            row = {
                "method": outcome.task.method,
                "settings": outcome.task.settings[outcome.task.method],
                "epochs": epochs,
                "error": record.get("error"),
                "train_error": record.get("train_error"),
                "alarms": record.get("alarms"),
                "failed": record.get("failed"),
            }
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{time.monotonic() - begin:5.0f} s", row, outcome.defect[-2000:], flush=True)
            if time.monotonic() - begin > seconds:
                break


def best(out: Path) -> dict[str, dict[str, float]]:
    """The settings of each method with the smallest validation error, of the longest runs."""
    rows = [json.loads(line) for line in (out / "settings.jsonl").read_text().splitlines()]
    chosen: dict[str, dict[str, float]] = {}
    for method in GRID:
        mine = [row for row in rows if row["method"] == method and row["error"] is not None]
        if mine:
            chosen[method] = min(mine, key=lambda row: (-row["epochs"], row["error"]))["settings"]
    return chosen


def final(out: Path, epochs: int) -> Protocol:
    """The protocol of the compared runs, with the settings that the grid chose."""
    note = (
        "Settings chosen by a short grid on 5000 validation examples (settings.jsonl), test set "
        f"unseen. The paper trains by SGD with momentum, 80 epochs (here {epochs}), without "
        "augmentation; batch, learning rate, decay and schedule are ours. Runs shared one GPU, so "
        "their own seconds are no costs: timing.json was measured alone."
    )
    return protocol(epochs, note=note).with_changes(methods=best(out))


def total(out: Path, runs: Path, epochs: int) -> None:
    """Summarize the runs at hand, with the seconds that were measured alone."""
    records = [r for r in map(read_record, sorted(runs.glob("runs/*/*.json"))) if r]
    methods = [m for m in METHODS if any(r["method"] == m for r in records)]
    fixed = final(out, epochs)
    times = json.loads((out / "timing.json").read_text())["float32"]
    alone = {row["method"]: row["seconds_per_step"] for row in times}
    timed = [{**r, "seconds_per_step": alone[r["method"]]} for r in records]
    summary = summarize(fixed, Loader()(fixed, 0), methods, timed, runs, 1, 1)
    summary["protocol"]["seconds per step"] = "alone on the GPU, not in these runs: timing.json"
    summary["environment"]["processes"] = "several side by side"
    here = json.loads((out / "timing.json").read_text())["environment"]
    for key in ("processor", "cores", "system", "python", "torch", "gpu", "commit"):
        summary["environment"][key] = here[key]
    write_json(out / "summary.json", summary)


def main() -> None:
    """Do one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=("timing", "grid", "compare", "sum"))
    results = Path(__file__).parent / "results" / "cifar10-conv-small"
    parser.add_argument("--out", type=Path, default=results, help="small files that are kept")
    parser.add_argument("--runs", type=Path, default=Path("demo/cifar10"), help="records, report")
    parser.add_argument("--epochs", type=int, help="6 for grid, 80 for compare")
    parser.add_argument("--jobs", type=int, default=15)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin to end of a grid")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "timing":
        timing(options.out, options.steps, options.rounds)
    elif options.part == "grid":
        grid(options.out, options.methods, options.epochs or 6, options.jobs, options.seconds)
    elif options.part == "compare":
        fixed = final(options.out, options.epochs or 80)
        compare(
            fixed,
            options.methods,
            options.seeds,
            options.runs,
            jobs=options.jobs,
            finished=lambda record, done, of: print(
                done, of, record["method"], record["seed"], record.get("error"), flush=True
            ),
        )
    else:
        total(options.out, options.runs, options.epochs or 80)


if __name__ == "__main__":
    main()
