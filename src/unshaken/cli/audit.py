"""``unshaken audit``: what shakes a trained classifier."""

from __future__ import annotations

import sys
from pathlib import Path

from unshaken.cli.output import print_json
from unshaken.cli.values import Mistake


def audit(
    run: str | None = None,
    data: str = "digits",
    model: str | None = None,
    compare: str | None = None,
    families: list[str] | None = None,
    examples: int = 500,
    quick: bool = False,
    steps: int | None = None,
    directions: int | None = None,
    padding: str = "border",
    batch_size: int = 64,
    layers: bool | None = None,
    normalize: str | None = None,
    seed: int = 0,
    device: str | None = None,
    threads: int | None = None,
    out: str | None = None,
    download: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Find how far an input must move before a trained classifier changes its answer.

    Shifts, rotations, scalings and deformations; which examples, classes and layers. The first word
    after audit may be the classifier. Thresholds are upper bounds: they hold along the directions
    that were tried.

    Args:
        run: a run's folder, a checkpoint, a safetensors or state-dict file, or timm:NAME
        data: a data set's name, a folder of images, an .npz file, or hub:OWNER/NAME; its test set
            is used
        model: a network's name, or an import path package.module:function; not used for a run's
            folder, which tells by itself how its network is made
        compare: a second classifier to show beside it, as the first word
        families: shift, rotation, scale, affine, elastic; all that suit the data unless given
        examples: how many examples of the test set
        quick: shift and rotation alone, four degrees, the worst direction and its opposite
        steps: degrees of the scan, 16 unless given (4 if quick)
        directions: directions to try beside the worst one to first order and its opposite, 14
            unless given (0 if quick)
        padding: what lies outside of an input, border, zeros, reflection or circular
        batch_size: examples that pass the network at once; memory is bounded by it
        layers: also look at what each layer makes of a movement; unless given, not if quick
        normalize: none, unit, centered, standard or zca; unless given, what a run's folder tells,
            else the data's own
        seed: of the data and the random directions
        device: cpu, cuda or cuda:N; a GPU where there is one unless given
        threads: threads of PyTorch
        out: folder for audit.json and report.html
        download: fetch published data that are missing
        quiet: show no progress
        json: print the summary as one JSON object; progress stays on the error output
    """
    import torch

    from unshaken import checks
    from unshaken import data as sources
    from unshaken.auditing import audit as audit_of
    from unshaken.auditing.networks import classifier, normalization_of
    from unshaken.cli.chosen import check_data, find_own_modules
    from unshaken.comparison.environment import environment
    from unshaken.comparison.folder import require_folder, require_no_other
    from unshaken.training import TrainingConfig
    from unshaken.training.runtime import make_runtime

    if not run:
        raise Mistake("audit needs a classifier: a run's folder or a file with weights")
    check_data(data)
    if out is not None:
        require_folder(Path(out))
        require_no_other(Path(out), "an audit")
    if threads is not None:
        torch.set_num_threads(checks.integer(threads, "threads"))
    if model is not None:
        find_own_modules(model)
    place = make_runtime(TrainingConfig(steps=1, batch_size=1), device).device
    prepared = []
    names = [run] if compare is None else [run, compare]
    short = [Path(name).name or name for name in names]
    shown = dict(zip(names, names if len(set(short)) < len(short) else short, strict=True))
    for name in names:
        how = normalization_of(name) if normalize is None else normalize
        dataset = sources.load(data, seed=seed, normalize=how, download=download)
        prepared.append((name, dataset, classifier(name, dataset, model)))
    found = []
    for name, dataset, network in prepared:
        found.append(
            audit_of(
                network,
                dataset,
                families=families,
                examples=examples,
                steps=steps,
                directions=directions,
                layers=layers,
                quick=quick,
                padding=padding,
                batch_size=batch_size,
                device=place,
                seed=seed,
                about={
                    "model": shown[name],
                    "data": data,
                    "normalization": dataset.info.get("preprocessing", ""),
                    "environment": environment(1, torch.get_num_threads()),
                },
                progress=None if quiet else _show,
            )
        )
        if not json:
            print(f"{name}\n{found[-1].table()}")
    other = found[1] if compare is not None else None
    if out is not None:
        page = found[0].save(out, other)
        if not json:
            print(f"report: {page}")
    if json:
        print_json(found[0].summary(other))
    return 0


def _show(what: str, done: int, total: int) -> None:
    """Overwrites one line on a terminal; a pipe gets none."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{what}: {done}/{total} examples  ", end=end, file=sys.stderr, flush=True)
