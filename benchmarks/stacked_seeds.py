"""What training the seeds of a method as one stack saves beside training one after another.

    OMP_NUM_THREADS=1 python benchmarks/stacked_seeds.py --json FILE

For each case runs of all kinds alternate. ``one by one`` is the CPU time of a step of a run by
itself times the number of seeds, ``stacked`` that of a step of the stack, ``compiled`` that of a
stack whose steps are compiled as a whole, all as the training loop's clock measures them,
evaluations left out; medians over the rounds, and the medians of the ratios. ``products`` is the
time that the matrix products of a step of all seeds would take at the speed of a large product,
which no stack can undercut. The last part is a whole comparison with evaluations, by both ways.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from unshaken.comparison.environment import environment
from unshaken.comparison.protocol import Protocol, named
from unshaken.comparison.single import Loader, prepare, run
from unshaken.comparison.stacks import run_stack
from unshaken.methods import catalog
from unshaken.training import train
from unshaken.training.stacked import Member, stack_for, train_stacked

SEEDS = (1, 5, 10, 20)
WIDE = {"name": "mlp", "widths": [1200, 600, 300, 150]}
"""The papers' network for MNIST, here on digits: too large for a stack to pay."""


@dataclass(frozen=True)
class Case:
    """One line of the result."""

    data: str
    method: str
    seeds: int
    network: dict[str, Any] | None = None
    steps: int = 32


def cases() -> list[Case]:
    every = [Case("digits", m, n) for m in ("baseline", "vat") for n in SEEDS]
    every += [
        Case("digits", m, 10)
        for m in (*catalog.names_for((8, 8)), "vat+entropy+balance")
        if m not in ("baseline", "vat")
    ]
    for data in ("sinusoids", "moons"):
        every += [Case(data, m, n) for m in ("baseline", "vat") for n in SEEDS]
    every += [Case("digits", m, 10, WIDE, steps=8) for m in ("baseline", "vat")]
    return every


def protocol_of(case: Case) -> Protocol:
    found = named(case.data)
    training = {**found.training, "steps": case.steps, "evaluate_every": 0}
    network = case.network or found.network
    return found.with_changes(training=training, network=network)


def measure(case: Case, rounds: int, flops_per_second: float) -> dict[str, Any] | None:
    """What the table holds of a case; None where its method cannot be stacked."""
    protocol = protocol_of(case)
    loads = [Loader() for _ in range(case.seeds)]

    def member(seed: int, compiled: bool = False) -> Member:
        found = prepare(protocol, case.method, seed, {}, loads[seed])
        # No probes of the alarm: they are rare in a run, but not in its first steps.
        found.objective.alarm = None
        config = protocol.config(seed)
        if compiled:
            # Several blocks of the clock, since the first one holds the time of compiling.
            config = replace(config, compile=True, steps=max(80, config.steps))
        return Member(found.objective, found.dataset, found.chosen, config)

    def stack(compiled: bool) -> float:
        trained = train_stacked([member(seed, compiled) for seed in range(case.seeds)])
        if trained is None or trained[0].result is None:
            raise RuntimeError(f"{case} cannot be stacked")
        return trained[0].result.seconds_per_step

    if stack_for([member(0).objective], protocol.config(0)) is None:
        return None
    compiles = stack_for([member(0).objective], member(0, compiled=True).config) is not None
    alone, together, faster = [], [], []
    for _ in range(rounds):
        one = member(0)
        result = train(one.objective, one.dataset, one.split, one.config, device="cpu")
        alone.append(case.seeds * result.seconds_per_step)
        together.append(stack(compiled=False))
        faster.append(stack(compiled=True) if compiles else math.nan)
    products = case.seeds * flops(member(0)) / flops_per_second
    return {
        "data": case.data,
        "network": dict(protocol.network),
        "method": case.method,
        "seeds": case.seeds,
        "one by one (ms)": 1e3 * statistics.median(alone),
        "stacked (ms)": 1e3 * statistics.median(together),
        "compiled (ms)": 1e3 * statistics.median(faster) if compiles else None,
        "products (ms)": 1e3 * products,
        "ratio": _ratio(alone, together),
        "compiled ratio": _ratio(alone, faster) if compiles else None,
    }


def _ratio(alone: list[float], together: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(alone, together, strict=True))


def flops(member: Member) -> float:
    """Floating-point operations of the matrix products of a step of one run."""
    with Products() as counter:
        config = {**member.config.to_dict(), "steps": 1}
        train(
            member.objective,
            member.dataset,
            member.split,
            type(member.config).from_dict(config),
            device="cpu",
        )
    return counter.total


class Products(TorchDispatchMode):
    """Adds up the floating-point operations of the products and convolutions made inside."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def speed(size: int = 1024, repeats: int = 20) -> float:
    """Floating-point operations per second of CPU time of a large product, the best of several."""
    a = torch.randn(size, size)
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        torch.mm(a, a)
        best = min(best, time.process_time() - begin)
    return 2 * size**3 / best


def whole(data: str, method: str, seeds: int, steps: int) -> dict[str, Any]:
    """All seeds of a method with evaluations as the protocol says, by both ways."""
    found = named(data)
    protocol = found.with_changes(training={**found.training, "steps": steps})
    load = Loader()
    begin = time.process_time()
    singles = [run(protocol, method, seed, {}, threads=1, load=load) for seed in range(seeds)]
    middle = time.process_time()
    records = run_stack(protocol, method, [({}, s) for s in range(seeds)], threads=1, load=load)
    end = time.process_time()
    if records is None:
        raise RuntimeError(f"{method} cannot be stacked")
    errors = [[record["error"] for record in every] for every in (singles, records)]
    return {
        "data": data,
        "method": method,
        "seeds": seeds,
        "steps": steps,
        "one by one (s)": middle - begin,
        "stacked (s)": end - middle,
        "ratio": (middle - begin) / (end - middle),
        "mean error % one by one": statistics.mean(errors[0]),
        "mean error % stacked": statistics.mean(errors[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = speed()
    steps = []
    for case in cases():
        row = measure(case, arguments.rounds, found)
        if row is not None:
            steps.append(row)
            print(row, flush=True)
    runs = []
    for data, method, count in (
        ("digits", "baseline", 500),
        ("digits", "vat", 500),
        ("sinusoids", "baseline", 1000),
        ("moons", "baseline", 1000),
    ):
        runs.append(whole(data, method, 10, count))
        print(runs[-1], flush=True)
    if arguments.json:
        content = {
            "environment": environment(1, 1),
            "large product (GFLOP/s)": found / 1e9,
            "steps": steps,
            "whole runs": runs,
        }
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
