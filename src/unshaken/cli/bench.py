"""``unshaken bench``: what a training step of each method costs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unshaken.cli.chosen import check_known
from unshaken.cli.output import print_json
from unshaken.cli.values import Mistake

if TYPE_CHECKING:
    from unshaken.benchmark.variants import Variant


def bench(
    model: str = "conv_small",
    batch_size: int | None = None,
    methods: list[str] | None = None,
    rounds: int = 7,
    size: str | None = None,
    channels: int | None = None,
    classes: int | None = None,
    device: str | None = None,
    precision: str = "32",
    threads: int = 1,
    out: str | None = None,
    compiled: bool = False,
    scaling: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Measure a training step of each method: time, memory and passes over the network.

    Beside it stand its textbook implementation and the least possible, all in units of a plain
    step. Times are medians of interleaved rounds: CPU time on one thread, device events on a GPU.

    Args:
        model: a network's name, or an import path package.module:function; the names are mlp and,
            with the papers' batch, inputs and optimizer, conv_small, conv_large, mnist_mlp,
            sinusoids_mlp, moons_mlp
        batch_size: examples in a step; the network's own unless given
        methods: names separated by commas or spaces; all that suit the inputs unless given
        rounds: in each round every method has a turn of a few steps
        size: spatial size of the inputs, as 32, 28x28 or none; the network's own unless given
        channels: channels of the inputs; the network's own unless given
        classes: number of classes; the network's own unless given
        device: cpu, cuda or cuda:N; a GPU where there is one unless given
        precision: 32, 64, or bf16 (autocast)
        threads: threads of PyTorch; with several, time is the wall clock's
        out: folder for bench.json, report.html, time.svg and memory.svg
        compiled: also measure whole steps as compiled code; each takes up to a minute to begin
        scaling: also follow the cost over batch, size, channels, fields, depth and mask tables
        quiet: show no progress
        json: print the summary as one JSON object; progress stays on the error output
    """
    from unshaken import checks
    from unshaken.benchmark.measure import measure
    from unshaken.benchmark.setting import PRECISIONS, PRESETS, setting_of
    from unshaken.benchmark.table import print_table
    from unshaken.models import NAMES
    from unshaken.training import TrainingConfig
    from unshaken.training.runtime import make_runtime

    if ":" not in model:
        check_known("--model", model, dict.fromkeys((*PRESETS, *NAMES)), "or package.module:make")
    check_known("--precision", precision, PRECISIONS)
    checks.integer(rounds, "rounds")
    if out is not None:
        from unshaken.comparison.folder import require_folder, require_no_other

        require_no_other(Path(out), "a measurement")
        require_folder(Path(out))
    # The device that training would take.
    place = make_runtime(TrainingConfig(steps=1, batch_size=1), device).device
    setting = setting_of(
        model,
        batch_size=batch_size,
        channels=channels,
        size=_size(size),
        classes=classes,
        precision=precision,
        threads=threads,
        device=str(place),
    )
    chosen = _variants(methods or ["all"], setting.size, setting.network)
    result = measure(setting, chosen, rounds, compiled=compiled, progress=None if quiet else _show)
    if not json:
        print_table(result)
    if scaling:
        from unshaken.benchmark.scaling import scale
        from unshaken.benchmark.table import print_scaling

        result["scaling"] = scale(setting, rounds, log=None if quiet else _tell)
        if not json:
            print_scaling(result["scaling"])
    if out is not None:
        from unshaken.benchmark.report import write_report
        from unshaken.comparison.folder import write_json

        write_json(Path(out) / "bench.json", result)
        write_report(Path(out), result)
        if not json:
            print(f"report: {Path(out) / 'report.html'}")
    if json:
        print_json(result)
    return 0


def _variants(names: list[str], size: tuple[int, ...], network: str) -> list[Variant]:
    from unshaken.benchmark import variants
    from unshaken.methods import catalog

    chosen: list[str] = []
    for name in names:
        if name == "all":
            # A network of the user's need not know dropout.
            left_out = "dropout" if ":" in network else ""
            chosen += [n for n in variants.names_for(size, network) if n != left_out]
            continue
        known = [*catalog.CATALOG, *(v.name for v in variants.VARIANTS)]
        if name not in known:
            check_known("--methods: a method", name, dict.fromkeys(known))
        chosen.append(name)
    found = [variants.named(name) for name in dict.fromkeys(chosen)]
    for variant in found:
        if not variant.fits(size):
            raise Mistake(
                f"--methods: {variant.name} needs inputs with more spatial axes, got size {size}"
            )
    return found


def _size(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if text == "none":
        return ()
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise Mistake(f"--size must be as 32, 28x28 or none, got {text!r}")
    return tuple(int(part) for part in text.split("x"))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(done: int, total: int) -> None:
    """Overwrites one line on a terminal; a pipe gets none."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done}/{total} turns", end=end, file=sys.stderr, flush=True)
